"""A server that is killed: before a read, after the model answered, in the middle of a commit."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pgserver_of_tests import start_postgresql, stop_at_once
from processes import open_memory
from sqlalchemy import event

from rhea.errors import DatabaseUnavailable, ReplyNotSaved
from rhea.stores import upgrade
from rhea.types import TurnState

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgresql")]


class Server:
    """A PostgreSQL of this test's own, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.handle = start_postgresql(folder)
        self.url = self.handle.get_uri()
        upgrade(self.url)

    def kill(self) -> None:
        stop_at_once(self.handle)

    def start(self) -> None:
        self.handle.ensure_postgres_running()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(Path(tempfile.gettempdir()) / f"rhea-pg-{os.getpid()}-{uuid4().hex[:6]}")
    yield running
    running.handle.cleanup()


def test_killed_before_a_read_after_the_answer_and_during_the_commit(server: Server) -> None:
    memory = open_memory(server.url)
    store: Any = memory._services.store
    chat = memory.conversation("chat", user="ada")
    chat.send("Everything is fine.")

    # Before a read.
    server.kill()
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        chat.history()
    with pytest.raises(DatabaseUnavailable):
        chat.begin("Is anybody there?")
    assert time.monotonic() - began < 5
    server.start()
    assert [turn.user for turn in chat.history()] == ["Everything is fine."]

    # After the model answered.
    turn = chat.begin("What is the answer?")
    server.kill()
    began = time.monotonic()
    with pytest.raises(ReplyNotSaved) as caught:
        turn.commit("Forty-two.")
    assert time.monotonic() - began < 5
    assert caught.value.reply == "Forty-two."
    server.start()
    turn.commit(caught.value.reply)
    assert chat.history()[-1].reply == "Forty-two."

    # In the middle of the commit's transaction, at each of its statements, and at COMMIT itself.
    def dying(statement: int) -> str:
        count = 0

        def die_in_time(*_: object) -> None:
            nonlocal count
            count += 1
            if count == statement:
                server.kill()

        turn = chat.begin(f"Statement {statement}?")
        event.listen(store.database.engine, "before_cursor_execute", die_in_time)
        event.listen(store.database.engine, "commit", die_in_time)
        began = time.monotonic()
        try:
            turn.commit(f"Answer {statement}.")
            outcome = "saved"
        except ReplyNotSaved as error:
            outcome = f"handed back: {type(error.__cause__).__name__}"
        finally:
            event.remove(store.database.engine, "before_cursor_execute", die_in_time)
            event.remove(store.database.engine, "commit", die_in_time)
        assert time.monotonic() - began < 5 + 2, "the kill itself takes a moment"
        if count >= statement:
            server.start()
        turn.commit(f"Answer {statement}.")
        assert chat.history()[-1].reply == f"Answer {statement}."
        return outcome

    outcomes = [dying(statement) for statement in (1, 2, 4, 7)]
    assert outcomes[0] == "handed back: DatabaseUnavailable"
    assert set(outcomes) <= {"saved", "handed back: DatabaseUnavailable"}
    found = chat.history()
    assert all(turn.state is TurnState.COMMITTED for turn in found)
    assert [turn.position for turn in found] == list(range(1, len(found) + 1))
    memory.close()


def test_a_server_that_was_never_there_is_a_typed_error_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        open_memory("postgresql://nobody@127.0.0.1:1/none")
    assert time.monotonic() - began < 5
