"""Vectors for measurements: a seeded stand-in that costs nothing, and the packaged embedder, each text once."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rhea.errors import SettingsError

__all__ = ["EMBEDDERS", "CachedVectors", "StandIn", "named_vectors"]

EMBEDDERS = ("stand-in", "all-MiniLM-L6-v2")
DIM = 384
_WORD = re.compile(r"\w+")


class StandIn:
    """A random direction for each word, summed: texts that share words are near. The same on every machine.

    Args:
        dim: length of a vector.
        seed: of the directions.
    """

    id = "stand-in"

    def __init__(self, dim: int = DIM, seed: int = 5) -> None:
        self.dim = dim
        self.seconds = 0.0
        """Spent making vectors."""
        self._directions = np.random.default_rng(seed).normal(size=(8192, dim)).astype(np.float32)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dim), rows L2-normalised."""
        out = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(out, texts, strict=True):
            codes = [zlib.crc32(w.encode("utf-8", "replace")) % 8192 for w in _WORD.findall(text.lower())] or [0]
            total = self._directions[codes].sum(axis=0)
            row[:] = total / max(1e-6, float(np.linalg.norm(total)))
        return out


class CachedVectors:
    """The packaged all-MiniLM-L6-v2; each text is embedded once in a run, whoever asks."""

    id = "all-MiniLM-L6-v2"
    dim = DIM

    def __init__(self) -> None:
        from rhea.embed import SentenceTransformerEmbedder

        self._embedder = SentenceTransformerEmbedder()
        self._known: dict[str, NDArray[np.float32]] = {}
        self.seconds = 0.0
        """Spent making vectors."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dim), rows L2-normalised."""
        fresh = sorted({t for t in texts if t not in self._known}, key=len)
        if fresh:
            began = time.perf_counter()
            self._known.update(zip(fresh, self._embedder.embed(fresh), strict=True))
            self.seconds += time.perf_counter() - began
        return np.stack([self._known[t] for t in texts]) if texts else np.zeros((0, self.dim), np.float32)


def named_vectors(name: str) -> StandIn | CachedVectors:
    """The vectors of that name.

    Raises:
        SettingsError: no such name.
    """
    if name == StandIn.id:
        return StandIn()
    if name == CachedVectors.id:
        return CachedVectors()
    raise SettingsError(f"no embedder is called {name!r} here; choose from {', '.join(EMBEDDERS)}")
