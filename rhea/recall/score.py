"""From many channels to one calibrated score per message.

Channels: the nearest sentence, the whole message and the message with the one before it, each against the
question as asked and against the question without the speakers' names (every message of a two-person chat
is "about" both names); the block of messages around; the words of the message and of its block. Each
channel is brought to one scale by its mean and spread over the conversation, shrunk towards the
calibration's background levels, so that three messages score as soberly as three thousand. Added to the
weighted sum: who speaks, when it was said, what the neighbours score. A logistic curve makes it a
probability, the same for any embedder. Pure numpy, no database, no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from rhea.recall.calibration import Calibration, Moments, moments
from rhea.recall.dates import named_dates
from rhea.recall.field import Field
from rhea.recall.index import ConversationIndex
from rhea.recall.lexicon import window_sums
from rhea.recall.words import terms

__all__ = [
    "CHANNELS",
    "MessageScores",
    "Query",
    "Weights",
    "fused_scores",
    "raw_channels",
    "score_messages",
    "wordings",
]

Vector = NDArray[np.float32]

CHANNELS = (
    "sentence",
    "message",
    "pair",
    "sentence_bare",
    "message_bare",
    "pair_bare",
    "block",
    "words",
    "block_words",
)
"""Channels that a calibration has levels for."""

_BLOCK_CHARACTERS = 700
"""What a block should hold: enough text for a topic to show."""
_MOST_REACH = 6
"""Most messages on each side of one that make its block."""
_LONGEST_COUNTED = 1_000
"""A single long message must not shrink the blocks of a chat of short ones."""
_LONG = 4_000
"""Messages from which sentences and pairs are compared for the promising messages only."""
_FORWARD = 300
"""Messages that each cheap channel brings forward in a long conversation."""
_SAMPLE = 250
"""Messages looked at all the same, evenly spread."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each channel counts; set by hand on development conversations and kept fixed."""

    sentence: float = 1.0
    message: float = 1.0
    pair: float = 0.6
    sentence_bare: float = 0.5
    message_bare: float = 0.5
    pair_bare: float = 0.5
    block: float = 0.7
    words: float = 0.9
    block_words: float = 0.9
    speaker: float = 2.2
    """Added for messages of the one speaker whom the question names."""
    date: float = 5.0
    """Added for messages of a day that the question names; half of it for a month or a year."""
    neighbour: float = 0.1
    recency: float = 0.1
    """Added to the newest message, falling to 0 at the oldest: decides between equals."""


@dataclass(frozen=True, slots=True)
class Query:
    """The question as the channels see it: the text, and its vectors as asked and without names."""

    text: str
    asked: Vector
    """float32 of shape (q, d), rows L2-normalised; q is 0 when there is no embedder."""
    bare: Vector
    """The same for the wording without the speakers' names; ``asked`` again when there are none."""


@dataclass(frozen=True, slots=True)
class MessageScores:
    """Scores of every message of a field, in its order."""

    score: Vector
    """float32 of shape (messages,), calibrated, in [0, 1]."""
    channels: dict[str, Vector] = field(default_factory=dict)
    """What each channel said: cosines for vectors, BM25 for words, 0 or 1 (or a half) for speaker and date; NaN where
    it has nothing to say."""


def wordings(text: str, speakers: Sequence[str]) -> tuple[str, str]:
    """The question as asked, and without the names of the conversation's speakers."""
    names = {part for speaker in speakers for part in (speaker, *speaker.split()) if len(part) > 1}
    if not names:
        return text, text
    longest_first = sorted(names, key=lambda n: (-len(n), n))
    pattern = r"\b(?:" + "|".join(map(re.escape, longest_first)) + r")(?:['’]s)?\b"
    bare = re.sub(r"\s+", " ", re.sub(pattern, "", text, flags=re.IGNORECASE)).strip()
    return text, bare if terms(bare) else text


def raw_channels(index: ConversationIndex, query: Query) -> dict[str, Vector]:
    """What each channel says of each message, on its own scale; NaN where it has nothing to say.

    In a long conversation sentences and pairs are compared for the messages that whole message or words
    bring forward, and for an even sample of the others, so that their level is known all the same.
    """
    n = len(index)
    found: dict[str, Vector] = {}
    names = terms(wordings(query.text, index.speakers)[1])
    reach = block_reach(index.lengths)
    found["words"], found["block_words"] = index.lexicon.scores_around(dict.fromkeys(names, 1.0), reach)
    found["message"], found["message_bare"] = _cosines(index, "message", query, None)
    only = _worth_a_look(found) if n > _LONG else None
    for channel in ("sentence", "pair"):
        asked, bare = _cosines(index, channel, query, only)
        for name, own in ((channel, asked), (f"{channel}_bare", bare)):
            if own is asked and name != channel:
                found[name] = found[channel]
                continue
            # A message of one sentence is its own sentence, and the first of all its own pair.
            whole = found[name.replace(channel, "message")]
            if only is not None:
                whole = np.where(only, whole, np.float32(np.nan))
            found[name] = np.fmax(own, whole) if channel == "sentence" else np.where(np.isnan(own), whole, own)
    sums = window_sums(np.nan_to_num(found["message"]), reach)
    sizes = window_sums(np.ones(n, dtype=np.float32), reach)
    found["block"] = sums / (sizes * index.block_norms(reach))
    return found


def block_reach(lengths: NDArray[np.int64]) -> int:
    """Messages on each side that make a block: more where people write many short messages.

    Args:
        lengths: int64 of shape (messages,), characters of each message.
    """
    usual = float(np.minimum(lengths, _LONGEST_COUNTED).mean()) if len(lengths) else _BLOCK_CHARACTERS
    return int(np.clip(round((_BLOCK_CHARACTERS / max(usual, 1.0) - 1) / 2), 1, _MOST_REACH))


def _cosines(
    index: ConversationIndex, channel: str, query: Query, only: NDArray[np.bool_] | None
) -> tuple[Vector, Vector]:
    """Largest cosine of each message in one channel, for the question as asked and without names."""
    n = len(index)
    held = index.channels.get(channel)
    if held is None:
        nothing = np.full(n, np.nan, dtype=np.float32)
        return nothing, nothing if query.bare is query.asked else nothing.copy()
    if query.bare is query.asked:
        (asked,) = held.largest([query.asked], n, only)
        return asked, asked
    asked, bare = held.largest([query.asked, query.bare], n, only)
    return asked, bare


def _worth_a_look(found: Mapping[str, Vector]) -> NDArray[np.bool_]:
    """The messages that one of the cheap channels puts among its first, and every so-manieth of all."""
    n = len(found["words"])
    only = _fair_sample(n)
    for name in ("message", "message_bare", "words", "block_words"):
        values = np.nan_to_num(found[name], nan=-1.0)
        only[np.argpartition(-values, _FORWARD - 1)[:_FORWARD]] = True
    return only


def _fair_sample(n: int) -> NDArray[np.bool_]:
    """All of a short conversation; of a long one every so-manieth message."""
    sample = np.zeros(n, dtype=bool)
    sample[:: max(1, n // _SAMPLE) if n > _LONG else 1] = True
    return sample


def fused_scores(
    field: Field, query: Query, calibration: Calibration, weights: Weights | None = None
) -> tuple[Vector, dict[str, Vector]]:
    """The weighted sum before calibration, and the raw channels.

    Args:
        field: the conversations looked at.
        query: the question.
        calibration: of the embedder that made the vectors.
        weights: of the channels.

    Returns:
        float32 of shape (messages,), and the channels by name.
    """
    weights = weights or Weights()
    n = len(field)
    parts = [(index, rows) for index, rows in field.parts if len(index)]
    if not parts:
        return np.zeros(0, np.float32), {}
    found = _joined([raw_channels(index, query) for index, _ in parts])
    sample = np.concatenate([_fair_sample(len(index)) for index, _ in parts])
    fused = np.zeros(n, dtype=np.float32)
    known: dict[int, Moments] = {}  # two wordings that are one share their arrays
    for name in CHANNELS:
        values = found[name]
        if (measured := known.get(id(values))) is None:
            over = sample if name.startswith(("sentence", "pair")) and not sample.all() else None
            measured = known[id(values)] = moments(values, over)
        standing = calibration.standing(name, measured)
        weight = np.float32(getattr(weights, name) / standing.deviation)
        part = (values - np.float32(standing.mean)) * weight
        fused += part if measured[0] == n else np.nan_to_num(part, copy=False, nan=0.0)
    found["speaker"] = np.concatenate([_speaker_named(index, query.text) for index, _ in parts])
    found["date"] = np.concatenate([_date_named(index, query.text) for index, _ in parts])
    fused += np.float32(weights.speaker) * found["speaker"] + np.float32(weights.date) * found["date"]
    for _, rows in parts:
        fused[rows] += np.float32(weights.neighbour) * _both_sides(fused[rows])
    newest = len(field.current)
    fused[:newest] += np.float32(weights.recency) * np.linspace(0.0, 1.0, newest, dtype=np.float32)
    return fused, found


def score_messages(
    field: Field, query: Query, calibration: Calibration, weights: Weights | None = None
) -> MessageScores:
    """Score every message of the field against the question; see :func:`fused_scores`."""
    fused, found = fused_scores(field, query, calibration, weights)
    return MessageScores(calibration.probability(fused), found)


def _joined(found: Sequence[dict[str, Vector]]) -> dict[str, Vector]:
    if len(found) == 1:
        return found[0]
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


def _speaker_named(index: ConversationIndex, text: str) -> Vector:
    """1 for messages of the speaker whom the question names, when it names exactly one."""
    words = set(re.findall(r"\w+", text.casefold()))
    named = [i for i, name in enumerate(index.speakers) if words & set(re.findall(r"\w+", name.casefold()))]
    if len(named) != 1:
        return np.zeros(len(index), dtype=np.float32)
    return np.asarray(index.speaker_codes == named[0], dtype=np.float32)


def _date_named(index: ConversationIndex, text: str) -> Vector:
    """1 for messages of a day that the question names, a half for those of a month or a year."""
    hit = np.zeros(len(index), dtype=np.float32)
    wanted = named_dates(text)
    days = index.days
    if not wanted or not days.any():
        return hit
    for day in np.unique(days[days > 0]).tolist():
        when = date.fromordinal(day)
        share = max((1.0 if named.day else 0.5 for named in wanted if named.matches(when)), default=0.0)
        if share:
            hit[days == day] = share
    return hit


def _both_sides(values: Vector) -> Vector:
    out = np.zeros_like(values)
    out[1:] += values[:-1]
    out[:-1] += values[1:]
    return out
