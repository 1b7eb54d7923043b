"""Which schema a database has, and how it gets the present one.

An embedded database is created and migrated on first use. A server's is not touched behind its
operator's back: it must be brought up to date by ``rhea db upgrade``. A new database is made straight
from the tables and stamped with the newest revision, which takes milliseconds; a test proves that
this gives the same schema as running every migration.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, inspect, text

from rhea.errors import DatabaseInvalid, DatabaseOutdated, DatabaseTooNew, DatabaseUnavailable
from rhea.stores import vectors_pgvector
from rhea.stores.database import Database, translate
from rhea.stores.tables import about, metadata

__all__ = ["APPLICATION_ID", "HEAD", "REVISIONS", "current_revision", "prepare", "revision_of", "upgrade"]

REVISIONS: tuple[str, ...] = ("0001",)
"""Every revision this version knows, oldest first."""
HEAD = REVISIONS[-1]
APPLICATION_ID = 0x52686561
"""Marks a SQLite file as Rhea's: the bytes "Rhea" at offset 68."""

SQLITE_EXTRAS = (
    "CREATE VIEW message_sources AS SELECT id, 'u' || user_id || ' c' || conversation_id AS scope, text FROM messages",
    "CREATE VIRTUAL TABLE message_words USING fts5("
    "scope, text, content='message_sources', content_rowid='id', tokenize='unicode61 remove_diacritics 2',"
    " detail=column)",
    "CREATE TRIGGER messages_insert AFTER INSERT ON messages BEGIN"
    " INSERT INTO message_words(rowid, scope, text)"
    " VALUES (new.id, 'u' || new.user_id || ' c' || new.conversation_id, new.text); END",
    "CREATE TRIGGER messages_delete AFTER DELETE ON messages BEGIN"
    " INSERT INTO message_words(message_words, rowid, scope, text)"
    " VALUES ('delete', old.id, 'u' || old.user_id || ' c' || old.conversation_id, old.text); END",
    "CREATE TRIGGER messages_update AFTER UPDATE OF text ON messages BEGIN"
    " INSERT INTO message_words(message_words, rowid, scope, text)"
    " VALUES ('delete', old.id, 'u' || old.user_id || ' c' || old.conversation_id, old.text);"
    " INSERT INTO message_words(rowid, scope, text)"
    " VALUES (new.id, 'u' || new.user_id || ' c' || new.conversation_id, new.text); END",
)
"""What the tables alone do not say: the full-text index and the triggers that keep it."""


def revision_of(connection: Connection) -> str | None:
    """The revision a database is at; ``None`` for an empty one.

    Raises:
        DatabaseInvalid: it holds tables, but none of Rhea's.
        DatabaseTooNew: a revision that this version does not know.
    """
    names = set(inspect(connection).get_table_names())
    if "alembic_version" not in names:
        if connection.dialect.name == "sqlite" and names:
            raise DatabaseInvalid("the file holds tables, but no revision of Rhea's: choose another file")
        if "turns" in names and "conversations" in names:
            raise DatabaseInvalid("the database holds tables named like Rhea's, but no revision: choose another")
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if found is None:
        return None
    if found not in REVISIONS:
        raise DatabaseTooNew(
            f"the database is at revision {found}, newer than this version of Rhea knows ({HEAD}): upgrade the package"
        )
    return str(found)


def current_revision(url: str | Path) -> str | None:
    """The revision of the database at ``url``; ``None`` when it is empty or the file does not exist."""
    database = Database(url)
    try:
        if database.path is not None and not database.path.exists():
            return None
        with database.read() as connection:
            return revision_of(connection)
    finally:
        database.close()


def upgrade(url: str | Path, revision: str = "head") -> tuple[str | None, str]:
    """Create or migrate the database at ``url``; returns the revisions before and after."""
    database = Database(url)
    try:
        _claim_file(database)
        before_and_after = migrate(database, revision)
        if before_and_after[1] == HEAD:
            vectors_pgvector.install(database)
            vectors_pgvector.index_large_owners(database)
        return before_and_after
    finally:
        database.close()


def migrate(database: Database, revision: str = "head", *, down: bool = False) -> tuple[str | None, str]:
    """Run the migrations in one transaction: a failed one leaves nothing behind."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "rhea.migrations:.")
    with database.write() as connection:
        before = revision_of(connection)
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
        after = None if down and revision == "base" else revision_of(connection)
    return before, after or "base"


def prepare(database: Database) -> None:
    """Make sure that the database has the present schema: create or migrate an embedded one, check a server's.

    Raises:
        DatabaseOutdated: a server's database that needs ``rhea db upgrade``.
        DatabaseInvalid, DatabaseTooNew: see :func:`revision_of`.
    """
    _claim_file(database)
    with database.read() as connection:
        found = revision_of(connection)
    if found == HEAD:
        return
    if database.dialect != "sqlite":
        state = "is empty" if found is None else f"is at revision {found}, not {HEAD}"
        raise DatabaseOutdated(f"the database {state}: run `rhea db upgrade` first")
    if found is None:
        with database.write() as connection:
            if revision_of(connection) is None:  # another process may have been first
                create(connection)
    else:
        migrate(database)


def create(connection: Connection) -> None:
    """The present schema, straight from the tables, in an empty SQLite database."""
    metadata.create_all(connection, checkfirst=False)
    for statement in SQLITE_EXTRAS:
        connection.exec_driver_sql(statement)
    connection.execute(about.insert().values(key="database", value=uuid4().hex))
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version ("
        "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _claim_file(database: Database) -> None:
    """Start a new file: for its user's eyes alone, marked as Rhea's, in WAL mode; refuse a foreign one untouched.

    Any number of processes may start at once: each step changes nothing when done again.
    """
    path = database.path
    if path is None:
        return
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        header = b""
        if path.parent.is_dir():
            path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseUnavailable(f"{path} cannot be read ({error.strerror})") from None
    if header:
        if not header.startswith(b"SQLite format 3\0"):
            raise DatabaseInvalid(f"{path} is not a database: choose another file")
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise DatabaseInvalid(f"{path} was not made by Rhea: choose another file")
        return
    try:
        connection = sqlite3.connect(path, timeout=database.busy_seconds, isolation_level=None)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _switch_to_wal(connection, database.busy_seconds)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error, database) from error


def _switch_to_wal(connection: sqlite3.Connection, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            # Fails at once, without waiting, while another process does the same.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
