"""openai-agents' `SQLAlchemySession` on SQLite. A read gives the whole history."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agents.extensions.memory import SQLAlchemySession

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("openai-agents", "sqlalchemy", "aiosqlite")


class Driver:
    """One session in one database, on one event loop."""

    def __init__(self, folder: Path, _embedder: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._session = SQLAlchemySession.from_url(
            "bench", url=f"sqlite+aiosqlite:///{folder / 'session.db'}", create_tables=True
        )

    def write(self, user: str, reply: str) -> None:
        """One exchange, one call."""
        self._add([{"role": "user", "content": user}, {"role": "assistant", "content": reply}])

    def load(self, exchanges: list[list[dict[str, str]]]) -> None:
        """Many exchanges, one call."""
        self._add([{"role": m["role"], "content": m["text"]} for exchange in exchanges for m in exchange])

    def read(self, _query: str, _budget: int | None) -> tuple[list[str], None]:
        """Every item, oldest first."""
        items = self._loop.run_until_complete(self._session.get_items())
        return [str(item["content"]) for item in items], None

    def close(self) -> None:
        """Release the database."""
        self._loop.run_until_complete(self._session.engine.dispose())
        self._loop.close()

    def _add(self, items: list[Any]) -> None:
        self._loop.run_until_complete(self._session.add_items(items))
