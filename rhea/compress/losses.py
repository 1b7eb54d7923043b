"""The training loss over a large vocabulary, without ever holding all logits.

The output head is frozen, so a chunk's logits are needed only until the gradient of its hidden states is
known: both are computed in one go, chunk by chunk, and nothing of size (targets, vocabulary) is kept for the
backward pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["hint_loss", "likelihood_and_distillation"]

_CHUNK = 4096


def likelihood_and_distillation(
    hidden: torch.Tensor,
    head: torch.Tensor,
    targets: torch.Tensor,
    likelihood: torch.Tensor,
    teacher: torch.Tensor,
    share: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weighted negative log-likelihood of the targets plus KL divergence from the teacher.

    Args:
        hidden: (n, hidden) states that predict the targets; the gradient flows into them alone.
        head: (vocabulary, hidden), frozen.
        targets: (n,) ids.
        likelihood: (n,) weight of each target's likelihood.
        teacher: (n, hidden) states of the teacher for the same targets; what stands where ``share`` is 0 does
            not count.
        share: (n,) weight of each target's divergence.

    Returns:
        The loss, summed; and for the log its two parts in nats, without a gradient.
    """
    loss, nll, kl = _loss_function().apply(hidden, head, targets, likelihood, teacher, share)
    return loss, nll.detach(), kl.detach()


def hint_loss(
    memory: torch.Tensor,
    table: torch.Tensor,
    scale: torch.Tensor,
    slots: torch.Tensor,
    ids: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """How far each memory token is from bringing its share of the reply to mind: mean negative log-likelihood.

    A memory token points near the embeddings of the words that it stands for. It is a hint for the first part
    of a training, while the way through the decoder is still too long for the encoder to learn from.

    Args:
        memory: (slots, hidden).
        table: (vocabulary, hidden) input embeddings, frozen.
        scale: of the cosines, a learnt scalar.
        slots: (n,) which memory token,
        ids: (n,) should name which token,
        weights: (n,) and how much that matters.
    """
    import torch

    unit = torch.nn.functional.normalize(memory, dim=-1)
    length = table.float().norm(dim=-1).mean()
    logits = (unit.to(table.dtype) @ table.T).float() * (scale / length)
    scores = logits.log_softmax(-1)[slots, ids]
    mean: torch.Tensor = -(scores * weights).sum() / weights.sum().clamp(min=1e-6)
    return mean


def _chunk(
    logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, goal: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and the teacher's (n, vocabulary) → gradient of the logits, and summed nll and kl."""
    logp = logits.float().log_softmax(-1)
    goal_logp = goal.float().log_softmax(-1)
    q = goal_logp.exp()
    nll = -(logp.gather(1, targets[:, None])[:, 0] * weight).sum()
    kl = ((q * (goal_logp - logp)).sum(-1) * share).sum()
    gradient = logp.exp_() * (weight + share)[:, None] - q * share[:, None]
    gradient.scatter_add_(1, targets[:, None], -weight[:, None])
    return gradient.to(logits.dtype), nll, kl


@lru_cache(maxsize=1)
def _loss_function() -> Any:
    import torch

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(
            context: Any,
            hidden: torch.Tensor,
            head: torch.Tensor,
            targets: torch.Tensor,
            likelihood: torch.Tensor,
            teacher: torch.Tensor,
            share: torch.Tensor,
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            work, goals = hidden.detach().to(head.dtype), teacher.to(head.dtype)
            gradient = torch.empty_like(work)
            nll = hidden.new_zeros((), dtype=torch.float32)
            kl = torch.zeros_like(nll)
            for at in range(0, len(targets), _CHUNK):
                part = slice(at, at + _CHUNK)
                outcome = _chunk(
                    work[part] @ head.T, targets[part], likelihood[part], goals[part] @ head.T, share[part]
                )
                gradient[part] = outcome[0] @ head
                nll, kl = nll + outcome[1], kl + outcome[2]
            context.save_for_backward(gradient)
            return nll + kl, nll, kl

        @staticmethod
        def backward(context: Any, loss: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (gradient,) = context.saved_tensors
            return gradient * loss.to(gradient.dtype), None, None, None, None, None

    return Loss
