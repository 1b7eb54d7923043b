"""A change of embedder: new vectors are made in the background, the old ones serve until they are there.

Vectors of two embedders cannot be compared, so a conversation is recalled by one of them at a time: by the old
one until every message that it describes is described by the new one too. What is said meanwhile gets
vectors of the new embedder only; until its conversation has changed over, words alone find it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from rhea.recall.chunks import labelled
from rhea.recall.plan import Recall, RecallPlan
from rhea.recall.work import vectors_of
from rhea.types import OwnerId, TurnRecord

if TYPE_CHECKING:
    from rhea.embed import Embedder
    from rhea.stores.base import Store, WorkItem

__all__ = ["SwitchingRecall", "ask_once", "reembed"]

BATCH = 32
"""Turns embedded in one call: what a crash may make twice, and how long other work may wait."""


class SwitchingRecall(Recall):
    """Recall during a change of embedder: each conversation by the embedder that describes all of it.

    Args:
        store: where turns and vectors are.
        embedder: the new one.
        previous: the old one.
    """

    def __init__(self, store: Store, embedder: Embedder, previous: Embedder) -> None:
        super().__init__(store, embedder)
        self._previous = Recall(store, previous)
        self._ids = embedder.id, previous.id
        self._changed: set[int] = set()
        store.request_vectors(embedder.id)

    def plan(self, owner: OwnerId, conversation_id: int, query: str, **options: Any) -> RecallPlan:
        """See :meth:`rhea.recall.plan.Recall.plan`."""
        if conversation_id not in self._changed:
            if not self._store.described(owner, conversation_id, *self._ids):
                return self._previous.plan(owner, conversation_id, query, **options)
            self._changed.add(conversation_id)
        return super().plan(owner, conversation_id, query, **options)


_asked: WeakSet[Any] = WeakSet()


def ask_once(store: Store, embedder: Embedder) -> None:
    """Where another embedder's vectors are stored, ask for this one's too; once for each store and process."""
    if store not in _asked:
        _asked.add(store)
        if store.embedder_names() - {embedder.id}:
            store.request_vectors(embedder.id)


def reembed(
    store: Store,
    embedder: Embedder,
    *,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Make the vectors that a change of embedder has asked for; any number of processes may help.

    Args:
        store: whose messages.
        embedder: the new embedder.
        limit: most turns to do; ``None`` for all.
        progress: called with the number of turns just finished; `Store.pending_work` has the number to come.

    Returns:
        How many turns were finished.

    Raises:
        EmbedderError: the embedder failed; the turns of that batch wait for the next attempt.
    """
    done = 0
    while limit is None or done < limit:
        items = store.claim_work(("reembed",), limit=BATCH if limit is None else min(BATCH, limit - done))
        if not items:
            break
        try:
            _finish(store, embedder, items)
        except BaseException:
            store.release_work(items)
            raise
        done += len(items)
        if progress is not None:
            progress(len(items))
    return done


def _finish(store: Store, embedder: Embedder, items: list[WorkItem]) -> None:
    for owner in dict.fromkeys(item.owner for item in items):
        mine = [item for item in items if item.owner == owner]
        found = store.turns_by_id(owner, [item.turn_id for item in mine])
        before = [_last_words(store, owner, turn) for turn in found]
        made = dict(zip([turn.id for turn in found], vectors_of(found, before, embedder), strict=True))
        store.finish_vectors([(item, made.get(item.turn_id, [])) for item in mine], embedder.id)


def _last_words(store: Store, owner: OwnerId, turn: TurnRecord) -> str | None:
    earlier = store.last_turns(owner, turn.conversation_id, 1, before=turn.position)
    if not earlier or not earlier[0].messages:
        return None
    last = earlier[0].messages[-1]
    return labelled(last.text, last.name)
