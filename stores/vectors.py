"""Vectors in SQL: the truth that every index is a cache of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, insert, select

from rhea.errors import EmbedderError
from rhea.stores.base import MessageVectors, VectorHit, WorkItem
from rhea.stores.database import Database
from rhea.stores.tables import embedders, messages, turns, vectors
from rhea.stores.work import drop_finished
from rhea.types import OwnerId

__all__ = ["VectorRows"]


class VectorRows:
    """The part of a store that keeps vectors."""

    database: Database

    def finish_vectors(self, items: Sequence[tuple[WorkItem, Sequence[MessageVectors]]], embedder_id: str) -> None:
        """Store the vectors of finished work and drop the work, in one transaction.

        Raises:
            EmbedderError: a vector is not finite, or of another size than the embedder's earlier ones.
        """
        for _, found in items:
            for entry in found:
                _check(entry, embedder_id)
        with self.database.write(durable=False) as connection:
            mine = drop_finished(connection, [item for item, _ in items])
            for item, found in items:
                if item.id in mine:
                    for entry in found:
                        self._store_vectors(connection, item, entry, embedder_id)

    def _store_vectors(self, connection: Connection, item: WorkItem, entry: MessageVectors, embedder: str) -> None:
        key = _embedder_key(connection, embedder, int(entry.vectors.shape[1]))
        owned = connection.scalar(
            select(messages.c.id).where(
                messages.c.id == entry.message_id,
                messages.c.turn_id == item.turn_id,
                messages.c.user_id == item.owner,
            )
        )
        if owned is None:  # erased meanwhile, or not this owner's: nothing to describe
            return
        connection.execute(
            delete(vectors).where(vectors.c.message_id == entry.message_id, vectors.c.embedder_id == key)
        )
        connection.execute(
            insert(vectors).values(
                message_id=entry.message_id,
                embedder_id=key,
                user_id=item.owner,
                conversation_id=item.conversation_id,
                turn_id=item.turn_id,
                channels=",".join(entry.channels),
                data=np.ascontiguousarray(entry.vectors, dtype="<f4").tobytes(),
            )
        )

    def vectors(
        self, owner: OwnerId, conversation_id: int, embedder_id: str, *, after_message_id: int = 0
    ) -> list[MessageVectors]:
        """Vectors of a conversation in order of message, newer than ``after_message_id``: feeds the caches."""
        query = (
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
                vectors.c.conversation_id == conversation_id,
                vectors.c.user_id == owner,
                embedders.c.name == embedder_id,
                vectors.c.message_id > after_message_id,
            )
            .order_by(vectors.c.message_id)
        )
        with self.database.read(owner) as connection:
            return [
                MessageVectors(message_id, turn_id, position, tuple(channels.split(",")), unpacked(data, dim))
                for message_id, turn_id, position, channels, data, dim in connection.execute(query).tuples()
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
        """Nearest vectors over all of the owner's conversations: exact, over the owner's rows and no others."""
        query = (
            select(
                vectors.c.message_id, vectors.c.turn_id, vectors.c.conversation_id, vectors.c.channels, vectors.c.data
            )
            .join(embedders, embedders.c.id == vectors.c.embedder_id)
            .where(vectors.c.user_id == owner, embedders.c.name == embedder_id)
            .order_by(vectors.c.message_id)
        )
        if exclude_conversation is not None:
            query = query.where(vectors.c.conversation_id != exclude_conversation)
        asked = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        hits: list[VectorHit] = []
        with self.database.read(owner) as connection:
            for message_id, turn_id, conversation_id, channels, data in connection.execute(query).tuples():
                scores = (unpacked(data, asked.shape[1]) @ asked.T).max(axis=1)
                hits += [
                    VectorHit(message_id, turn_id, conversation_id, channel, float(score))
                    for channel, score in zip(channels.split(","), scores, strict=True)
                ]
        hits.sort(key=lambda hit: (-hit.score, hit.message_id))
        return hits[:limit]


def unpacked(data: bytes, dim: int) -> NDArray[np.float32]:
    """The rows of a packed block, shape (n, dim)."""
    return np.frombuffer(data, dtype="<f4").reshape(-1, dim)


def _check(entry: MessageVectors, embedder_id: str) -> None:
    shape = entry.vectors.shape
    if entry.vectors.ndim != 2 or shape[0] != len(entry.channels):
        raise EmbedderError(f"{embedder_id}: {len(entry.channels)} channels for vectors of shape {shape}")
    if not np.isfinite(entry.vectors).all():
        raise EmbedderError(f"{embedder_id} gave vectors that are not finite")


def _embedder_key(connection: Connection, name: str, dim: int) -> int:
    found = connection.execute(select(embedders.c.id, embedders.c.dim).where(embedders.c.name == name)).one_or_none()
    if found is None:
        return int(
            connection.execute(insert(embedders).values(name=name, dim=dim).returning(embedders.c.id)).scalar_one()
        )
    if found.dim != dim:
        raise EmbedderError(f"{name} gave vectors of {dim} numbers, {found.dim} before: name another identity for it")
    return int(found.id)
