"""Make a calibration from conversations whose evidence is known: what `rhea calibrate` runs.

Levels are the mean and spread of each channel over messages that are not evidence. Slope and offset are
those of a logistic curve, fitted to whether a message is evidence, over all pairs of question and message.
No channel weight is learned: only the scale of the embedder at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rhea.embed import Embedder
from rhea.errors import InputError
from rhea.importing import group_turns
from rhea.recall.calibration import Calibration, Level
from rhea.recall.chunks import split_to_fit
from rhea.recall.field import Field
from rhea.recall.index import ConversationIndex
from rhea.recall.score import CHANNELS, Query, fused_scores, raw_channels, wordings
from rhea.recall.work import vectors_of
from rhea.types import Message, TurnRecord, TurnState

__all__ = ["LabelledConversation", "calibrate", "index_messages"]

_STEPS = 60
_RIDGE = 1e-4
"""Keeps the curve finite where a channel tells evidence apart without a mistake."""


@dataclass(frozen=True, slots=True)
class LabelledConversation:
    """Messages, and questions with the places (from 0) of the messages that answer them."""

    messages: Sequence[Message]
    questions: Sequence[tuple[str, Sequence[int]]]


def calibrate(conversations: Iterable[LabelledConversation], embedder: Embedder) -> Calibration:
    """Measure levels and fit the curve for one embedder.

    Args:
        conversations: with their evidence.
        embedder: to calibrate for.

    Raises:
        InputError: no question has evidence, or everything is evidence.
    """
    asked: list[tuple[ConversationIndex, Query, NDArray[np.bool_]]] = []
    for conversation in conversations:
        index = index_messages(conversation.messages, embedder)
        for question, places in conversation.questions:
            evidence = np.zeros(len(index), dtype=bool)
            evidence[list(places)] = True
            asked.append((index, _query(index, question, embedder), evidence))
    if not any(e.any() for _, _, e in asked) or all(e.all() for _, _, e in asked):
        raise InputError("nothing to calibrate on: questions with some evidence, but not all messages, are needed")
    channels = [raw_channels(index, query) for index, query, _ in asked]
    levels = {name: _level([c[name][~e] for c, (_, _, e) in zip(channels, asked, strict=True)]) for name in CHANNELS}
    flat = Calibration(embedder.id, levels, slope=1.0, offset=0.0)
    fused = np.concatenate([fused_scores(Field([index]), query, flat)[0] for index, query, _ in asked])
    prior = np.concatenate([np.full(len(index), -np.log(len(index))) for index, _, _ in asked])
    slope, offset = _logistic(fused, prior, np.concatenate([e for _, _, e in asked]))
    return Calibration(embedder.id, levels, slope, offset)


def index_messages(messages: Sequence[Message], embedder: Embedder) -> ConversationIndex:
    """An index of messages that are in no database."""
    turns: list[TurnRecord] = []
    number = 0
    for position, said in enumerate(group_turns(messages), 1):
        kept = []
        for message in said:
            number += 1
            kept.append(Message(message.role, message.text, message.name, message.time, message.source_id, number))
        turns.append(
            TurnRecord(position, 0, position, TurnState.COMMITTED, tuple(kept), datetime.fromtimestamp(0, UTC))
        )
    before = [None, *(_labelled_end(t) for t in turns[:-1])]
    index = ConversationIndex(0, embedder.dim)
    index.add_turns(turns)
    for found in vectors_of(turns, before, embedder):
        index.add_vectors(found)
    return index


def _labelled_end(turn: TurnRecord) -> str:
    last = turn.messages[-1]
    return f"{last.name}: {last.text}" if last.name else last.text


def _query(index: ConversationIndex, text: str, embedder: Embedder) -> Query:
    asked, bare = (
        embedder.embed(split_to_fit(wording, embedder.max_tokens, embedder.count))
        for wording in wordings(text, index.speakers)
    )
    return Query(text, asked, bare)


def _level(values: Sequence[NDArray[np.float32]]) -> Level:
    pooled = np.concatenate(values).astype(np.float64)
    pooled = pooled[~np.isnan(pooled)]
    return Level(round(float(pooled.mean()), 4), round(max(float(pooled.std()), 1e-3), 4))


def _logistic(values: NDArray[np.float32], prior: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the logistic curve of greatest likelihood (Newton's method), on top of a prior."""
    x = np.column_stack((values.astype(np.float64), np.ones(len(values))))
    y = truth.astype(np.float64)
    theta = np.array([0.1, 0.0])
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ theta + prior, -30, 30)))
        gradient = x.T @ (y - p) - _RIDGE * theta
        curvature = (x * (p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        theta = theta + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return round(float(theta[0]), 5), round(float(theta[1]), 5)
