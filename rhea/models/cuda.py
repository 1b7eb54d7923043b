"""Decoding that a GPU is not left waiting in: a static KV cache and one captured graph a token.

Eager decoding launches well over a thousand kernels a token from Python, and the card idles between them.
Here the keys and values live in tensors that never move, so one step can be captured as a CUDA graph and
replayed. Attention over the cache is split along its length, and a graph exists for each power of two of
cache in view, so that a short context does not pay for the longest one. What the last prompt and the new one
have in common keeps its keys and values. Without CUDA the same steps run uncaptured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rhea.compress.lora import share_weights
from rhea.errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["FastDecoder", "StaticDecoder", "StaticKeyValues", "capture", "supports"]

_SMALLEST_VIEW = 512
_SPLIT = 256
_ATTENTION = "rhea_static_decode"


def supports(network: Any, max_len: int) -> bool:
    """Whether the static cache fits this kind of model: full attention over everything within ``max_len``."""
    config = network.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (not window or window >= max_len) and kinds <= {"full_attention", "sliding_attention"}


class StaticKeyValues:
    """Keys and values of every layer, written in place, in parts of 256 places that lie one after another.

    The tensors have the shape (layers, parts, batch, heads, 256, size), so that the first parts are one block
    of memory that a batched product takes as it is. While ``start`` is an integer a forward pass writes at
    ``start`` onwards and sees everything up to its own end. With ``start`` None it writes one token a row at
    the device tensor ``position`` and sees ``view`` places, still in parts.
    """

    is_compileable = False

    def __init__(self, network: Any, batch: int, max_len: int) -> None:
        import torch

        config = network.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (config.num_hidden_layers, max_len // _SPLIT, batch, heads, _SPLIT, size)
        self.keys = torch.zeros(shape, dtype=network.dtype, device=network.device)
        self.values = torch.zeros_like(self.keys)
        self.position = torch.zeros(1, dtype=torch.long, device=network.device)
        self.start: int | None = 0
        self.view = max_len
        self.max_len = max_len

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new keys and values, (batch, heads, n, size), and return those in view."""
        if self.start is None:
            parts = self.view // _SPLIT
            return tuple(  # type: ignore[return-value]
                self._write(kept[layer], new, self.position)[:parts]
                for kept, new in ((self.keys, keys), (self.values, values))
            )
        start, end = self.start, self.start + keys.shape[2]
        places = self._range(start, end)
        whole = [self._write(kept[layer], new, places) for kept, new in ((self.keys, keys), (self.values, values))]
        if not start:
            return keys, values
        parts = -(-end // _SPLIT)
        first, second = (w[:parts].permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :end] for w in whole)
        return first, second

    def _range(self, start: int, end: int) -> torch.Tensor:
        import torch

        return torch.arange(start, end, device=self.position.device)

    @staticmethod
    def _write(kept: torch.Tensor, new: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        kept[places // _SPLIT, :, :, places % _SPLIT] = new.permute(2, 0, 1, 3)
        return kept

    def get_seq_length(self, layer: int = 0) -> int:
        """Places already filled (transformers' cache interface)."""
        return self.start or 0

    def get_query_offset(self, layer: int = 0) -> int:
        """Place of the first new token (transformers' cache interface)."""
        return self.start or 0

    def get_mask_sizes(self, query_length: int, layer: int = 0) -> tuple[int, int]:
        """Length and offset of what attention sees (transformers' cache interface)."""
        return (self.start or 0) + query_length, 0


class StaticDecoder:
    """Forward passes of a causal LM over a static cache: prompts in eager mode, single tokens capturable.

    Args:
        network: a transformers causal LM; its weights are shared, not copied.
        batch: rows decoded together, all at the same position.
        max_len: longest sequence.

    Raises:
        ModelError: the model attends in a way that a static cache cannot follow.
    """

    def __init__(self, network: Any, batch: int, max_len: int) -> None:
        import torch

        if not supports(network, max_len):
            raise ModelError("this model's sliding attention does not fit a static cache; use the ordinary decoder")
        max_len = -(-max_len // _SPLIT) * _SPLIT
        self.network = share_weights(network).eval()
        self.stepper = share_weights(network).eval()
        self.cache = StaticKeyValues(network, batch, max_len)
        self.places = torch.arange(max_len, device=network.device)
        if network.device.type == "cuda":
            _fuse_small_layers(self.stepper)
        _register_attention()
        self.network.set_attn_implementation("sdpa")
        self.stepper.set_attn_implementation(_ATTENTION)

    def prompt(self, embedded: torch.Tensor, start: int) -> torch.Tensor:
        """Logits after the last of (batch, n, hidden) embeddings placed at ``start``: (batch, vocabulary)."""
        import torch

        self.cache.start = start
        n = embedded.shape[1]
        places = self.places[start : start + n]
        mask = None
        if start:  # queries see what was kept and, among themselves, what came before
            mask = (self.places[: start + n] <= places[:, None])[None, None]
        hidden = self.network.base_model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=places[None],
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        logits: torch.Tensor = self.network.get_output_embeddings()(hidden[:, -1])
        self.cache.position.fill_(start + n)
        return torch.as_tensor(logits)

    def step(self, tokens: torch.Tensor, view: int) -> torch.Tensor:
        """Logits (batch, vocabulary) after one more token a row, (batch, 1), and advance the position."""
        self.cache.start, self.cache.view = None, view
        hidden = self.stepper.base_model(
            inputs_embeds=self.stepper.get_input_embeddings()(tokens),
            attention_mask=(self.places[:view] <= self.cache.position)[None, None, None],
            position_ids=self.cache.position[None],
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        logits: torch.Tensor = self.stepper.get_output_embeddings()(hidden[:, -1])
        self.cache.position.add_(1)
        return logits

    def view_for(self, length: int) -> int:
        """The cache in view for sequences up to ``length``: a power of two of the smallest view."""
        view = _SMALLEST_VIEW
        while view < length:
            view *= 2
        return min(view, self.cache.max_len)


class FastDecoder:
    """One sequence at a time, token by token, with what consecutive prompts share kept in the cache.

    Args:
        network: a transformers causal LM in evaluation mode.
        max_len: longest prompt and reply together.
        end_ids: ids that end a reply.
        graphs: capture steps; ``None`` means on CUDA.
    """

    def __init__(self, network: Any, *, max_len: int, end_ids: Sequence[int] = (), graphs: bool | None = None) -> None:
        import torch

        self.decoder = StaticDecoder(network, 1, max_len)
        self.max_len = max_len
        self.end_ids = frozenset(end_ids)
        self.graphs = network.device.type == "cuda" if graphs is None else graphs
        self._token = torch.zeros(1, 1, dtype=torch.long, device=network.device)
        self._steps: dict[int, tuple[Callable[[], None], torch.Tensor]] = {}
        self._kept: list[Hashable] = []
        self._pool: Any = None

    def warm_up(self, lengths: Sequence[int] = (_SMALLEST_VIEW,)) -> None:
        """Capture the steps for sequences of these lengths now rather than at the first reply."""
        import torch

        with torch.inference_mode():
            for length in lengths:
                self._step(self.decoder.view_for(min(length, self.max_len)))
        self._kept = []  # capturing wrote into the cache

    def generate(
        self,
        input_ids: Sequence[int] | None = None,
        *,
        inputs_embeds: torch.Tensor | None = None,
        keys: Sequence[Hashable] | None = None,
        max_new_tokens: int,
        choose: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Iterator[int]:
        """Yield token ids until an end id (not yielded) or ``max_new_tokens``.

        Args:
            input_ids: the prompt, or
            inputs_embeds: its embeddings of shape (1, n, hidden).
            keys: with embeddings, one value a place; equal values at the head of the next prompt keep the cache.
            max_new_tokens: at most as many tokens.
            choose: (1, vocabulary) logits → (1, 1) id, to sample; ``None`` takes the likeliest.

        Raises:
            ModelError: prompt and reply exceed ``max_len``.
        """
        import torch

        table = self.decoder.network.get_input_embeddings()
        with torch.inference_mode():
            if inputs_embeds is None:
                ids = torch.tensor([list(input_ids or ())], device=self._token.device)
                inputs_embeds, keys = table(ids), list(input_ids or ())
            length = int(inputs_embeds.shape[1])
            if not length or length + max_new_tokens > self.max_len:
                raise ModelError(f"{length} + {max_new_tokens} tokens do not fit the decoder's {self.max_len}")
            kept = self._common(keys)
            self._kept = []  # nothing may be trusted until the pass has succeeded
            logits = self.decoder.prompt(inputs_embeds[:, kept:], kept)
            self._kept = list(keys or ())
        yield from self._reply(logits, length, max_new_tokens, choose)

    def _common(self, keys: Sequence[Hashable] | None) -> int:
        if keys is None:
            return 0
        count = 0
        for old, new in zip(self._kept, keys, strict=False):
            if old != new:
                break
            count += 1
        return min(count, len(keys) - 1)

    def _reply(
        self, logits: torch.Tensor, length: int, limit: int, choose: Callable[[torch.Tensor], torch.Tensor] | None
    ) -> Iterator[int]:
        import torch

        with torch.inference_mode():
            self._token.copy_(choose(logits) if choose else logits.argmax(-1, keepdim=True))
        for count in range(limit):
            token = int(self._token)
            if token in self.end_ids:
                return
            if count + 1 < limit:
                with torch.inference_mode():  # the next step runs while the caller handles this token
                    step, logits = self._step(self.decoder.view_for(length + count + 1))
                    step()
                    if choose:
                        self._token.copy_(choose(logits))
                if len(self._kept) == length + count:  # that step wrote this token's keys and values
                    self._kept.append(token)
            yield token

    def _step(self, view: int) -> tuple[Callable[[], None], torch.Tensor]:
        if view not in self._steps:
            position = self.decoder.cache.position.clone()
            holder: list[torch.Tensor] = []
            token = self._token.clone()

            def body() -> None:
                logits = self.decoder.step(self._token, view)
                self._token.copy_(logits.argmax(-1, keepdim=True))
                holder[:] = [logits]

            if self.graphs:
                run, self._pool = capture(body, self._pool)
                # warming up moved the position and overwrote the token
                self.decoder.cache.position.copy_(position)
                self._token.copy_(token)
                self._steps[view] = (run, holder[0])
            else:
                body()
                return (lambda: None), holder[0]
        return self._steps[view]


def capture(body: Callable[[], None], pool: Any = None, warm_ups: int = 3) -> tuple[Callable[[], None], Any]:
    """Capture what ``body`` launches as a CUDA graph; returns its replay and the memory pool, to be shared.

    ``body`` runs ``warm_ups`` times first, on a side stream: what it writes is written.
    """
    import torch

    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warm_ups):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        body()
    return graph.replay, graph.pool()


def _fuse_small_layers(network: Any) -> None:
    """Compile norms and feed-forward blocks: many small kernels each, one or two once fused."""
    for name, part in network.named_modules():
        if name.endswith(("norm", ".mlp")) and not name.endswith("self_attn.norm"):
            part.compile(dynamic=False)


def _register_attention() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(_ATTENTION, _split_attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def _split_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """One query a row over a long cache, the cache cut into parts that the card works on side by side.

    query (batch, heads, 1, size), key and value (parts, batch, kv heads, 256, size), mask (1, 1, 1, parts × 256).
    """
    batch, heads, _one, size = query.shape
    parts, groups = key.shape[0], key.shape[2]
    scale = size**-0.5 if scaling is None else scaling
    queries = query.reshape(1, batch, groups, heads // groups, size).expand(parts, -1, -1, -1, -1)
    scores = _product(queries, key.transpose(-1, -2)) * scale
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask.reshape(parts, 1, 1, 1, _SPLIT), float("-inf"))
    top = scores.amax((0, 4), keepdim=True)
    weights = (scores - top).exp()
    total = weights.sum((0, 4)).unsqueeze(-1)
    mixed = _product(weights.to(value.dtype), value).sum(0) / total
    return mixed.to(query.dtype).reshape(batch, 1, heads, size), None


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Batched product in float32, of half-precision operands too."""
    import torch

    if a.device.type != "cuda" or a.dtype == torch.float32:
        return a.float() @ b.float()
    out = torch.bmm(a.flatten(0, 2), b.flatten(0, 2), out_dtype=torch.float32)
    return out.view(*a.shape[:3], *out.shape[1:])
