"""The two halves of a compressor as networks: the encoder writes memory tokens, the decoder reads them.

Encoder input: the end of the user's message, an end mark, the reply, then the memory-token embeddings. All
attention is causal and everything pads on the right, so no mask is needed and the fastest attention kernels
apply. The hidden states over the memory tokens, less what they have in common, turned by one learned low-rank
matrix and scaled to the size of input embeddings, are the memory.

Last hidden states of one model all point much the same way: over memory tokens the cosine between different
replies was 0.92 to 0.98 before any training. Left in, that common part is nearly all the decoder sees, and a
run on a real model ended with the memory of every reply alike (0.99) and of no use. So it is measured on the
first batches and taken out. Each number of memory tokens has embeddings of its own, so that the encoder knows
from the first one how much room there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from rhea.compress.lora import adapter_tensors, add_adapter, load_adapter, share_weights
from rhea.errors import CompressorError

if TYPE_CHECKING:
    import torch

    from rhea.compress.format import CompressorSpec

__all__ = ["CompressorNetwork", "group_offsets", "pad_rows", "round_up", "unit_size"]

_OWN = ("memory_tokens", "centre", "turn_down", "turn_up", "gain")
_TURN_RANK = 64


def round_up(width: int) -> int:
    """The width that rows are padded to: the next multiple of 8, which matrix units like."""
    return -(-width // 8) * 8


def pad_rows(rows: Sequence[Sequence[int]], *, pad: int) -> torch.Tensor:
    """Right-padded ids of shape (rows, longest rounded up), int64."""
    import torch

    width = round_up(max(map(len, rows)))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.long)


def group_offsets(sizes: Sequence[int]) -> dict[int, int]:
    """Group size → index of its first memory-token embedding; the smaller sizes come first."""
    ordered = sorted(sizes)
    return {size: sum(ordered[:i]) for i, size in enumerate(ordered)}


class CompressorNetwork:
    """Encoder, decoder and the few tensors of their own, over one frozen causal LM.

    Args:
        network: a transformers causal LM; left as it is.
        spec: ranks and group sizes.
        seed: for the adapters' first values.
    """

    def __init__(self, network: Any, spec: CompressorSpec, *, seed: int = 0) -> None:
        import torch

        self.spec = spec
        self.plain = network
        devices = [network.device] if network.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            self.encoder = add_adapter(share_weights(network), rank=spec.encoder_rank, alpha=spec.encoder_alpha)
            self.decoder = add_adapter(share_weights(network), rank=spec.decoder_rank, alpha=spec.decoder_alpha)
            table = network.get_input_embeddings().weight.detach().float()
            size = table.pow(2).mean().sqrt()
            count, hidden = sum(spec.trained_tokens), table.shape[1]
            first = table.mean(0) + size * torch.randn(count, hidden, device=table.device)
            down = torch.randn(hidden, min(_TURN_RANK, hidden), device=table.device) * hidden**-0.5
        self.memory_tokens = torch.nn.Parameter(first)
        self.centre = torch.nn.Parameter(torch.zeros_like(first))
        self.turn_down = torch.nn.Parameter(down)
        self.turn_up = torch.nn.Parameter(torch.zeros_like(down.T))
        self.gain = torch.nn.Parameter(torch.ones(hidden, device=table.device) * size)
        for module in (self.encoder, self.decoder):
            module.eval()

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.memory_tokens.device

    def own_parameters(self) -> list[torch.nn.Parameter]:
        """Memory-token embeddings, centre, turn and gain."""
        return [getattr(self, name) for name in _OWN]

    def adapter_parameters(self) -> list[torch.nn.Parameter]:
        """Both adapters."""
        return [*adapter_tensors(self.encoder).values(), *adapter_tensors(self.decoder).values()]

    def index(self, tokens: int) -> int:
        """Where the embeddings for groups of ``tokens`` begin.

        Raises:
            CompressorError: no such size was trained.
        """
        offsets = group_offsets(self.spec.trained_tokens)
        if tokens not in offsets:
            known = ", ".join(map(str, offsets))
            raise CompressorError(f"this compressor was trained for {known} tokens a group, not for {tokens}")
        return offsets[tokens]

    def encode(self, ids: torch.Tensor, lengths: torch.Tensor, tokens: int) -> torch.Tensor:
        """Memory of padded rows: (rows, width) ids and (rows,) lengths → (rows, tokens, hidden), float32.

        ``width`` must leave room for the memory tokens behind the longest row.
        """
        import torch

        table = self.encoder.get_input_embeddings()
        places = lengths[:, None] + torch.arange(tokens, device=ids.device)
        embedded = table(ids)
        own = torch.arange(tokens, device=ids.device) + self.index(tokens)
        memory = self.memory_tokens[own].to(embedded.dtype).expand(len(ids), -1, -1)
        embedded = embedded.scatter(1, places[..., None].expand_as(memory), memory)
        with self._precision():
            hidden = self.encoder.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        states = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        return self.finish(states, own)

    def finish(self, states: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Last hidden states over the memory tokens ``own`` (…, hidden) → memory, float32."""
        states = unit_size(unit_size(states.float()) - self.centre[own])
        turned: torch.Tensor = states + states @ self.turn_down @ self.turn_up
        return turned * self.gain

    def decode(self, ids: torch.Tensor, places: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        """Hidden states of the adapted decoder over padded rows, memory put at flat ``places``.

        Args:
            ids: (rows, width).
            places: (slots,) indices into the flattened rows, in the order of ``memory``.
            memory: (…, hidden), flattening to (slots, hidden); ``None`` when there is none.
        """
        embedded = self.decoder.get_input_embeddings()(ids)
        if memory is not None and places.numel():
            flat = embedded.flatten(0, 1)
            values = memory.reshape(-1, memory.shape[-1]).to(flat.dtype)
            embedded = flat.index_copy(0, places, values).view_as(embedded)
        with self._precision():
            hidden: torch.Tensor = self.decoder.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden

    def _precision(self) -> AbstractContextManager[None]:
        """Adapters are float32; on a half-precision backbone their products are taken in its precision."""
        import torch

        kind, dtype = self.device.type, self.plain.dtype
        return torch.autocast(kind, dtype) if dtype in (torch.bfloat16, torch.float16) else nullcontext()

    def state(self, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
        """Every trained tensor by name, cast to ``dtype``."""
        named = {f"encoder.{k}": v for k, v in adapter_tensors(self.encoder).items()}
        named |= {f"decoder.{k}": v for k, v in adapter_tensors(self.decoder).items()}
        named |= {name: getattr(self, name) for name in _OWN}
        return {name: t.detach().to(dtype or t.dtype).clone() for name, t in named.items()}

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of :meth:`state`.

        Raises:
            CompressorError: a tensor is missing or of another shape.
        """
        for side in ("encoder", "decoder"):
            own = {k.removeprefix(f"{side}."): v for k, v in tensors.items() if k.startswith(f"{side}.")}
            load_adapter(getattr(self, side), own)
        for name in _OWN:
            parameter = getattr(self, name)
            if name not in tensors or tensors[name].shape != parameter.shape:
                got = tuple(tensors[name].shape) if name in tensors else "nothing"
                raise CompressorError(f"the compressor's {name} should have the shape {tuple(parameter.shape)}: {got}")
            parameter.data.copy_(tensors[name])


def unit_size(states: torch.Tensor) -> torch.Tensor:
    """Scaled to a root mean square of one along the last axis."""
    import torch

    return states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + 1e-6)
