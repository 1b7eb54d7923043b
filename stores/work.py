"""Pending work: what a commit owes (digests, vectors), claimed by one worker, done once in effect.

A claim is a lease under the worker's process identity. When the process dies, or the lease runs out,
the next worker takes the piece. Whoever finishes first deletes the row in the transaction that stores
the result; a second finisher finds no row and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, or_, select, update

from rhea.stores.base import WorkItem, WorkKind
from rhea.stores.database import Database
from rhea.stores.holders import gone, this_process
from rhea.stores.rows import insert_new, now
from rhea.stores.tables import messages, turns, work
from rhea.types import OwnerId

__all__ = ["WorkRows", "drop_finished", "enqueue"]


class WorkRows:
    """The part of a store that hands out pending work."""

    database: Database

    def claim_work(
        self,
        kinds: Sequence[WorkKind],
        *,
        limit: int,
        lease_seconds: float = 60.0,
        owner: OwnerId | None = None,
        conversation_id: int | None = None,
    ) -> list[WorkItem]:
        """Claim up to ``limit`` pieces, oldest first; others cannot claim them until the lease runs out."""
        with self.database.read(owner) as connection:
            # An idle worker must not take the writer's lock just to learn that nothing is due.
            given = {"kinds": list(kinds), "owner": owner, "conversation": conversation_id}
            if connection.scalar(_any_query(owner is not None, conversation_id is not None), given) is None:
                return []
        with self.database.write(owner, durable=False) as connection:
            moment = now()
            claimants = connection.scalars(select(work.c.claimed_by).where(work.c.claimed_by.is_not(None)).distinct())
            dead = [claimant for claimant in claimants if gone(claimant)]
            free = or_(work.c.claimed_by.is_(None), work.c.lease_until < moment, work.c.claimed_by.in_(dead))
            query = select(work).where(work.c.kind.in_(kinds), free)
            if owner is not None:
                query = query.where(work.c.user_id == owner)
            if conversation_id is not None:
                query = query.where(work.c.conversation_id == conversation_id)
            query = query.order_by(work.c.id).limit(limit).with_for_update(skip_locked=True)
            found = connection.execute(query).all()
            if found:
                connection.execute(
                    update(work)
                    .where(work.c.id.in_([row.id for row in found]))
                    .values(
                        claimed_by=this_process(),
                        lease_until=moment + timedelta(seconds=lease_seconds),
                        attempts=work.c.attempts + 1,
                    )
                )
            return [WorkItem(row.id, row.kind, OwnerId(row.user_id), row.conversation_id, row.turn_id) for row in found]

    def finish_digests(self, items: Sequence[tuple[WorkItem, str, str]]) -> None:
        """(item, digest, compressor id): store the digests and drop the work in one transaction."""
        with self.database.write(durable=False) as connection:
            mine = drop_finished(connection, [item for item, _, _ in items])
            fresh = [entry for entry in items if entry[0].id in mine]
            replies = _replies(connection, [item.turn_id for item, _, _ in fresh])
            for item, digest, compressor in fresh:
                # A short reply comes back from its compressor unchanged: it is not stored twice.
                kept = None if digest == replies.get(item.turn_id) else digest
                connection.execute(
                    update(turns)
                    .where(turns.c.id == item.turn_id, turns.c.user_id == item.owner)
                    .values(digest=kept, digest_id=compressor)
                )

    def release_work(self, items: Sequence[WorkItem]) -> None:
        """Give claimed pieces back, for others to claim at once."""
        with self.database.write(durable=False) as connection:
            connection.execute(
                update(work)
                .where(work.c.id.in_([item.id for item in items]), work.c.claimed_by == this_process())
                .values(claimed_by=None, lease_until=None)
            )

    def pending_work(self, owner: OwnerId | None = None) -> dict[str, int]:
        """Number of pending pieces by kind, claimed ones included."""
        query = select(work.c.kind, func.count()).group_by(work.c.kind)
        if owner is not None:
            query = query.where(work.c.user_id == owner)
        with self.database.read(owner) as connection:
            return dict(connection.execute(query).tuples().all())


def _replies(connection: Connection, turn_ids: Sequence[int]) -> dict[int, str]:
    query = (
        select(messages.c.turn_id, messages.c.text)
        .where(messages.c.turn_id.in_(turn_ids), messages.c.role == "assistant")
        .order_by(messages.c.turn_id, messages.c.seq)
    )
    found: dict[int, str] = {}
    for turn_id, said in connection.execute(query).tuples():
        found[turn_id] = f"{found[turn_id]}\n{said}" if turn_id in found else said
    return found


def enqueue(
    connection: Connection, owner: OwnerId, conversation_id: int, turn_ids: Sequence[int], kinds: Sequence[WorkKind]
) -> None:
    """Note the work that these turns owe, inside the caller's transaction; what is noted already stays."""
    rows = [
        {"kind": kind, "user_id": owner, "conversation_id": conversation_id, "turn_id": turn_id, "attempts": 0}
        for turn_id in turn_ids
        for kind in kinds
    ]
    if rows:
        insert_new(connection, work, rows)


def drop_finished(connection: Connection, items: Sequence[WorkItem]) -> set[int]:
    """Delete the rows of finished work; returns the ids that were still there, whose results are to be stored."""
    if not items:
        return set()
    return set(connection.scalars(delete(work).where(work.c.id.in_([item.id for item in items])).returning(work.c.id)))


@cache
def _any_query(by_owner: bool, by_conversation: bool) -> Select[Any]:
    """Whether any work is noted at all; asked in every turn, so built once."""
    query = select(work.c.id).where(work.c.kind.in_(bindparam("kinds", expanding=True)))
    if by_owner:
        query = query.where(work.c.user_id == bindparam("owner"))
    if by_conversation:
        query = query.where(work.c.conversation_id == bindparam("conversation"))
    return query.limit(1)
