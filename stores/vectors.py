"""Vectors in SQL: the truth that every index is a cache of.

`nearest` answers from pgvector where the database has it, else from a FAISS index that this process
keeps in step with SQL. Both search the owner's rows and no others.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, select

from rhea.errors import EmbedderError
from rhea.stores import vectors_pgvector as pgvector
from rhea.stores.base import MessageVectors, VectorHit, WorkItem
from rhea.stores.database import Database
from rhea.stores.prepared import Prepared, PreparedIn
from rhea.stores.rows import insert_new
from rhea.stores.tables import embedders, messages, turns, vectors, work
from rhea.types import OwnerId, TurnState

if TYPE_CHECKING:
    from rhea.stores.vectors_faiss import FaissCache

__all__ = ["VectorRows", "check_vectors", "store_vectors", "unpacked"]


class VectorRows:
    """The part of a store that keeps vectors."""

    database: Database
    cache: FaissCache

    def vectors(
        self, owner: OwnerId, conversation_id: int, embedder_id: str, *, after_message_id: int = 0
    ) -> list[MessageVectors]:
        """Vectors of a conversation in order of message, newer than ``after_message_id``: feeds the caches."""
        given = {"conversation": conversation_id, "owner": owner, "embedder": embedder_id, "after": after_message_id}
        with self.database.read(owner) as connection:
            return [
                MessageVectors(message_id, turn_id, position, tuple(channels.split(",")), unpacked(data, dim))
                for message_id, turn_id, position, channels, data, dim in _NEWER.rows(connection, given)
            ]

    def nearest(
        self,
        owner: OwnerId,
        embedder_id: str,
        queries: NDArray[np.float32],
        *,
        limit: int,
        exclude_conversation: int | None = None,
    ) -> list[VectorHit]:
        """Nearest vectors over all of the owner's conversations, the owner's filter applied inside the search.

        Args:
            owner: whose vectors are searched.
            embedder_id: whose vectors are compared.
            queries: float32 of shape (q, d) or (d,), L2-normalised; a vector scores its best query.
            limit: most hits.
            exclude_conversation: a conversation that is left out inside the search.

        Raises:
            EmbedderError: the query is not finite, or of another size than the stored vectors.
        """
        asked = np.atleast_2d(np.ascontiguousarray(queries, dtype=np.float32))
        if not np.isfinite(asked).all():
            raise EmbedderError("the query's vectors are not finite")
        if limit < 1 or not len(asked):
            return []
        if self.database.dialect == "postgresql":
            with self.database.read(owner) as connection:
                if pgvector.installed(connection):
                    return pgvector.nearest(connection, owner, embedder_id, asked, limit, exclude_conversation)
        return self.cache.scope(owner, embedder_id).search(asked, limit, exclude_conversation)

    def request_vectors(self, embedder_id: str, owner: OwnerId | None = None) -> int:
        """Note as work of kind `reembed` every finished turn with a message that lacks vectors under this embedder.

        Called when the embedder has changed: the old vectors stay, and serve, until the new ones are there.

        Returns:
            Number of turns that now wait for vectors.
        """
        with self.database.read(owner) as connection:
            key = connection.scalar(select(embedders.c.id).where(embedders.c.name == embedder_id))
            has = exists().where(vectors.c.message_id == messages.c.id, vectors.c.embedder_id == (key or 0))
            query = (
                select(turns.c.id, turns.c.user_id, turns.c.conversation_id)
                .where(
                    turns.c.state.in_([TurnState.COMMITTED.value, TurnState.INTERRUPTED.value]),
                    exists().where(messages.c.turn_id == turns.c.id, ~has),
                )
                .order_by(turns.c.id)
            )
            if owner is not None:
                query = query.where(turns.c.user_id == owner)
            missing = connection.execute(query).tuples().all()
        rows: list[dict[str, Any]] = [
            {"kind": "reembed", "user_id": user, "conversation_id": here, "turn_id": turn, "attempts": 0}
            for turn, user, here in missing
        ]
        for start in range(0, len(rows), 1000):  # a large database is asked for in steps, between which others write
            with self.database.write(owner, durable=False) as connection:
                insert_new(connection, work, rows[start : start + 1000])
        return len(missing)

    def embedder_names(self) -> set[str]:
        """Every embedder that has vectors here, or had."""
        with self.database.read() as connection:
            return set(connection.scalars(select(embedders.c.name)))

    def described(self, owner: OwnerId, conversation_id: int, embedder_id: str, previous_id: str) -> bool:
        """Whether every message that has vectors of the previous embedder has those of this one too."""
        old, new = vectors.alias("old"), vectors.alias("new")
        key = {
            name: select(embedders.c.id).where(embedders.c.name == name).scalar_subquery()
            for name in (embedder_id, previous_id)
        }
        has_new = exists().where(new.c.message_id == old.c.message_id, new.c.embedder_id == key[embedder_id])
        query = (
            select(old.c.message_id)
            .where(
                old.c.conversation_id == conversation_id,
                old.c.user_id == owner,
                old.c.embedder_id == key[previous_id],
                ~has_new,
            )
            .limit(1)
        )
        with self.database.read(owner) as connection:
            return connection.scalar(query) is None

    def vector_coverage(self, owner: OwnerId | None = None) -> dict[str, int]:
        """How many messages have vectors, by embedder: the progress of a change of embedder."""
        query = (
            select(embedders.c.name, func.count(vectors.c.message_id))
            .join(vectors, vectors.c.embedder_id == embedders.c.id)
            .group_by(embedders.c.name)
        )
        if owner is not None:
            query = query.where(vectors.c.user_id == owner)
        with self.database.read(owner) as connection:
            return dict(connection.execute(query).tuples().all())

    def drop_vectors(self, embedder_id: str) -> int:
        """Delete every vector of an embedder that is no longer used; returns how many messages had one."""
        with self.database.write() as connection:
            key = connection.scalar(select(embedders.c.id).where(embedders.c.name == embedder_id))
            if key is None:
                return 0
            gone = connection.execute(delete(vectors).where(vectors.c.embedder_id == key)).rowcount
            connection.execute(delete(embedders).where(embedders.c.id == key))
        self.cache.forget(embedder_id=embedder_id)
        return gone


def store_vectors(connection: Connection, fresh: Sequence[tuple[WorkItem, MessageVectors]], embedder: str) -> None:
    """Store vectors inside the caller's transaction; those of messages erased meanwhile are dropped.

    Raises:
        EmbedderError: of another size than the embedder's earlier ones.
    """
    key = _embedder_key(connection, embedder, [entry for _, entry in fresh])
    # A message erased meanwhile, or one of another owner, is described by nothing.
    known: dict[int, tuple[int, int]] = {}
    replaced: list[int] = []
    for start in range(0, len(fresh), _BATCH):
        wanted = [entry.message_id for _, entry in fresh[start : start + _BATCH]]
        for message, turn, user, described in _KNOWN.rows(connection, wanted, {"embedder": key}):
            known[message] = (turn, user)
            if described is not None:
                replaced.append(message)
    fresh = [(i, e) for i, e in fresh if known.get(e.message_id) == (i.turn_id, i.owner) and len(e.channels)]
    for start in range(0, len(replaced), _BATCH):
        _FORGET.run(connection, replaced[start : start + _BATCH], {"embedder": key})
    if fresh:
        _INSERT.run_many(connection, [_row(item, entry, key) for item, entry in fresh])
        if pgvector.installed(connection):
            pgvector.add(connection, fresh, key)


def unpacked(data: bytes, dim: int) -> NDArray[np.float32]:
    """The rows of a packed block, float32 of shape (n, dim)."""
    return np.frombuffer(data, dtype="<f2").astype(np.float32).reshape(-1, dim)


def _row(item: WorkItem, entry: MessageVectors, key: int) -> dict[str, object]:
    data = np.ascontiguousarray(entry.vectors, dtype="<f2").tobytes()
    return {
        "message_id": entry.message_id,
        "embedder_id": key,
        "user_id": item.owner,
        "conversation_id": item.conversation_id,
        "turn_id": item.turn_id,
        "checksum": zlib.crc32(data),
        "channels": ",".join(entry.channels),
        "data": data,
    }


def check_vectors(entry: MessageVectors, embedder_id: str) -> None:
    """Refuse what cannot be stored.

    Raises:
        EmbedderError: not finite in half precision, or not one row a channel.
    """
    shape = entry.vectors.shape
    if entry.vectors.ndim != 2 or shape[0] != len(entry.channels):
        raise EmbedderError(f"{embedder_id}: {len(entry.channels)} channels for vectors of shape {shape}")
    if not np.isfinite(entry.vectors).all() or np.abs(entry.vectors).max(initial=0.0) > np.finfo(np.float16).max:
        raise EmbedderError(f"{embedder_id} gave vectors that are not finite")


def _embedder_key(connection: Connection, name: str, entries: Sequence[MessageVectors]) -> int:
    sizes = {int(entry.vectors.shape[1]) for entry in entries}
    found = _EMBEDDER.run(connection, {"called": name}).one_or_none()
    if found is None:
        insert_new(connection, embedders, [{"name": name, "dim": max(sizes)}])
        found = _EMBEDDER.run(connection, {"called": name}).one()
    if sizes != {found.dim}:
        raise EmbedderError(
            f"{name} gave vectors of {sorted(sizes)} numbers where {found.dim} are expected: a changed embedder"
            " needs another identity"
        )
    return int(found.id)


_BATCH = 500
_EMBEDDER = Prepared(select(embedders.c.id, embedders.c.dim).where(embedders.c.name == bindparam("called")))
_KNOWN = PreparedIn(
    lambda wanted: (
        select(messages.c.id, messages.c.turn_id, messages.c.user_id, vectors.c.message_id)
        .select_from(
            messages.outerjoin(
                vectors, and_(vectors.c.message_id == messages.c.id, vectors.c.embedder_id == bindparam("embedder"))
            )
        )
        .where(messages.c.id.in_(wanted))
    )
)
_FORGET = PreparedIn(
    lambda wanted: delete(vectors).where(
        vectors.c.embedder_id == bindparam("embedder"), vectors.c.message_id.in_(wanted)
    )
)
_INSERT = Prepared(insert(vectors))
_NEWER = Prepared(
    select(
        vectors.c.message_id,
        vectors.c.turn_id,
        turns.c.position,
        vectors.c.channels,
        vectors.c.data,
        embedders.c.dim,
    )
    .join(embedders, embedders.c.id == vectors.c.embedder_id)
    .join(turns, turns.c.id == vectors.c.turn_id)
    .where(
        vectors.c.conversation_id == bindparam("conversation"),
        vectors.c.user_id == bindparam("owner"),
        embedders.c.name == bindparam("embedder"),
        vectors.c.message_id > bindparam("after"),
    )
    .order_by(vectors.c.message_id)
)
