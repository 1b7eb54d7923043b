"""What makes a score mean the same for any embedder: background levels and one logistic curve.

Two embedders give unrelated texts very different cosines. A calibration holds, for each channel, the mean
and spread of the values between a question and messages that do not concern it, and the slope and offset
that turn the fused sum into a probability. `rhea calibrate` makes one from labelled conversations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhea.errors import SettingsError

__all__ = ["Calibration", "Level", "Moments", "calibration_file", "calibration_for", "load_calibration", "moments"]

_PRIOR = 40.0
"""How many messages the background levels weigh against those of the conversation at hand."""


@dataclass(frozen=True, slots=True)
class Level:
    """Mean and standard deviation of a channel over unrelated messages."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one embedder."""

    embedder_id: str
    levels: Mapping[str, Level]
    slope: float
    offset: float

    def scale(
        self, channel: str, values: NDArray[np.float32], over: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Bring a channel to mean 0 and spread 1; a value that is missing (NaN) becomes 0.

        Args:
            channel: its name.
            values: float32 of shape (messages,).
            over: the fair sample that mean and spread are taken from; ``None`` for all.
        """
        standing = self.standing(channel, moments(values, over))
        scaled = (values - np.float32(standing.mean)) / np.float32(standing.deviation)
        scaled[np.isnan(scaled)] = 0.0
        return scaled

    def standing(self, channel: str, measured: Moments) -> Level:
        """Mean and spread of a channel in one conversation, shrunk towards the background's."""
        n, mean, variance = measured
        level = self.levels[channel]
        middle = (mean * n + level.mean * _PRIOR) / (n + _PRIOR)
        spread = (variance * n + level.deviation**2 * _PRIOR) / (n + _PRIOR)
        return Level(middle, spread**0.5)

    def probability(self, fused: NDArray[np.float32]) -> NDArray[np.float32]:
        """The calibrated score of each message of a conversation, in [0, 1].

        The more messages, the less likely is any one of them: the odds fall with their number.
        """
        logits = np.clip(self.slope * fused + self.offset - np.log(max(len(fused), 1)), -30.0, 30.0)
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"


Moments = tuple[int, float, float]
"""Number, mean and variance of the values that are there."""


def moments(values: NDArray[np.float32], over: NDArray[np.bool_] | None = None) -> Moments:
    """Of the values that are not NaN.

    Args:
        values: float32 of shape (messages,).
        over: which to look at; ``None`` for all.
    """
    given = values if over is None else values[over]
    n = len(given)
    mean = float(given.sum()) / n if n else 0.0
    if mean != mean:  # one is NaN
        given = given[~np.isnan(given)]
        n = len(given)
        mean = float(given.sum()) / n if n else 0.0
    if not n:
        return 0, 0.0, 0.0
    apart = given - np.float32(mean)
    return n, mean, float(apart @ apart) / n


def load_calibration(text: str, name: str) -> Calibration:
    """Read a calibration from its JSON text.

    Raises:
        SettingsError: it is not one.
    """
    try:
        data = json.loads(text)
        return Calibration(
            embedder_id=str(data["embedder_id"]),
            levels={k: Level(float(v["mean"]), float(v["deviation"])) for k, v in data["levels"].items()},
            slope=float(data["slope"]),
            offset=float(data["offset"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{name} is not a calibration file ({error!r}); make one with `rhea calibrate`") from None


def calibration_file(embedder_id: str) -> Path:
    """Where a calibration that `rhea calibrate` made for an embedder is kept, in the user data folder."""
    import platformdirs

    name = re.sub(r"[^\w.-]+", "-", embedder_id).strip("-.") or "embedder"
    return Path(platformdirs.user_data_dir("rhea", appauthor=False)) / "calibrations" / f"{name}.json"


@lru_cache(maxsize=8)
def calibration_for(embedder_id: str) -> Calibration:
    """The calibration of an embedder: the one that was made for it here, else the shipped one.

    An embedder without a calibration of its own borrows the default's: its levels come from each
    conversation as it grows, only short conversations are judged less well.

    Raises:
        SettingsError: the file made for it is damaged.
    """
    own = calibration_file(embedder_id)
    if own.is_file():
        return load_calibration(own.read_text(encoding="utf-8"), str(own))
    return load_calibration(
        (resources.files("rhea.recall") / "calibration.json").read_text("utf-8"), "calibration.json"
    )
