"""Every table, as SQLAlchemy Core describes it: one schema for both engines.

The rules that the schema itself holds: a row names its user (``user_id``), a position occurs once in a
conversation, a message once in a turn, a piece of pending work once per turn and kind. Identifiers are
never used twice, so that no cache can mistake a new row for an erased one. Deletion goes down one path, user,
conversation, turn, message, each step on an index: one index a table where a key to every ancestor would need
four, which is most of what a short message costs beside its text. Moments are microseconds
since 1970 in UTC: the same integer on both engines, so an export is the same on both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from rhea.stores.packing import pack, unpack

__all__ = [
    "Moment",
    "PackedJson",
    "about",
    "conversations",
    "embedders",
    "instruction_events",
    "instructions",
    "memory_tensors",
    "messages",
    "metadata",
    "owned_tables",
    "traces",
    "turns",
    "users",
    "vectors",
    "work",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """A point in time, kept as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        return (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class PackedJson(TypeDecorator[dict[str, Any]]):
    """A JSON value as :mod:`rhea.stores.packing` packs it: a trace of a hundred episodes shrinks twentyfold."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        return pack(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else unpack(value)


Key = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def _ref(target: str, **options: Any) -> ForeignKey:
    return ForeignKey(target, ondelete="CASCADE", **options)


about = Table(
    "about",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What is true of the whole database: ``database`` is its random identity, by which caches are told apart."""

users = Table(
    "users",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    sqlite_autoincrement=True,
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, _ref("users.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("user_id", "name"),
    Index("ix_conversations_user_id_updated_at", "user_id", "updated_at"),
    sqlite_autoincrement=True,
)
"""``turns`` counts the turns ever begun: the next position is ``turns + 1``, taken under the row's lock."""

turns = Table(
    "turns",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, nullable=False),
    Column("conversation_id", Key, _ref("conversations.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("digest", Text),
    Column("digest_id", Text),
    Column("holder", Text),
    Column("lease_until", Moment),
    Column("source_key", Text),
    UniqueConstraint("conversation_id", "position"),
    Index(
        "ix_turns_pending",
        "conversation_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "uq_turns_source_key",
        "conversation_id",
        "source_key",
        unique=True,
        sqlite_where=text("source_key IS NOT NULL"),
        postgresql_where=text("source_key IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)
"""A digest of NULL under a ``digest_id`` says: the reply as it is, which short ones are.

``holder`` names the process that a pending turn belongs to (see :mod:`rhea.stores.holders`)."""

messages = Table(
    "messages",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, nullable=False),
    Column("conversation_id", Key, nullable=False),
    Column("turn_id", Key, _ref("turns.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("name", Text),
    Column("text", Text, nullable=False),
    Column("time", Text),
    Column("source_id", Text),
    UniqueConstraint("turn_id", "seq"),
    sqlite_autoincrement=True,
)

traces = Table(
    "traces",
    metadata,
    Column("turn_id", Key, _ref("turns.id"), primary_key=True, autoincrement=False),
    Column("user_id", Key, nullable=False),
    Column("body", PackedJson, nullable=False),
)

instructions = Table(
    "instructions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, _ref("users.id"), nullable=False),
    Column("conversation_id", Key, _ref("conversations.id")),
    Column("text", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("source_turn_id", Key, ForeignKey("turns.id", ondelete="SET NULL")),
    Column("source_position", Integer),
    Column("start_at", Integer),
    Column("end_at", Integer),
    Column("expires_after", Integer),
    Column("until", Text),
    Column("replaced_by", Key, ForeignKey("instructions.id", ondelete="SET NULL")),
    Column("topic", Text),
    Column("created_at", Moment, nullable=False),
    Index("ix_instructions_user_id_conversation_id", "user_id", "conversation_id"),
    Index("ix_instructions_conversation_id", "conversation_id"),
    Index("ix_instructions_source_turn_id", "source_turn_id"),
    Index("ix_instructions_replaced_by", "replaced_by"),
    sqlite_autoincrement=True,
)
"""``conversation_id`` is NULL for scope "user": such an instruction outlives the conversation it was given in."""

instruction_events = Table(
    "instruction_events",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, _ref("users.id"), nullable=False),
    Column("instruction_id", Key, _ref("instructions.id"), nullable=False),
    Column("conversation_id", Key, ForeignKey("conversations.id", ondelete="SET NULL")),
    Column("turn_id", Key, ForeignKey("turns.id", ondelete="SET NULL")),
    Column("position", Integer),
    Column("action", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_instruction_events_instruction_id", "instruction_id"),
    Index("ix_instruction_events_turn_id", "turn_id"),
    Index("ix_instruction_events_conversation_id", "conversation_id"),
    Index("ix_instruction_events_user_id", "user_id"),
    sqlite_autoincrement=True,
)

embedders = Table(
    "embedders",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("dim", Integer, nullable=False),
    sqlite_autoincrement=True,
)

vectors = Table(
    "vectors",
    metadata,
    Column("message_id", Key, _ref("messages.id"), primary_key=True, autoincrement=False),
    Column("embedder_id", Key, ForeignKey("embedders.id"), primary_key=True, autoincrement=False),
    Column("user_id", Key, nullable=False),
    Column("conversation_id", Key, nullable=False),
    Column("turn_id", Key, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("channels", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_vectors_conversation_id_embedder_id", "conversation_id", "embedder_id", "message_id", "checksum"),
)
"""All vectors of one message under one embedder, packed: float16, little endian, row after row.

Half precision moves a cosine by less than 0.001 and halves the database.

``checksum`` is the CRC-32 of ``data``: a cache compares the sum over its rows with SQL's, from the index alone.
"""

memory_tensors = Table(
    "memory_tensors",
    metadata,
    Column("turn_id", Key, _ref("turns.id"), primary_key=True, autoincrement=False),
    Column("compressor_id", Text, primary_key=True),
    Column("user_id", Key, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("dtype", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""A reply as memory tokens: ``tokens`` rows of ``width`` numbers of ``dtype``, little endian."""

work = Table(
    "work",
    metadata,
    Column("id", Key, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", Key, nullable=False),
    Column("conversation_id", Key, nullable=False),
    Column("turn_id", Key, _ref("turns.id"), nullable=False),
    Column("claimed_by", Text),
    Column("lease_until", Moment),
    Column("attempts", Integer, nullable=False),
    UniqueConstraint("turn_id", "kind"),
    Index("ix_work_user_id", "user_id"),
    Index("ix_work_conversation_id", "conversation_id"),
    Index("ix_work_claimed_by", "claimed_by"),
    sqlite_autoincrement=True,
)

owned_tables: tuple[Table, ...] = (
    conversations,
    turns,
    messages,
    traces,
    instructions,
    instruction_events,
    vectors,
    memory_tensors,
    work,
)
"""Every table whose rows belong to a user, parents first."""
