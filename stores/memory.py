"""Replies as memory tokens: the blobs that a memory-token compressor makes and a model takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, exists, insert, select

from rhea.errors import CompressorError
from rhea.stores.base import WorkItem
from rhea.stores.database import Database
from rhea.stores.tables import memory_tensors, messages, turns
from rhea.stores.work import drop_finished, enqueue
from rhea.types import OwnerId

__all__ = ["MemoryRows"]


class MemoryRows:
    """The part of a store that keeps memory tokens, in half precision."""

    database: Database

    def finish_memory(self, items: Sequence[tuple[WorkItem, NDArray[np.floating[Any]]]], compressor_id: str) -> None:
        """Store replies as memory tokens, each of shape (tokens, width), and drop the work, in one transaction.

        Raises:
            CompressorError: a value is not finite in half precision, or the shape is not (tokens, width).
        """
        packed = [(item, tokens.astype("<f2")) for item, tokens in items]
        for _, tokens in packed:
            if tokens.ndim != 2 or not np.isfinite(tokens).all():
                raise CompressorError(f"{compressor_id} gave memory tokens of shape {tokens.shape} or not finite")
        with self.database.write(durable=False) as connection:
            mine = drop_finished(connection, [item for item, _ in packed])
            for item, tokens in packed:
                held = select(turns.c.id).where(turns.c.id == item.turn_id, turns.c.user_id == item.owner)
                if item.id not in mine or connection.scalar(held) is None:
                    continue
                connection.execute(
                    delete(memory_tensors).where(
                        memory_tensors.c.turn_id == item.turn_id, memory_tensors.c.compressor_id == compressor_id
                    )
                )
                connection.execute(
                    insert(memory_tensors).values(
                        turn_id=item.turn_id,
                        compressor_id=compressor_id,
                        user_id=item.owner,
                        tokens=tokens.shape[0],
                        width=tokens.shape[1],
                        dtype="float16",
                        data=tokens.tobytes(),
                    )
                )

    def memory(self, owner: OwnerId, turn_ids: Sequence[int], compressor_id: str) -> dict[int, NDArray[np.float16]]:
        """The memory tokens of the owner's turns, by turn; turns without are left out."""
        query = select(memory_tensors).where(
            memory_tensors.c.turn_id.in_(turn_ids),
            memory_tensors.c.user_id == owner,
            memory_tensors.c.compressor_id == compressor_id,
        )
        with self.database.read(owner) as connection:
            return {
                row.turn_id: np.frombuffer(row.data, dtype="<f2").reshape(row.tokens, row.width)
                for row in connection.execute(query)
            }

    def request_memory(
        self, compressor_id: str, owner: OwnerId | None = None, *, turn_ids: Sequence[int] | None = None
    ) -> int:
        """Note as pending work every reply (of these turns) without memory tokens of this compressor; how many."""
        has = exists().where(memory_tensors.c.turn_id == turns.c.id, memory_tensors.c.compressor_id == compressor_id)
        replied = exists().where(messages.c.turn_id == turns.c.id, messages.c.role == "assistant")
        query = select(turns.c.id, turns.c.user_id, turns.c.conversation_id).where(replied, ~has).order_by(turns.c.id)
        if owner is not None:
            query = query.where(turns.c.user_id == owner)
        if turn_ids is not None:
            query = query.where(turns.c.id.in_(turn_ids))
        with self.database.write(owner) as connection:
            missing = connection.execute(query).tuples().all()
            for turn_id, user_id, conversation_id in missing:
                enqueue(connection, OwnerId(user_id), conversation_id, [turn_id], ("memory",))
        return len(missing)
