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

from sqlalchemy import Connection, Integer, bindparam, delete, func, or_, select, update

from rhea.stores.base import MessageVectors, WorkItem, WorkKind
from rhea.stores.database import Database
from rhea.stores.holders import gone, this_process
from rhea.stores.prepared import Prepared, PreparedIn
from rhea.stores.rows import insert_new, now
from rhea.stores.tables import messages, turns, work
from rhea.stores.vectors import check_vectors, store_vectors
from rhea.types import OwnerId

__all__ = ["WorkRows", "drop_finished", "enqueue", "store_digests"]


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
        # An idle worker must not take the writer's lock just to learn that nothing is due.
        if self.due_work(kinds, limit=1, owner=owner, conversation_id=conversation_id) == []:
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

    def due_work(
        self,
        kinds: Sequence[WorkKind],
        *,
        limit: int,
        owner: OwnerId | None = None,
        conversation_id: int | None = None,
    ) -> list[WorkItem] | None:
        """All pending pieces, unclaimed; ``None`` when there are more than ``limit``, or somebody works on one.

        A few pieces are done sooner than they are claimed: should two workers do the same ones, the first to finish
        drops them and the other stores nothing.
        """
        query = _due_query(tuple(kinds), owner is not None, conversation_id is not None)
        given: dict[str, Any] = {"most": limit + 1}
        if owner is not None:
            given["owner"] = owner
        if conversation_id is not None:
            given["conversation"] = conversation_id
        with self.database.read(owner) as connection:
            found = query.rows(connection, given)
        if len(found) > limit or any(claimed is not None for *_, claimed in found):
            return None
        return [WorkItem(work_id, kind, OwnerId(user), here, turn) for work_id, kind, user, here, turn, _ in found]

    def finish_work(
        self,
        digests: Sequence[tuple[WorkItem, str, str]],
        vectors: Sequence[tuple[WorkItem, Sequence[MessageVectors]]],
        embedder_id: str,
    ) -> None:
        """(item, digest, compressor id) and (item, vectors): store all of it and drop the work, in one transaction.

        Raises:
            EmbedderError: a vector is not finite, or of another size than the embedder's earlier ones.
        """
        for _, entries in vectors:
            for entry in entries:
                check_vectors(entry, embedder_id)
        with self.database.write(durable=False) as connection:
            mine = drop_finished(connection, [*(i for i, _, _ in digests), *(i for i, _ in vectors)])
            store_digests(connection, [entry for entry in digests if entry[0].id in mine])
            fresh = [(item, entry) for item, entries in vectors if item.id in mine for entry in entries]
            if fresh:
                store_vectors(connection, fresh, embedder_id)

    def finish_digests(self, items: Sequence[tuple[WorkItem, str, str]]) -> None:
        """(item, digest, compressor id): store the digests and drop the work in one transaction."""
        self.finish_work(items, [], "")

    def finish_vectors(self, items: Sequence[tuple[WorkItem, Sequence[MessageVectors]]], embedder_id: str) -> None:
        """Store the vectors of finished work, in half precision, and drop the work, in one transaction.

        Raises:
            EmbedderError: see :meth:`finish_work`.
        """
        self.finish_work([], items, embedder_id)

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


def store_digests(connection: Connection, digests: Sequence[tuple[WorkItem, str, str]]) -> None:
    """Note the digests with their turns; a reply that came back unchanged is not stored twice."""
    if not digests:
        return
    replies: dict[int, str] = {}
    for turn_id, said in _REPLIES.rows(connection, [item.turn_id for item, _, _ in digests]):
        replies[turn_id] = f"{replies[turn_id]}\n{said}" if turn_id in replies else said
    _SET_DIGEST.run_many(
        connection,
        [
            {
                "wanted": item.turn_id,
                "owner": item.owner,
                "made": None if digest == replies.get(item.turn_id) else digest,
                "by": compressor,
            }
            for item, digest, compressor in digests
        ],
    )


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
    found: set[int] = set()
    for start in range(0, len(items), 500):
        found.update(row[0] for row in _DROP.rows(connection, [item.id for item in items[start : start + 500]]))
    return found


_DROP = PreparedIn(lambda wanted: delete(work).where(work.c.id.in_(wanted)).returning(work.c.id))
_REPLIES = PreparedIn(
    lambda wanted: (
        select(messages.c.turn_id, messages.c.text)
        .where(messages.c.turn_id.in_(wanted), messages.c.role == "assistant")
        .order_by(messages.c.turn_id, messages.c.seq)
    )
)
_SET_DIGEST = Prepared(
    update(turns)
    .where(turns.c.id == bindparam("wanted"), turns.c.user_id == bindparam("owner"))
    .values(digest=bindparam("made"), digest_id=bindparam("by"))
)


@cache
def _due_query(kinds: tuple[WorkKind, ...], by_owner: bool, by_conversation: bool) -> Prepared:
    """The oldest pieces of pending work; asked in every turn, so made once."""
    wanted = or_(*(work.c.kind == kind for kind in kinds))
    columns = (work.c.id, work.c.kind, work.c.user_id, work.c.conversation_id, work.c.turn_id, work.c.claimed_by)
    query = select(*columns).where(wanted)
    if by_owner:
        query = query.where(work.c.user_id == bindparam("owner"))
    if by_conversation:
        query = query.where(work.c.conversation_id == bindparam("conversation"))
    return Prepared(query.order_by(work.c.id).limit(bindparam("most", type_=Integer)))
