"""Why a turn came in or stayed out, in words: from what its channels said, against the calibration's levels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rhea.recall.calibration import Calibration
from rhea.types import RecallMode

__all__ = ["why_chosen", "why_omitted"]

_PHRASES = (
    ("words", "shares words with the question"),
    ("sentence", "a sentence of it is near in meaning"),
    ("message", "near in meaning"),
    ("pair", "near in meaning after the message before it"),
    ("block_words", "stands among messages that share words with the question"),
    ("block", "stands among messages on the same topic"),
)
_CLEAR = 1.0
"""Standard deviations above the usual level from which a channel is named."""
_LITTLE = 0.02
"""A score below this has little to do with the question."""


def why_chosen(channels: Mapping[str, NDArray[np.float32]], calibration: Calibration) -> list[str]:
    """The one or two strongest reasons of each turn.

    Args:
        channels: by name, what each channel said of each turn's best message: float32 of shape (turns,).
        calibration: whose levels tell what is much.
    """
    turns = len(next(iter(channels.values()), ()))
    above = np.zeros((turns, len(_PHRASES)))
    for place, (name, _) in enumerate(_PHRASES):
        level = calibration.levels[name]
        if name in channels:
            above[:, place] = (channels[name] - level.mean) / level.deviation
    strongest = np.argsort(-above, axis=1, kind="stable")[:, :2]
    clear = np.take_along_axis(above, strongest, axis=1) >= _CLEAR
    nothing = np.zeros(turns, dtype=bool)
    dated, named = (np.asarray(channels.get(name, nothing), dtype=bool) for name in ("date", "speaker"))
    places = np.where(clear, strongest, -1)
    return [_phrase(*row) for row in zip(*places.T.tolist(), dated.tolist(), named.tolist(), strict=True)]


@lru_cache(maxsize=256)
def _phrase(first: int, second: int, dated: bool, named: bool) -> str:
    """In words: the places of the strongest phrases, -1 for one that is not clear, and what the question names."""
    said = [_PHRASES[place][1] for place in (first, second) if place >= 0]
    if dated:
        said.insert(0, "said at a time that the question names")
    elif named and said:
        said[1:] = ["said by the one whom the question names"]
    return ", ".join(said[:2]) or "little in common with the question, but there was room"


def why_omitted(score: float, mode: RecallMode) -> str:
    """Below the paper's threshold, unrelated, or outweighed by others."""
    if mode == "paper":
        return "below the threshold"
    if score < _LITTLE:
        return "little in common with the question"
    return "others were worth more, and the budget is full"
