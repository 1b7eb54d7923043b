"""Why a turn came in or stayed out, in words: from what its channels said, against the calibration's levels."""

from __future__ import annotations

from collections.abc import Mapping

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


def why_chosen(channels: Mapping[str, float], calibration: Calibration, form: str) -> str:
    """The one or two strongest reasons, and the form when it is not the plain one.

    Args:
        channels: what each channel said of the turn's best message.
        calibration: whose levels tell what is much.
        form: what `decide` says of the form, or "".
    """
    strong = sorted(
        ((_above(channels, name, calibration), -place, phrase) for place, (name, phrase) in enumerate(_PHRASES)),
        reverse=True,
    )
    said = [phrase for above, _, phrase in strong if above >= _CLEAR][:2]
    if channels.get("date"):
        said.insert(0, "said at a time that the question names")
    elif channels.get("speaker") and said:
        said[1:] = ["said by the one whom the question names"]
    return "; ".join(
        [", ".join(said[:2]) or "little in common with the question, but there was room", *filter(None, [form])]
    )


def why_omitted(score: float, mode: RecallMode) -> str:
    """Below the paper's threshold, unrelated, or outweighed by others."""
    if mode == "paper":
        return "below the threshold"
    if score < _LITTLE:
        return "little in common with the question"
    return "others were worth more, and the budget is full"


def _above(channels: Mapping[str, float], name: str, calibration: Calibration) -> float:
    level = calibration.levels[name]
    return (channels.get(name, 0.0) - level.mean) / level.deviation
