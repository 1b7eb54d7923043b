"""Conversation indexes kept in memory: least recently used first out, under a memory cap.

SQL stays the truth: each use reads what is newer than the index and adds it, and an index whose rows do
not fit what SQL says any more (turns erased, or finished out of order) is built anew.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock

from rhea.recall.index import ConversationIndex
from rhea.stores.base import Store
from rhea.types import OwnerId, TurnRecord, TurnState

__all__ = ["IndexCache"]

_SETTLED = (TurnState.COMMITTED, TurnState.INTERRUPTED)


class IndexCache:
    """Indexes by owner and conversation.

    Args:
        store: where turns and vectors are read from.
        embedder_id: whose vectors are used.
        dim: length of a vector.
        most_bytes: memory cap; the index in use is kept even when it alone is over it.
    """

    def __init__(self, store: Store, embedder_id: str, dim: int, *, most_bytes: int = 512 * 2**20) -> None:
        self.lock = RLock()
        """Held while an index is read or extended."""
        self._store = store
        self._embedder_id = embedder_id
        self._dim = dim
        self._most_bytes = most_bytes
        self._held: OrderedDict[tuple[int, int], ConversationIndex] = OrderedDict()

    def get(self, owner: OwnerId, conversation_id: int, *, before: int | None = None) -> ConversationIndex:
        """The index of a conversation, brought up to date with SQL.

        Args:
            owner: whose conversation.
            conversation_id: which.
            before: position of the turn being asked; only earlier turns are read.
        """
        key = (int(owner), conversation_id)
        with self.lock:
            index = self._held.pop(key, None)
            if index is not None and (
                index.last_seen >= (before or index.last_seen + 1) or self._changed(index, owner)
            ):
                index = None
            if index is None:
                index = ConversationIndex(conversation_id, self._dim)
            self._extend(index, owner, before)
            self._held[key] = index
            self._shrink()
            return index

    def drop(self, owner: OwnerId, conversation_id: int | None = None) -> None:
        """Forget one index, or all of an owner's."""
        with self.lock:
            for key in [k for k in self._held if k[0] == int(owner) and conversation_id in (None, k[1])]:
                del self._held[key]

    def _extend(self, index: ConversationIndex, owner: OwnerId, before: int | None) -> None:
        fresh: list[TurnRecord] = self._store.turns(owner, index.conversation_id, after=index.last_seen, before=before)
        index.add_turns(t for t in fresh if t.state in _SETTLED)
        for turn in fresh:
            index.last_seen = turn.position
            if _may_change(turn):
                index.unsettled[turn.id] = (turn.state, len(turn.messages))
        if not index.complete:
            index.add_vectors(
                self._store.vectors(
                    owner, index.conversation_id, self._embedder_id, after_message_id=index.vectors_wanted_after
                )
            )

    def _changed(self, index: ConversationIndex, owner: OwnerId) -> bool:
        """Whether a turn that was unfinished when it was read has got a reply, or was cut off, since."""
        if not index.unsettled:
            return False
        now = {t.id: t for t in self._store.turns_by_id(owner, sorted(index.unsettled))}
        for turn_id, (state, messages) in list(index.unsettled.items()):
            turn = now.get(turn_id)
            if turn is None or turn.state is TurnState.ABANDONED:
                if state is not TurnState.PENDING:
                    return True
                del index.unsettled[turn_id]
            elif (turn.state, len(turn.messages)) != (state, messages):
                return True
        return False

    def _shrink(self) -> None:
        total = sum(index.nbytes for index in self._held.values())
        while total > self._most_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            total -= dropped.nbytes


def _may_change(turn: TurnRecord) -> bool:
    """A pending turn, or one cut off without a reply, can still be committed."""
    return turn.state is TurnState.PENDING or (turn.state is TurnState.INTERRUPTED and turn.reply is None)
