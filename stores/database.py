"""The engine: one URL in, short transactions out, every driver error translated in one place.

SQLite runs in WAL mode. Every transaction survives the death of its process. A durable one (a commit of
a turn, a change by hand) also survives a loss of power: it waits for the disk, one fsync;
``?synchronous=normal`` in the URL gives that up for speed. A quick one (a turn just begun, derived data that
can be made again) reaches the disk with the next durable one.

Writers take the lock at their start (``BEGIN IMMEDIATE``): a transaction that reads first and writes
later fails under contention without ever waiting. Every wait is bounded by ``busy_seconds`` and ends in
a typed error.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import StaticPool

from rhea.errors import (
    DatabaseBusy,
    DatabaseInvalid,
    DatabaseUnavailable,
    InvalidText,
    MissingExtra,
    RheaError,
    SettingsError,
    StorageFull,
    StoreError,
)
from rhea.stores.writers import WriterQueue
from rhea.types import OwnerId

__all__ = ["Database", "parse_url", "translate"]

_SYNCHRONOUS = {"full", "normal", "extra"}


def parse_url(url: str | Path) -> URL:
    """The SQLAlchemy URL of a database: a URL as it is, a bare path as a SQLite file.

    Raises:
        SettingsError: neither SQLite nor PostgreSQL, or not to be read as a URL.
    """
    written = str(url)
    if written in {"", ":memory:"}:
        written = "sqlite://"
    if not re.match(r"^[a-zA-Z0-9+_]+://", written):
        return URL.create("sqlite", database=str(Path(written).expanduser()))
    try:
        parsed = make_url(written)
    except (exc.ArgumentError, ValueError) as error:
        raise SettingsError(f"not a database URL: {error}") from None
    backend = parsed.drivername.partition("+")[0]
    if backend in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed.set(drivername="sqlite")
    raise SettingsError(f"{backend} is not supported: use sqlite:///FILE or postgresql://…")


class Database:
    """One database and its unit of work.

    Args:
        url: SQLAlchemy URL or path.
        busy_seconds: the longest wait for a lock, and for a server to answer a connection attempt.
    """

    def __init__(self, url: str | Path, *, busy_seconds: float = 5.0) -> None:
        self.url = parse_url(url)
        self.busy_seconds = busy_seconds
        self.dialect = self.url.get_backend_name()
        self.in_memory = self.dialect == "sqlite" and self.url.database in {None, "", ":memory:"}
        self._turnstile = threading.RLock()
        self._writers = None if self.path is None else WriterQueue(self.path, busy_seconds)
        self.engine = self._sqlite() if self.dialect == "sqlite" else self._postgresql()

    @property
    def path(self) -> Path | None:
        """The database's file; ``None`` for a server or for memory."""
        if self.dialect != "sqlite" or self.in_memory:
            return None
        return Path(str(self.url.database))

    def close(self) -> None:
        """Release every connection."""
        self.engine.dispose()

    @contextmanager
    def write(self, owner: OwnerId | None = None, *, durable: bool = True) -> Iterator[Connection]:
        """One writing transaction: committed at the end of the block, undone when it raises.

        Args:
            owner: for whom it works; ``None`` for work that serves all users.
            durable: wait for the disk. Without, the transaction outlives this process but not a loss of
                power; the next durable one carries it to the disk.
        """
        with self._transaction(owner, "durable" if durable else "quick") as connection:
            yield connection

    @contextmanager
    def read(self, owner: OwnerId | None = None) -> Iterator[Connection]:
        """One reading transaction: a snapshot that does not change within the block."""
        with self._transaction(owner, "read") as connection:
            yield connection

    @contextmanager
    def _transaction(self, owner: OwnerId | None, mode: str) -> Iterator[Connection]:
        # Memory has one connection for all threads, and a file one writer for all processes: queueing
        # for it here, fairly, beats polling for SQLite's lock.
        queued = self.dialect == "sqlite" and (self.in_memory or mode != "read")
        if queued and not self._turnstile.acquire(timeout=self.busy_seconds):
            raise DatabaseBusy(f"another thread held the database for {self.busy_seconds:g} s; try again")
        try:
            with self._queued(mode), self._translated(), self.engine.connect() as connection:
                if self.dialect == "sqlite":
                    self._set_durability(connection, mode)
                with connection.begin():
                    if self.dialect == "postgresql":
                        self._name_owner(connection, owner, mode)
                    yield connection
        finally:
            if queued:
                self._turnstile.release()

    def _queued(self, mode: str) -> AbstractContextManager[None]:
        return self._writers.turn() if self._writers is not None and mode != "read" else nullcontext()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RheaError:
            raise
        except (exc.SQLAlchemyError, sqlite3.Error, UnicodeEncodeError) as error:
            raise translate(error, self) from error

    def _set_durability(self, connection: Connection, mode: str) -> None:
        """SQLite: how far a commit of this connection waits for the disk, and when it takes the writer's lock."""
        connection.info["writes"] = mode != "read"
        wanted = self._synchronous if mode == "durable" else "normal"
        if mode != "read" and connection.info.get("synchronous") != wanted:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute(f"PRAGMA synchronous={wanted}")  # has no effect inside a transaction
            connection.info["synchronous"] = wanted

    @staticmethod
    def _name_owner(connection: Connection, owner: OwnerId | None, mode: str) -> None:
        """PostgreSQL: tell the row-level security policies for whom this transaction works."""
        quick = ", set_config('synchronous_commit', 'off', true)" if mode == "quick" else ""
        connection.exec_driver_sql(
            f"SELECT set_config('rhea.owner', %s, true){quick}",
            ("*" if owner is None else str(owner),),
        )

    def _sqlite(self) -> Engine:
        query = dict(self.url.query)
        synchronous = str(query.pop("synchronous", "full")).lower()
        if synchronous not in _SYNCHRONOUS:
            raise SettingsError(f"synchronous={synchronous}: use full, normal or extra")
        self._synchronous = synchronous
        url = self.url.set(query=query)
        arguments: dict[str, Any] = {"timeout": self.busy_seconds, "check_same_thread": False}
        if self.in_memory:
            engine = create_engine(url, connect_args=arguments, poolclass=StaticPool)
        else:
            engine = create_engine(url, connect_args=arguments, pool_timeout=self.busy_seconds)

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver must not begin transactions by itself
            cursor = connection.cursor()
            for pragma in (
                "foreign_keys=ON",
                f"busy_timeout={int(self.busy_seconds * 1000)}",
                "synchronous=NORMAL",
                "secure_delete=ON",
                "temp_store=MEMORY",
                "cache_size=-16000",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes") else "BEGIN")

        return engine

    def _postgresql(self) -> Engine:
        milliseconds = int(self.busy_seconds * 1000)
        try:
            return create_engine(
                self.url,
                connect_args={
                    "connect_timeout": max(2, round(self.busy_seconds)),
                    "options": f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000",
                    "tcp_user_timeout": milliseconds,
                    "application_name": "rhea",
                },
                pool_timeout=self.busy_seconds,
                pool_pre_ping=True,
                pool_size=5,
                max_overflow=10,
            )
        except ModuleNotFoundError:
            raise MissingExtra("postgres", "a PostgreSQL database") from None


def translate(error: Exception, database: Database) -> StoreError | InvalidText:
    """The typed error for whatever the driver or SQLAlchemy raised; the one place that knows both drivers."""
    origin = getattr(error, "orig", None) or error
    where = database.url.render_as_string(hide_password=True)
    if isinstance(origin, UnicodeEncodeError) or "NUL (0x00)" in str(origin):
        return InvalidText("the text holds something that no store can keep (NUL or a lone surrogate)")
    if isinstance(error, exc.TimeoutError):
        return DatabaseBusy(f"every connection to {where} was in use for {database.busy_seconds:g} s; try again")
    if isinstance(origin, sqlite3.Error):
        return _translate_sqlite(origin, where, database.busy_seconds)
    state = getattr(origin, "sqlstate", None)
    return _translate_postgresql(origin, state, where, database.busy_seconds)


def _translate_sqlite(error: sqlite3.Error, where: str, seconds: float) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    said = str(error)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseBusy(f"another process held the writer's lock of {where} for {seconds:g} s; try again")
    if name.startswith("SQLITE_FULL") or name == "SQLITE_IOERR_WRITE":
        return StorageFull(f"no space left to write to {where}: free some and try again; nothing saved was lost")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_FORMAT")):
        return DatabaseInvalid(f"{where} is damaged or not a database ({said}): restore it from a backup")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_IOERR")):
        return DatabaseUnavailable(f"{where} cannot be opened, read or written ({said})")
    if "no such table" in said or "no such column" in said:
        return DatabaseInvalid(f"{where} was not made by Rhea ({said})")
    return StoreError(f"{where}: {said}")


def _translate_postgresql(error: BaseException, state: str | None, where: str, seconds: float) -> StoreError:
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if state in {"55P03", "40P01", "40001", "57014"}:
        return DatabaseBusy(f"another process held a lock in {where} for {seconds:g} s; try again")
    if state == "53100":
        return StorageFull(f"the server of {where} has no space left ({said}); nothing saved was lost")
    if state in {"42P01", "42703", "3F000"}:
        return DatabaseInvalid(f"{where} was not made by Rhea ({said}): run `rhea db upgrade`")
    if state in {"XX001", "XX002"}:
        return DatabaseInvalid(f"{where} is damaged ({said}): restore it from a backup")
    if state is None or state.startswith(("08", "28", "3D", "53", "57", "42501")):
        return DatabaseUnavailable(f"{where} cannot be reached ({said}); try again when it is back")
    return StoreError(f"{where}: {said}")
