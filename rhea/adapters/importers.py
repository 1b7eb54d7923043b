"""Chats out of the stores of other memories: LangChain, openai-agents, LlamaIndex, mem0.

Each store is read as it lies on the disk, with the standard library alone, and never written to; the
framework that made it need not be installed. Sessions become conversations. What is there already is passed
over, as with every import.

| store | what is read |
|---|---|
| LangChain `SQLChatMessageHistory` | the table `message_store` of an SQLite file |
| openai-agents `SQLAlchemySession`, `SQLiteSession` | the table `agent_messages` |
| LlamaIndex `Memory` | the table `llama_index_memory`, archived messages too |
| mem0 with FAISS | the folder with its `.json` document store, or that file |
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.errors import ImportFormatError
from rhea.importing import ImportReport, import_conversation
from rhea.types import Message, Role

if TYPE_CHECKING:
    from rhea.memory import Rhea

__all__ = ["StoredChat", "import_store", "is_store", "read_store"]

_SQLITE = b"SQLite format 3\0"
_ROLES: Mapping[str, Role] = {
    "human": "user",
    "user": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


@dataclass(frozen=True, slots=True)
class StoredChat:
    """One session of a store."""

    store: str
    """Which framework's: ``langchain``, ``openai-agents``, ``llamaindex`` or ``mem0``."""
    name: str
    user: str | None
    """Whose it is, where the store says so (mem0)."""
    messages: tuple[Message, ...]
    blank: int
    """Entries without text, such as bare calls of tools, left out."""


def is_store(path: str | Path) -> bool:
    """Whether this looks like a store that `import_store` can read."""
    source = Path(path)
    if source.is_dir():
        return bool(_docstores(source))
    try:
        with source.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.startswith(_SQLITE) or (source.suffix == ".json" and head.lstrip()[:64].find(b'"docstore"') >= 0)


def import_store(memory: Rhea, path: str | Path, *, user: str | None = None) -> ImportReport:
    """Import every session of another memory's store; run it again to go on where it stopped.

    Args:
        memory: where to.
        path: the SQLite file, or mem0's folder or document store.
        user: whose conversations they become; ``None`` for the store's own user names, else ``default``.
            Where a store has users of its own, their names then lead the conversations' names.

    Raises:
        ImportFormatError: not a store of a known kind, or damaged.
        StoreError: Rhea's database failed.
    """
    conversations = turns = known = messages = blank = 0
    for chat in read_store(path):
        fresh, there, stored = import_conversation(
            memory,
            chat.messages,
            user=user or chat.user or "default",
            name=chat.name if user is None or chat.user is None else f"{chat.user}/{chat.name}",
            where=f"{path}, session {chat.name!r}",
        )
        conversations, turns, known = conversations + 1, turns + fresh, known + there
        messages, blank = messages + stored, blank + chat.blank
    memory.settle()
    return ImportReport(conversations, turns, known, messages, blank)


def read_store(path: str | Path) -> Iterator[StoredChat]:
    """Sessions of a store, in order of their names.

    Raises:
        ImportFormatError: not a store of a known kind, or damaged.
    """
    source = Path(path)
    if source.is_dir() or source.suffix == ".json":
        yield from _read_mem0(source)
        return
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            known = [table for table in _TABLES if table in present]
            if not known:
                raise ImportFormatError(f"{source}: none of the tables {', '.join(_TABLES)} is there")
            for table in known:
                store, session, body, read = _TABLES[table]
                # Table and column names come from the list below.
                query = f'SELECT "{session}", "{body}" FROM "{table}" ORDER BY "{session}", id'  # noqa: S608
                yield from _sessions(connection.execute(query), store, read, f"{source}, table {table}")
    except sqlite3.Error as error:
        raise ImportFormatError(f"{source}: cannot be read as SQLite ({error})") from error


def _sessions(
    rows: Iterator[tuple[str, Any]], store: str, read: Callable[[dict[str, Any]], Message], where: str
) -> Iterator[StoredChat]:
    name: str | None = None
    said: list[Message] = []
    blank = 0
    for number, (session, body) in enumerate(rows, 1):
        if session != name and name is not None:
            yield StoredChat(store, name, None, tuple(said), blank)
            said, blank = [], 0
        name = str(session)
        message = _decoded(body, read, f"{where}, row {number}")
        if message.text.strip():
            said.append(message)
        else:
            blank += 1
    if name is not None:
        yield StoredChat(store, name, None, tuple(said), blank)


def _decoded(body: Any, read: Callable[[dict[str, Any]], Message], where: str) -> Message:
    try:
        data = json.loads(body)
        if isinstance(data, dict):
            return read(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ImportFormatError(f"{where}: not a message ({type(error).__name__}: {error})") from error
    raise ImportFormatError(f"{where}: not a message")


def _langchain(data: dict[str, Any]) -> Message:
    inner = data["data"]
    return Message(_ROLES.get(data["type"], "tool"), _text(inner["content"]), name=inner.get("name"))


def _agents(data: dict[str, Any]) -> Message:
    role = _ROLES.get(str(data.get("role")), "tool")
    return Message(role, _text(data.get("content", data.get("output"))))


def _llamaindex(data: dict[str, Any]) -> Message:
    return Message(_ROLES.get(data["role"], "tool"), _text(data["blocks"] if "blocks" in data else data["content"]))


def _text(content: Any) -> str:
    """The text of a content that is text, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError(f"content is {type(content).__name__}")
    parts = [part if isinstance(part, str) else str(part.get("text") or "") for part in content]
    return "\n".join(part for part in parts if part)


_TABLES: Mapping[str, tuple[str, str, str, Callable[[dict[str, Any]], Message]]] = {
    "message_store": ("langchain", "session_id", "message", _langchain),
    "agent_messages": ("openai-agents", "session_id", "message_data", _agents),
    "llama_index_memory": ("llamaindex", "key", "data", _llamaindex),
}
"""Table: whose, the column that names the session, the column that holds the message, how it is read."""


def _docstores(folder: Path) -> list[Path]:
    return sorted(f for f in folder.glob("*.json") if f.with_suffix(".faiss").exists())


def _read_mem0(source: Path) -> Iterator[StoredChat]:
    """mem0's memories by user and run, oldest first; those without a role count as the user's."""
    files = _docstores(source) if source.is_dir() else [source]
    if not files:
        raise ImportFormatError(f"{source}: no document store of mem0 (a .json beside a .faiss) is there")
    for file in files:
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))["docstore"].values()
            grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
            for entry in sorted(entries, key=lambda e: str(e.get("created_at") or "")):
                owner = str(entry.get("user_id") or entry.get("agent_id") or "default")
                grouped.setdefault((owner, str(entry.get("run_id") or file.stem)), []).append(entry)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ImportFormatError(f"{file}: not mem0's document store ({type(error).__name__}: {error})") from error
        for (owner, name), found in sorted(grouped.items()):
            said = [
                Message(_ROLES.get(str(e.get("role") or "user"), "tool"), str(e.get("data") or ""), time=_when(e))
                for e in found
            ]
            kept = tuple(m for m in said if m.text.strip())
            yield StoredChat("mem0", name, owner, kept, len(said) - len(kept))


def _when(entry: Mapping[str, Any]) -> str | None:
    return str(entry["created_at"]) if entry.get("created_at") else None
