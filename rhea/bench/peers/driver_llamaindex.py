"""LlamaIndex's `Memory` on SQLite with a `VectorMemoryBlock`. A read gives recent messages and near batches.

The block needs a vector store that keeps the text of its nodes; the core's own `SimpleVectorStore` does
not, so here it is given the text, in memory.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory, VectorMemoryBlock
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import PrivateAttr

__all__ = ["DISTRIBUTIONS", "Driver"]

DISTRIBUTIONS = ("llama-index-core", "sqlalchemy", "aiosqlite")
LIMIT = int(os.environ.get("RHEA_BENCH_BUDGET", "4096"))
FLUSH = 512
NEAREST = 5
_PIECE = re.compile(r"\w{1,6}|[^\w\s]")


class PipedEmbedding(BaseEmbedding):  # type: ignore[misc, unused-ignore]
    """LlamaIndex's embedding interface over the pipe."""

    _embedder: Any = PrivateAttr(default=None)

    @classmethod
    def over(cls, embedder: Any) -> PipedEmbedding:
        """An instance that asks ``embedder``."""
        made = cls(model_name="piped", embed_batch_size=64)
        made._embedder = embedder
        return made

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        row: list[float] = self._embedder.embed([text])[0].tolist()
        return row

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)


class TextStore(SimpleVectorStore):  # type: ignore[misc, unused-ignore]
    """`SimpleVectorStore` that also keeps its nodes."""

    stores_text: bool = True
    _nodes: dict[str, Any] = PrivateAttr(default_factory=dict)

    async def async_add(self, nodes: Any, **options: Any) -> list[str]:
        """Keep the nodes beside their vectors."""
        self._nodes.update({n.node_id: n for n in nodes})
        added: list[str] = self.add(nodes, **options)
        return added

    async def aquery(self, query: Any, **options: Any) -> Any:
        """Near nodes, with their text."""
        found = self.query(query, **options)
        found.nodes = [self._nodes[i] for i in found.ids or []]
        return found


class Driver:
    """One session in one database, on one event loop."""

    def __init__(self, folder: Path, embedder: Any) -> None:
        self._loop = asyncio.new_event_loop()
        block = VectorMemoryBlock(
            vector_store=TextStore(),
            embed_model=PipedEmbedding.over(embedder),
            similarity_top_k=NEAREST,
            retrieval_context_window=1,
        )
        self._memory = Memory.from_defaults(
            session_id="bench",
            token_limit=LIMIT,
            token_flush_size=min(FLUSH, LIMIT // 4),
            memory_blocks=[block],
            tokenizer_fn=_PIECE.findall,
            async_database_uri=f"sqlite+aiosqlite:///{folder / 'memory.db'}",
        )

    def write(self, user: str, reply: str) -> None:
        """One exchange, one call."""
        self.load([[{"role": "user", "text": user}, {"role": "assistant", "text": reply}]])

    def load(self, exchanges: list[list[dict[str, str]]]) -> None:
        """An exchange, a call, as a chat loop would make it."""
        for exchange in exchanges:
            messages = [ChatMessage(role=m["role"], content=m["text"]) for m in exchange]
            self._loop.run_until_complete(self._memory.aput_messages(messages))

    def read(self, query: str, _budget: int | None) -> tuple[list[str], None]:
        """What `aget` gives: a system message with near batches, then recent messages, oldest first."""
        found = self._loop.run_until_complete(self._memory.aget(input=query))
        return [str(m.content) for m in found], None

    def close(self) -> None:
        """End the event loop."""
        self._loop.close()
