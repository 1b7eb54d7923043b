"""One scope's vectors as a FAISS index, and the single verified block that it is kept in on disk.

The block: what it is (a JSON header: owner, conversation, embedder, dimension, count), the rows, the FAISS
index, and the SHA-256 of all of it. Whatever is not exactly what was written does not decode.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhea.errors import EmbedderError
from rhea.stores.base import VectorHit

__all__ = ["HNSW_ABOVE", "Scope", "VectorIndex", "add", "checksums", "decode", "empty", "encode", "header_of"]

MAGIC = b"RHEAVEC1"
HNSW_ABOVE = 100_000
"""Vectors of one scope above which the search is approximate (HNSW) instead of exact."""

Row = np.dtype([("message", "<i8"), ("turn", "<i8"), ("conversation", "<i8"), ("channel", "<i4"), ("checksum", "<i8")])


@lru_cache(maxsize=1)
def _faiss() -> Any:
    return importlib.import_module("faiss")  # late: it takes a while to load


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose vectors an index holds."""

    owner: int
    conversation: int | None
    embedder: str


@dataclass
class VectorIndex:
    """The vectors of one scope, ready to be searched. Got from :class:`FaissCache`, never kept by the caller."""

    scope: Scope
    dim: int
    rows: NDArray[Any]
    """One entry a vector: message, turn, conversation, number of its channel, checksum of its message."""
    channels: list[str] = field(default_factory=list)
    index: Any = None
    unsaved: int = 0

    @property
    def message_ids(self) -> NDArray[np.int64]:
        """int64 of shape (vectors,): the message of each vector."""
        return self.rows["message"].astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Rough size in memory."""
        return int(self.rows.nbytes + len(self.rows) * self.dim * 4 * (1.3 if len(self.rows) > HNSW_ABOVE else 1))

    def similarities(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine of every vector with its best query: float32 of shape (vectors,), exact."""
        if self.index is None or not len(self.rows):
            return np.zeros(0, dtype=np.float32)
        held = np.asarray(self.index.reconstruct_n(0, len(self.rows)))
        best: NDArray[np.float32] = (held @ queries.T).max(axis=1)
        return best

    def search(
        self, queries: NDArray[np.float32], limit: int, exclude_conversation: int | None = None
    ) -> list[VectorHit]:
        """The nearest vectors, best first; a vector scores its best query.

        Raises:
            EmbedderError: the queries are of another size than the vectors.
        """
        if self.index is None or not len(self.rows):
            return []
        if queries.shape[1] != self.dim:
            raise EmbedderError(
                f"{self.scope.embedder}: a query of {queries.shape[1]} numbers against vectors of {self.dim}"
            )
        faiss = _faiss()
        allowed = None
        if exclude_conversation is not None:
            kept = np.packbits(self.rows["conversation"] != exclude_conversation, bitorder="little")
            allowed = faiss.IDSelectorBitmap(kept)
        # Ties at the cut are broken by message, so a few more than asked for are looked at.
        wanted = min(len(self.rows), limit + 16)
        if isinstance(self.index, faiss.IndexHNSW):
            how = faiss.SearchParametersHNSW(efSearch=max(128, 2 * wanted), sel=allowed)
        else:
            how = faiss.SearchParameters(sel=allowed)
        scores, found = self.index.search(np.ascontiguousarray(queries), wanted, params=how)
        best: dict[int, float] = {}
        for score, row in zip(scores.ravel().tolist(), found.ravel().tolist(), strict=True):
            if row >= 0 and score > best.get(row, -np.inf):
                best[row] = score
        order = sorted(best, key=lambda row: (-best[row], int(self.rows[row]["message"]), row))[:limit]
        return [
            VectorHit(
                int(self.rows[row]["message"]),
                int(self.rows[row]["turn"]),
                int(self.rows[row]["conversation"]),
                self.channels[int(self.rows[row]["channel"])],
                best[row],
            )
            for row in order
        ]


def empty(scope: Scope, dim: int) -> VectorIndex:
    """An index without vectors."""
    return VectorIndex(scope, dim, np.zeros(0, dtype=Row))


def checksums(index: VectorIndex) -> tuple[int, int]:
    """Number of messages and sum of their checksums, each message counted once."""
    if not len(index.rows):
        return 0, 0
    _, first = np.unique(index.rows["message"], return_index=True)
    return len(first), int(index.rows["checksum"][first].sum())


def add(index: VectorIndex, found: Iterable[Any]) -> None:
    """Append messages: (message, turn, conversation, channels, checksum, packed vectors).

    Raises:
        EmbedderError: a vector is not finite; the index is as it was.
    """
    faiss = _faiss()
    blocks, entries = [], []
    for message, turn, conversation, channels, checksum, data in found:
        block = np.frombuffer(data, dtype="<f2").reshape(-1, index.dim)
        if not np.isfinite(block).all():
            raise EmbedderError(f"{index.scope.embedder}: stored vectors of message {message} are not finite")
        blocks.append(block)
        for channel in channels.split(","):
            if channel not in index.channels:
                index.channels.append(channel)
            entries.append((message, turn, conversation, index.channels.index(channel), checksum))
    if not blocks:
        return
    added = np.ascontiguousarray(np.concatenate(blocks), dtype=np.float32)
    total = len(index.rows) + len(added)
    if total > HNSW_ABOVE and not isinstance(index.index, faiss.IndexHNSW):
        graph = faiss.IndexHNSWFlat(index.dim, 32, faiss.METRIC_INNER_PRODUCT)
        if index.index is not None:
            graph.add(index.index.reconstruct_n(0, index.index.ntotal))
        index.index = graph
    elif index.index is None:
        index.index = faiss.IndexFlatIP(index.dim)
    index.index.add(added)
    index.rows = np.concatenate([index.rows, np.array(entries, dtype=Row)])
    index.unsaved += len(added)


def encode(index: VectorIndex) -> bytes:
    """The block that :func:`decode` reads."""
    faiss = _faiss()
    rows = index.rows.tobytes()
    graph: bytes = faiss.serialize_index(index.index).tobytes()
    header = json.dumps(
        {
            "owner": index.scope.owner,
            "conversation": index.scope.conversation,
            "embedder": index.scope.embedder,
            "dim": index.dim,
            "count": len(index.rows),
            "channels": index.channels,
        },
        sort_keys=True,
    ).encode()
    body = MAGIC + struct.pack("<QQQ", len(header), len(rows), len(graph)) + header + rows + graph
    return body + hashlib.sha256(body).digest()


def header_of(path: Path) -> dict[str, Any] | None:
    """What a file says it is, unverified; ``None`` when that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + 24)
            length = struct.unpack("<QQQ", start[len(MAGIC) :])[0]
            found = json.loads(file.read(min(length, 1 << 20)))
            return found if isinstance(found, dict) else None
    except (OSError, ValueError, struct.error):
        return None


def decode(data: bytes, scope: Scope) -> VectorIndex:
    """Raises ValueError and its like for whatever is not exactly what was written for this scope."""
    faiss = _faiss()
    body, digest = data[:-32], data[-32:]
    if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
        raise ValueError("checksum")
    start = len(MAGIC) + 24
    header_size, rows_size, graph_size = struct.unpack("<QQQ", body[len(MAGIC) : start])
    if start + header_size + rows_size + graph_size != len(body):
        raise ValueError("sizes")
    header = json.loads(body[start : start + header_size])
    if (header["owner"], header["conversation"], header["embedder"]) != (
        scope.owner,
        scope.conversation,
        scope.embedder,
    ):
        raise ValueError("another scope")
    rows = np.frombuffer(body[start + header_size :][:rows_size], dtype=Row).copy()
    graph = faiss.deserialize_index(np.frombuffer(body[start + header_size + rows_size :], dtype=np.uint8))
    if not len(rows) == header["count"] == graph.ntotal or graph.d != header["dim"]:
        raise ValueError("count")
    return VectorIndex(scope, int(header["dim"]), rows, list(header["channels"]), graph)
