"""The protocol of everything that makes a reply smaller (paper: asymmetric noise control)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

__all__ = ["Compressor"]


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
