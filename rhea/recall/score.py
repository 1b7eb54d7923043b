"""From many channels to one calibrated score per message.

Each channel (largest sentence cosine, whole message, with the message before, words) is brought to one
scale by its mean and spread over the conversation, shrunk towards the calibration's background values so
that three messages score as soberly as three thousand. The weighted sum, smoothed over neighbours, goes
through a logistic curve that the calibration fitted: a score of 0.5 means "as likely as not that this
message holds what the question needs", for any embedder. Pure numpy, no database, no model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rhea.recall.calibration import Calibration
from rhea.recall.dates import named_dates
from rhea.recall.index import ConversationIndex
from rhea.recall.words import terms

__all__ = ["MessageScores", "Query", "Weights", "score_messages"]

Vector = NDArray[np.float32]

_BLOCK = 2
"""Messages on each side that make a block."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each channel counts, found on development conversations and kept fixed."""

    sentence: float = 1.0
    message: float = 1.0
    pair: float = 1.0
    words: float = 1.0
    block: float = 0.7
    block_words: float = 0.7
    neighbour: float = 0.15
    recency: float = 0.05


@dataclass(frozen=True, slots=True)
class Query:
    """The question as the channels see it."""

    text: str
    vectors: Vector
    """float32 of shape (q, d), rows L2-normalised; q is 0 when there is no embedder."""


@dataclass(frozen=True, slots=True)
class MessageScores:
    """Scores of every message of a conversation, in its order."""

    score: Vector
    """float32 of shape (messages,), calibrated, in [0, 1]."""
    channels: dict[str, Vector] = field(default_factory=dict)
    """What each channel said: cosines for vectors, BM25 for words."""


def score_messages(
    index: ConversationIndex, query: Query, calibration: Calibration, weights: Weights | None = None
) -> MessageScores:
    """Score every message of the index against the question.

    Args:
        index: the conversation.
        query: the question.
        calibration: of the embedder that made the vectors.
        weights: of the channels.
    """
    weights = weights or Weights()
    n = len(index)
    if n == 0:
        return MessageScores(np.zeros(0, np.float32))
    found: dict[str, Vector] = {}
    message = _cosines(index, "message", query.vectors)
    found["message"] = message
    for channel in ("sentence", "pair"):
        own = _cosines(index, channel, query.vectors)
        # A message of one sentence, or the first of all, is its own sentence and pair.
        found[channel] = np.fmax(own, message) if channel == "sentence" else np.where(np.isnan(own), message, own)
    found["words"] = index.lexicon.scores(_query_terms(index, query.text))

    scaled = {name: calibration.scale(name, values) for name, values in found.items()}
    fused = sum(
        (getattr(weights, name) * scaled[name] for name in ("sentence", "message", "pair", "words")),
        np.zeros(n, np.float32),
    )
    fused = fused + weights.block * _standard(_box(scaled["message"], _BLOCK))
    fused = fused + weights.block_words * _standard(_box(scaled["words"], _BLOCK))
    fused = fused + weights.neighbour * _both_sides(fused)
    fused = fused + weights.recency * np.linspace(0.0, 1.0, n, dtype=np.float32)
    return MessageScores(calibration.probability(fused), {k: np.nan_to_num(v, nan=0.0) for k, v in found.items()})


def _cosines(index: ConversationIndex, channel: str, vectors: Vector) -> Vector:
    held = index.channels.get(channel)
    if held is None or not len(vectors):
        return np.full(len(index), np.nan, dtype=np.float32)
    return held.largest(vectors, len(index))


def _query_terms(index: ConversationIndex, text: str) -> dict[str, float]:
    return dict.fromkeys(terms(text), 1.0)


def _box(values: Vector, reach: int) -> Vector:
    """Mean over the window of ``reach`` messages on each side."""
    padded = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    n = len(values)
    low = np.maximum(np.arange(n) - reach, 0)
    high = np.minimum(np.arange(n) + reach + 1, n)
    return np.asarray((padded[high] - padded[low]) / (high - low), dtype=np.float32)


def _both_sides(values: Vector) -> Vector:
    out = np.zeros_like(values)
    out[1:] += values[:-1]
    out[:-1] += values[1:]
    return out


def _standard(values: Vector) -> Vector:
    spread = float(values.std())
    if spread <= 1e-6:
        return np.zeros_like(values)
    return np.asarray((values - values.mean()) / spread, dtype=np.float32)


def dates_match(index: ConversationIndex, text: str) -> NDArray[np.bool_]:
    """Which messages were said on a date that the question names."""
    from datetime import date

    wanted = named_dates(text)
    days = index.days
    hit = np.zeros(len(index), dtype=bool)
    if wanted:
        for day in np.unique(days[days > 0]).tolist():
            if any(named.matches(date.fromordinal(day)) for named in wanted):
                hit |= days == day
    return hit
