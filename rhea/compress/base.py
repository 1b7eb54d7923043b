"""The protocol of everything that makes a reply smaller (paper: asymmetric noise control)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Compressor", "MemoryCompressor", "makes_memory"]


@runtime_checkable
class Compressor(Protocol):
    """Turns replies into digests: offline, deterministic, off the user's critical path."""

    @property
    def id(self) -> str:
        """Identity stored with each digest; another identity means: make it again."""
        ...

    def compress(self, replies: Sequence[str]) -> list[str]:
        """One text digest a reply, in order. A short reply may come back unchanged."""
        ...


class MemoryCompressor(Compressor, Protocol):
    """Also turns replies into memory tokens, vectors that the attached model reads in place of the text."""

    @property
    def memory_id(self) -> str:
        """Identity stored with memory tokens; those of another identity are not read, and made again."""
        ...

    @property
    def reader(self) -> Any:
        """The network that reads memory tokens: the attached model's, with the decoder's adapter."""
        ...

    def ready(self) -> bool:
        """Whether there are memory tokens; else text digests stand in."""
        ...

    def encode_replies(self, exchanges: Sequence[tuple[str, str]]) -> list[NDArray[np.float16]]:
        """Memory of (user, reply) pairs, each of shape (tokens, hidden)."""
        ...


def makes_memory(compressor: object) -> TypeGuard[MemoryCompressor]:
    """Whether a compressor makes memory tokens; asks its class, so that nothing is loaded for the answer."""
    return callable(getattr(type(compressor), "encode_replies", None))
