"""`rhea bench scenarios`: does a dialogue leave the right instructions in force?

Adding, superseding, revoking, expiring, duplicates, near misses and doubts, in English and German. A third of the
dialogues, chosen by a hash of their name, is kept apart: wrong ones among them are counted and not named.

A turn is a message, or ``{"user", "adds", "ends", "lasts"}``: the sentences that begin to stand, the earlier ones
that end, and for how many turns, this one included, a sentence stands. Rows of plain messages name what is
``active`` in the end; for the others it follows from their turns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rhea.bench.files import read_jsonl
from rhea.embed import Embedder, SentenceTransformerEmbedder
from rhea.instructions.detect import InstructionDetector
from rhea.instructions.in_force import in_force
from rhea.types import Instruction, InstructionChange, InstructionStatus

__all__ = ["applied", "expected_state", "final_state", "held_out", "measure_scenarios"]


def held_out(names: Sequence[str]) -> frozenset[str]:
    """The third of the names that is kept for the final figure: those with the smallest SHA-256."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return frozenset(ranked[: len(ranked) // 3])


def final_state(detector: InstructionDetector, turns: Sequence[str]) -> list[str]:
    """Texts in force in the turn after the last one, oldest first."""
    known: list[Instruction] = []
    for position, text in enumerate(turns, start=1):
        active = [i for i in known if i.status is InstructionStatus.ACTIVE]
        for change in detector.detect(text, active).changes:
            known = applied(known, change, position)
    return [i.text for i in in_force(known, len(turns) + 1)]


def applied(known: list[Instruction], change: InstructionChange, position: int) -> list[Instruction]:
    """What is known after a change made in the turn at ``position``, ended instructions included."""
    ended = {"supersede": InstructionStatus.SUPERSEDED, "revoke": InstructionStatus.REVOKED}.get(change.action)
    if ended is not None:
        known = [replace(i, status=ended) if i.id in change.target_ids else i for i in known]
    if change.action not in ("add", "supersede"):
        return known
    added = Instruction(
        id=len(known) + 1,
        text=change.text,
        kind=change.kind,
        scope=change.scope,
        status=InstructionStatus.ACTIVE,
        conversation_id=1,
        source_turn_id=position,
        source_position=position,
        start=change.start,
        end=change.end,
        expires_after=change.expires_after,
        until=change.until,
        topic=change.topic,
    )
    return [*known, added]


def expected_state(row: dict[str, Any]) -> list[str]:
    """Texts that should be in force in the turn after the last one, oldest first."""
    if "active" in row:
        return list(row["active"])
    standing: list[tuple[str, int | None]] = []
    for position, turn in enumerate(row["turns"], start=1):
        lasts = turn.get("lasts", {})
        standing = [(text, last) for text, last in standing if text not in turn.get("ends", ())]
        standing += [(t, position + lasts[t] - 1 if t in lasts else None) for t in turn.get("adds", ())]
    after = len(row["turns"]) + 1
    return [text for text, last in standing if last is None or last >= after]


def measure_scenarios(path: Path, *, embedder: Embedder | None = None) -> dict[str, Any]:
    """Share of dialogues whose final state is right, for tuning and kept aside, and the names of the wrong ones.

    The wrong ones are named among those for tuning alone; ``by_kind`` counts right ones and all, of both.
    """
    detector = InstructionDetector(embedder or SentenceTransformerEmbedder())
    right: dict[bool, list[bool]] = {True: [], False: []}
    kinds: dict[str, list[bool]] = {}
    wrong = []
    rows = read_jsonl(path, ("id", "turns"))
    kept = held_out([row["id"] for row in rows])
    for row in rows:
        messages = [turn["user"] if isinstance(turn, dict) else turn for turn in row["turns"]]
        correct = final_state(detector, messages) == expected_state(row)
        right[row["id"] in kept].append(correct)
        kinds.setdefault(row.get("about", "dialogues"), []).append(correct)
        if not correct and row["id"] not in kept:
            wrong.append(row["id"])
    return {
        "tuning": {"dialogues": len(right[False]), "right": _share(right[False])},
        "held_out": {"dialogues": len(right[True]), "right": _share(right[True])},
        "all": {"dialogues": len(rows), "right": _share(right[False] + right[True])},
        "by_kind": {kind: {"dialogues": len(r), "right": _share(r)} for kind, r in sorted(kinds.items())},
        "wrong": wrong,
    }


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
