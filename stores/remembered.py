"""Turns that were read before, so that a turn which did not change is not read, and not built, again.

Never believed by itself: each use asks SQL for the state, the moment of the last change and the digest of the turns
wanted, for the owner who wants them. What was erased, or is another's, has no such row and is not given out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

from sqlalchemy import Connection, bindparam, select

from rhea.stores.prepared import PreparedIn
from rhea.stores.rows import turn_query, turns_from
from rhea.stores.tables import messages, turns
from rhea.types import OwnerId, TurnRecord

__all__ = ["TurnCache", "read_turns"]

Stamp = tuple[Any, ...]
"""What tells that a turn is as it was: owner, state, moment of the last change, whose digest it has."""


class TurnCache:
    """Turns by id: the first held is the first out.

    Args:
        most: turns held.
        most_characters: of text held; one long turn is held even when it alone is over it.
    """

    def __init__(self, most: int = 8_192, most_characters: int = 16_000_000) -> None:
        self._most = most
        self._most_characters = most_characters
        self._held: OrderedDict[int, tuple[Stamp, TurnRecord]] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def read(self, connection: Connection, owner: OwnerId, turn_ids: Sequence[int]) -> list[TurnRecord]:
        """The owner's turns among these, in order of id: :func:`read_turns`, but what is held is not read again."""
        found: dict[int, TurnRecord] = {}
        stamps: dict[int, Stamp] = {}
        wanted = sorted(set(turn_ids))
        for start in range(0, len(wanted), _BATCH):
            for stamp in _STAMPS.rows(connection, wanted[start : start + _BATCH], {"owner": owner}):
                stamps[stamp[0]] = stamp
        for turn_id, stamp in stamps.items():
            held = self._held.get(turn_id)
            if held is not None and held[0] == stamp:
                found[turn_id] = held[1]
        for turn in read_turns(connection, owner, [turn_id for turn_id in stamps if turn_id not in found]):
            self._put(turn, stamps[turn.id])
            found[turn.id] = turn
        return [found[turn_id] for turn_id in sorted(found)]

    def _put(self, turn: TurnRecord, stamp: Stamp) -> None:
        with self._lock:
            self._drop(turn.id)
            self._held[turn.id] = stamp, turn
            self._characters += _size(turn)
            while len(self._held) > 1 and (len(self._held) > self._most or self._characters > self._most_characters):
                self._drop(next(iter(self._held)))

    def clear(self) -> None:
        """Forget everything: rows were erased."""
        with self._lock:
            self._held.clear()
            self._characters = 0

    def _drop(self, turn_id: int) -> None:
        held = self._held.pop(turn_id, None)
        if held is not None:
            self._characters -= _size(held[1])


def read_turns(connection: Connection, owner: OwnerId, turn_ids: Sequence[int]) -> list[TurnRecord]:
    """The owner's turns among these, in order of id; others are left out."""
    found: list[TurnRecord] = []
    wanted = sorted(set(turn_ids))
    for start in range(0, len(wanted), _BATCH):
        found += turns_from(_TURNS.rows(connection, wanted[start : start + _BATCH], {"owner": owner}))
    return found


_BATCH = 500
_TURNS = PreparedIn(
    lambda wanted: (
        turn_query()
        .where(turns.c.id.in_(wanted), turns.c.user_id == bindparam("owner"))
        .order_by(turns.c.id, messages.c.seq)
    )
)
_STAMPS = PreparedIn(
    lambda wanted: select(turns.c.id, turns.c.user_id, turns.c.state, turns.c.updated_at, turns.c.digest_id).where(
        turns.c.id.in_(wanted), turns.c.user_id == bindparam("owner")
    )
)


def _size(turn: TurnRecord) -> int:
    return len(turn.digest or "") + sum(len(m.text) for m in turn.messages)
