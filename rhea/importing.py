"""Bringing chats in: three JSONL formats, one conversation a line, read line by line.

    {"id", "messages": [{"id", "role", "name", "text", "time"}]}     Rhea's recall format
    {"messages": [{"role", "content"}]}                              chat-completion logs
    {"conversations": [{"from", "value"}]}                           ShareGPT

What is there already is compared and passed over, so an import that was cut off goes on where it stopped,
and a second run changes nothing. Text is stored verbatim; nothing in it becomes an instruction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.errors import ImportFormatError, InputError
from rhea.intake import accept
from rhea.types import Message, Role

if TYPE_CHECKING:
    from rhea.memory import Rhea

__all__ = ["ImportReport", "ImportedConversation", "group_turns", "import_conversation", "import_file", "read_file"]

_ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
    "function_call": "assistant",
    "observation": "tool",
}
_TURN_MESSAGES = 32
"""Most messages of one turn: a long monologue is several turns, so that recall can tell them apart."""


@dataclass(frozen=True, slots=True)
class ImportedConversation:
    """One conversation as read from a file."""

    name: str | None
    """What the file calls it, if anything."""
    line: int
    messages: tuple[Message, ...]
    blank: int
    """Messages without text, left out."""
    extra: Mapping[str, Any]
    """Other fields of the line, such as ``queries``."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    conversations: int
    turns: int
    """Turns stored now."""
    known: int
    """Turns that were there already."""
    messages: int
    """Messages stored now."""
    blank: int
    """Messages without text, left out."""


def import_file(
    memory: Rhea,
    path: str | Path,
    *,
    user: str = "default",
    conversation: str | None = None,
    settle: bool = True,
    progress: Callable[[int, int], None] | None = None,
    working: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import every conversation of a file.

    Args:
        memory: where to.
        path: the JSONL file.
        user: whose conversations.
        conversation: name for the file's only conversation; by default its id, else the file's name and line.
        settle: make vectors and digests now; else the next `begin` or `settle` does.
        progress: called with (bytes read, bytes of the file) after each conversation.
        working: called with (pieces done, pieces in all) while vectors and digests are made.

    Raises:
        ImportFormatError: a line is not in a known format, or differs from what was imported under its name.
        StoreError: the database failed; run it again to go on.
    """
    source = Path(path)
    size = source.stat().st_size if source.is_file() else 0
    conversations = turns = known = messages = blank = 0
    for found, offset in read_file(source):
        if conversation is not None and conversations:
            raise ImportFormatError(f"{source}, line {found.line}: a second conversation; leave out the name")
        name = conversation or found.name or f"{source.stem}-{found.line}"
        fresh, there, stored = import_conversation(
            memory, found.messages, user=user, name=name, where=f"{source}, line {found.line}"
        )
        conversations, turns, known = conversations + 1, turns + fresh, known + there
        messages, blank = messages + stored, blank + found.blank
        if progress is not None:
            progress(offset, size)
    if settle:
        _settle(memory, user, working)
    return ImportReport(conversations, turns, known, messages, blank)


def import_conversation(
    memory: Rhea, messages: Sequence[Message], *, user: str, name: str, where: str
) -> tuple[int, int, int]:
    """Store one conversation's messages, what is there already passed over.

    Args:
        memory: where to.
        messages: in order.
        user: whose.
        name: the conversation's name.
        where: the place in the file, for errors.

    Returns:
        Turns stored now, turns that were there, messages stored now.

    Raises:
        ImportFormatError: a message cannot be stored, or the conversation of that name holds other turns.
    """
    checked = [_checked(m, memory.settings.max_message_bytes, where, i) for i, m in enumerate(messages, 1)]
    grouped = group_turns(checked)
    services = memory._services
    owner = services.store.ensure_user(user)
    conversation_id = services.store.ensure_conversation(owner, name)
    held = services.store.turns(owner, conversation_id)
    for place, (turn, said) in enumerate(zip(held, grouped, strict=False), 1):
        if [(m.role, m.text) for m in turn.messages] != [(m.role, m.text) for m in said]:
            raise ImportFormatError(
                f"{where}: turn {place} differs from what the conversation '{name}' of '{user}' holds already; "
                "import it under another name"
            )
    missing = len(grouped) - len(held)
    if missing <= 0:
        return 0, len(grouped), 0
    # Turns from chat have no source, so a continued import counts from what is held.
    source = f"import:{name}@{len(held)}"
    stored = services.store.append_turns(owner, conversation_id, grouped[len(held) :], source=source)
    return len(stored), len(held), sum(len(t.messages) for t in stored)


def group_turns(messages: Iterable[Message]) -> list[list[Message]]:
    """Group messages into turns: user messages and the replies to them, either of which may be missing.

    A user message after a reply begins a new turn; several in a row stay together, up to a limit.
    """
    turns: list[list[Message]] = []
    answered = False
    for message in messages:
        starts = not turns or (message.role == "user" and answered) or len(turns[-1]) >= _TURN_MESSAGES
        if starts:
            turns.append([])
            answered = False
        turns[-1].append(message)
        answered = answered or message.role in ("assistant", "tool")
    return turns


def read_file(path: Path) -> Iterator[tuple[ImportedConversation, int]]:
    """Read a file line by line: each conversation, and the bytes read so far.

    Raises:
        ImportFormatError: the file cannot be read, or a line is not in a known format.
    """
    try:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(file, 1):
                offset += len(line)
                if line.strip():
                    yield _parse(line, f"{path}, line {number}", number), offset
    except OSError as error:
        raise ImportFormatError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(line: bytes, where: str, number: int) -> ImportedConversation:
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ImportFormatError(f"{where}: not UTF-8 (byte {error.start})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ImportFormatError(f"{where}: not JSON ({error}); one conversation a line is expected") from None
    if not isinstance(data, dict):
        raise ImportFormatError(f"{where}: a JSON object is expected, not {type(data).__name__}")
    readers = {"messages": _message, "conversations": _sharegpt_message}
    key = next((k for k in readers if isinstance(data.get(k), list)), None)
    if key is None:
        raise ImportFormatError(f"{where}: neither 'messages' nor 'conversations' holds a list")
    found = [readers[key](entry, f"{where}, message {i}") for i, entry in enumerate(data[key], 1)]
    kept = tuple(m for m in found if m.text.strip())
    name = data.get("id")
    extra = {k: v for k, v in data.items() if k not in ("id", key)}
    return ImportedConversation(
        str(name) if name not in (None, "") else None, number, kept, len(found) - len(kept), extra
    )


def _message(entry: Any, where: str) -> Message:
    if not isinstance(entry, dict):
        raise ImportFormatError(f"{where}: a JSON object is expected")
    text = entry["text"] if "text" in entry else entry.get("content")
    name, time, key = (None if entry.get(k) is None else str(entry[k]) for k in ("name", "time", "id"))
    return Message(_role(entry.get("role"), where), _text(text, where), name or None, time or None, key)


def _sharegpt_message(entry: Any, where: str) -> Message:
    if not isinstance(entry, dict):
        raise ImportFormatError(f"{where}: a JSON object is expected")
    return Message(_role(entry.get("from"), where), _text(entry.get("value"), where))


def _role(value: Any, where: str) -> Role:
    role = _ROLES.get(value.strip().lower()) if isinstance(value, str) else None
    if role is None:
        raise ImportFormatError(f"{where}: unknown role {value!r}; known are {', '.join(sorted(_ROLES))}")
    return role


def _text(value: Any, where: str) -> str:
    """Text, or the text parts of a message that is made of parts; ``None`` (a bare tool call) is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(p, dict) for p in value):
        return "\n".join(str(p["text"]) for p in value if p.get("type") == "text" and p.get("text"))
    raise ImportFormatError(f"{where}: text is expected, not {type(value).__name__}")


def _checked(message: Message, most_bytes: int, where: str, number: int) -> Message:
    try:
        accept(message.text, most_bytes)
    except InputError as error:
        raise ImportFormatError(f"{where}, message {number}: {error}") from error
    return message


def _settle(memory: Rhea, user: str, working: Callable[[int, int], None] | None) -> None:
    from rhea.recall.work import settle

    services = memory._services
    owner = services.store.find_user(user)
    total = sum(services.store.pending_work(owner).get(kind, 0) for kind in ("digest", "vectors"))
    done = 0

    def count(pieces: int) -> None:
        nonlocal done
        done += pieces
        if working is not None:
            working(min(done, total), total)

    with services.working:
        settle(services.store, services.embedder, services.compressor, owner=owner, progress=count)
