"""Stores of other memories read as they lie: each made here in the format that its framework writes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rhea.adapters.importers import import_store, is_store, read_store
from rhea.errors import ImportFormatError
from rhea.testing import memory_database


def write_sqlite(path: Path, table: str, columns: str, rows: list[tuple]) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {columns})")
        marks = ", ".join("?" * (columns.count(",") + 1))
        connection.executemany(f"INSERT INTO {table} VALUES (NULL, {marks})", rows)
        connection.commit()
    return path


def langchain(path: Path) -> Path:
    def row(session: str, kind: str, content: object) -> tuple:
        return session, json.dumps({"type": kind, "data": {"content": content, "type": kind, "name": None}})

    rows = [
        row("b", "human", "Hello"),
        row("a", "human", "Where to in May?"),
        row("a", "ai", ""),
        row("a", "tool", "mild"),
        row("a", "ai", [{"type": "text", "text": "Lisbon"}, {"type": "text", "text": "is lovely."}]),
        row("b", "ai", "Hi"),
    ]
    return write_sqlite(path, "message_store", "session_id TEXT, message TEXT", rows)


def agents(path: Path) -> Path:
    items = [
        {"role": "user", "content": "Time?"},
        {"type": "function_call", "call_id": "c", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "12:30"},
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "Half past twelve."}]},
    ]
    rows = [("s", json.dumps(item), "now") for item in items]
    return write_sqlite(path, "agent_messages", "session_id TEXT, message_data TEXT, created_at TEXT", rows)


def llamaindex(path: Path) -> Path:
    def row(role: str, text: str, status: str) -> tuple:
        body = {"role": role, "additional_kwargs": {}, "blocks": [{"block_type": "text", "text": text}]}
        return "k", 1, role, status, json.dumps(body)

    rows = [row("user", "Old?", "archived"), row("assistant", "Yes.", "archived"), row("user", "New?", "active")]
    return write_sqlite(path, "llama_index_memory", "key TEXT, timestamp INT, role TEXT, status TEXT, data JSON", rows)


def mem0(folder: Path) -> Path:
    folder.mkdir()
    entries = {
        "2": {"user_id": "ada", "role": "assistant", "data": "Noted.", "created_at": "2026-01-01T00:00:02"},
        "1": {"user_id": "ada", "role": "user", "data": "I like tea.", "created_at": "2026-01-01T00:00:01"},
        "3": {"user_id": "bob", "data": "Bob sails.", "created_at": "2026-01-01T00:00:03"},
    }
    (folder / "notes.json").write_text(json.dumps({"docstore": entries, "index_to_id": {}}), encoding="utf-8")
    (folder / "notes.faiss").write_bytes(b"")
    return folder


EXPECTED = {
    "langchain": {
        "a": [("user", "Where to in May?"), ("tool", "mild"), ("assistant", "Lisbon\nis lovely.")],
        "b": [("user", "Hello"), ("assistant", "Hi")],
    },
    "openai-agents": {"s": [("user", "Time?"), ("tool", "12:30"), ("assistant", "Half past twelve.")]},
    "llamaindex": {"k": [("user", "Old?"), ("assistant", "Yes."), ("user", "New?")]},
    "mem0": {"notes": [("user", "I like tea."), ("assistant", "Noted.")]},
}
MAKERS = {"langchain": langchain, "openai-agents": agents, "llamaindex": llamaindex, "mem0": mem0}


@pytest.mark.parametrize("store", MAKERS)
def test_sessions_become_conversations_in_order(store, tmp_path):
    path = MAKERS[store](tmp_path / "store")
    assert is_store(path)
    user = "ada" if store == "mem0" else "default"
    with memory_database() as memory:
        before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
        report = import_store(memory, path)
        for name, said in EXPECTED[store].items():
            history = memory.conversation(name, user=user, create=False).history()
            assert [(m.role, m.text) for t in history for m in t.messages] == said
        assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before
        again = import_store(memory, path)
    assert report.turns > 0
    assert (again.turns, again.known) == (0, report.turns)


def test_entries_without_text_are_counted(tmp_path):
    chats = {c.name: c.blank for c in read_store(langchain(tmp_path / "h.db"))}
    assert chats == {"a": 1, "b": 0}


def test_mem0_users_stay_apart_unless_one_is_named(tmp_path):
    path = mem0(tmp_path / "m")
    with memory_database() as memory:
        import_store(memory, path)
        assert memory.users() == ["ada", "bob"]


def test_a_user_named_takes_all_conversations_of_a_store(tmp_path):
    with memory_database() as memory:
        import_store(memory, langchain(tmp_path / "h.db"), user="eve")
        assert memory.users() == ["eve"]
        assert sorted(c.name for c in memory.user("eve").conversations()) == ["a", "b"]


def test_mem0_users_stay_apart(tmp_path):
    path = mem0(tmp_path / "m")
    with memory_database() as memory:
        import_store(memory, path)
        assert memory.users() == ["ada", "bob"]
    with memory_database() as memory:
        import_store(memory, path, user="eve")
        assert memory.users() == ["eve"]
        assert sorted(c.name for c in memory.user("eve").conversations()) == ["ada/notes", "bob/notes"]


def test_what_was_imported_is_recalled(tmp_path):
    with memory_database() as memory:
        import_store(memory, langchain(tmp_path / "h.db"), user="ada")
        turn = memory.conversation("a", user="ada").begin("What did you say about Lisbon?")
        assert any("Lisbon\nis lovely." in m["content"] for m in turn.messages)


@pytest.mark.parametrize(
    "content", [b"not a database", b"SQLite format 3\0 and then nothing that fits", b""], ids=["text", "torn", "empty"]
)
def test_what_is_no_store_is_a_typed_error(tmp_path, content):
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(ImportFormatError), memory_database() as memory:
        import_store(memory, path)


def test_a_row_that_is_no_message_names_its_place(tmp_path):
    path = write_sqlite(tmp_path / "h.db", "message_store", "session_id TEXT, message TEXT", [("a", "[1]")])
    with pytest.raises(ImportFormatError, match="row 1"):
        list(read_store(path))


def test_a_database_of_something_else_is_a_typed_error(tmp_path):
    path = write_sqlite(tmp_path / "h.db", "recipes", "name TEXT", [("soup",)])
    with pytest.raises(ImportFormatError, match="message_store"):
        list(read_store(path))
