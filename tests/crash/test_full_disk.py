"""A full disk: a typed error that hands the reply back, reads that go on, nothing acknowledged lost."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path

from processes import open_memory
from sqlalchemy import event

from rhea.errors import ReplyNotSaved, StorageFull
from rhea.types import TurnState


def talk_until_full(memory: object, most: int = 2_000) -> tuple[dict[int, str], str | None]:
    """Acknowledged replies by position, and the reply that was handed back (``None`` when `begin` failed)."""
    chat = memory.conversation("chat", user="ada")  # type: ignore[attr-defined]
    acknowledged: dict[int, str] = {}
    for n in range(most):
        reply = f"reply {n} " + "x" * 3_000
        try:
            turn = chat.begin(f"message {n}")
        except StorageFull:
            return acknowledged, None
        try:
            turn.commit(reply)
        except ReplyNotSaved as error:
            if not isinstance(error.__cause__, StorageFull) or error.reply != reply:
                raise
            return acknowledged, reply
        acknowledged[turn.position] = reply
    raise AssertionError("the disk never filled up")


def check(memory: object, acknowledged: dict[int, str]) -> None:
    chat = memory.conversation("chat", user="ada")  # type: ignore[attr-defined]
    found = {turn.position: turn for turn in chat.history()}
    for position, reply in acknowledged.items():
        assert (found[position].state, found[position].reply) == (TurnState.COMMITTED, reply)


def test_a_database_at_its_page_limit(tmp_path: Path) -> None:
    memory = open_memory(str(tmp_path / "chats.db"))
    engine = memory._services.store.database.engine
    limit = {"pages": 220}

    @event.listens_for(engine, "checkout")
    def cap(connection: object, _record: object, _proxy: object) -> None:
        connection.execute(f"PRAGMA max_page_count={limit['pages']}")  # type: ignore[attr-defined]

    engine.dispose()
    acknowledged, reply = talk_until_full(memory)
    assert len(acknowledged) > 3
    check(memory, acknowledged)
    assert memory.conversation("chat", user="ada").search("message")
    limit["pages"] = 1_000_000
    chat = memory.conversation("chat", user="ada")
    if reply is not None:
        pending = [turn for turn in chat.history() if turn.reply is None][-1]
        memory._services.store.commit_turn(chat._owner, pending.id, reply)
        acknowledged[pending.position] = reply
    check(memory, acknowledged)
    chat.send("there is room again")
    memory.close()


def test_a_file_system_that_takes_no_more(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the write-ahead log can grow no further."""
    memory = open_memory(str(tmp_path / "chats.db"))
    memory.conversation("chat", user="ada").send("first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        now = (tmp_path / "chats.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (now + 2_000_000, hard))
        acknowledged, _ = talk_until_full(memory)
        assert len(acknowledged) > 3
        check(memory, acknowledged)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check(memory, acknowledged)
    memory.conversation("chat", user="ada").send("there is room again")
    memory.close()
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "chats.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
