"""pgvector as an index beside the vectors table: one row a vector, searched by the server.

Like a FAISS file it is a cache of the truth: `rhea db upgrade` installs and fills it where the extension
is available, and everything works without it. The owner's filter stands inside every search. An owner of
up to 20,000 vectors is searched exactly, over the owner's own rows; a larger one gets an HNSW index of
their own (a partial index), because an index over all users would have to filter after the search.

The best candidates are scored again here, in single precision, so that scores are the same on every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select, text

from rhea.errors import EmbedderError
from rhea.stores.base import MessageVectors, VectorHit, WorkItem
from rhea.stores.tables import embedders, vectors
from rhea.types import OwnerId

if TYPE_CHECKING:
    from rhea.stores.database import Database

__all__ = ["EXACT_UP_TO", "add", "index_large_owners", "install", "installed", "nearest"]

EXACT_UP_TO = 20_000
"""Vectors of one owner up to which the search compares with every one of them."""

_TABLE = (
    "CREATE TABLE vector_rows ("
    " message_id bigint NOT NULL, embedder_id bigint NOT NULL, row_number integer NOT NULL,"
    " user_id bigint NOT NULL, conversation_id bigint NOT NULL, embedding halfvec NOT NULL,"
    " PRIMARY KEY (message_id, embedder_id, row_number),"
    " FOREIGN KEY (message_id, embedder_id) REFERENCES vectors (message_id, embedder_id) ON DELETE CASCADE)",
    "CREATE INDEX ix_vector_rows_user_id_embedder_id ON vector_rows (user_id, embedder_id)",
    "ALTER TABLE vector_rows ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY vector_rows_owner ON vector_rows USING"
    " (current_setting('rhea.owner', true) IN ('*', user_id::text))",
)
_INSERT = (
    "INSERT INTO vector_rows (message_id, embedder_id, row_number, user_id, conversation_id, embedding)"
    " VALUES (:message_id, :embedder_id, :row_number, :user_id, :conversation_id, CAST(:embedding AS halfvec))"
    " ON CONFLICT DO NOTHING"
)
_LARGE = (
    "SELECT r.user_id, r.embedder_id, e.dim FROM vector_rows r JOIN embedders e ON e.id = r.embedder_id"
    " GROUP BY 1, 2, 3 HAVING count(*) > :most"
)
_PRESENT = "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'ix_vector_rows_hnsw_%'"


def installed(connection: Connection) -> bool:
    """Whether this database has the index; asked of the server once for each connection."""
    if connection.dialect.name != "postgresql":
        return False
    known = connection.info.get("pgvector")
    if known is None:
        known = connection.scalar(text("SELECT to_regclass('vector_rows') IS NOT NULL"))
        connection.info["pgvector"] = known
    return bool(known)


def install(database: Database) -> bool:
    """Create and fill the index where the server offers the extension; returns whether it is there now."""
    if database.dialect != "postgresql":
        return False
    with database.write() as connection:
        if installed(connection):
            return True
        offered = connection.scalar(text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"))
        if offered is None or tuple(int(part) for part in offered.split(".")[:2]) < (0, 7):
            return False
        present = connection.scalar(text("SELECT count(*) FROM pg_extension WHERE extname = 'vector'"))
        may = connection.scalar(
            text(
                "SELECT rolsuper OR has_database_privilege(current_database(), 'CREATE') FROM pg_roles"
                " WHERE rolname = current_user"
            )
        )
        if not present and not may:
            return False
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector")
        for statement in _TABLE:
            connection.exec_driver_sql(statement)
        _fill(connection)
        connection.info["pgvector"] = True
    return True


def _fill(connection: Connection) -> None:
    query = select(vectors, embedders.c.dim).join(embedders, embedders.c.id == vectors.c.embedder_id)
    for row in connection.execute(query.execution_options(yield_per=500)):
        block = np.frombuffer(row.data, dtype="<f2").reshape(-1, row.dim)
        connection.execute(
            text(_INSERT),
            [
                _values(row.message_id, row.embedder_id, row.user_id, row.conversation_id, n, v)
                for n, v in enumerate(block)
            ],
        )


def add(connection: Connection, fresh: Sequence[tuple[WorkItem, MessageVectors]], key: int) -> None:
    """Index new vectors, inside the transaction that stores them."""
    connection.execute(
        text(_INSERT),
        [
            _values(entry.message_id, key, item.owner, item.conversation_id, number, vector)
            for item, entry in fresh
            for number, vector in enumerate(entry.vectors)
        ],
    )


def _values(
    message: int, embedder: int, owner: int, conversation: int, number: int, vector: NDArray[Any]
) -> dict[str, object]:
    return {
        "message_id": message,
        "embedder_id": embedder,
        "row_number": number,
        "user_id": owner,
        "conversation_id": conversation,
        "embedding": _literal(vector),
    }


def _literal(vector: NDArray[Any]) -> str:
    # Half precision keeps three digits and a bit; six lose nothing and are read faster than seventeen.
    return "[" + ",".join(["%.6g"] * len(vector)) % tuple(vector.tolist()) + "]"


def nearest(
    connection: Connection,
    owner: OwnerId,
    embedder_id: str,
    queries: NDArray[np.float32],
    limit: int,
    exclude_conversation: int | None,
) -> list[VectorHit]:
    """The owner's nearest vectors: candidates from the index, scores from the full vectors."""
    found = connection.execute(
        select(embedders.c.id, embedders.c.dim).where(embedders.c.name == embedder_id)
    ).one_or_none()
    if found is None:
        return []
    if found.dim != queries.shape[1]:
        raise EmbedderError(f"{embedder_id}: a query of {queries.shape[1]} numbers against vectors of {found.dim}")
    wanted = 2 * limit + 16
    connection.exec_driver_sql(f"SET LOCAL hnsw.ef_search = {min(1000, max(100, wanted))}")
    connection.exec_driver_sql("SET LOCAL hnsw.iterative_scan = strict_order")
    # Written into the statement, because the planner only then sees that an owner's partial index applies.
    here = f"user_id = {int(owner)} AND embedder_id = {int(found.id)}"
    if exclude_conversation is not None:
        here += f" AND conversation_id <> {int(exclude_conversation)}"
    statement = text(
        f"SELECT message_id, row_number FROM vector_rows WHERE {here}"  # noqa: S608 - integers only
        f" ORDER BY embedding::halfvec({int(found.dim)}) <#> CAST(:asked AS halfvec({int(found.dim)})) LIMIT :wanted"
    )
    near: dict[int, set[int]] = {}
    for query in queries:
        for message_id, number in connection.execute(statement, {"asked": _literal(query), "wanted": wanted}).tuples():
            near.setdefault(message_id, set()).add(number)
    return _scored(connection, owner, int(found.id), queries, near)[:limit]


def _scored(
    connection: Connection, owner: OwnerId, key: int, queries: NDArray[np.float32], near: dict[int, set[int]]
) -> list[VectorHit]:
    query = select(
        vectors.c.message_id, vectors.c.turn_id, vectors.c.conversation_id, vectors.c.channels, vectors.c.data
    ).where(vectors.c.message_id.in_(near), vectors.c.embedder_id == key, vectors.c.user_id == owner)
    hits = []
    for message_id, turn_id, conversation_id, channels, data in connection.execute(query).tuples():
        block = np.frombuffer(data, dtype="<f2").astype(np.float32).reshape(-1, queries.shape[1])
        scores = (block @ queries.T).max(axis=1)
        for number, channel in enumerate(channels.split(",")):
            if number in near[message_id]:
                hits.append(VectorHit(message_id, turn_id, conversation_id, channel, float(scores[number])))
    return sorted(hits, key=lambda hit: (-hit.score, hit.message_id))


def index_large_owners(database: Database) -> list[int]:
    """Give every owner above the exact size an HNSW index, and take it from those below; returns owners indexed.

    Building takes minutes for millions of vectors and does not hold up writers.
    """
    if database.dialect != "postgresql":
        return []
    with database.read() as connection:
        if not installed(connection):
            return []
        large = connection.execute(text(_LARGE), {"most": EXACT_UP_TO}).tuples().all()
        present = set(connection.scalars(text(_PRESENT)))
    wanted = {f"ix_vector_rows_hnsw_{owner}_{embedder}": (owner, embedder, dim) for owner, embedder, dim in large}
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in sorted(present - wanted.keys()):
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        for name, (owner, embedder, dim) in wanted.items():
            if name not in present:
                connection.exec_driver_sql(
                    f"CREATE INDEX CONCURRENTLY {name} ON vector_rows USING hnsw"
                    f" ((embedding::halfvec({dim})) halfvec_ip_ops)"
                    f" WHERE user_id = {owner} AND embedder_id = {embedder}"
                )
    return sorted({owner for owner, _, _ in large})
