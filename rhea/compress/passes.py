"""One training step as three packed passes, adapters merged into the weights first.

An adapter on every linear layer costs several small kernels a layer and pass, and launching them is what
training of small models waits for (measured: a second a step of 32,768 tokens). Here the merged weights of
all layers of one shape come from one batched product, a layer is one kernel again, and on a GPU the whole
step, gradients included, is captured once as a graph and replayed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rhea.compress.lora import adapter_tensors, share_weights
from rhea.compress.losses import hint_loss, likelihood_and_distillation
from rhea.compress.network import CompressorNetwork, unit_size
from rhea.compress.packing import LONGEST, PackedBatch

if TYPE_CHECKING:
    import torch

__all__ = ["PARTS", "Merged", "TrainingStep"]

_ATTENTION = "rhea_packed"
PARTS = ("nll", "nll_weight", "kl", "kl_weight", "hint")
"""What a step adds up: the two losses with the weights to divide them by, and the hint's mean."""


class Merged:
    """The weights of one adapted network with the adapter added in, differentiable in the adapter.

    Args:
        network: the plain causal LM.
        adapted: the same with an adapter, whose tensors are read each time.
        scale: alpha over rank.
    """

    def __init__(self, network: Any, adapted: Any, scale: float) -> None:
        import torch

        self.scale = scale
        tensors = adapter_tensors(adapted)
        weights = dict(network.named_parameters())
        shapes: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for name in tensors:
            if name.endswith(".lora_A"):
                module = name.removesuffix(".lora_A")
                shapes[tuple(weights[f"{module}.weight"].shape)].append(module)
        self._groups = [
            (
                [f"{m}.weight" for m in modules],
                torch.stack([weights[f"{m}.weight"].detach() for m in modules]),
                [torch.as_tensor(tensors[f"{m}.lora_A"]) for m in modules],
                [torch.as_tensor(tensors[f"{m}.lora_B"]) for m in modules],
            )
            for modules in shapes.values()
        ]

    def weights(self) -> dict[str, torch.Tensor]:
        """Full weight of each adapted layer by its parameter's name, in the backbone's precision."""
        import torch

        found: dict[str, torch.Tensor] = {}
        for names, base, down, up in self._groups:
            added = torch.bmm(torch.stack(up), torch.stack(down)) * self.scale
            whole = (base.float() + added).to(base.dtype)
            found.update(zip(names, whole.unbind(), strict=True))
        return found


class TrainingStep:
    """Loss and gradients of one packed batch.

    Args:
        compressor: what learns; gradients are added to its parameters'.
        graphs: capture the step; ``None`` means on CUDA.
        distillation: weight of the divergence from the teacher.
    """

    def __init__(self, compressor: CompressorNetwork, *, graphs: bool | None = None, distillation: float = 1.0) -> None:
        import torch

        self.compressor, self.distillation = compressor, distillation
        spec, plain = compressor.spec, compressor.plain
        self.network = share_weights(plain)
        _register_attention()
        self.network.set_attn_implementation(_ATTENTION)
        if compressor.device.type == "cuda":
            _fuse_norms(self.network)
        self.encoder = Merged(plain, compressor.encoder, spec.encoder_alpha / spec.encoder_rank)
        self.decoder = Merged(plain, compressor.decoder, spec.decoder_alpha / spec.decoder_rank)
        self.graphs = compressor.device.type == "cuda" if graphs is None else graphs
        self.hint = torch.zeros((), device=compressor.device)
        self.hint_scale = torch.nn.Parameter(torch.tensor(20.0, device=compressor.device))
        self._captured: dict[tuple[int, ...], _Captured] = {}
        self._pool: Any = None

    def run(self, batch: PackedBatch, *, hint: float = 0.0) -> torch.Tensor:
        """Add the batch's gradients; returns the sums named by `PARTS`, to be read before the next call."""
        self.hint.fill_(hint)
        if not self.graphs:
            return self._body(batch.to(self.compressor.device))
        shape = tuple(len(getattr(batch, f.name)) for f in fields(batch))
        if shape not in self._captured:
            self._captured[shape] = self._capture(batch)
        captured = self._captured[shape]
        captured.batch.copy_(batch)
        captured.replay()
        return captured.parts[0]

    def states(self, batch: PackedBatch) -> torch.Tensor:
        """Last hidden states over the memory tokens of a batch, (slots, hidden)."""
        embedded = self._embed(batch.encoder_ids)
        own = self.compressor.memory_tokens[batch.memory].to(embedded.dtype)
        embedded = embedded.index_copy(0, batch.encoder_slots, own)
        hidden = self._pass(self.encoder.weights(), embedded, batch.encoder_places, batch.encoder_spans)
        return hidden[batch.encoder_slots]

    def calibrate(self, batches: list[PackedBatch]) -> None:
        """Set the centre of each memory token to what its states over the batches have in common."""
        import torch

        centre = torch.zeros_like(self.compressor.centre)
        count = torch.zeros(len(centre), 1, device=centre.device)
        with torch.no_grad():
            for batch in batches:
                batch = batch.to(self.compressor.device)
                real = (batch.encoder_slots < batch.encoder_slots.max()).float()[:, None]
                centre.index_add_(0, batch.memory, unit_size(self.states(batch).float()) * real)
                count.index_add_(0, batch.memory, real)
            # of fewer than two states nothing can be told as common
            self.compressor.centre.data.copy_(torch.where(count > 1, centre / count.clamp(min=1), 0.0))

    def _body(self, batch: PackedBatch) -> torch.Tensor:
        import torch

        head = self.compressor.plain.get_output_embeddings().weight.detach()
        memory = self.compressor.finish(self.states(batch), batch.memory)
        embedded = self._embed(batch.decoder_ids)
        embedded = embedded.index_copy(0, batch.decoder_slots, memory.to(embedded.dtype))
        hidden = self._pass(self.decoder.weights(), embedded, batch.decoder_places, batch.decoder_spans)
        with torch.no_grad():
            raw = self._embed(batch.teacher_ids)
            teacher = self._pass({}, raw, batch.teacher_places, batch.teacher_spans)[batch.teacher_predictors]
        loss, nll, kl = likelihood_and_distillation(
            hidden[batch.predictors], head, batch.targets, batch.likelihood, teacher, batch.share * self.distillation
        )
        table = self.compressor.plain.get_input_embeddings().weight.detach()
        hint = hint_loss(memory, table, self.hint_scale, batch.hint_slots, batch.hint_ids, batch.hint_weights)
        said = ((batch.likelihood + batch.share) > 0).sum().clamp(min=1)
        self._add_gradients(loss / said + self.hint * hint)
        parts = (nll, batch.likelihood.sum(), kl, batch.share.sum() * self.distillation, hint.detach())
        return torch.stack([p.float() for p in parts])

    def _add_gradients(self, loss: torch.Tensor) -> None:
        """As ``backward`` does, but on the stream of the moment, which is what a capture needs."""
        import torch

        parameters = self._parameters()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with torch.no_grad():
            for parameter, new in zip(parameters, found, strict=True):
                if new is not None and parameter.grad is not None:
                    parameter.grad.add_(new)

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [*self.compressor.adapter_parameters(), *self.compressor.own_parameters(), self.hint_scale]

    def _embed(self, ids: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.network.get_input_embeddings()(ids)
        return embedded

    def _pass(
        self, weights: dict[str, torch.Tensor], embedded: torch.Tensor, places: torch.Tensor, spans: torch.Tensor
    ) -> torch.Tensor:
        """Hidden states (tokens, hidden) of a packed row, with these weights in place of the network's own."""
        import torch

        prefix = f"{self.network.base_model_prefix}."
        named = {name.removeprefix(prefix): weight for name, weight in weights.items()}
        given = {
            "inputs_embeds": embedded[None],
            "position_ids": places[None],
            "use_cache": False,
            "cu_seq_lens_q": spans,
        }
        out = torch.func.functional_call(self.network.base_model, named, (), given)
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _capture(self, batch: PackedBatch) -> _Captured:
        """Capture the step for batches of these sizes, and take back the gradients that warming up left."""
        from rhea.models.cuda import capture

        static = batch.to(self.compressor.device)
        parameters = self._parameters()
        before = [None if p.grad is None else p.grad.clone() for p in parameters]
        parts: list[torch.Tensor] = []

        def body() -> None:
            parts[:] = [self._body(static)]

        # one pool for all captures; after the first one nothing is left to warm up, and no room to do it in
        replay, self._pool = capture(body, self._pool, warm_ups=0 if self._captured else 3)
        for parameter, gradient in zip(parameters, before, strict=True):
            if parameter.grad is not None and gradient is not None:
                parameter.grad.copy_(gradient)
        return _Captured(static, replay, parts)


@dataclass(frozen=True, slots=True)
class _Captured:
    """A step as a graph: where its batch goes, its replay, and where its sums appear."""

    batch: PackedBatch
    replay: Callable[[], None]
    parts: list[torch.Tensor]


def _register_attention() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _packed_attention)


def _packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence of a row: query (1, heads, tokens, size), spans (sequences + 1,)."""
    import torch

    assert cu_seq_lens_q is not None
    spans = cu_seq_lens_q
    if query.device.type == "cuda":
        q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
        shared = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        out = torch.ops.aten._flash_attention_forward(
            q, k, v, spans, spans, LONGEST, LONGEST, 0.0, True, False, scale=scaling
        )[0]
        return out[None], None
    bounds = spans.tolist()
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            query[:, :, a:b], key[:, :, a:b], value[:, :, a:b], is_causal=True, scale=scaling, enable_gqa=True
        )
        for a, b in pairwise(bounds)
        if b > a
    ]
    return torch.cat(parts, 2).transpose(1, 2), None


def _fuse_norms(network: Any) -> None:
    """Let torch's fused kernel stand in for root-mean-square norms that it agrees with."""
    import torch

    for part in network.modules():
        size = getattr(part, "variance_epsilon", None)
        weight = getattr(part, "weight", None)
        if size is None or weight is None or weight.ndim != 1:
            continue
        probe = torch.randn(4, len(weight), device=weight.device, dtype=weight.dtype)

        def fused(x: torch.Tensor, weight: torch.Tensor = weight, size: float = size) -> torch.Tensor:
            return torch.nn.functional.rms_norm(x, (len(weight),), weight, size)

        with torch.no_grad():
            if torch.allclose(part(probe).float(), fused(probe).float(), rtol=0.02, atol=0.02):
                part.forward = fused
