"""Everything that is known of a message before it is weighed: numbers for each sentence, and for each active rule.

Used twice, by detection and by the script that fits the weights, so that both see the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rhea.instructions.by_patterns import one_time, replaces
from rhea.instructions.detection import Detection
from rhea.instructions.patterns import NEUTRAL, SIGNALS
from rhea.instructions.revoke import withdrawals
from rhea.instructions.standing import REASONS, Reading
from rhea.instructions.topics import facets, same_words
from rhea.instructions.vectors import embed_clipped
from rhea.instructions.words import word_ids
from rhea.types import Instruction, InstructionKind

if TYPE_CHECKING:
    from rhea.embed import Embedder

__all__ = ["ENDED", "NEAR", "MessageEvidence", "RuleEvidence", "collect", "collect_rules", "signal_features"]

ENDED, NEAR = 0, 15
"""Columns of `RuleEvidence.numbers`: patterns say that the rule ends; its cosine with the nearest sentence."""
_BEFORE, _AFTER = 24, 16
"""Words of the message that a sentence is read with, on either side."""
_CHUNK = 60
"""Words of a message that are read beside a rule at once."""
_NEIGHBOURS = 0.5
"""Weight of the signals of the message's other sentences."""
_PRODUCT = 5.0
"""Weight of the product of two vectors, whose values are small."""
_AGAIN = re.compile(r"\b(?:again|anymore|any more|no longer|mehr|wieder|needn't|no need)\b", re.I)
_INSTEAD = re.compile(r"\b(?:instead|statt|stattdessen|lieber|rather)\b", re.I)
_BOTH = re.compile(r"\b(?:both|beides?|beiden?)\b", re.I)
_ALL = re.compile(r"\b(?:all|everything|every|any|none|alle[sn]?|sämtliche\w*|nichts)\b", re.I)
_ORDINALS = (
    re.compile(r"\b(?:first|1st|erste[nrs]?|(?:number|nummer) (?:one|eins|1))\b", re.I),
    re.compile(r"\b(?:second|2nd|zweite[nrs]?|(?:number|nummer) (?:two|zwei|2))\b", re.I),
    re.compile(r"\b(?:third|3rd|dritte[nrs]?|(?:number|nummer) (?:three|drei|3))\b", re.I),
    re.compile(r"\b(?:fourth|4th|vierte[nrs]?|(?:number|nummer) (?:four|vier|4))\b", re.I),
)


@dataclass(frozen=True)
class MessageEvidence:
    """The user's own sentences in one message; ``n`` of them.

    ``around`` is what stands around each sentence. ``vectors`` is float32 of shape (n, dim), ``dense`` of shape
    (n, dim + numbers), ``numbers`` its part without vector and signals, ``words`` the hashed words.
    """

    readings: tuple[Reading, ...]
    around: tuple[str, ...]
    vectors: NDArray[np.float32]
    numbers: NDArray[np.float32]
    dense: NDArray[np.float32]
    words: tuple[list[int], ...]

    @cached_property
    def withdrawing(self) -> NDArray[np.float32]:
        """Does each sentence sound like withdrawing something? 0 or 1, shape (n, 4); found out when first asked for."""
        return np.array([_withdrawing(r) for r in self.readings], dtype=np.float32).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class RuleEvidence:
    """Every part of the message beside every active rule; pairs in the order of parts, then rules.

    ``parts`` holds, for each part of the message, the indexes of its sentences and its text. ``numbers`` is float32
    of shape (pairs, k), ``dense`` adds the vectors; ``gate`` of shape (parts, dim + 3) looks at the part alone.
    """

    parts: tuple[tuple[tuple[int, ...], str], ...]
    rules: tuple[Instruction, ...]
    pairs: tuple[tuple[int, int], ...]
    nearness: NDArray[np.float32]
    """Cosine of each sentence with each rule, shape (sentences, rules)."""
    numbers: NDArray[np.float32]
    dense: NDArray[np.float32]
    gate: NDArray[np.float32]
    words: tuple[list[int], ...]
    """Hashed words of each part."""


def signal_features(signs: Sequence[frozenset[str]], names: Sequence[str] = tuple(SIGNALS)) -> NDArray[np.float32]:
    """Signals as 0 and 1, float32 of shape (len(signs), len(names))."""
    return np.array([[float(name in s) for name in names] for s in signs], dtype=np.float32).reshape(-1, len(names))


def collect(readings: Sequence[Reading], embedder: Embedder) -> MessageEvidence:
    """Evidence on every sentence that is the user's own."""
    places = [k for k, r in enumerate(readings) if not r.sentence.foreign]
    own = tuple(readings[k] for k in places)
    vectors = embed_clipped(embedder, [r.sentence.heard for r in own]) if own else np.zeros((0, 0), np.float32)
    others = [frozenset().union(*(r.signs for j, r in enumerate(readings) if j != k)) for k in places]
    numbers = np.array([_of_sentence(r, len(readings)) for r in own], dtype=np.float32).reshape(
        len(own), len(REASONS) + 6
    )
    signs = [r.signs for r in own]
    dense = (
        np.hstack([vectors, signal_features(signs), _NEIGHBOURS * signal_features(others), numbers]) if own else vectors
    )
    return MessageEvidence(
        own,
        tuple(_around(r) for r in own),
        vectors,
        numbers,
        dense.astype(np.float32),
        tuple(word_ids(r.sentence.heard) for r in own),
    )


def _of_sentence(reading: Reading, among: int) -> list[float]:
    sentence, verdict = reading.sentence, reading.verdict
    bare = not reading.signs - NEUTRAL
    flags = (verdict is True, verdict is False, one_time(sentence.text), bool(sentence.header), among == 1, bare)
    return [*(float(reading.reason == reason) for reason in REASONS), *map(float, flags)]


def _withdrawing(reading: Reading) -> list[float]:
    text = reading.sentence.text
    found = withdrawals(reading.sentence.voice, text)
    flags = (found, any(w.firm for w in found), _AGAIN.search(text), _INSTEAD.search(text))
    return [float(bool(flag)) for flag in flags]


def _around(reading: Reading) -> str:
    """The message around the sentence, an underscore in its place."""
    sentence = reading.sentence
    before = sentence.message[: sentence.start].split()[-_BEFORE:]
    after = sentence.message[sentence.end :].split()[:_AFTER]
    return " ".join([*before, "_", *after])


def collect_rules(
    message: MessageEvidence, active: Sequence[Instruction], first: Detection, embedder: Embedder
) -> RuleEvidence:
    """Evidence on what each part of the message does to each active rule.

    Args:
        message: evidence on its sentences, one at least.
        active: rules in force, oldest first, one at least.
        first: what patterns say that the message changes.
        embedder: the one that the weights were fitted for.
    """
    parts = _parts(message)
    rules = embed_clipped(embedder, [i.text for i in active])
    texts = embed_clipped(embedder, [text for _, text in parts])
    nearness = message.vectors @ rules.T
    pairs = tuple((p, k) for p in range(len(parts)) for k in range(len(active)))
    numbers = np.vstack(
        [
            _of_part(message, members, text, active, first, nearness, texts[p] @ rules.T)
            for p, (members, text) in enumerate(parts)
        ]
    )
    left, right = texts[[p for p, _ in pairs]], rules[[k for _, k in pairs]]
    ended = any(c.action in ("supersede", "revoke") for c in first.changes)
    gate = [
        [float(ended), float(_replaces(message, m)), float(message.withdrawing[list(m), 0].any())] for m, _ in parts
    ]
    return RuleEvidence(
        tuple(parts),
        tuple(active),
        pairs,
        nearness,
        numbers,
        np.hstack([numbers, left, left * right * _PRODUCT]).astype(np.float32),
        np.hstack([texts, np.array(gate, dtype=np.float32)]),
        tuple(word_ids(text) for _, text in parts),
    )


def _replaces(message: MessageEvidence, members: Sequence[int]) -> bool:
    return any(replaces(message.readings[i].sentence.text) for i in members)


def _parts(message: MessageEvidence) -> list[tuple[tuple[int, ...], str]]:
    """Sentences in a row, joined up to the length that is read at once."""
    parts: list[list[int]] = []
    size = 0
    for i, reading in enumerate(message.readings):
        length = len(reading.sentence.text.split())
        if not parts or size + length > _CHUNK:
            parts.append([])
            size = 0
        parts[-1].append(i)
        size += length
    return [
        (tuple(p), " ".join(" ".join(message.readings[i].sentence.text for i in p).split()[: 2 * _CHUNK]))
        for p in parts
    ]


def _of_part(
    message: MessageEvidence,
    members: Sequence[int],
    text: str,
    active: Sequence[Instruction],
    first: Detection,
    nearness: NDArray[np.float32],
    whole: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Numbers for one part of the message beside every rule, float32 of shape (len(active), k)."""
    sentences = [message.readings[i].sentence.text for i in members]
    ended = {i for c in first.changes if c.action in ("supersede", "revoke") for i in c.target_ids}
    confirmed = {i for c in first.changes if c.action == "confirm" for i in c.target_ids}
    mine = {f.topic: f.value for s in sentences for f in facets(s)}
    instead, withdraws = float(_replaces(message, members)), float(message.withdrawing[list(members), 0].any())
    near = nearness[list(members)].max(axis=0)
    rows = []
    for k, rule in enumerate(active):
        theirs = {f.topic: f.value for f in facets(rule.text)}
        shared = mine.keys() & theirs.keys()
        clash = sum(mine[t] != theirs[t] and bool(mine[t] and theirs[t]) for t in shared)
        said = max(same_words(s, rule.text) for s in sentences)
        nearest, about = float(near[k] >= near.max()), float(bool(shared))
        gap = float(near[k] - max((near[j] for j in range(len(active)) if j != k), default=0.0))
        plain = [
            rule.id in ended, bool(ended), rule.id in confirmed, said, max(same_words(rule.text, s) for s in sentences),
            len(shared), clash, instead, withdraws, 1 / len(active), k == len(active) - 1, bool(rule.until),
            rule.kind is InstructionKind.PREFERENCE, rule.kind is InstructionKind.ROLE, whole[k], near[k],
        ]  # fmt: skip
        crossed = [
            near[k] * instead, near[k] * withdraws, said * withdraws, said * instead, about * withdraws,
            about * instead, len(active) == 1, nearest, gap, nearest * withdraws, nearest * instead,
        ]  # fmt: skip
        rows.append([float(v) for v in (*plain, *crossed, *_named(text, k, len(active)))])
    return np.array(rows, dtype=np.float32)


def _named(text: str, place: int, among: int) -> tuple[float, float, float]:
    """Is the rule meant by its place ("the second one"), as one of two ("both"), or with all others?"""
    named = [n for n, pattern in enumerate(_ORDINALS) if pattern.search(text)]
    by_place = 0.0 if not named or among == 1 else (1.0 if place in named else -1.0)
    return by_place, float(bool(_BOTH.search(text)) and among >= 2), float(bool(_ALL.search(text)))
