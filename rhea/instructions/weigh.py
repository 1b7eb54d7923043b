"""From evidence to a decision: which sentences stand, and which active rules the message ends.

Patterns give the first opinion, the learned weights a second one; the reader is asked only about what both leave
open, because it costs a pass of a small encoder. First the rules are judged, then the sentences: a sentence that
lifts a rule seldom sets one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rhea.instructions.evidence import ENDED, NEAR, MessageEvidence, RuleEvidence
from rhea.instructions.reader import Reader
from rhea.instructions.standing import PART_OF_ANOTHER
from rhea.instructions.weights import Weights

__all__ = ["Judgement", "ends_features", "judge", "stands_features"]

_OPEN = (-1.6, 1.4)
"""Between these log-odds the reader is asked about a sentence; what lies outside it hardly ever corrects."""
_QUIET = -2.0
"""Log-odds under which a message is taken to end no rule, without the reader."""
_UNREAD, _LONG = 0.0, 2.5
"""Log-odds that the reader must reach before a rule ends; in a message of several parts the gate must too."""
_BELOW = -2.0
"""Log-odds that say so."""
_NEAREST = 12
"""Active rules that a message is read beside at most: the nearest, and whatever patterns say it ends."""
_FAR = -6.0
"""Log-odds that stand for "nothing to compare with"."""
_BOUND = 9.2
"""Log-odds are cut at this size: beyond it they only say that one is sure."""

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Judgement:
    """``stands``: log-odds for each own sentence; ``ends``: for each active rule; ``part``: what says that it ends."""

    stands: _Floats
    ends: _Floats
    part: tuple[int, ...] = ()


def judge(message: MessageEvidence, rules: RuleEvidence | None, weights: Weights, reader: Reader) -> Judgement:
    """Weigh a message.

    Args:
        message: evidence on its sentences.
        rules: evidence on the active rules; ``None`` when there are none.
        weights: what the evidence adds up to.
        reader: asked about what is left open.
    """
    first = np.clip(weights.stands(message.dense, message.words), -_BOUND, _BOUND)
    ends, by_part, part = _ends(rules, weights, reader, len(message.readings))
    # what ends a rule may sound like one, however sure the first answer is
    open_ = ((first > _OPEN[0]) & (first < _OPEN[1])) | (by_part > 0)
    if not open_.any():
        return Judgement(_corrected(message, first), ends, part)
    read = first.copy()
    pairs = [(message.readings[k].sentence.heard, message.around[k]) for k in np.flatnonzero(open_)]
    read[open_] = np.clip(reader.stands(pairs), -_BOUND, _BOUND)
    again = weights.stands_again(stands_features(message, first, read, by_part, rules is not None))
    return Judgement(_corrected(message, np.where(open_, again, first)), ends, part)


_ELSEWHERE = frozenset({"other_standing", "other_directive", "other_preference"})
"""Signals in languages that the weights were not fitted to: there patterns are believed."""


def _corrected(message: MessageEvidence, stands: _Floats) -> _Floats:
    """An item that was joined to its heading is no rule of its own; a rule in another language is one."""
    out = stands.astype(np.float32)
    for k, reading in enumerate(message.readings):
        if reading.reason == PART_OF_ANOTHER:
            out[k] = -_BOUND
        elif reading.verdict and reading.signs & _ELSEWHERE:
            out[k] = max(float(out[k]), 1.0)
    return out


def _ends(
    rules: RuleEvidence | None, weights: Weights, reader: Reader, sentences: int
) -> tuple[_Floats, _Floats, tuple[int, ...]]:
    """Log-odds that each rule ends, the largest of them for each sentence, and the part that ends each rule."""
    if rules is None:
        return np.zeros(0, np.float32), np.full(sentences, _FAR, np.float32), ()
    gate = np.clip(weights.gate(rules.gate, rules.words), -_BOUND, _BOUND)
    first = np.clip(weights.ends(rules.dense, [rules.words[p] for p, _ in rules.pairs]), -_BOUND, _BOUND)
    odds = np.minimum(first, _BELOW)
    for p in range(len(rules.parts)):
        mine = np.array([i for i, (q, _) in enumerate(rules.pairs) if q == p], dtype=np.int64)
        if gate[p] > _QUIET or rules.numbers[mine, ENDED].any():
            odds[mine] = _again(rules, mine, first[mine], gate[p], weights, reader)
    table = odds.reshape(len(rules.parts), len(rules.rules))
    by_sentence = np.full(sentences, _FAR, dtype=np.float32)
    for p, (members, _) in enumerate(rules.parts):
        by_sentence[list(members)] = table[p].max()
    return table.max(axis=0), by_sentence, tuple(int(k) for k in table.argmax(axis=0))


def _again(
    rules: RuleEvidence, mine: NDArray[np.int64], first: _Floats, gate: float, weights: Weights, reader: Reader
) -> _Floats:
    """Second answers for one part of the message beside all rules."""
    read = np.full(len(mine), _FAR, dtype=np.float32)
    near = rules.numbers[mine, NEAR] + 10 * rules.numbers[mine, ENDED]
    chosen = np.sort(np.argsort(-near, kind="stable")[:_NEAREST])
    part = rules.parts[rules.pairs[mine[0]][0]][1]
    read[chosen] = reader.ends([(part, rules.rules[rules.pairs[mine[k]][1]].text) for k in chosen])
    read = np.clip(read, -_BOUND, _BOUND)
    odds = weights.ends_again(ends_features(rules.numbers[mine], first, read, gate))
    # what the reader does not see, and patterns do not say, ends nothing; a long message is a piece of work
    unseen = read < _UNREAD if len(rules.parts) == 1 else (read < _LONG) | (gate < _LONG)
    unseen &= rules.numbers[mine, ENDED] == 0
    return np.where(unseen, np.minimum(odds, _BELOW), odds).astype(np.float32)


def ends_features(numbers: _Floats, first: _Floats, read: _Floats, gate: float) -> _Floats:
    """What the second answer about one part's rules is made from, shape (rules, 5 + k)."""
    rows = [[first[k], gate, read[k], read[k] - _others(read, k), _others(first, k)] for k in range(len(first))]
    return np.hstack([np.array(rows, dtype=np.float32), numbers])


def _others(values: _Floats, k: int) -> float:
    return float(max((values[j] for j in range(len(values)) if j != k), default=_FAR))


def stands_features(
    message: MessageEvidence, first: _Floats, read: _Floats, ends: _Floats, rules_stand: bool
) -> _Floats:
    """What the second answer about each sentence is made from, shape (sentences, features)."""
    both = (first + read) / 2
    last = len(both) - 1
    rows = []
    for k in range(len(both)):
        others = [float(both[j]) for j in range(len(both)) if j != k]
        before = float(both[k - 1]) if k else 0.0
        after = float(both[k + 1]) if k < last else 0.0
        lifts = message.withdrawing[k]
        rows.append(
            np.concatenate(
                [
                    [first[k], read[k]],
                    message.numbers[k],
                    [before, after, max(others, default=0.0), k > 0, k < last, min(len(both), 6)],
                    [ends[k], rules_stand],
                    lifts,
                    ends[k] * lifts,
                    float(rules_stand) * lifts,
                ]
            )
        )
    return np.array(rows, dtype=np.float32)
