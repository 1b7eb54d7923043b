"""From rows to the nouns of :mod:`rhea.types`, for every part of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, Table, bindparam, false, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from rhea.errors import InvalidText
from rhea.stores.prepared import Prepared
from rhea.stores.tables import messages, turns
from rhea.types import Instruction, InstructionKind, InstructionStatus, Message, OwnerId, Scope, TurnRecord, TurnState

__all__ = [
    "insert_new",
    "instruction_from",
    "message_row",
    "moment_from",
    "now",
    "range_query",
    "storable",
    "turn_query",
    "turns_from",
]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def moment_from(value: datetime | int) -> datetime:
    """A moment as a driver gives it (the integer that is stored), or as SQLAlchemy has converted it already."""
    return value if isinstance(value, datetime) else _EPOCH + timedelta(microseconds=value)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; those that a unique constraint knows already are left as they are."""
    _insert_new(table, connection.dialect.name).run_many(connection, rows)


@lru_cache(maxsize=64)
def _insert_new(table: Table, dialect: str) -> Prepared:
    if dialect == "sqlite":
        return Prepared(sqlite.insert(table).on_conflict_do_nothing())
    return Prepared(postgresql.insert(table).on_conflict_do_nothing())


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


_STATES = {state.value: state for state in TurnState}


@lru_cache(maxsize=32)
def range_query(bounded: bool, states: tuple[str, ...] | None, limited: bool, newest: bool) -> Prepared:
    """The statement of a range of turns, for one choice of its options; made once for each."""
    wanted: list[ColumnElement[bool]] = [
        turns.c.conversation_id == bindparam("conversation"),
        turns.c.user_id == bindparam("owner"),
        turns.c.position > bindparam("after"),
    ]
    if bounded:
        wanted.append(turns.c.position < bindparam("before"))
    if states is not None:
        wanted.append(or_(false(), *(turns.c.state == state for state in states)))
    query = turn_query().order_by(turns.c.position, messages.c.seq)
    if not limited:
        return Prepared(query.where(*wanted))
    order = turns.c.position.desc() if newest else turns.c.position
    some = select(turns.c.id).where(*wanted).order_by(order).limit(bindparam("most", type_=Integer))
    return Prepared(query.where(turns.c.id.in_(some)))


def turns_from(rows: Iterable[Sequence[Any]]) -> list[TurnRecord]:
    """Gather the rows of :func:`turn_query`, in order of turn and message, into turns."""
    found: list[TurnRecord] = []
    head: tuple[Any, ...] | None = None
    said: list[Message] = []
    for values in map(tuple, rows):
        if head is None or head[0] != values[0]:
            if head is not None:
                found.append(_turn(head, said))
            head, said = values[:7], []
        if values[12] is not None:
            said.append(Message(*values[7:]))
    if head is not None:
        found.append(_turn(head, said))
    return found


def _turn(head: tuple[Any, ...], said: list[Message]) -> TurnRecord:
    turn_id, conversation_id, position, state, created, digest, digest_id = head
    if digest is None and digest_id is not None:
        digest = "\n".join([m.text for m in said if m.role == "assistant"]) or None
    return TurnRecord(turn_id, conversation_id, position, _STATES[state], tuple(said), moment_from(created), digest)


def instruction_from(row: Any) -> Instruction:
    """One row of the instructions table, its values under the columns' names."""
    return Instruction(
        id=row.id,
        text=row.text,
        kind=InstructionKind(row.kind),
        scope=Scope(row.scope),
        status=InstructionStatus(row.status),
        conversation_id=row.conversation_id,
        source_turn_id=row.source_turn_id,
        source_position=row.source_position,
        start=row.start_at,
        end=row.end_at,
        expires_after=row.expires_after,
        until=row.until,
        replaced_by=row.replaced_by,
        topic=row.topic,
        created_at=moment_from(row.created_at),
    )
