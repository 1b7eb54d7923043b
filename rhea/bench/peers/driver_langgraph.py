"""LangGraph's `SqliteStore` with a vector index. A read gives the nearest messages.

The store needs an sqlite3 that loads extensions; where Python's own does not, `pysqlite3` stands in for it.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

if not hasattr(sqlite3.Connection, "enable_load_extension"):
    import pysqlite3

    sys.modules["sqlite3"] = pysqlite3

from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("langgraph-checkpoint-sqlite", "langgraph-checkpoint", "sqlite-vec")
SPACE = ("bench", "messages")
NEAREST = 5
MOST = 200


class Driver:
    """One namespace in one database."""

    def __init__(self, folder: Path, embedder: Any) -> None:
        def embed(texts: Any) -> list[list[float]]:
            rows: list[list[float]] = embedder.embed(list(texts)).tolist()
            return rows

        self._opened = SqliteStore.from_conn_string(
            str(folder / "store.db"), index={"dims": embedder.dim, "embed": embed, "fields": ["text"]}
        )
        self._store = self._opened.__enter__()
        self._store.setup()
        self._count = 0

    def write(self, user: str, reply: str) -> None:
        """One exchange, two items in one batch."""
        self.load([[{"role": "user", "text": user}, {"role": "assistant", "text": reply}]])

    def load(self, exchanges: list[list[dict[str, str]]]) -> None:
        """Every message an item, all in one batch."""
        items = []
        for message in (m for exchange in exchanges for m in exchange):
            items.append(PutOp(SPACE, f"m{self._count}", {"role": message["role"], "text": message["text"]}))
            self._count += 1
        self._store.batch(items)

    def read(self, query: str, budget: int | None) -> tuple[list[str], None]:
        """The nearest items, best first; with a budget as many as the caller may then cut from."""
        found = self._store.search(SPACE, query=query, limit=NEAREST if budget is None else MOST)
        return [str(item.value["text"]) for item in found], None

    def facts(self) -> dict[str, Any]:
        """How durable a write is."""
        journal = self._store.conn.execute("PRAGMA journal_mode").fetchone()[0]
        level = self._store.conn.execute("PRAGMA synchronous").fetchone()[0]
        return {"journal": journal, "synchronous": level}

    def close(self) -> None:
        """Release the database."""
        self._opened.__exit__(None, None, None)
