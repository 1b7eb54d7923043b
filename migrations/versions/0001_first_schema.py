"""The first schema: users, conversations, turns, instructions, derived data and the work that makes it.

Revision 0001. Written out in full: a migration must not change when the tables do.
"""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TABLES = (
    "about",
    "embedders",
    "users",
    "conversations",
    "turns",
    "instructions",
    "memory_tensors",
    "messages",
    "traces",
    "work",
    "instruction_events",
    "vectors",
)
OWNED = tuple(name for name in TABLES if name not in {"about", "embedders"})


def create_tables() -> None:
    op.create_table(
        "about",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_about"),
    )
    op.execute(
        sa.text("INSERT INTO about (key, value) VALUES ('database', :identity)").bindparams(identity=uuid4().hex)
    )
    op.create_table(
        "embedders",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_embedders"),
        sa.UniqueConstraint("name", name="uq_embedders_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "users",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_conversations_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("user_id", "name", name="uq_conversations_user_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_conversations_user_id_updated_at", "conversations", ["user_id", "updated_at"], unique=False)
    op.create_table(
        "turns",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("digest_id", sa.Text(), nullable=True),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_turns_conversation_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_turns"),
        sa.UniqueConstraint("conversation_id", "position", name="uq_turns_conversation_id_position"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_turns_pending",
        "turns",
        ["conversation_id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "uq_turns_source_key",
        "turns",
        ["conversation_id", "source_key"],
        unique=True,
        sqlite_where=sa.text("source_key IS NOT NULL"),
        postgresql_where=sa.text("source_key IS NOT NULL"),
    )
    op.create_table(
        "instructions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source_turn_id", KEY, nullable=True),
        sa.Column("source_position", sa.Integer(), nullable=True),
        sa.Column("start_at", sa.Integer(), nullable=True),
        sa.Column("end_at", sa.Integer(), nullable=True),
        sa.Column("expires_after", sa.Integer(), nullable=True),
        sa.Column("until", sa.Text(), nullable=True),
        sa.Column("replaced_by", KEY, nullable=True),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_instructions_conversation_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["replaced_by"], ["instructions.id"], name="fk_instructions_replaced_by", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["source_turn_id"], ["turns.id"], name="fk_instructions_source_turn_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_instructions_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_instructions"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_instructions_conversation_id", "instructions", ["conversation_id"], unique=False)
    op.create_index("ix_instructions_replaced_by", "instructions", ["replaced_by"], unique=False)
    op.create_index("ix_instructions_source_turn_id", "instructions", ["source_turn_id"], unique=False)
    op.create_index(
        "ix_instructions_user_id_conversation_id", "instructions", ["user_id", "conversation_id"], unique=False
    )
    op.create_table(
        "memory_tensors",
        sa.Column("turn_id", KEY, autoincrement=False, nullable=False),
        sa.Column("compressor_id", sa.Text(), nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_memory_tensors_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("turn_id", "compressor_id", name="pk_memory_tensors"),
    )
    op.create_table(
        "messages",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=False),
        sa.Column("turn_id", KEY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("time", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_messages_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("turn_id", "seq", name="uq_messages_turn_id_seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "traces",
        sa.Column("turn_id", KEY, autoincrement=False, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_traces_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("turn_id", name="pk_traces"),
    )
    op.create_table(
        "work",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=False),
        sa.Column("turn_id", KEY, nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_work_turn_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_work"),
        sa.UniqueConstraint("turn_id", "kind", name="uq_work_turn_id_kind"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_work_claimed_by", "work", ["claimed_by"], unique=False)
    op.create_index("ix_work_conversation_id", "work", ["conversation_id"], unique=False)
    op.create_index("ix_work_user_id", "work", ["user_id"], unique=False)
    op.create_table(
        "instruction_events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("instruction_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=True),
        sa.Column("turn_id", KEY, nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_instruction_events_conversation_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["instruction_id"], ["instructions.id"], name="fk_instruction_events_instruction_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name="fk_instruction_events_turn_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_instruction_events_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_instruction_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_instruction_events_conversation_id", "instruction_events", ["conversation_id"], unique=False)
    op.create_index("ix_instruction_events_instruction_id", "instruction_events", ["instruction_id"], unique=False)
    op.create_index("ix_instruction_events_turn_id", "instruction_events", ["turn_id"], unique=False)
    op.create_index("ix_instruction_events_user_id", "instruction_events", ["user_id"], unique=False)
    op.create_table(
        "vectors",
        sa.Column("message_id", KEY, autoincrement=False, nullable=False),
        sa.Column("embedder_id", KEY, autoincrement=False, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("conversation_id", KEY, nullable=False),
        sa.Column("turn_id", KEY, nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["embedder_id"], ["embedders.id"], name="fk_vectors_embedder_id"),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_vectors_message_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "embedder_id", name="pk_vectors"),
    )
    op.create_index(
        "ix_vectors_conversation_id_embedder_id",
        "vectors",
        ["conversation_id", "embedder_id", "message_id", "checksum"],
        unique=False,
    )


def upgrade() -> None:
    create_tables()
    if op.get_bind().dialect.name == "sqlite":
        index_words_by_fts5()
    else:
        index_words_by_tsvector()
        guard_rows()


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER messages_insert")
        op.execute("DROP TRIGGER messages_delete")
        op.execute("DROP TRIGGER messages_update")
        op.execute("DROP TABLE message_words")
        op.execute("DROP VIEW message_sources")
    else:
        op.execute("DROP TABLE IF EXISTS vector_rows")
    for name in reversed(TABLES):
        op.drop_table(name)


def index_words_by_fts5() -> None:
    """SQLite: a full-text index beside the messages, kept by triggers, the owner's word in its first column."""
    op.execute(
        "CREATE VIEW message_sources AS"
        " SELECT id, 'u' || user_id || ' c' || conversation_id AS scope, text FROM messages"
    )
    op.execute(
        "CREATE VIRTUAL TABLE message_words USING fts5("
        "scope, text, content='message_sources', content_rowid='id', tokenize='unicode61 remove_diacritics 2',"
        " detail=column)"
    )
    add = (
        " INSERT INTO message_words(rowid, scope, text)"
        " VALUES (new.id, 'u' || new.user_id || ' c' || new.conversation_id, new.text);"
    )
    remove = (
        " INSERT INTO message_words(message_words, rowid, scope, text)"
        " VALUES ('delete', old.id, 'u' || old.user_id || ' c' || old.conversation_id, old.text);"
    )
    op.execute(f"CREATE TRIGGER messages_insert AFTER INSERT ON messages BEGIN{add} END")
    op.execute(f"CREATE TRIGGER messages_delete AFTER DELETE ON messages BEGIN{remove} END")
    op.execute(f"CREATE TRIGGER messages_update AFTER UPDATE OF text ON messages BEGIN{remove}{add} END")


def index_words_by_tsvector() -> None:
    """PostgreSQL: the words of a message beside it, and two that no text can hold for its owner and conversation."""
    op.execute(
        "ALTER TABLE messages ADD COLUMN words tsvector GENERATED ALWAYS AS ("
        "array_to_tsvector(ARRAY['@u' || user_id::text, '@c' || conversation_id::text])"
        " || strip(to_tsvector('simple', text))) STORED"
    )
    op.execute("CREATE INDEX ix_messages_words ON messages USING gin (words)")


def guard_rows() -> None:
    """PostgreSQL: a role that owns nothing sees only the rows of the owner that its transaction names."""
    for name in OWNED:
        column = "id" if name == "users" else "user_id"
        op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {name}_owner ON {name} USING (current_setting('rhea.owner', true) IN ('*', {column}::text))"
        )
