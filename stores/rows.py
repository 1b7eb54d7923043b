"""From rows to the nouns of :mod:`rhea.types`, for every part of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Row, Select, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from rhea.errors import InvalidText
from rhea.stores.tables import instructions, messages, turns
from rhea.types import Instruction, InstructionKind, InstructionStatus, Message, OwnerId, Scope, TurnRecord, TurnState

__all__ = [
    "insert_new",
    "instruction_from",
    "message_row",
    "now",
    "range_query",
    "storable",
    "turn_query",
    "turns_from",
]


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; those that a unique constraint knows already are left as they are."""
    connection.execute(_insert_new(table, connection.dialect.name), rows)


@lru_cache(maxsize=64)
def _insert_new(table: Table, dialect: str) -> sqlite.Insert | postgresql.Insert:
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def storable(text: str) -> str:
    """The text, when every engine can keep it.

    Raises:
        InvalidText: it holds NUL (PostgreSQL refuses it, SQLite's functions stop at it) or a lone surrogate.
    """
    if "\0" in text:
        raise InvalidText("the text holds a NUL character, which no store can keep")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidText("the text holds a lone surrogate, which no store can keep") from None
    return text


def message_row(owner: OwnerId, conversation_id: int, turn_id: int, seq: int, message: Message) -> dict[str, Any]:
    """One row of the messages table; refuses text that no store can keep."""
    return {
        "user_id": owner,
        "conversation_id": conversation_id,
        "turn_id": turn_id,
        "seq": seq,
        "role": message.role,
        "name": message.name,
        "text": storable(message.text),
        "time": message.time,
        "source_id": message.source_id,
    }


def turn_query() -> Select[Any]:
    """Turns with their messages, one row a message; a turn without messages gives one row."""
    return select(
        turns.c.id,
        turns.c.conversation_id,
        turns.c.position,
        turns.c.state,
        turns.c.created_at,
        turns.c.digest,
        turns.c.digest_id,
        messages.c.role,
        messages.c.text,
        messages.c.name,
        messages.c.time,
        messages.c.source_id,
        messages.c.id,
    ).select_from(turns.outerjoin(messages, messages.c.turn_id == turns.c.id))


@lru_cache(maxsize=16)
def range_query(bounded: bool, by_state: bool, limited: bool, newest: bool) -> Select[Any]:
    """The statement of a range of turns, for one choice of its options; built once for each."""
    wanted: list[ColumnElement[bool]] = [
        turns.c.conversation_id == bindparam("conversation"),
        turns.c.user_id == bindparam("owner"),
        turns.c.position > bindparam("after"),
    ]
    if bounded:
        wanted.append(turns.c.position < bindparam("before"))
    if by_state:
        wanted.append(turns.c.state.in_(bindparam("states", expanding=True)))
    query = turn_query().order_by(turns.c.position, messages.c.seq)
    if not limited:
        return query.where(*wanted)
    order = turns.c.position.desc() if newest else turns.c.position
    some = select(turns.c.id).where(*wanted).order_by(order).limit(bindparam("most", type_=Integer))
    return query.where(turns.c.id.in_(some))


def turns_from(rows: Iterable[Row[Any]]) -> list[TurnRecord]:
    """Gather the rows of :func:`turn_query`, in order of turn and message, into turns."""
    found: list[TurnRecord] = []
    head: tuple[Any, ...] | None = None
    said: list[Message] = []

    def close() -> None:
        if head is not None:
            turn_id, conversation_id, position, state, created, digest, digest_id = head
            turn = TurnRecord(turn_id, conversation_id, position, TurnState(state), tuple(said), created, digest)
            if digest is None and digest_id is not None:
                turn = replace(turn, digest=turn.reply)
            found.append(turn)

    for row in rows:
        values = tuple(row)
        if head is None or head[0] != values[0]:
            close()
            head, said = values[:7], []
        role, body, name, time, source_id, message_id = values[7:]
        if message_id is not None:
            said.append(Message(role, body, name, time, source_id, message_id))
    close()
    return found


def instruction_from(row: Row[Any]) -> Instruction:
    """One row of the instructions table."""
    found = row._mapping
    return Instruction(
        id=found[instructions.c.id],
        text=found[instructions.c.text],
        kind=InstructionKind(found[instructions.c.kind]),
        scope=Scope(found[instructions.c.scope]),
        status=InstructionStatus(found[instructions.c.status]),
        conversation_id=found[instructions.c.conversation_id],
        source_turn_id=found[instructions.c.source_turn_id],
        source_position=found[instructions.c.source_position],
        start=found[instructions.c.start_at],
        end=found[instructions.c.end_at],
        expires_after=found[instructions.c.expires_after],
        until=found[instructions.c.until],
        replaced_by=found[instructions.c.replaced_by],
        topic=found[instructions.c.topic],
        created_at=found[instructions.c.created_at],
    )
