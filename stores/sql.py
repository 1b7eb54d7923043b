"""`SqlStore`: the whole storage contract over one SQL database, and `open_store`, which opens one."""

from __future__ import annotations

from pathlib import Path

from rhea.stores.conversations import ConversationRows
from rhea.stores.database import Database
from rhea.stores.instructions import InstructionRows
from rhea.stores.memory import MemoryRows
from rhea.stores.messages import MessageRows
from rhea.stores.ownership import OwnershipRows
from rhea.stores.remembered import TurnCache
from rhea.stores.schema import prepare
from rhea.stores.search import SearchRows
from rhea.stores.turns import TurnRows
from rhea.stores.vectors import VectorRows
from rhea.stores.vectors_faiss import FaissCache
from rhea.stores.work import WorkRows

__all__ = ["SqlStore", "open_store"]


class SqlStore(
    ConversationRows,
    TurnRows,
    InstructionRows,
    WorkRows,
    VectorRows,
    MemoryRows,
    SearchRows,
    OwnershipRows,
    MessageRows,
):
    """Everything durable, in SQL. Each method is one short transaction; safe to share between threads.

    Args:
        database: an open database with the present schema.
        cache_dir: folder for the vector caches; ``None`` keeps them in memory.
    """

    def __init__(self, database: Database, *, cache_dir: Path | None = None) -> None:
        self.database = database
        self.dialect = database.dialect
        self.cache = FaissCache(database, cache_dir)
        self.remembered = TurnCache()

    def close(self) -> None:
        """Write the vector caches and release every connection."""
        try:
            self.cache.close()
        finally:
            self.database.close()


def open_store(url: str | Path, *, cache_dir: Path | None = None, busy_seconds: float = 5.0) -> SqlStore:
    """Open a database; an embedded one (a SQLite file, or ``sqlite://`` in memory) is created on first use.

    Args:
        url: ``sqlite:///FILE``, a bare path, ``sqlite://`` for memory, or ``postgresql://…``.
        cache_dir: folder for the vector caches; beside the database file when not given.
        busy_seconds: the longest wait for a lock.

    Raises:
        DatabaseUnavailable: it cannot be reached or opened.
        DatabaseInvalid: not a database, damaged, or another program's.
        DatabaseTooNew: made by a newer version.
        DatabaseOutdated: a server's database that needs ``rhea db upgrade``.
    """
    database = Database(url, busy_seconds=busy_seconds)
    try:
        prepare(database)
    except BaseException:
        database.close()
        raise
    if cache_dir is None and database.path is not None:
        cache_dir = database.path.with_name(database.path.name + "-vectors")
    return SqlStore(database, cache_dir=cache_dir)
