"""Replies as memory tokens: the paper's compressor, ready to use beside a chat model.

A reply becomes a few vectors (8 a group) that the model reads in place of its text; a reply over the
encoder's cut becomes several groups, nothing is dropped. Vectors are stored with the compressor's identity;
one made by another model or adapter is not read, the text digest stands in until it is made again. Knows
nothing of stores or recall: exchanges go in, vectors come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.compress.base import Compressor
from rhea.compress.format import CompressorSpec, check_base, read_folder, read_spec
from rhea.compress.network import CompressorNetwork, pad_rows
from rhea.compress.samples import encoder_row
from rhea.errors import CompressorError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rhea.models.prompts import PromptEncoder

__all__ = ["MemoryTokenCompressor", "bundled_compressor", "from_blob", "to_blob"]

FINGERPRINT = "base_fingerprint"
_BLOB_KEY = "memory"
_BATCH_TOKENS = 8192


def bundled_compressor() -> Path:
    """Folder of the compressor that ships for the embedded default model.

    Raises:
        CompressorError: this release ships none: none was good enough.
    """
    folder = Path(str(files("rhea.compress").joinpath("data", "smollm2-135m-instruct-8")))
    if not folder.is_dir():
        raise CompressorError(
            "no compressor ships with this release; make one with `rhea compressor train` and name its folder"
        )
    return folder


class MemoryTokenCompressor:
    """Compresses replies with one loaded model and reads them back with the same.

    Args:
        network: the causal LM; left as it is, its weights are shared.
        prompts: its tokenizer and chat template.
        spec: what the compressor is.
        text: makes the text digests that stand in wherever memory tokens cannot go; ``None`` for Rhea's own.
        tokens: memory tokens a group; ``None`` for the compressor's own number.
        parts: an already made pair of networks.

    Raises:
        CompressorError: a number of tokens that it was not trained for.
        MissingExtra: PEFT is not installed.
    """

    def __init__(
        self,
        network: Any,
        prompts: PromptEncoder,
        spec: CompressorSpec,
        *,
        text: Compressor | None = None,
        tokens: int | None = None,
        parts: CompressorNetwork | None = None,
    ) -> None:
        from dataclasses import replace

        if tokens is not None and tokens not in spec.trained_tokens:
            known = ", ".join(map(str, spec.trained_tokens))
            raise CompressorError(f"this compressor was trained for {known} tokens a group, not for {tokens}")
        self.spec = replace(spec, tokens=tokens or spec.tokens)
        self.prompts = prompts
        self.parts = parts or CompressorNetwork(network, spec)
        self._end = int(prompts.tokenizer.eos_token_id)
        self._text = text

    @classmethod
    def load(
        cls,
        folder: str | Path | None,
        network: Any,
        prompts: PromptEncoder,
        *,
        text: Compressor | None = None,
        tokens: int | None = None,
    ) -> MemoryTokenCompressor:
        """Load from a folder, checked against the model.

        Args:
            folder: ``None`` for the bundled one, where there is one.
            network: the causal LM it is to work with.
            prompts: its tokenizer and chat template.
            text: as for the class.
            tokens: as for the class.

        Raises:
            CompressorError: damaged, foreign or made for another model; the message names what differs.
        """
        spec, tensors = read_folder(Path(folder) if folder is not None else bundled_compressor())
        if FINGERPRINT not in tensors:
            raise CompressorError(f"the adapter file lacks {FINGERPRINT}, which names the model it was trained on")
        check_base(spec, tensors.pop(FINGERPRINT), network, prompts.tokenizer.chat_template)
        made = cls(network, prompts, spec, text=text, tokens=tokens)
        made.parts.load_state(tensors)
        return made

    @property
    def id(self) -> str:
        """Identity stored with memories and digests: base model, adapter, tokens a group."""
        return self.spec.id

    @property
    def memory_id(self) -> str:
        """The same, as `MemoryCompressor` has it."""
        return self.spec.id

    @property
    def reader(self) -> Any:
        """The same as `network`."""
        return self.parts.decoder

    def ready(self) -> bool:
        """Always: it was loaded."""
        return True

    @property
    def tokens(self) -> int:
        """Memory tokens a group."""
        return self.spec.tokens

    @property
    def network(self) -> Any:
        """The model with the adapter that reads memory tokens; generate with it from mixed contexts."""
        return self.parts.decoder

    def count(self, reply: str) -> int:
        """Memory tokens that a reply takes in a context."""
        return self.tokens * self._groups(len(self.prompts.encode_text(reply)))

    def compress(self, replies: Sequence[str]) -> list[str]:
        """Text digests of the replies, for wherever vectors cannot go (the `Compressor` protocol)."""
        if self._text is None:
            from rhea.compress.text import TextCompressor

            self._text = TextCompressor()
        return self._text.compress(replies)

    def encode(self, exchanges: Sequence[tuple[str, str]]) -> list[torch.Tensor]:
        """Memory of (user, reply) pairs, each of shape (groups × tokens, hidden), float32 on the CPU.

        The encoder sees the end of the user's message too, so that the memory need not hold what stands raw
        beside it; pass ``""`` to compress a text alone. Runs in batches of similar length.
        """
        import torch

        rows: list[tuple[int, ...]] = []
        groups: list[int] = []
        for user, reply in exchanges:
            made = self._rows(self.prompts.encode_text(user), self.prompts.encode_text(reply))
            rows += made
            groups.append(len(made))
        found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
        with torch.inference_mode():
            for batch in _by_length([len(r) + self.tokens for r in rows]):
                memory = self._encode_rows([rows[i] for i in batch]).cpu()
                for index, vectors in zip(batch, memory, strict=True):
                    found[index] = vectors
        at = 0
        whole = []
        for count in groups:
            whole.append(torch.cat(found[at : at + count]))
            at += count
        return whole

    def encode_replies(self, exchanges: Sequence[tuple[str, str]]) -> list[NDArray[np.float16]]:
        """As :meth:`encode`, in the precision that stores keep."""
        return [memory.half().numpy() for memory in self.encode(exchanges)]

    def encode_query(self, text: str) -> torch.Tensor:
        """Memory of the current query, (groups × tokens, hidden), for scoring past turns as the paper does."""
        return self.encode([("", text)])[0]

    def _groups(self, length: int) -> int:
        return max(1, -(-length // self.spec.cut))

    def _rows(self, user: Sequence[int], reply: Sequence[int]) -> list[tuple[int, ...]]:
        """Encoder inputs of one exchange: a long reply is split evenly, every token of it in one group."""
        count = self._groups(len(reply))
        size = -(-len(reply) // count)
        parts = [reply[i * size : (i + 1) * size] for i in range(count)]
        return [encoder_row(user, p, end=self._end, tail=self.spec.user_tail, cut=self.spec.cut) for p in parts]

    def _encode_rows(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        ids = pad_rows([[*r, *[self._end] * self.tokens] for r in rows], pad=self._end)
        lengths = torch.tensor([len(r) for r in rows])
        return self.parts.encode(ids.to(self.parts.device), lengths.to(self.parts.device), self.tokens)


def to_blob(vectors: torch.Tensor) -> bytes:
    """Memory of one turn as bytes for a store: safetensors, float16."""
    import torch
    from safetensors.torch import save

    return save({_BLOB_KEY: vectors.to(torch.float16).contiguous()})


def from_blob(blob: bytes) -> torch.Tensor:
    """The inverse of :func:`to_blob`.

    Raises:
        CompressorError: the bytes are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        vectors = load(blob)[_BLOB_KEY]
    except (SafetensorError, KeyError) as error:
        raise CompressorError(f"stored memory tokens are damaged ({error}); they will be made again") from error
    return vectors.float()


def describe(folder: Path) -> dict[str, Any]:
    """What ``rhea compressor info`` prints: the config without the list of dialogues, and the size on disk."""
    from dataclasses import asdict

    spec = read_spec(folder)
    described = asdict(spec)
    described["trained_on"] = len(spec.trained_on)
    size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
    return {"id": spec.id, "bytes": size, **described}


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches: list[list[int]] = []
    for index in order:
        if batches and lengths[index] * (len(batches[-1]) + 1) <= _BATCH_TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
