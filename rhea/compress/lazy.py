"""Memory tokens for a model that is not loaded yet, and text digests where they cannot be had.

A chat shall not end because a compressor's folder is damaged or was made for another model: the reason is kept
in ``problem`` for whoever wants to tell it, and replies are text digests from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from rhea.compress.text import TextCompressor
from rhea.errors import CompressorError, MissingExtra, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rhea.compress.memory_tokens import MemoryTokenCompressor
    from rhea.models.transformers import TransformersModel

__all__ = ["MemoryTokens"]


class MemoryTokens:
    """The compressor of a `TransformersModel`, loaded on first use (see `MemoryCompressor`).

    Args:
        model: the attached model; its weights are shared.
        folder: a compressor; ``None`` for the one that ships for the packaged model.
        tokens: memory tokens a group; ``None`` for the compressor's own number.
    """

    def __init__(
        self, model: TransformersModel, folder: str | Path | None = None, *, tokens: int | None = None
    ) -> None:
        self._model, self._folder, self._tokens = model, folder, tokens
        self._text = TextCompressor()
        self._loading = Lock()
        self._loaded: MemoryTokenCompressor | None = None
        self.problem: str | None = None
        """Why there are no memory tokens; ``None`` while nothing stands against them."""

    @property
    def id(self) -> str:
        """Identity of the text digests."""
        return self._text.id

    @property
    def memory_id(self) -> str:
        """Identity of the memory tokens."""
        loaded = self._compressor()
        return loaded.id if loaded else ""

    @property
    def reader(self) -> Any:
        """The network that reads memory tokens."""
        loaded = self._compressor()
        return loaded.network if loaded else None

    def ready(self) -> bool:
        """Load if need be; whether there are memory tokens."""
        return self._compressor() is not None

    def compress(self, replies: Sequence[str]) -> list[str]:
        """Text digests, for wherever vectors cannot go."""
        return self._text.compress(replies)

    def encode_replies(self, exchanges: Sequence[tuple[str, str]]) -> list[NDArray[np.float16]]:
        """Memory of (user, reply) pairs, each of shape (groups × tokens, hidden).

        Raises:
            CompressorError: there are no memory tokens here.
        """
        loaded = self._compressor()
        if loaded is None:
            raise CompressorError(self.problem or "the compressor could not be loaded")
        return loaded.encode_replies(exchanges)

    def _compressor(self) -> MemoryTokenCompressor | None:
        from rhea.compress.memory_tokens import MemoryTokenCompressor

        with self._loading:
            if self._loaded is None and self.problem is None:
                try:
                    model = self._model
                    self._loaded = MemoryTokenCompressor.load(
                        self._folder, model.network, model.prompts, tokens=self._tokens, text=self._text
                    )
                except (CompressorError, MissingExtra, ModelError) as error:
                    self.problem = str(error)
            return self._loaded
