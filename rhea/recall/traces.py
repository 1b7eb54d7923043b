"""Scores of many omitted turns in few bytes, so that every turn is traced however long a conversation is.

One byte a turn (score times 254, rounded), compressed: 10,000 turns that do not matter take about a kilobyte
in the stored trace. Turns that are traced in full elsewhere leave a gap.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np

__all__ = ["pack_scores", "unpack_scores"]

_GAP = 255


def pack_scores(scores: Sequence[tuple[int, float]]) -> str:
    """Positions (ascending) and scores as text: the first position, a colon, base64; "" for none."""
    if not scores:
        return ""
    first, last = scores[0][0], scores[-1][0]
    cells = np.full(last - first + 1, _GAP, dtype=np.uint8)
    positions = np.array([position for position, _ in scores]) - first
    cells[positions] = np.rint(np.array([score for _, score in scores]) * (_GAP - 1)).astype(np.uint8)
    return f"{first}:{base64.b64encode(zlib.compress(cells.tobytes(), 9)).decode('ascii')}"


def unpack_scores(packed: str) -> list[tuple[int, float]]:
    """The inverse of :func:`pack_scores`, scores to within 0.002.

    Raises:
        ValueError: the text was not made by it.
    """
    if not packed:
        return []
    first, _, body = packed.partition(":")
    try:
        cells = np.frombuffer(zlib.decompress(base64.b64decode(body, validate=True)), dtype=np.uint8)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not packed scores: {error}") from None
    kept = np.flatnonzero(cells != _GAP)
    return [(int(first) + int(place), int(cells[place]) / (_GAP - 1)) for place in kept]
