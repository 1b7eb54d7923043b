"""kill -9 at any moment: what was acknowledged is there, nothing is half there, the next start resumes."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from processes import converse, die_at_statement, die_at_step, open_memory, started
from sqlalchemy.engine import make_url

from rhea.types import TurnState

pytestmark = pytest.mark.slow

STEPS = ("detect", "begin", "embed", "recall", "assemble", "model", "commit", "digest")


def listen(pipe: Any, seconds: float) -> list[tuple[str, int, Any]]:
    """What the child reported until it died or the time was over."""
    heard = []
    deadline = time.monotonic() + seconds
    try:
        while pipe.poll(max(0.0, deadline - time.monotonic())):
            heard.append(pipe.recv())
            if heard[-1][0] in {"done", "survived"}:
                break
    except EOFError:
        pass
    return heard


def check(url: str, name: str, acknowledged: dict[int, str]) -> tuple[int, int]:
    """Open the database as the next process would; returns (turns, turns marked interrupted)."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(parsed.database))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    memory = open_memory(url)
    chat = memory.conversation(name, user="ada")
    turns = chat.history()
    assert [turn.position for turn in turns] == list(range(1, len(turns) + 1))
    by_position = {turn.position: turn for turn in turns}
    for position, reply in acknowledged.items():
        turn = by_position[position]
        assert (turn.state, turn.reply) == (TurnState.COMMITTED, reply), "an acknowledged turn was lost"
    for turn in turns:
        assert turn.state is not TurnState.PENDING, "the dead process's turn must be marked"
        roles = [message.role for message in turn.messages]
        whole = ["user", "assistant"] if turn.state is TurnState.COMMITTED else ["user"]
        assert roles == whole, f"half a turn: {turn}"
    after = chat.begin("The conversation goes on.")
    after.commit("It does.")
    memory.settle()
    assert memory._services.store.pending_work() == {}, "pending work must be resumed"
    done = chat.history()
    assert all(turn.digest is not None for turn in done if turn.state is TurnState.COMMITTED)
    owner = memory._services.store.find_user("ada")
    here = memory._services.store.find_conversation(owner, name)
    described = {entry.message_id for entry in memory._services.store.vectors(owner, here, "hash-16")}
    assert described == {message.id for turn in done for message in turn.messages}
    memory.close()
    return len(turns), sum(turn.state is TurnState.INTERRUPTED for turn in turns)


def kill_at_random(url: str, kills: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    totals = {"kills": 0, "acknowledged": 0, "interrupted": 0, "begun": 0}
    for number in range(kills):
        name = f"chat {number % 20}"
        with started(converse, url, name, 10_000) as (child, pipe):
            heard = listen(pipe, 30) if not pipe.poll(30) else [pipe.recv()]
            assert heard, "the child never began a turn"
            # Any moment of the first turns: in a transaction, between two, in a checkpoint.
            heard += listen(pipe, chance.uniform(0.0, 0.08))
            child.kill()
            child.join(30)
            heard += listen(pipe, 1)
        acknowledged = {position: reply for kind, position, reply in heard if kind == "acknowledged"}
        _, interrupted = check(url, name, acknowledged)
        totals["kills"] += 1
        totals["acknowledged"] += len(acknowledged)
        totals["begun"] += sum(kind == "begun" for kind, _, _ in heard)
        totals["interrupted"] = max(totals["interrupted"], interrupted)
    return totals


def test_killed_at_random_moments(tmp_path: Path) -> None:
    totals = kill_at_random(f"sqlite:///{tmp_path}/chats.db", 6, seed=1)
    assert totals["begun"] >= totals["kills"]


@pytest.mark.parametrize("moment", ["start", "end"])
def test_killed_at_each_named_step(tmp_path: Path, moment: str) -> None:
    for step in STEPS:
        url = f"sqlite:///{tmp_path}/{step}.db"
        with started(die_at_step, url, "chat", step, moment) as (child, pipe):
            heard = listen(pipe, 30)
            child.join(30)
            assert child.exitcode == -9, f"the process did not die in {step}: {heard}"
        acknowledged = {position: reply for kind, position, reply in heard if kind == "acknowledged"}
        assert acknowledged
        check(url, "chat", acknowledged)


def kill_at_statements(url: Callable[[int], str], statements: range) -> int:
    """Returns the number of statements at which the process died."""
    died = 0
    for number in statements:
        where = url(number)
        with started(die_at_statement, where, f"chat {number}", number) as (child, pipe):
            heard = listen(pipe, 30)
            child.join(30)
        acknowledged = {position: reply for kind, position, reply in heard if kind == "acknowledged"}
        assert acknowledged
        if child.exitcode != -9:
            return died
        died += 1
        check(where, f"chat {number}", acknowledged)
    return died


def test_killed_before_some_statements_of_a_turn(tmp_path: Path) -> None:
    assert kill_at_statements(lambda number: f"sqlite:///{tmp_path}/{number}.db", range(3, 60, 9)) >= 3


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_two_hundred_kills(engine: str, new_database: Callable[[str], str]) -> None:
    print("\nkill -9: engine, kills, turns begun, acknowledged, lost, half, corrupt")
    totals = kill_at_random(new_database(engine), 200, seed=2)
    print(f"  {engine:10} {totals['kills']:5} {totals['begun']:6} {totals['acknowledged']:6}  0 0 0")
    assert totals["kills"] == 200


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_killed_before_every_statement_of_a_turn(tmp_path: Path) -> None:
    died = kill_at_statements(lambda number: f"sqlite:///{tmp_path}/{number}.db", range(1, 500))
    print(f"  sqlite: killed before each of the {died} statements of one turn: lost 0, half 0, corrupt 0")
    assert died > 30
