"""Another user's near vectors must not push an owner's own out of the answer."""

from __future__ import annotations

import numpy as np
import pytest

from rhea.stores import SqlStore, open_store
from rhea.stores.base import MessageVectors
from rhea.types import Message, OwnerId


def fill(store: SqlStore, owner: OwnerId, vectors: np.ndarray, a_turn: int = 50) -> list[int]:
    """One message a vector, many messages a turn; returns the ids of the messages."""
    here = store.ensure_conversation(owner, "c")
    chat = [
        [Message("user", f"m{n}") for n in range(min(a_turn, len(vectors) - at))]
        for at in range(0, len(vectors), a_turn)
    ]
    turns = store.append_turns(owner, here, chat)
    items = {item.turn_id: item for item in store.claim_work(["vectors"], limit=len(turns), owner=owner)}
    rows = iter(vectors)
    done = []
    for turn in turns:
        entries = [MessageVectors(m.id, turn.id, turn.position, ("message",), next(rows)[None]) for m in turn.messages]
        done.append((items[turn.id], entries))
    for start in range(0, len(done), 20):
        store.finish_vectors(done[start : start + 20], "e1")
    return [m.id for turn in turns for m in turn.messages]


def halved(rows: np.ndarray) -> np.ndarray:
    """As the store keeps vectors: the expected order must be that of the stored ones."""
    return rows.astype(np.float16).astype(np.float32)


def crowd(url: str, near: int, dim: int = 32) -> None:
    rng = np.random.default_rng(7)
    query = rng.normal(size=dim)
    query /= np.linalg.norm(query)

    def around(count: int, noise: float) -> np.ndarray:
        found = query + noise * rng.normal(size=(count, dim))
        return halved(found / np.linalg.norm(found, axis=1, keepdims=True))

    store = open_store(url)
    ada, eve = store.ensure_user("ada"), store.ensure_user("eve")
    fill(store, eve, around(near, 0.001))
    mine = around(30, 0.5)
    ids = fill(store, ada, mine)
    expected = [ids[row] for row in np.argsort(-(mine @ query.astype(np.float32)), kind="stable")[:10]]
    hits = store.nearest(ada, "e1", query.astype(np.float32), limit=10)
    assert [hit.message_id for hit in hits] == expected
    assert len(store.nearest(eve, "e1", query.astype(np.float32), limit=10)) == 10
    store.close()


def test_two_thousand_near_vectors_of_another_user_crowd_nobody_out(database_url: str) -> None:
    crowd(database_url, 2_000)


@pytest.mark.soak
def test_twenty_thousand_near_vectors_of_another_user_crowd_nobody_out(database_url: str) -> None:
    crowd(database_url, 20_000)


@pytest.mark.slow
def test_an_owner_above_the_exact_size_keeps_a_complete_answer(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the exact size an owner is searched through HNSW; conversations left out inside the search stay out."""
    from rhea.stores import vector_index, vectors_pgvector

    monkeypatch.setattr(vector_index, "HNSW_ABOVE", 1_000)
    monkeypatch.setattr(vectors_pgvector, "EXACT_UP_TO", 1_000)
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(2_500, 16)).astype(np.float32)
    vectors = halved(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    store = open_store(database_url)
    ada = store.ensure_user("ada")
    ids = fill(store, ada, vectors)
    if store.dialect == "postgresql":
        assert vectors_pgvector.index_large_owners(store.database) == [ada]
    found = 0
    for query in vectors[:50]:
        expected = {ids[row] for row in np.argsort(-(vectors @ query), kind="stable")[:10]}
        found += len(expected & {hit.message_id for hit in store.nearest(ada, "e1", query, limit=10)})
    assert found >= 0.97 * 500
    here = store.find_conversation(ada, "c")
    assert store.nearest(ada, "e1", vectors[0], limit=10, exclude_conversation=here) == []
    store.close()
