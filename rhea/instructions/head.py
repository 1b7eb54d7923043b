"""The learned head: logistic regression on a sentence vector and the pattern signals.

Its coefficients ship as `head.json`, made by `scripts/train_detection_head.py` for one embedder; with another
embedder the vector part means nothing, so only patterns decide then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from rhea.errors import EmbedderError
from rhea.instructions.patterns import SIGNALS

__all__ = ["DetectionHead", "packaged_head", "signal_features"]


@dataclass(frozen=True, slots=True)
class DetectionHead:
    """Coefficients for one embedder.

    ``weights`` is float32 of shape (dim + number of signals,), vector part first, signals in the order of
    ``signals``; ``threshold`` is the probability from which a sentence counts as standing, ``bare_threshold`` the
    one for a sentence in which no pattern sees anything.
    """

    embedder: str
    dim: int
    signals: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: float
    threshold: float
    bare_threshold: float

    def probabilities(self, vectors: NDArray[np.float32], signs: Sequence[frozenset[str]]) -> NDArray[np.float32]:
        """Probability that each sentence stands, shape (n,), from unit vectors of shape (n, dim) and its signals."""
        features = np.hstack([vectors, signal_features(signs, self.signals)])
        logits = features @ self.weights + self.bias
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)


def signal_features(signs: Sequence[frozenset[str]], names: Sequence[str] = tuple(SIGNALS)) -> NDArray[np.float32]:
    """Signals as 0 and 1, float32 of shape (len(signs), len(names))."""
    return np.array([[float(name in s) for name in names] for s in signs], dtype=np.float32).reshape(-1, len(names))


@lru_cache(maxsize=1)
def packaged_head() -> DetectionHead:
    """The head that ships with Rhea.

    Raises:
        EmbedderError: the data file is damaged or belongs to other signals.
    """
    try:
        data = json.loads(files("rhea.instructions").joinpath("head.json").read_text(encoding="utf-8"))
        weights = np.array([*data["vector_weights"], *data["signal_weights"].values()], dtype=np.float32)
        head = DetectionHead(
            data["embedder"],
            len(data["vector_weights"]),
            tuple(data["signal_weights"]),
            weights,
            data["bias"],
            data["threshold"],
            data["bare_threshold"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbedderError(
            f"the detection head that ships with Rhea cannot be read ({error}); install Rhea again"
        ) from error
    if not set(head.signals) <= set(SIGNALS) or not np.isfinite(weights).all():
        raise EmbedderError("the detection head that ships with Rhea is damaged; install Rhea again")
    return head
