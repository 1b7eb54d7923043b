"""`rhea bench instructions`: are standing instructions found, and nothing else?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rhea.bench.files import read_jsonl
from rhea.embed import Embedder, SentenceTransformerEmbedder
from rhea.instructions.detect import InstructionDetector

__all__ = ["measure_detection"]


class _Timed:
    """An embedder that adds up the time spent in it."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.id = inner.id
        self.dim = inner.dim
        self.max_tokens = inner.max_tokens
        self.seconds = 0.0

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        start = time.perf_counter()
        try:
            return self._inner.embed(texts)
        finally:
            self.seconds += time.perf_counter() - start

    def count(self, text: str) -> int:
        return self._inner.count(text)


def measure_detection(paths: Sequence[Path], *, embedder: Embedder | None = None) -> dict[str, Any]:
    """Recall and false positives by source, over messages that are labelled.

    A message counts as found when at least one instruction was taken from it; labels that are ``null`` are
    skipped and a text that returns counts once. ``ms_per_message`` leaves the embedder's own time out.
    """
    timed = _Timed(embedder or SentenceTransformerEmbedder())
    detector = InstructionDetector(timed)
    detector.load()
    detector.detect("From now on answer briefly.", ())
    timed.seconds = 0.0
    counts: dict[str, list[int]] = {}
    seen: set[tuple[str, str]] = set()
    started = time.perf_counter()
    for path in paths:
        for row in read_jsonl(path, ("source", "turns")):
            for turn in row["turns"]:
                label, text = turn.get("rule"), turn["user"]
                if label is None or (row["source"], text) in seen:
                    continue
                seen.add((row["source"], text))
                found = any(c.action in ("add", "supersede") for c in detector.detect(text, ()).changes)
                tally = counts.setdefault(row["source"], [0, 0, 0, 0])
                tally[0 if label else 2] += 1
                tally[1 if label else 3] += int(found)
    elapsed = time.perf_counter() - started - timed.seconds
    return _report(counts, 1000.0 * elapsed / max(1, len(seen)))


def _report(counts: dict[str, list[int]], ms: float) -> dict[str, Any]:
    """Counts by source: positives, found among them, negatives, found among them."""
    positives, true, false = (sum(c[i] for c in counts.values()) for i in (0, 1, 3))
    precision = true / (true + false) if true + false else None
    recall = true / positives if positives else None
    f1 = 2 * true / (true + false + positives) if positives else None
    return {
        "sources": {
            name: {
                "recall": c[1] / c[0] if c[0] else None,
                "false_positive_rate": c[3] / c[2] if c[2] else None,
                "positives": c[0],
                "negatives": c[2],
            }
            for name, c in counts.items()
        },
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "ms_per_message": round(ms, 3),
    }
