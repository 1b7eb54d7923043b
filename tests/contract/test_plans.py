"""No statement of a turn, a listing or a search goes through a whole table: each finds its rows by an index."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from rhea.stores import SqlStore, open_store
from rhea.stores.base import MessageVectors
from rhea.types import InstructionChange, Message, Scope, TurnState

LARGE = (
    "conversations",
    "turns",
    "messages",
    "traces",
    "instructions",
    "instruction_events",
    "vectors",
    "memory_tensors",
)
"""Tables that grow with use. `users` and `embedders` are listed whole by nature, `work` is empty when all is done."""


def everything(store: SqlStore) -> None:
    """Every method of the contract that serves a user."""
    ada = store.ensure_user("ada")
    trip = store.ensure_conversation(ada, "trip")
    store.find_conversation(ada, "trip")
    store.list_conversations(ada)
    change = InstructionChange("add", "rule", scope=Scope.USER)
    turn = store.begin_turn(ada, trip, Message("user", "hello there"), [change, InstructionChange("add", "here")])
    store.save_trace(ada, turn.id, {"a": 1})
    store.commit_turn(ada, turn.id, "hi", trace={"a": 2})
    store.load_trace(ada, turn.id)
    rule = store.instructions(ada, trip)[0]
    given_up = store.begin_turn(
        ada, trip, Message("user", "x"), [InstructionChange("supersede", "new", target_ids=(rule.id,))]
    )
    store.abandon_turn(ada, given_up.id)
    store.interrupt_turn(ada, store.begin_turn(ada, trip, Message("user", "y"), []).id)
    store.append_turns(ada, trip, [[Message("user", "a"), Message("assistant", "b")]], source="file")
    store.append_messages(ada, trip, [Message("user", "c")])
    store.remove_last_message(ada, trip)
    store.turns(ada, trip, after=1, before=4)
    store.turns(ada, trip, limit=3, states=[TurnState.COMMITTED])
    store.last_turns(ada, trip, 5)
    store.turns_by_id(ada, [turn.id])
    store.turn_at(ada, trip, 1)
    store.search_text(ada, "hello")
    store.search_text(ada, "hello", conversation_id=trip)
    store.change_instructions(ada, trip, [InstructionChange("revoke", target_ids=(rule.id,))], turn_id=turn.id)
    store.instruction_history(ada, trip)
    store.instruction_history(ada, trip, rule.id)
    items = store.claim_work(["digest", "vectors"], limit=50, owner=ada, conversation_id=trip)
    store.finish_digests([(item, "d", "t") for item in items if item.kind == "digest"])
    store.release_work(items)
    for item in (item for item in items if item.kind == "vectors"):
        record = store.turns_by_id(ada, [item.turn_id])[0]
        rows = np.ones((1, 4), dtype=np.float32) / 2
        entries = [MessageVectors(m.id, record.id, record.position, ("message",), rows) for m in record.messages]
        store.finish_vectors([(item, entries)], "e1")
    store.vectors(ada, trip, "e1", after_message_id=1)
    store.nearest(ada, "e1", np.ones(4, dtype=np.float32) / 2, limit=3)
    store.nearest(ada, "e1", np.ones(4, dtype=np.float32) / 2, limit=3, exclude_conversation=trip)
    store.memory(ada, [turn.id], "m")
    store.pending_work(ada)
    list(store.texts(ada, trip))
    list(store.user_rows(ada))
    store.delete_rows(ada, trip)
    store.delete_rows(ada)


@pytest.fixture
def statements(database_url: str) -> tuple[SqlStore, list[tuple[str, Any]]]:
    store = open_store(database_url)
    seen: list[tuple[str, Any]] = []

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", statement):
            seen.append((statement, parameters[0] if many else parameters))

    everything(store)
    event.remove(store.database.engine, "before_cursor_execute", keep)
    return store, list({statement: (statement, values) for statement, values in seen}.values())


def scans_of_sqlite(connection: Any, statement: str, values: Any) -> list[str]:
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    # "SCAN t USING INDEX" walks a whole index: as bad. A bare alias stands for its table.
    names = dict(re.findall(r"(?:FROM|JOIN) (\w+) (?:AS )?([a-z])\b", statement))
    alias = {short: long for long, short in names.items()}
    return [
        step for step in plan if (found := re.match(r"SCAN (\w+)", step)) and alias.get(found[1], found[1]) in LARGE
    ]


def scans_of_postgresql(connection: Any, statement: str, values: Any) -> list[str]:
    # Without this the planner rightly reads a small table whole; with it, only what no index serves.
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values)]
    return [step for step in plan if re.search(rf"Seq Scan on ({'|'.join(LARGE)}|vector_rows)\b", step)]


def test_every_statement_finds_its_rows_by_an_index(statements: tuple[SqlStore, list[tuple[str, Any]]]) -> None:
    store, seen = statements
    assert len(seen) > 60
    scans: Callable[[Any, str, Any], list[str]]
    scans = scans_of_sqlite if store.dialect == "sqlite" else scans_of_postgresql
    with store.database.read() as connection:
        found = {statement: steps for statement, values in seen if (steps := scans(connection, statement, values))}
    assert found == {}
    store.close()


def test_the_check_sees_a_statement_without_an_index(database_url: str) -> None:
    store = open_store(database_url)
    scans = scans_of_sqlite if store.dialect == "sqlite" else scans_of_postgresql
    with store.database.read() as connection:
        assert scans(connection, "SELECT id FROM messages m WHERE m.role = 'user'", ())
        assert scans(connection, "SELECT id FROM turns WHERE digest IS NULL", ())
        assert not scans(connection, "SELECT id FROM turns WHERE id = 1", ())
    store.close()
