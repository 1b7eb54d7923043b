"""Rhea itself through the same pipe: `begin`, `commit`, `settle`.

What `begin` does is told apart: storing the question (and looking for instructions in it) is writing,
building the context is reading. A read's turn is abandoned afterwards, outside the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhea import Rhea, Settings
from rhea import turn as steps
from rhea.embed import packaged_embedder_path
from rhea.memory import Conversation, Turn

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("rhea-memory", "sqlalchemy", "faiss-cpu")
_STORING = ("detect", "store_pending")


class PipedEmbedder:
    """Rhea's embedder protocol over the pipe; counts as the embedder that it stands for."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder
        self.dim: int = embedder.dim
        self.max_tokens = 254
        real = os.environ.get("RHEA_BENCH_EMBEDDER") == "all-MiniLM-L6-v2"
        self.id = "all-MiniLM-L6-v2" if real else "stand-in"
        self._tokenizer = _tokenizer() if real else None

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `rhea.embed.Embedder`."""
        rows: NDArray[np.float32] = self._embedder.embed(list(texts))
        return rows

    def count(self, text: str) -> int:
        """Tokens, at most."""
        if self._tokenizer is None:
            return len(text) // 3 + 1
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


class Driver:
    """One conversation in one database."""

    def __init__(self, folder: Path, embedder: Any) -> None:
        self._clock: Callable[[], float] = embedder.clock
        self._spent = dict.fromkeys(_STORING, 0.0)
        for name in _STORING:
            setattr(steps, name, self._timed(name, getattr(steps, name)))
        self._url = f"sqlite:///{folder / 'rhea.db'}"
        self._embedder = PipedEmbedder(embedder)
        self._counter = _counter()
        self._memory = self._open(Settings(background=False, budget=_default_budget()))
        self._chat = self._memory.conversation("bench", user="bench")
        self._others: dict[int, Rhea] = {}
        self._turn: Turn | None = None

    def write(self, user: str, reply: str) -> dict[str, float]:
        """One exchange: what `begin` stores, the commit, and the digests and vectors made afterwards."""
        self._begin(user, self._chat)
        stored = sum(self._spent.values())
        turn, self._turn = self._turn, None
        began = self._clock()
        if turn is not None:
            turn.commit(reply)
        committed = self._clock()
        self._chat.settle()
        done = self._clock()
        return {
            "store": stored,
            "commit": committed - began,
            "background": done - committed,
            "seconds": stored + done - began,
        }

    def load(self, exchanges: list[list[dict[str, Any]]]) -> None:
        """Many exchanges as an import stores them, then all their digests and vectors."""
        from rhea.types import Message

        store, chat = self._memory._services.store, self._chat
        rows = [
            [Message(_role(m["role"]), m["text"], name=m.get("name"), time=m.get("time")) for m in exchange]
            for exchange in exchanges
        ]
        store.append_turns(chat._owner, chat._id, rows)
        chat.settle()

    def read(self, query: str, budget: int | None) -> tuple[list[str], dict[str, float]]:
        """The messages of the next turn, without the question.

        Args:
            query: the question.
            budget: tokens for what is remembered; ``None`` for the setting of the whole context.
        """
        chat = self._chat if budget is None else self._within(budget).conversation("bench", user="bench")
        began = self._clock()
        turn = self._begin(query, chat)
        whole = self._clock() - began
        texts = [m["content"] for m in turn.messages]
        before, _, after = texts[-1].rpartition(query)
        texts[-1] = before + after
        return texts, {"begin": whole, "seconds": whole - sum(self._spent.values())}

    def after_read(self) -> None:
        """Give the turn up again."""
        if self._turn is not None:
            self._turn.abandon()
            self._turn = None

    def facts(self) -> dict[str, Any]:
        """Bytes of vectors, and how durable a write is."""
        database: Any = self._memory._services.store
        with database.database.read() as connection:
            vectors, rows = connection.exec_driver_sql(
                "SELECT coalesce(sum(length(data)), 0), count(*) FROM vectors"
            ).one()
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
        return {"vector_bytes": vectors, "vector_rows": rows, "journal": journal, "synchronous": level}

    def close(self) -> None:
        """Release the database."""
        for memory in (self._memory, *self._others.values()):
            memory.close()

    def _open(self, settings: Settings) -> Rhea:
        return Rhea(self._url, embedder=self._embedder, counter=self._counter, settings=settings)

    def _within(self, budget: int) -> Rhea:
        if budget not in self._others:
            self._others[budget] = self._open(Settings(background=False, budget=budget + 4096, recall_budget=budget))
        return self._others[budget]

    def _begin(self, text: str, chat: Conversation) -> Turn:
        self._spent.update(dict.fromkeys(_STORING, 0.0))
        self._turn = chat.begin(text)
        return self._turn

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            began = self._clock()
            try:
                return function(*arguments, **options)
            finally:
                self._spent[name] += self._clock() - began

        return call


def _default_budget() -> int:
    return int(os.environ.get("RHEA_BENCH_BUDGET", Settings().budget))


def _counter() -> Any:
    """The packaged model's tokenizer where asked for, else the fallback that Rhea takes by itself."""
    if os.environ.get("RHEA_BENCH_COUNTER") != "model":
        return None
    from rhea.models.counting import TokenizerCounter

    return TokenizerCounter()


def _role(role: str | None) -> Any:
    return "assistant" if role == "assistant" else "user"


def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packaged_embedder_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
