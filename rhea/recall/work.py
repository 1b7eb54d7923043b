"""Pending work, done: vectors of messages and digests of replies, off the user's critical path.

A commit only notes what is owed. `settle` makes many pieces at once (one embedder call for a whole batch of
turns) and hands all results back in one transaction. Many pieces are claimed first, through the store's leases, so
that workers share them; a few are simply done. A crash in between leaves the pieces to the next caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rhea.compress.base import Compressor
from rhea.embed import Embedder
from rhea.recall.chunks import labelled, pieces
from rhea.stores.base import MessageVectors, Store, WorkItem, WorkKind
from rhea.types import OwnerId, TurnRecord

__all__ = ["settle", "vectors_of"]

_KINDS: tuple[WorkKind, ...] = ("digest", "vectors")
_BATCH = 256
"""Pieces of work a claim: large enough to fill the embedder's batches, small enough for its lease."""
_LEASE_SECONDS = 300.0
_FEW = 8
"""Pieces that are done unclaimed: what a few turns owe takes no longer than its claim would."""


def settle(
    store: Store,
    embedder: Embedder,
    compressor: Compressor,
    *,
    owner: OwnerId | None = None,
    conversation_id: int | None = None,
    limit: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Claim pending digests and vectors and finish them, batch by batch.

    Args:
        store: whose work.
        embedder: makes the vectors.
        compressor: makes the digests.
        owner: only this user's work.
        conversation_id: only this conversation's.
        limit: most pieces to do; ``None`` for all.
        progress: called with the number of pieces just finished.

    Returns:
        How many pieces were finished.

    Raises:
        EmbedderError: the embedder failed; the claimed pieces were given back.
        CompressorError: the compressor failed; likewise.
    """
    done = 0
    while limit is None or done < limit:
        most = _BATCH if limit is None else min(_BATCH, limit - done)
        items = store.due_work(_KINDS, limit=min(_FEW, most), owner=owner, conversation_id=conversation_id)
        claimed = items is None
        if items is None:
            items = store.claim_work(
                _KINDS, limit=most, lease_seconds=_LEASE_SECONDS, owner=owner, conversation_id=conversation_id
            )
        if not items:
            break
        try:
            _finish(store, embedder, compressor, items)
        except BaseException:
            if claimed:
                store.release_work(items)
            raise
        done += len(items)
        if progress is not None:
            progress(len(items))
    return done


def vectors_of(
    turns: Sequence[TurnRecord], before: Sequence[str | None], embedder: Embedder
) -> list[list[MessageVectors]]:
    """Every vector of the messages of some turns, made in one embedder call.

    Args:
        turns: the turns.
        before: for each, the message just before it, labelled; ``None`` at the start.
        embedder: makes the vectors.

    Returns:
        For each turn, one entry a message.
    """
    limit, count = embedder.max_tokens, embedder.count
    texts: list[str] = []
    plans: list[list[tuple[int, tuple[str, ...], slice]]] = []
    for turn, previous in zip(turns, before, strict=True):
        plan: list[tuple[int, tuple[str, ...], slice]] = []
        for message in turn.messages:
            made = pieces(message.text, previous, limit, count, speaker=message.name)
            plan.append((message.id, tuple(p.channel for p in made), slice(len(texts), len(texts) + len(made))))
            texts.extend(p.text for p in made)
            previous = labelled(message.text, message.name)
        plans.append(plan)
    vectors = embedder.embed(texts) if texts else np.zeros((0, embedder.dim), np.float32)
    return [
        [
            MessageVectors(message_id, turn.id, turn.position, channels, vectors[rows])
            for message_id, channels, rows in plan
        ]
        for turn, plan in zip(turns, plans, strict=True)
    ]


def _finish(store: Store, embedder: Embedder, compressor: Compressor, items: Sequence[WorkItem]) -> None:
    digests: list[tuple[WorkItem, str, str]] = []
    vectors: list[tuple[WorkItem, Sequence[MessageVectors]]] = []
    for owner in dict.fromkeys(item.owner for item in items):
        mine = [item for item in items if item.owner == owner]
        turns = {t.id: t for t in store.turns_by_id(owner, sorted({i.turn_id for i in mine}))}
        digests += _digests(compressor, [i for i in mine if i.kind == "digest"], turns)
        vectors += _vectors(store, embedder, owner, [i for i in mine if i.kind == "vectors"], turns)
    store.finish_work(digests, vectors, embedder.id)


def _digests(
    compressor: Compressor, items: Sequence[WorkItem], turns: dict[int, TurnRecord]
) -> list[tuple[WorkItem, str, str]]:
    if not items:
        return []
    replies = [(turns[i.turn_id].reply if i.turn_id in turns else None) or "" for i in items]
    made = compressor.compress(replies)
    return [(i, digest, compressor.id) for i, digest in zip(items, made, strict=True)]


def _vectors(
    store: Store, embedder: Embedder, owner: OwnerId, items: Sequence[WorkItem], turns: dict[int, TurnRecord]
) -> list[tuple[WorkItem, Sequence[MessageVectors]]]:
    if not items:
        return []
    present = [turns[i.turn_id] for i in items if i.turn_id in turns]
    made = dict(
        zip([t.id for t in present], vectors_of(present, _texts_before(store, owner, present), embedder), strict=True)
    )
    # A turn erased meanwhile owes nothing any more: its work is dropped with no vectors.
    return [(i, made.get(i.turn_id, [])) for i in items]


def _texts_before(store: Store, owner: OwnerId, turns: Sequence[TurnRecord]) -> list[str | None]:
    """The last message of the turn before each turn; one query for each gap, none within a run."""
    known = {(t.conversation_id, t.position): t for t in turns}
    found: list[str | None] = []
    for turn in turns:
        earlier = known.get((turn.conversation_id, turn.position - 1))
        if earlier is None and turn.position > 1:
            earlier = next(iter(store.last_turns(owner, turn.conversation_id, 1, before=turn.position)), None)
        found.append(_last_words(earlier))
    return found


def _last_words(turn: TurnRecord | None) -> str | None:
    if turn is None or not turn.messages:
        return None
    return labelled(turn.messages[-1].text, turn.messages[-1].name)
