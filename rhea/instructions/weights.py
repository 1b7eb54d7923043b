"""The learned weights: what the evidence on a sentence or a rule adds up to.

They ship as `weights.safetensors`, made by `scripts/train_instruction_weights.py` for one embedder; with another
embedder the vectors mean nothing, so only patterns decide then. Each question has a first answer from the evidence
alone (logistic regression) and a second one that also knows what the reader and the neighbours say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from rhea.errors import EmbedderError
from rhea.instructions.words import SIZE

__all__ = ["EMBEDDER", "Forest", "Linear", "Weights", "packaged_weights"]

EMBEDDER = "all-MiniLM-L6-v2"
"""The embedder that the weights were fitted for."""
_WORDS = 2.0
"""Weight of the hashed words, which are scaled to unit length first."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Linear:
    """Log-odds as a weighted sum: ``dense`` of shape (features,), ``words`` of shape (buckets,) or empty."""

    dense: _Floats
    words: _Floats
    bias: float

    def __call__(self, features: _Floats, words: Sequence[Sequence[int]] = ()) -> _Floats:
        """Log-odds, shape (len(features),)."""
        out = features @ self.dense + self.bias
        if self.words.size:
            out = out + [_WORDS * self.words[ids].sum() / max(1.0, len(ids)) ** 0.5 for ids in words]
        return np.asarray(out, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Forest:
    """Log-odds as a sum over small decision trees (gradient boosting), all arrays of shape (trees, nodes).

    At a node, ``features <= threshold`` goes to ``left``; a leaf points to itself and holds its ``value``.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    bias: float
    depth: int

    def __call__(self, features: _Floats) -> _Floats:
        """Log-odds, shape (len(features),)."""
        trees = np.arange(len(self.feature))
        out = np.empty(len(features), dtype=np.float32)
        for row, values in enumerate(features.astype(np.float64)):
            node = np.zeros(len(trees), dtype=np.int64)
            for _ in range(self.depth):
                goes_left = values[self.feature[trees, node]] <= self.threshold[trees, node]
                node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
            out[row] = self.value[trees, node].sum() + self.bias
        return out


@dataclass(frozen=True, slots=True)
class Weights:
    """``stands`` and ``ends`` are first answers; ``gate`` says whether a message ends anything at all."""

    stands: Linear
    ends: Linear
    gate: Linear
    stands_again: Linear
    ends_again: Forest


def _linear(tensors: Mapping[str, NDArray[np.generic]], name: str) -> Linear:
    words = np.asarray(tensors.get(f"{name}.words", np.zeros(0)), dtype=np.float32)
    if words.size not in (0, SIZE):
        raise ValueError(f"{name} counts {words.size} words")
    return Linear(np.asarray(tensors[f"{name}.dense"], dtype=np.float32), words, float(tensors[f"{name}.bias"].item()))


def _forest(tensors: Mapping[str, NDArray[np.generic]], name: str) -> Forest:
    feature, left, right = (np.asarray(tensors[f"{name}.{part}"], np.int64) for part in ("feature", "left", "right"))
    threshold, value = (np.asarray(tensors[f"{name}.{part}"], np.float64) for part in ("threshold", "value"))
    depth = int(tensors[f"{name}.depth"].item())
    return Forest(feature, threshold, left, right, value, float(tensors[f"{name}.bias"].item()), depth)


@lru_cache(maxsize=1)
def packaged_weights() -> Weights:
    """The weights that ship with Rhea.

    Raises:
        EmbedderError: the data file is missing, damaged or holds values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(files("rhea.instructions").joinpath("weights.safetensors").read_bytes())
        if not all(np.isfinite(t).all() for t in tensors.values()):
            raise ValueError("a value is not finite")
        return Weights(
            _linear(tensors, "stands"),
            _linear(tensors, "ends"),
            _linear(tensors, "gate"),
            _linear(tensors, "stands_again"),
            _forest(tensors, "ends_again"),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise EmbedderError(
            f"the instruction weights that ship with Rhea cannot be read ({error}); install Rhea again"
        ) from error
