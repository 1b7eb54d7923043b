"""Deleting for good: rows, what was derived from them, and the bytes that they leave behind.

SQLite zeroes what it frees (``secure_delete``), but an old page image lives on in the write-ahead log, and
the full-text index keeps deleted words until its segments are merged. PostgreSQL keeps deleted rows in
its files until the table is rewritten. `compact` takes care of all of it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import ColumnElement, Table, and_, delete, func, select, text

from rhea.errors import DatabaseBusy
from rhea.stores.database import Database, translate
from rhea.stores.remembered import TurnCache
from rhea.stores.tables import conversations, instructions, messages, owned_tables, turns, users
from rhea.stores.vectors_faiss import FaissCache
from rhea.types import OwnerId

__all__ = ["EraseRows"]

_CHUNK = 1 << 22
_OWNS_DATABASE = "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()"


class EraseRows:
    """The part of a store that deletes what a user owns."""

    database: Database
    cache: FaissCache
    remembered: TurnCache

    def delete_rows(self, owner: OwnerId, conversation_id: int | None = None) -> dict[str, int]:
        """Delete one conversation, or the user with everything; returns the number of rows that went, by table.

        Instructions of scope "user" outlive the conversation that they were given in.
        """
        gone: dict[str, int] = {}
        with self.database.write(owner) as connection:
            for table in owned_tables:
                count = connection.scalar(
                    select(func.count()).select_from(table).where(_belongs(table, owner, conversation_id))
                )
                if count:
                    gone[table.name] = count
            if conversation_id is None:
                gone["users"] = connection.execute(delete(users).where(users.c.id == owner)).rowcount
            else:
                connection.execute(
                    delete(instructions).where(
                        instructions.c.user_id == owner, instructions.c.conversation_id == conversation_id
                    )
                )
                connection.execute(
                    delete(conversations).where(conversations.c.user_id == owner, conversations.c.id == conversation_id)
                )
        self.remembered.clear()
        self.cache.forget(owner, conversation_id)
        return gone

    def texts(self, owner: OwnerId, conversation_id: int | None = None) -> Iterator[str]:
        """Every text of a user or of one conversation, in order of storing: to search for after erasing."""
        query = select(messages.c.text).where(_belongs(messages, owner, conversation_id)).order_by(messages.c.id)
        with self.database.read(owner) as connection:
            yield from connection.execute(query.execution_options(yield_per=1000)).scalars()

    def still_said(self, part: str) -> bool:
        """Whether a message or an instruction that is still stored holds this text: its bytes are rightly there."""
        with self.database.read() as connection:
            return any(
                connection.scalar(select(table.c.id).where(table.c.text.contains(part, autoescape=True)).limit(1))
                for table in (messages, instructions)
            )

    def compact(self) -> bool:
        """Rewrite the files without what was deleted. Needs free space of about the database's size.

        Returns:
            Whether they were rewritten: not on PostgreSQL under a role that does not own the tables.

        Raises:
            DatabaseBusy: another process was reading or writing all the while; the rows are gone, compact again later.
        """
        if self.database.dialect == "postgresql":
            return self._compact_postgresql()
        if self.database.path is not None:
            self._compact_sqlite(self.database.path)
        else:
            with self.database.write() as connection:
                connection.execute(text("INSERT INTO message_words(message_words) VALUES ('optimize')"))

        return True

    def _compact_sqlite(self, path: Path) -> None:
        with self.database.write() as connection:
            connection.execute(text("INSERT INTO message_words(message_words) VALUES ('optimize')"))
        self.database.engine.dispose()
        seconds = self.database.busy_seconds
        try:
            with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as connection:
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("VACUUM")
                deadline = time.monotonic() + seconds
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise DatabaseBusy(f"another process is reading {path}: the rows are gone, compact again later")
                    time.sleep(0.05)
        except sqlite3.Error as error:
            raise translate(error, self.database) from error

    def _compact_postgresql(self) -> bool:
        owned = text("SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'turns'::regclass")
        with self.database.read() as connection:
            if not connection.scalar(owned):
                return False  # the server would only warn, and leave the deleted rows where they are
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            names = [table.name for table in owned_tables] + ["users"]
            if connection.scalar(text("SELECT to_regclass('vector_rows') IS NOT NULL")):
                names.append("vector_rows")
            for name in names:
                connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {name}")
            # The planner's statistics quote common values: the old ones are dead rows of a catalogue by now.
            if connection.scalar(text(_OWNS_DATABASE)):
                connection.exec_driver_sql("VACUUM FULL pg_statistic")
        return True

    def files(self) -> list[Path]:
        """Every file of the database that this process can read: the database, its log, the caches."""
        found: list[Path] = []
        path = self.database.path
        if path is not None:
            found += [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
        if self.cache.folder is not None and self.cache.folder.is_dir():
            found += [p for p in self.cache.folder.rglob("*") if p.is_file()]
        return [p for p in found if p.exists()]

    def search_files(self, parts: Sequence[bytes]) -> dict[Path, set[bytes]]:
        """Which of these byte strings still stand in which of the database's files."""
        if not parts:
            return {}
        overlap = max(len(part) for part in parts)
        found: dict[Path, set[bytes]] = {}
        for path in self.files():
            with path.open("rb") as file:
                tail = b""
                while chunk := file.read(_CHUNK):
                    window = tail + chunk
                    hits = {part for part in parts if part in window}
                    if hits:
                        found.setdefault(path, set()).update(hits)
                    tail = window[-overlap:]
        return found


def _belongs(table: Table, owner: OwnerId, conversation_id: int | None) -> ColumnElement[bool]:
    """The rows of a table that go with a conversation, or with all of an owner's, found on the way down."""
    mine = select(conversations.c.id).where(conversations.c.user_id == owner)
    if conversation_id is not None:
        mine = mine.where(conversations.c.id == conversation_id)
    if table is conversations:
        return conversations.c.id.in_(mine)
    if table.c.user_id.foreign_keys and conversation_id is None:
        return table.c.user_id == owner  # instructions of scope "user" hang on the user, not on a conversation
    if "turn_id" in table.c and table.c.turn_id.foreign_keys and not table.c.user_id.foreign_keys:
        said = select(turns.c.id).where(turns.c.conversation_id.in_(mine))
        return and_(table.c.turn_id.in_(said), table.c.user_id == owner)
    return and_(table.c.conversation_id.in_(mine), table.c.user_id == owner)
