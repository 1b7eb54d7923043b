"""Replies by the fast decoder: what `TransformersModel` does on a GPU instead of transformers' `generate`.

The same tokens as eager greedy decoding; sampling and the repetition penalty are those of transformers, in the same
order. The decoder grows to the next power of two that a prompt and its reply need.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rhea.models.cuda import FastDecoder, supports
from rhea.models.loops import is_looping

if TYPE_CHECKING:
    import torch

    from rhea.models.transformers import Sampling

__all__ = ["FastReplies"]

_SMALLEST = 2048
_LOOPS_EVERY = 8
"""Tokens between two looks for a loop."""


class FastReplies:
    """One network's replies, token by token.

    Args:
        network: a transformers causal LM in evaluation mode.
        window: tokens that prompt and reply may take together.
        sampling: ``None`` for greedy decoding.
        repetition_penalty: 1.0 leaves the model alone.
        stop_loops: end a reply that says one phrase over and over.
        graphs: capture steps; ``None`` means on CUDA.
    """

    def __init__(
        self,
        network: Any,
        *,
        window: int,
        sampling: Sampling | None = None,
        repetition_penalty: float = 1.0,
        stop_loops: bool = True,
        graphs: bool | None = None,
    ) -> None:
        self.network, self.window, self.graphs = network, window, graphs
        self.sampling, self.penalty, self.stop_loops = sampling, repetition_penalty, stop_loops
        self._decoder: FastDecoder | None = None

    @staticmethod
    def able(network: Any, window: int) -> bool:
        """Whether this kind of model can be decoded so."""
        return supports(network, window)

    def warm_up(self) -> None:
        """Make the decoder and capture its steps now rather than at the first reply."""
        decoder = self._for(min(_SMALLEST, self.window))
        decoder.warm_up([length for length in (512, 1024, 2048) if length <= decoder.max_len])

    def ids(
        self,
        prompt: Sequence[int],
        room: int,
        *,
        embedded: torch.Tensor | None = None,
        keys: Sequence[Hashable] | None = None,
    ) -> Iterator[int]:
        """Yield a reply's ids, its end not included.

        Args:
            prompt: the prompt's ids; with ``embedded`` what the repetition penalty looks back at.
            room: at most as many new ones.
            embedded: (1, n, hidden) in place of the ids' own embeddings, and
            keys: what tells two such prompts apart, place by place, so that a shared beginning is read once.
        """
        decoder = self._for(len(prompt) + room)
        choose = self._choice(prompt)
        given: dict[str, Any] = {"input_ids": prompt} if embedded is None else {"inputs_embeds": embedded, "keys": keys}
        said: list[int] = []
        for token in decoder.generate(**given, max_new_tokens=room, choose=choose):
            said.append(token)
            yield token
            if self.stop_loops and len(said) % _LOOPS_EVERY == 0 and is_looping(said):
                return

    def _for(self, length: int) -> FastDecoder:
        if self._decoder is None or self._decoder.max_len < length:
            size = _SMALLEST
            while size < length:
                size *= 2
            ends = getattr(self.network.generation_config, "eos_token_id", None)
            end_ids = [ends] if isinstance(ends, int) else list(ends or ())
            self._decoder = None  # frees the smaller cache first
            self._decoder = FastDecoder(
                self.network, max_len=max(length, min(size, self.window)), end_ids=end_ids, graphs=self.graphs
            )
        return self._decoder

    def _choice(self, prompt: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """(1, vocabulary) logits → (1, 1) id; ``None`` for the likeliest as it stands."""
        import torch
        from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper
        from transformers import TopPLogitsWarper as TopP

        steps: list[Any] = []
        if self.penalty != 1.0:
            steps.append(RepetitionPenaltyLogitsProcessor(self.penalty))
        if self.sampling is not None:
            steps.append(TemperatureLogitsWarper(self.sampling.temperature))
            steps += [TopP(self.sampling.top_p)] if self.sampling.top_p < 1.0 else []
        if not steps:
            return None
        processors = LogitsProcessorList(steps)
        device = self.network.device
        seen = torch.tensor([list(prompt)], device=device)
        generator = None
        if self.sampling is not None and self.sampling.seed is not None:
            generator = torch.Generator(device).manual_seed(self.sampling.seed)

        def choose(logits: torch.Tensor) -> torch.Tensor:
            nonlocal seen
            scores = processors(seen, logits.float())
            if self.sampling is None:
                chosen: torch.Tensor = scores.argmax(-1, keepdim=True)
            else:
                chosen = torch.multinomial(scores.softmax(-1), 1, generator=generator)
            seen = torch.cat([seen, chosen], dim=1)
            return chosen

        return choose
