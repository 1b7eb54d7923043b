"""A causal language model run by transformers, on the CPU or a GPU, streamed.

Knows nothing of memory: messages go in, pieces of text come out. Loads on first use.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Queue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from rhea.errors import GenerationFailed, ModelError, ModelNotFound
from rhea.models.counting import load_tokenizer, resolve_source
from rhea.models.fast import FastReplies
from rhea.models.loops import is_looping
from rhea.models.packaged import DEFAULT_MODEL_NAME
from rhea.models.prompts import PromptEncoder
from rhea.types import ChatMessage

if TYPE_CHECKING:
    import torch

    from rhea.compress.mixed import MixedPrompt

__all__ = ["Sampling", "TransformersModel"]

_DEFAULT_WINDOW = 4096
_LOOPS_EVERY = 8
"""Tokens between two looks for a loop."""
_WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Draw tokens instead of taking the likeliest.

    Args:
        temperature: above 0; higher is freer.
        top_p: keep the likeliest tokens up to this mass.
        seed: for the same reply again; ``None`` for a fresh one.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    seed: int | None = None


class TransformersModel:
    """A chat model from a hub name, a local folder, a GGUF file, or the packaged default.

    Args:
        model: what to load; ``None`` for the packaged SmolLM2-135M-Instruct.
        device: torch device; ``None`` takes cuda, else mps, else cpu.
        dtype: a torch dtype's name; ``"auto"`` takes bfloat16 or float16 on a GPU and float32 on the CPU.
        reserve: tokens kept free for the reply, and the longest reply.
        sampling: ``None`` for greedy decoding.
        repetition_penalty: above 1.0 makes tokens that were said already less likely; 1.0 leaves the model alone.
        stop_loops: end a reply that says one phrase over and over (:mod:`rhea.models.loops`).
        fast: decode with a static cache and captured steps (:mod:`rhea.models.cuda`); ``None`` does on CUDA, for
            models that allow it.

    Raises:
        ModelNotFound: on first use, when the model is not in reach or holds no weights.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        device: str | None = None,
        dtype: str = "auto",
        reserve: int = 512,
        sampling: Sampling | None = None,
        repetition_penalty: float = 1.0,
        stop_loops: bool = True,
        fast: bool | None = None,
    ) -> None:
        self.name = model or DEFAULT_MODEL_NAME
        self.reserve = reserve
        self.sampling = sampling
        self.repetition_penalty = repetition_penalty
        self.stop_loops = stop_loops
        self._source = model
        self._device = device
        self._dtype = dtype
        self._fast = fast
        self._decoders: dict[int, FastReplies] = {}
        self._generating = Lock()

    @cached_property
    def prompts(self) -> PromptEncoder:
        """Tokenizer and chat template."""
        _require_weights(resolve_source(self._source))
        return load_tokenizer(self._source)

    @cached_property
    def device(self) -> torch.device:
        """Where the weights live."""
        import torch

        if self._device is not None:
            return torch.device(self._device)
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

    @cached_property
    def network(self) -> Any:
        """The transformers model, in evaluation mode on its device."""
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        source = resolve_source(self._source)
        _require_weights(source)
        logging.disable_progress_bar()
        try:
            network: Any = AutoModelForCausalLM.from_pretrained(source, dtype=self._torch_dtype())
            return network.to(self.device).eval()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelNotFound(f"cannot load the model {self.name!r}: {str(error).splitlines()[0]}") from error

    @cached_property
    def context_window(self) -> int:
        """Tokens that prompt and reply may take together, read from the model's configuration."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(resolve_source(self._source))
        return int(getattr(config.get_text_config(), "max_position_embeddings", None) or _DEFAULT_WINDOW)

    def load(self) -> None:
        """Load tokenizer and weights now rather than at the first reply, and warm the fast decoder up."""
        _ = self.prompts, self.network, self.context_window
        if self._decodes_fast(self.network):
            self._replies(self.network).warm_up()

    def count_text(self, text: str) -> int:
        """Tokens of bare text."""
        return self.prompts.count_text(text)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the final prompt, chat template included."""
        return self.prompts.count_messages(messages)

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """Yield the reply piece by piece; closing the iterator stops the generation within a token.

        Raises:
            GenerationFailed: the prompt leaves no room in the window, or the model failed.
        """
        import torch

        prompt = self.prompts.encode(messages)
        yield from self._reply(self.network, {"input_ids": torch.tensor([prompt])}, prompt)

    def count_mixed(self, messages: Sequence[ChatMessage], slots: Mapping[int, int]) -> int:
        """Tokens of the final prompt with memory tokens in place of some messages."""
        from rhea.compress.mixed import render_mixed

        return len(render_mixed(self.prompts, messages, slots))

    def stream_mixed(self, messages: Sequence[ChatMessage], memory: Mapping[int, Any], reader: Any) -> Iterator[str]:
        """As :meth:`stream`, some messages given as memory tokens.

        Args:
            messages: as for `stream`; the text of a message in ``memory`` is not read.
            memory: index of a message → its vectors, an array of shape (tokens, hidden).
            reader: the network that reads them, of a `MemoryTokenCompressor` for this model.

        Raises:
            CompressorError: the vectors do not fit the model.
            GenerationFailed: as for `stream`.
        """
        import torch

        prompt, vectors, embedded = self._mixed(messages, memory, reader)
        # the ids beside the embeddings are for what looks back at the prompt's words, as a repetition penalty does
        seen = torch.tensor([prompt.ids]).clamp(min=0)
        told: list[Hashable] = list(prompt.ids)
        for slot in prompt.slots:
            rows = vectors[slot.message].half().numpy()
            told[slot.start : slot.start + slot.length] = [row.tobytes() for row in rows]
        yield from self._reply(reader, {"input_ids": seen, "inputs_embeds": embedded}, told)

    def embed(self, messages: Sequence[ChatMessage], memory: Mapping[int, Any], reader: Any) -> torch.Tensor:
        """The final prompt as input embeddings, (length, hidden), for a server that takes such."""
        return self._mixed(messages, memory, reader)[2][0]

    def _mixed(
        self, messages: Sequence[ChatMessage], memory: Mapping[int, Any], reader: Any
    ) -> tuple[MixedPrompt, dict[int, torch.Tensor], torch.Tensor]:
        import torch

        from rhea.compress.mixed import embed_mixed, render_mixed

        vectors = {index: torch.tensor(value) for index, value in memory.items()}
        prompt = render_mixed(self.prompts, messages, {index: len(value) for index, value in vectors.items()})
        with torch.inference_mode():
            return prompt, vectors, embed_mixed(reader, prompt, vectors)

    def _reply(self, network: Any, prompt: dict[str, torch.Tensor], keys: Sequence[Hashable]) -> Iterator[str]:
        length = len(keys)
        room = min(self.reserve, self.context_window - length)
        if room < 1:
            raise GenerationFailed(
                f"the prompt takes {length:,} of the {self.context_window:,} tokens that {self.name} can see; "
                "lower the budget"
            )
        with self._generating:
            if self._decodes_fast(network):
                yield from self._stream_fast(network, prompt, keys, room)
            else:
                yield from self._generate(network, prompt, length, room)

    def _decodes_fast(self, network: Any) -> bool:
        wanted = self.device.type == "cuda" if self._fast is None else self._fast
        return wanted and FastReplies.able(network, self.context_window)

    def _replies(self, network: Any) -> FastReplies:
        """One decoder for the model itself, and one for each network that reads memory tokens."""
        if id(network) not in self._decoders:
            self._decoders[id(network)] = FastReplies(
                network,
                window=self.context_window,
                sampling=self.sampling,
                repetition_penalty=self.repetition_penalty,
                stop_loops=self.stop_loops,
            )
        return self._decoders[id(network)]

    def _stream_fast(
        self, network: Any, prompt: dict[str, torch.Tensor], keys: Sequence[Hashable], room: int
    ) -> Iterator[str]:
        pieces = _Pieces(self.prompts.tokenizer)
        embedded = prompt.get("inputs_embeds")
        ids = prompt["input_ids"][0].tolist()
        try:
            for token in self._replies(network).ids(ids, room, embedded=embedded, keys=keys):
                if piece := pieces.take([token]):
                    yield piece
        except ModelError:
            raise
        except RuntimeError as error:
            raise GenerationFailed(f"{self.name} failed while it answered: {error}") from error
        if piece := pieces.rest():
            yield piece

    def _generate(self, network: Any, prompt: dict[str, torch.Tensor], length: int, room: int) -> Iterator[str]:
        import torch
        from transformers import StoppingCriteriaList

        stop = Event()
        pieces: Queue[str | BaseException | None] = Queue()

        def stopped(input_ids: Any, scores: Any, **_: Any) -> Any:
            done = stop.is_set()
            said = input_ids.shape[1] - length
            if not done and self.stop_loops and said % _LOOPS_EVERY == 0:
                done = is_looping(input_ids[0, length:].tolist())
            return torch.full((input_ids.shape[0],), done, dtype=torch.bool, device=input_ids.device)

        def work() -> None:
            try:
                with torch.inference_mode():
                    network.generate(
                        **{name: value.to(self.device) for name, value in prompt.items()},
                        attention_mask=torch.ones(1, length, dtype=torch.long, device=self.device),
                        max_new_tokens=room,
                        streamer=_QueueStreamer(self.prompts.tokenizer, pieces),
                        stopping_criteria=StoppingCriteriaList([stopped]),
                        **self._decoding(),
                    )
            except BaseException as error:  # handed to the caller's thread
                pieces.put(error)
            finally:
                pieces.put(None)

        thread = Thread(target=work, name="rhea-generate", daemon=True)
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise GenerationFailed(f"{self.name} failed while it answered: {piece}") from piece
                if piece:
                    yield piece
        finally:
            stop.set()
            thread.join()

    def _decoding(self) -> dict[str, Any]:
        tokenizer = self.prompts.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        shared = {"pad_token_id": pad, "repetition_penalty": self.repetition_penalty}
        if self.sampling is None:
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, **shared}
        if self.sampling.seed is not None:
            import torch

            torch.manual_seed(self.sampling.seed)
        return {
            "do_sample": True,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            **shared,
        }

    def _torch_dtype(self) -> torch.dtype:
        import torch

        if self._dtype != "auto":
            dtype = getattr(torch, self._dtype, None)
            if not isinstance(dtype, torch.dtype):
                raise ModelError(f"no torch dtype is called {self._dtype!r}; try float32, float16 or bfloat16")
            return dtype
        if self.device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if self.device.type == "mps" else torch.float32


class _Pieces:
    """Decodes ids as they come, whole characters at a time."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._sent = 0

    def take(self, ids: Sequence[int]) -> str:
        """The text that these ids complete; "" while a character waits for its other bytes."""
        self._ids.extend(ids)
        text = self._text()
        return "" if text.endswith("\ufffd") else self._next(text)

    def rest(self) -> str:
        """What is left."""
        return self._next(self._text())

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def _next(self, text: str) -> str:
        piece, self._sent = text[self._sent :], len(text)
        return piece


class _QueueStreamer:
    """Puts pieces on a queue (transformers' streamer interface); the prompt's ids are passed over."""

    def __init__(self, tokenizer: Any, queue: Queue[str | BaseException | None]) -> None:
        self._pieces = _Pieces(tokenizer)
        self._queue = queue
        self._prompt_seen = False

    def put(self, value: Any) -> None:
        """Take the next ids."""
        if self._prompt_seen:
            self._queue.put(self._pieces.take(value.flatten().tolist()))
        self._prompt_seen = True

    def end(self) -> None:
        """Send what is left."""
        self._queue.put(self._pieces.rest())


def _require_weights(source: str) -> None:
    folder = Path(source)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        raise ModelNotFound(f"the folder {source} holds no weights (safetensors); give a complete model folder")
