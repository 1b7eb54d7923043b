"""The training loss over a large vocabulary, without ever holding all logits.

The output head is frozen, so a chunk's logits are needed only until the gradient of its hidden states is
known: both are computed in one go, chunk by chunk, and nothing of size (targets, vocabulary) is kept for the
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["likelihood_and_distillation"]

_CHUNK = 4096


def likelihood_and_distillation(
    hidden: torch.Tensor,
    head: torch.Tensor,
    targets: torch.Tensor,
    likelihood: torch.Tensor,
    teacher: torch.Tensor | None,
    taught: torch.Tensor,
    *,
    distillation: float = 1.0,
    compiled: bool = False,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Weighted negative log-likelihood plus KL divergence from the teacher, summed and divided by the targets.

    Args:
        hidden: (n, hidden) states that predict the targets; the gradient flows into them alone.
        head: (vocabulary, hidden), frozen.
        targets: (n,) ids.
        likelihood: (n,) weight of each target's likelihood.
        teacher: (t, hidden) states of the teacher for the targets ``taught``, or ``None``.
        taught: (t,) indices into the targets, ascending.
        distillation: weight of the KL divergence.
        compiled: compile the work on a chunk.

    Returns:
        The loss, and for the log the sums ``nll`` and ``kl`` in nats with the weights they are to be divided by.
    """
    import torch

    function = _loss_function()
    loss, nll, kl = function.apply(hidden, head, targets, likelihood, teacher, taught, distillation, compiled)
    parts = {
        "nll": nll,
        "kl": kl,
        "nll_weight": likelihood.sum(),
        "kl_weight": torch.tensor(distillation * len(taught)),
    }
    return loss / len(targets), {name: value.detach() for name, value in parts.items()}


@lru_cache(maxsize=2)
def _chunk_function(*, compiled: bool) -> Callable[..., Any]:
    import torch

    def chunk(
        logits: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, goal: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits and the teacher's (n, vocabulary) → gradient of the logits, and summed nll and kl."""
        logp = logits.float().log_softmax(-1)
        goal_logp = goal.float().log_softmax(-1)
        p, q = logp.exp(), goal_logp.exp()
        nll = -(logp.gather(1, targets[:, None])[:, 0] * weight).sum()
        kl = ((q * (goal_logp - logp)).sum(-1) * share).sum()
        column = torch.arange(logits.shape[-1], device=logits.device)
        gradient = p * (weight + share)[:, None] - q * share[:, None]
        gradient = gradient - torch.where(column == targets[:, None], weight[:, None], 0.0)
        return gradient.to(logits.dtype), nll, kl

    return torch.compile(chunk, dynamic=True) if compiled else chunk


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
            teacher: torch.Tensor | None,
            taught: torch.Tensor,
            distillation: float,
            compiled: bool,
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            chunk = _chunk_function(compiled=compiled)
            work = hidden.detach().to(head.dtype)
            goals = work.clone()
            share = torch.zeros(len(targets), device=hidden.device)
            if teacher is not None:
                goals[taught] = teacher.to(head.dtype)
                share[taught] = distillation
            gradient = torch.empty_like(work)
            nll = hidden.new_zeros((), dtype=torch.float32)
            kl = torch.zeros_like(nll)
            for at in range(0, len(targets), _CHUNK):
                part = slice(at, at + _CHUNK)
                outcome = chunk(work[part] @ head.T, targets[part], likelihood[part], goals[part] @ head.T, share[part])
                gradient[part] = outcome[0] @ head
                nll, kl = nll + outcome[1], kl + outcome[2]
            context.save_for_backward(gradient)
            return nll + kl, nll, kl

        @staticmethod
        def backward(context: Any, loss: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            (gradient,) = context.saved_tensors
            return gradient * loss.to(gradient.dtype), None, None, None, None, None, None, None

    return Loss
