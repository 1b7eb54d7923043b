"""The trace of one question in few bytes, so that every turn is in it however long a conversation is.

Chosen turns and the nearest omitted ones have a row each. Of every other turn the score is kept, to the nearest
twentieth: turns that do not matter, which most do not, take almost nothing. A turn that has a row counts as one of
these there, and a position without a turn (one that was abandoned) leaves a gap.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_SCORES", "TurnScores", "pack_scores", "rounded", "unpack_scores"]

_GAP = 255
_STEPS = 20

TurnScores = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Positions, ascending, and the score of the turn at each, 0 for one that has a row of its own."""
NO_SCORES: TurnScores = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def rounded(score: float) -> float:
    """A score as traces keep it: to the nearest 0.004, which takes one byte."""
    return round(round(score * 250.0) / 250.0, 4)


def pack_scores(scores: TurnScores) -> str:
    """Positions and scores as text: the first position, a colon, base64; "" for none."""
    positions, values = scores
    if not len(positions):
        return ""
    first = int(positions[0])
    cells = np.full(int(positions[-1]) - first + 1, _GAP, dtype=np.uint8)
    coarse = np.rint(values * np.float32(_STEPS)) / _STEPS
    cells[positions - first] = np.rint(coarse * (_GAP - 1)).astype(np.uint8)
    return f"{first}:{base64.b64encode(zlib.compress(cells.tobytes(), 6)).decode('ascii')}"


def unpack_scores(packed: str, listed: Collection[int] = ()) -> list[tuple[int, float]]:
    """The inverse of :func:`pack_scores`, scores to within 0.025.

    Args:
        packed: `Context.others`.
        listed: positions that have a row of their own, to be left out.

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
    found = ((int(first) + int(place), int(cells[place]) / (_GAP - 1)) for place in kept)
    return [(position, score) for position, score in found if position not in listed]
