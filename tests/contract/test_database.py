"""The unit of work: bounded waits, typed errors, threads, and a file for its user's eyes alone."""

from __future__ import annotations

import inspect
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exc, text

from rhea import errors
from rhea.errors import (
    DatabaseBusy,
    DatabaseInvalid,
    DatabaseUnavailable,
    InvalidText,
    SettingsError,
    StorageFull,
    StoreError,
)
from rhea.ownership import UserData
from rhea.stores import open_store
from rhea.stores.database import Database, parse_url, translate
from rhea.types import Message, OwnerId

MEMORY = Database("sqlite://")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("chats.db", "sqlite:///chats.db"),
        (Path("/data/chats.db"), "sqlite:////data/chats.db"),
        ("sqlite:///chats.db", "sqlite:///chats.db"),
        ("sqlite+pysqlite:///chats.db", "sqlite:///chats.db"),
        ("sqlite://", "sqlite://"),
        (":memory:", "sqlite://"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://ada:secret@h/d", "postgresql+psycopg://ada:***@h/d"),
    ],
)
def test_urls_and_paths(given: str | Path, shown: str) -> None:
    assert parse_url(given).render_as_string() == shown


@pytest.mark.parametrize("given", ["mysql://h/d", "sqlite:///x?synchronous=never", "postgresql://h:port/d"])
def test_urls_that_cannot_be_used(given: str) -> None:
    with pytest.raises(SettingsError):
        Database(given)


def test_a_new_file_is_its_users_alone_and_marked_as_rheas(tmp_path: Path) -> None:
    open_store(tmp_path / "chats.db").close()
    assert (tmp_path / "chats.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "chats.db").read_bytes()[68:72] == b"Rhea"


def test_a_folder_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        open_store(tmp_path / "missing" / "chats.db")
    with pytest.raises(DatabaseUnavailable):
        open_store(tmp_path)


def test_a_damaged_file_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    store = open_store(path)
    here = store.ensure_conversation(store.ensure_user("ada"), "c")
    store.append_turns(OwnerId(1), here, [[Message("user", "x" * 5_000)] for _ in range(50)])
    store.compact()
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(DatabaseInvalid):
        open_store(path).turns(OwnerId(1), here)


def test_a_writer_waits_for_the_lock_no_longer_than_it_was_told(tmp_path: Path) -> None:
    store = open_store(tmp_path / "chats.db", busy_seconds=0.3)
    ada = store.ensure_user("ada")
    trip = store.ensure_conversation(ada, "trip")
    with closing(sqlite3.connect(tmp_path / "chats.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(DatabaseBusy, match="try again"):
            store.begin_turn(ada, trip, Message("user", "x"), [])
        assert 0.2 < time.monotonic() - began < 3
        assert store.turns(ada, trip) == [], "reading goes on beside a writer"
        other.execute("ROLLBACK")
    assert store.begin_turn(ada, trip, Message("user", "x"), []).position == 1
    store.close()


def test_a_reader_that_holds_on_keeps_the_files_from_being_rewritten_but_not_the_rows_from_going(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path / "chats.db", busy_seconds=0.3)
    ada = store.ensure_user("ada")
    store.append_turns(ada, store.ensure_conversation(ada, "c"), [[Message("user", "my pineapplish secret")]])
    with closing(sqlite3.connect(tmp_path / "chats.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        with pytest.raises(DatabaseBusy):
            UserData(store, ada, "ada").erase()
        reader.execute("ROLLBACK")
    assert store.list_users() == []
    store.compact()
    store.close()
    assert b"pineapplish" not in (tmp_path / "chats.db").read_bytes()


def test_a_block_that_raises_leaves_nothing(database_url: str) -> None:
    store = open_store(database_url)

    def fail() -> None:
        with store.database.write() as connection:
            connection.execute(text("INSERT INTO users (name, created_at) VALUES ('ghost', 0)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.list_users() == []
    store.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_threads_share_a_store(tmp_path: Path, kind: str) -> None:
    store = open_store("sqlite://" if kind == "memory" else tmp_path / "chats.db")
    ada = store.ensure_user("ada")
    trip = store.ensure_conversation(ada, "trip")
    failed: list[BaseException] = []

    def talk(number: int) -> None:
        try:
            for n in range(20):
                turn = store.begin_turn(ada, trip, Message("user", f"{number} {n}"), [])
                store.commit_turn(ada, turn.id, "yes")
                store.last_turns(ada, trip, 3)
                store.search_text(ada, str(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [turn.position for turn in store.turns(ada, trip)] == list(range(1, 161))
    store.close()


# every error of the layers below has a type of ours


def sqlite_error(name: str, said: str = "said") -> sqlite3.Error:
    error = sqlite3.OperationalError(said)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SQLITE_BUSY", DatabaseBusy),
        ("SQLITE_BUSY_SNAPSHOT", DatabaseBusy),
        ("SQLITE_LOCKED", DatabaseBusy),
        ("SQLITE_FULL", StorageFull),
        ("SQLITE_IOERR_WRITE", StorageFull),
        ("SQLITE_NOTADB", DatabaseInvalid),
        ("SQLITE_CORRUPT", DatabaseInvalid),
        ("SQLITE_CORRUPT_VTAB", DatabaseInvalid),
        ("SQLITE_CANTOPEN", DatabaseUnavailable),
        ("SQLITE_READONLY", DatabaseUnavailable),
        ("SQLITE_IOERR_READ", DatabaseUnavailable),
        ("SQLITE_PERM", DatabaseUnavailable),
        ("SQLITE_ERROR", StoreError),
    ],
)
def test_errors_of_sqlite(name: str, expected: type[StoreError]) -> None:
    wrapped = exc.OperationalError("SELECT", {}, sqlite_error(name))
    assert type(translate(wrapped, MEMORY)) is expected
    assert type(translate(sqlite_error(name), MEMORY)) is expected


def test_a_foreign_schema_is_told_from_other_mistakes() -> None:
    assert type(translate(sqlite_error("SQLITE_ERROR", "no such table: turns"), MEMORY)) is DatabaseInvalid


def test_every_error_of_postgresql_is_ours_and_the_known_ones_are_told_apart() -> None:
    psycopg = pytest.importorskip("psycopg")
    database = Database("postgresql://h/d")
    classes = [c for _, c in inspect.getmembers(psycopg.errors, inspect.isclass) if issubclass(c, psycopg.Error)]
    assert len(classes) > 200
    ours = {c for _, c in inspect.getmembers(errors, inspect.isclass)}
    for kind in classes:
        assert type(translate(exc.DBAPIError("SELECT", {}, kind("said")), database)) in ours
    known: dict[type[Exception], type[Exception]] = {
        psycopg.errors.LockNotAvailable: DatabaseBusy,
        psycopg.errors.DeadlockDetected: DatabaseBusy,
        psycopg.errors.SerializationFailure: DatabaseBusy,
        psycopg.errors.DiskFull: StorageFull,
        psycopg.errors.AdminShutdown: DatabaseUnavailable,
        psycopg.errors.CannotConnectNow: DatabaseUnavailable,
        psycopg.errors.TooManyConnections: DatabaseUnavailable,
        psycopg.errors.InvalidPassword: DatabaseUnavailable,
        psycopg.errors.InsufficientPrivilege: DatabaseUnavailable,
        psycopg.errors.UndefinedTable: DatabaseInvalid,
        psycopg.errors.DataCorrupted: DatabaseInvalid,
        psycopg.OperationalError: DatabaseUnavailable,
        psycopg.errors.UniqueViolation: StoreError,
    }
    for kind, expected in known.items():
        assert type(translate(exc.DBAPIError("SELECT", {}, kind("said")), database)) is expected, kind
    database.close()


@pytest.mark.parametrize(
    "error", [exc.TimeoutError("pool"), UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")]
)
def test_errors_above_the_driver(error: Any) -> None:
    expected = {exc.TimeoutError: DatabaseBusy, UnicodeEncodeError: InvalidText}[type(error)]
    assert type(translate(error, MEMORY)) is expected


def test_messages_hide_the_password() -> None:
    database = Database("postgresql://ada:secret@h/d")
    assert "secret" not in str(translate(exc.TimeoutError("pool"), database))
    database.close()


def test_no_transaction_stays_open_while_a_model_answers(database_url: str) -> None:
    from rhea import Rhea
    from rhea.settings import Settings
    from rhea.testing import EchoModel, HashEmbedder

    open_connections: list[int] = []

    def answer(_messages: Any) -> str:
        open_connections.append(memory._services.store.database.engine.pool.checkedout())
        return "an answer"

    memory = Rhea(database_url, model=EchoModel(answer), embedder=HashEmbedder(), settings=Settings(background=False))
    chat = memory.conversation("chat", user="ada")
    for n in range(3):
        assert chat.send(f"From now on say {n}.") == "an answer"
    assert open_connections == [0, 0, 0]
    memory.close()


def test_the_queue_of_writers_is_bounded_and_a_waiter_that_gave_up_holds_nothing(tmp_path: Path) -> None:
    import fcntl

    store = open_store(tmp_path / "chats.db", busy_seconds=0.2)
    ada = store.ensure_user("ada")
    trip = store.ensure_conversation(ada, "trip")
    with (tmp_path / "chats.db-lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(DatabaseBusy, match=r"chats\.db busy"):
                store.begin_turn(ada, trip, Message("user", "x"), [])
        assert 0.3 < time.monotonic() - began < 5
        assert store.turns(ada, trip) == []
        fcntl.flock(other, fcntl.LOCK_UN)
        time.sleep(0.2)  # the waiters that gave up get the lock now, and must let it go
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert store.begin_turn(ada, trip, Message("user", "x"), []).position == 1
    store.close()
