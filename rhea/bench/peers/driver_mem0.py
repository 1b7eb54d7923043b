"""mem0's `Memory` with a FAISS store and infer=False: no LLM is called. A read gives the nearest messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mem0 import Memory

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("mem0ai", "faiss-cpu")
USER = "bench"
NEAREST = 5
MOST = 200


class PipedEmbedding:
    """mem0's embedding interface over the pipe."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        """One text."""
        row: list[float] = self._embedder.embed([text])[0].tolist()
        return row

    def embed_batch(self, texts: list[str], memory_action: str | None = None) -> list[list[float]]:
        """Several texts."""
        rows: list[list[float]] = self._embedder.embed(list(texts)).tolist()
        return rows


class Driver:
    """One user's memories in one folder."""

    def __init__(self, folder: Path, embedder: Any) -> None:
        self._memory = Memory.from_config(
            {
                "vector_store": {
                    "provider": "faiss",
                    "config": {
                        "collection_name": "bench",
                        "path": str(folder / "faiss"),
                        "embedding_model_dims": embedder.dim,
                        "distance_strategy": "cosine",
                    },
                },
                "history_db_path": str(folder / "history.db"),
            }
        )
        self._memory.embedding_model = PipedEmbedding(embedder)

    def write(self, user: str, reply: str) -> None:
        """One exchange, one call."""
        self._add([{"role": "user", "content": user}, {"role": "assistant", "content": reply}])

    def load(self, exchanges: list[list[dict[str, str]]]) -> None:
        """Many exchanges, a call each: one call with more messages makes no fewer writes."""
        for exchange in exchanges:
            self._add([{"role": m["role"], "content": m["text"]} for m in exchange])

    def read(self, query: str, budget: int | None) -> tuple[list[str], None]:
        """The nearest memories, best first; with a budget as many as the caller may then cut from."""
        most = NEAREST if budget is None else MOST
        found = self._memory.search(query, filters={"user_id": USER}, top_k=most, threshold=0.0)
        return [str(row["memory"]) for row in found["results"]], None

    def close(self) -> None:
        """Release the history database."""
        self._memory.close()

    def _add(self, messages: list[dict[str, str]]) -> None:
        self._memory.add(messages, user_id=USER, infer=False)
