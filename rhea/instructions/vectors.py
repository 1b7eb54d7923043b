"""Sentence vectors for detection: one call to the embedder, texts clipped to what it can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rhea.embed import Embedder

__all__ = ["embed_clipped"]

_CHARACTERS_PER_TOKEN = 2
"""A safe lower bound for Latin scripts; sentences longer than this are rare, and their first part tells enough."""


def embed_clipped(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of shape (len(texts), dim); a text longer than the embedder reads is cut at its end."""
    limit = max(16, embedder.max_tokens * _CHARACTERS_PER_TOKEN)
    vectors = embedder.embed([t[:limit] for t in texts])
    return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)
