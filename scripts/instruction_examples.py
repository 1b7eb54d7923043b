"""Turns the dialogues in `scripts/data` into examples: what detection sees in each turn, and what is right there.

Each turn is read with the rules in force that *should* be in force, so that one mistake does not spoil the next.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from instruction_patterns import sentences

from rhea.bench.scenarios import applied, held_out
from rhea.embed import Embedder
from rhea.instructions.by_patterns import PatternPass
from rhea.instructions.evidence import MessageEvidence, RuleEvidence, collect, collect_rules
from rhea.instructions.in_force import in_force
from rhea.instructions.lifecycle import until_of
from rhea.instructions.sentences import split_sentences
from rhea.instructions.standing import PART_OF_ANOTHER, Reading, read_message
from rhea.types import Instruction, InstructionChange

DATA = Path(__file__).parent / "data"
FOLDS = 5
PLAIN = -1
ORDINARY = {"w13", "w14", "w23", "w24", "w38"}
"""Writers of tasks, questions and facts."""
STRANGERS, LONG = 3, 4
"""Rules of other dialogues that an ordinary message is read beside; messages that make a long one."""
PATTERNS = 2500
"""Sentences made from patterns that are learned from beside the dialogues; no message stands around them."""


@dataclass(frozen=True, slots=True)
class TurnExample:
    """One message, the rules in force before it, and what it changes.

    ``stands`` and ``ends`` are 0 or 1, or -1 where the label does not say (a repeated rule; a message of several
    parts, where it is open which part ends the rule). ``repeats`` likewise, of shape (sentences, rules).
    """

    id: str
    fold: int
    message: MessageEvidence
    rules: RuleEvidence | None
    stands: np.ndarray
    ends: np.ndarray
    repeats: np.ndarray


def read_lines(name: str) -> list[dict[str, Any]]:
    """Rows of one file in `scripts/data`."""
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines() if line]


def writer_of(row_id: str) -> str:
    """Dialogues by one writer share a prefix: they are kept together in cross-validation."""
    return row_id.split("-")[0].rstrip("m")


def folds(ids: Sequence[str]) -> dict[str, int]:
    """Fold of each writer."""
    return {w: k % FOLDS for k, w in enumerate(sorted({writer_of(i) for i in ids}))}


def examples(embedder: Embedder) -> list[TurnExample]:
    """Every turn of the dialogues that are not held out, and every single message."""
    dialogues = read_lines("dialogues.jsonl")
    kept = held_out([r["id"] for r in dialogues])
    rows = [r for r in dialogues if r["id"] not in kept]
    messages = [{"id": m["id"], "about": "message", "turns": [m]} for m in read_lines("messages.jsonl")]
    fold = folds([r["id"] for r in rows + messages])
    out = [e for row in rows + messages for e in _of_dialogue(row, fold[writer_of(row["id"])], embedder)]
    return out + [e for row in _ordinary(rows, messages) for e in _last(row, fold[writer_of(row["id"])], embedder)]


def _ordinary(rows: Sequence[dict[str, Any]], messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ordinary messages, and long ones made of several, beside rules of other dialogues: they end none of them."""
    rng = random.Random(3)
    rules = [a for row in rows for turn in row["turns"] for a in turn.get("adds", [])]
    texts: dict[str, list[str]] = {}
    for row in messages:
        if writer_of(row["id"]) in ORDINARY and not row["turns"][0].get("adds"):
            texts.setdefault(writer_of(row["id"]), []).append(row["turns"][0]["user"])
    out = []
    for writer, said in texts.items():
        for text in said + ["\n\n".join(rng.sample(said, LONG)) for _ in range(len(said) // LONG)]:
            chosen = rng.sample(rules, STRANGERS)
            turns = [{"user": "\n".join(chosen), "adds": chosen}, {"user": text}]
            out.append({"id": f"{writer}m-ordinary", "about": "message", "turns": turns})
    return out


def _last(row: dict[str, Any], fold: int, embedder: Embedder) -> list[TurnExample]:
    """The last turn, for what it does to rules alone: its sentences are learned from elsewhere."""
    turn = list(_of_dialogue(row, fold, embedder))[-1]
    return [replace(turn, stands=np.full(len(turn.stands), -1))]


def plain_examples(embedder: Embedder) -> list[TurnExample]:
    """Single sentences made from patterns, in fold -1: they are learned from and never tested on."""
    texts, labels, _ = sentences()
    chosen = random.Random(1).sample(range(len(texts)), min(PATTERNS, len(texts)))
    rows = [
        {"id": "plain", "about": "message", "turns": [{"user": texts[i], "adds": [texts[i]] * labels[i]}]}
        for i in chosen
    ]
    return [e for row in rows for e in _of_dialogue(row, PLAIN, embedder)]


def _of_dialogue(row: dict[str, Any], fold: int, embedder: Embedder) -> Iterator[TurnExample]:
    known: list[Instruction] = []
    for n, turn in enumerate(row["turns"], start=1):
        adds, ended = turn.get("adds", []), turn.get("ends", [])
        readings = read_message(split_sentences(turn["user"]))
        active = in_force(known, n)
        first = PatternPass(readings, active, embedder).run()
        message = collect(readings, embedder)
        rules = collect_rules(message, active, first, embedder) if active and message.readings else None
        said_again = row["about"] == "duplicates" and n > 1 and not adds and not ended
        yield TurnExample(
            row["id"],
            fold,
            message,
            rules,
            np.full(len(message.readings), -1) if said_again else _stands(message, adds),
            _ends(rules, message, adds, ended),
            _repeats(rules, message, adds, said_again),
        )
        gone = InstructionChange("revoke", target_ids=tuple(i.id for i in active if i.text in ended))
        for change in (gone, *(_added(text, turn, readings) for text in adds)):
            known = applied(known, change, n)


def _added(text: str, turn: dict[str, Any], readings: Sequence[Reading]) -> InstructionChange:
    reading = next((r for r in readings if text in r.sentence.text), readings[0])
    lasts = turn.get("lasts", {}).get(text)
    expires_after = None if lasts is None else lasts - 1
    return InstructionChange("add", text=text, kind=reading.kind, expires_after=expires_after, until=until_of(text))


def _stands(message: MessageEvidence, adds: Sequence[str]) -> np.ndarray:
    texts = [r.sentence.text for r in message.readings]
    right = [any(a == t or a in t or (t in a and len(t) > 15) for a in adds) for t in texts]
    inside = [r.reason == PART_OF_ANOTHER for r in message.readings]
    return np.array([-1 if part else int(yes) for yes, part in zip(right, inside, strict=True)])


def _ends(
    rules: RuleEvidence | None, message: MessageEvidence, adds: Sequence[str], ended: Sequence[str]
) -> np.ndarray:
    if rules is None:
        return np.zeros(0, dtype=int)
    labels = []
    heirs = {
        p for p, (members, _) in enumerate(rules.parts) for k in members if message.readings[k].sentence.text in adds
    }
    for part, place in rules.pairs:
        if rules.rules[place].text not in ended:
            labels.append(0)
        elif len(rules.parts) == 1 or heirs == {part}:
            labels.append(1)
        else:
            labels.append(-1)
    return np.array(labels)


def _repeats(rules: RuleEvidence | None, message: MessageEvidence, adds: Sequence[str], said_again: bool) -> np.ndarray:
    if rules is None:
        return np.zeros((len(message.readings), 0), dtype=int)
    labels = np.full((len(message.readings), len(rules.rules)), -1)
    if said_again:
        k, place = np.unravel_index(int(rules.nearness.argmax()), rules.nearness.shape)
        if rules.nearness[k, place] > 0.4:
            labels[k] = 0
            labels[k, place] = 1
        return labels
    for k, reading in enumerate(message.readings):
        if reading.sentence.text in adds:
            labels[k] = 0
    return labels


def pair_key(kind: str, first: str, second: str) -> str:
    """Names one question to the reader, so that its answers can be kept beside the data."""
    return hashlib.blake2b("\x1f".join((kind, first, second)).encode(), digest_size=8).hexdigest()
