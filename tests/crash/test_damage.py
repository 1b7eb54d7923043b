"""Damaged cache files: found out by their checksum, made anew from SQL, never a wrong answer."""

from __future__ import annotations

import random
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from rhea.errors import StorageFull
from rhea.stores import SqlStore, open_store
from rhea.stores.base import MessageVectors
from rhea.types import Message, OwnerId


def unit_rows(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    # As the store keeps vectors: the expected answers must be those of the stored ones.
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def add(store: SqlStore, owner: OwnerId, vectors: np.ndarray, chat: str = "c") -> list[int]:
    turns = store.append_turns(owner, store.ensure_conversation(owner, chat), [[Message("user", "m")] for _ in vectors])
    items = {item.turn_id: item for item in store.claim_work(["vectors"], limit=len(turns), owner=owner)}
    done = [
        (items[turn.id], [MessageVectors(turn.messages[0].id, turn.id, turn.position, ("message",), vector[None])])
        for turn, vector in zip(turns, vectors, strict=True)
    ]
    store.finish_vectors(done, "e1")
    return [turn.messages[0].id for turn in turns]


def cached(folder: Path) -> Path:
    (found,) = folder.rglob("*.vectors")
    return found


def damage_often(tmp_path: Path, times: int) -> dict[str, int]:
    """Truncate or flip bits of the cache file again and again; each answer must be the right one."""
    vectors = unit_rows(300, 24, 1)
    url, folder = tmp_path / "chats.db", tmp_path / "cache"
    store = open_store(url, cache_dir=folder)
    owner = store.ensure_user("ada")
    ids = add(store, owner, vectors)
    store.nearest(owner, "e1", vectors[0], limit=1)
    store.close()
    whole = cached(folder).read_bytes()
    chance = random.Random(3)
    totals = {"truncated": 0, "flipped": 0, "rebuilt": 0, "wrong": 0}
    for number in range(times):
        damaged = bytearray(whole)
        if number % 2:
            del damaged[chance.randrange(len(damaged)) :]
            totals["truncated"] += 1
        else:
            for _ in range(chance.choice([1, 1, 8])):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            totals["flipped"] += 1
        cached(folder).write_bytes(damaged)
        store = open_store(url, cache_dir=folder)
        query = unit_rows(1, 24, number)[0]
        expected = [ids[row] for row in np.argsort(-(vectors @ query), kind="stable")[:10]]
        totals["wrong"] += [hit.message_id for hit in store.nearest(owner, "e1", query, limit=10)] != expected
        store.close()
        totals["rebuilt"] += cached(folder).read_bytes() == whole
    return totals


def test_damaged_cache_files_are_made_anew(tmp_path: Path) -> None:
    assert damage_often(tmp_path, 20) == {"truncated": 10, "flipped": 10, "rebuilt": 20, "wrong": 0}


@pytest.mark.soak
def test_two_hundred_damaged_cache_files(tmp_path: Path) -> None:
    totals = damage_often(tmp_path, 200)
    print(f"\ndamaged FAISS files: {totals}")
    assert totals == {"truncated": 100, "flipped": 100, "rebuilt": 200, "wrong": 0}


def test_a_whole_file_is_used_and_only_new_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rhea.stores import vectors_faiss

    vectors = unit_rows(60, 8, 2)
    store = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    owner = store.ensure_user("ada")
    add(store, owner, vectors[:50])
    store.nearest(owner, "e1", vectors[0], limit=1)
    store.close()
    store = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    later = add(store, owner, vectors[50:])
    read: list[int] = []
    real = vectors_faiss.add
    monkeypatch.setattr(vectors_faiss, "add", lambda index, rows: (read.append(len(rows)), real(index, rows)))
    assert store.nearest(owner, "e1", vectors[55], limit=1)[0].message_id == later[5]
    assert read == [10]
    store.close()


@pytest.mark.parametrize("change", ["another database", "erased meanwhile", "restored from a backup"])
def test_a_cache_of_other_rows_is_not_believed(tmp_path: Path, change: str) -> None:
    first, second = unit_rows(20, 8, 4), unit_rows(20, 8, 5)
    store = open_store(tmp_path / "a.db", cache_dir=tmp_path / "cache")
    owner = store.ensure_user("ada")
    add(store, owner, first[:10])
    store.database.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = (tmp_path / "a.db").read_bytes()
    add(store, owner, first[10:], "d")
    store.nearest(owner, "e1", first[0], limit=1)
    store.close()
    if change == "another database":
        store, rows = open_store(tmp_path / "b.db", cache_dir=tmp_path / "cache"), second
        store.ensure_user("ada")
        add(store, owner, second)
    elif change == "erased meanwhile":
        other = open_store(tmp_path / "a.db")
        other.delete_rows(owner, other.find_conversation(owner, "d"))
        other.close()
        store, rows = open_store(tmp_path / "a.db", cache_dir=tmp_path / "cache"), first[:10]
    else:
        (tmp_path / "a.db").write_bytes(backup)
        store = open_store(tmp_path / "a.db", cache_dir=tmp_path / "cache")
        add(store, owner, second[10:], "d")  # the same identifiers again, with other vectors
        rows = np.concatenate([first[:10], second[10:]])
    for query in (*first[:3], *second[-3:]):
        scores = [hit.score for hit in store.nearest(owner, "e1", query, limit=5)]
        np.testing.assert_allclose(scores, sorted(rows @ query, reverse=True)[:5], atol=1e-6)
    store.close()


def test_what_another_process_erased_is_not_written_again(tmp_path: Path) -> None:
    store = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    owner = store.ensure_user("ada")
    add(store, owner, unit_rows(20, 8, 4))
    store.nearest(owner, "e1", unit_rows(1, 8, 5)[0], limit=1)  # held in memory, too small to be written yet
    other = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    other.delete_rows(owner)
    other.close()
    store.close()
    assert list((tmp_path / "cache").rglob("*.vectors")) == []


def test_memory_is_capped_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    from rhea.stores.vectors_faiss import FaissCache

    store = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    owners = [store.ensure_user(f"u{n}") for n in range(6)]
    vectors = unit_rows(100, 64, 6)
    for owner in owners:
        add(store, owner, vectors)
    cache = FaissCache(store.database, tmp_path / "cache", most_bytes=100_000)
    for owner in owners:
        assert len(cache.scope(owner, "e1").message_ids) == 100
    assert [scope.owner for scope in cache._held] == owners[-3:]
    assert len(list((tmp_path / "cache").rglob("*.vectors"))) == 3, "what was let go was written first"
    here = store.find_conversation(owners[0], "c")
    one = cache.scope(owners[0], "e1", here)
    np.testing.assert_allclose(one.similarities(vectors[:1]), vectors @ vectors[0], atol=1e-6)
    store.close()


def test_a_full_disk_under_the_cache_is_a_typed_error_and_reads_go_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the full disk: the write fails half way, the old file must stay whole."""
    vectors = unit_rows(400, 64, 8)
    store = open_store(tmp_path / "chats.db", cache_dir=tmp_path / "cache")
    owner = store.ensure_user("ada")
    add(store, owner, vectors[:50])
    store.nearest(owner, "e1", vectors[0], limit=1)
    store.cache.save()
    before = cached(tmp_path / "cache").read_bytes()
    ids = add(store, owner, vectors[50:], "d")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.database.engine.dispose()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
        assert store.nearest(owner, "e1", vectors[60], limit=1)[0].message_id == ids[10]
        with pytest.raises(StorageFull):
            store.cache.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cached(tmp_path / "cache").read_bytes() == before
    assert len(list((tmp_path / "cache").rglob("*.vectors*"))) == 1, "no temporary file is left"
    store.cache.save()
    assert cached(tmp_path / "cache").stat().st_size > len(before)
    store.close()
