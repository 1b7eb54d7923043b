"""LangChain's `SQLChatMessageHistory` on SQLite. A read gives the whole history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_community.chat_message_histories import SQLChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("langchain-community", "langchain-core", "sqlalchemy")


class Driver:
    """One session in one database."""

    def __init__(self, folder: Path, _embedder: Any) -> None:
        self._history = SQLChatMessageHistory("bench", connection=f"sqlite:///{folder / 'history.db'}")

    def write(self, user: str, reply: str) -> None:
        """One exchange, one transaction."""
        self._history.add_messages([HumanMessage(user), AIMessage(reply)])

    def load(self, exchanges: list[list[dict[str, str]]]) -> None:
        """Many exchanges, one transaction."""
        self._history.add_messages([_message(m) for exchange in exchanges for m in exchange])

    def read(self, _query: str, _budget: int | None) -> tuple[list[str], None]:
        """Every message, oldest first."""
        return [str(m.content) for m in self._history.messages], None

    def close(self) -> None:
        """Release the database."""
        self._history.engine.dispose()


def _message(message: dict[str, str]) -> BaseMessage:
    kind = AIMessage if message["role"] == "assistant" else HumanMessage
    return kind(message["text"])
