"""Scores of many omitted turns in few bytes, so that every turn is traced however long a conversation is.

One byte a turn (score times 254, rounded), compressed: 10,000 turns that do not matter take about a kilobyte
in the stored trace. Turns that are traced in full elsewhere leave a gap.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_SCORES", "TurnScores", "pack_scores", "unpack_scores"]

_GAP = 255


TurnScores = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Positions, ascending, and the score of the turn at each."""
NO_SCORES: TurnScores = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def pack_scores(scores: TurnScores) -> str:
    """Positions and scores as text: the first position, a colon, base64; "" for none."""
    positions, values = scores
    if not len(positions):
        return ""
    first = int(positions[0])
    cells = np.full(int(positions[-1]) - first + 1, _GAP, dtype=np.uint8)
    cells[positions - first] = np.rint(values * np.float32(_GAP - 1)).astype(np.uint8)
    return f"{first}:{base64.b64encode(zlib.compress(cells.tobytes(), 6)).decode('ascii')}"


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
