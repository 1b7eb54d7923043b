"""Do memory tokens find past turns, as the paper scores them? Evidence recall beside sentence vectors.

    python scripts/measure_memory_scoring.py FILE [--compressor DIR] [--budget 1000] [--queries N]

FILE holds conversations with questions and the ids of the messages that answer them, as `rhea bench recall` takes
them. Each way of scoring ranks the messages of a conversation; the best are taken while they fit the budget.
`docs/memory-tokens.md` quotes what this prints.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rhea.compress.memory_tokens import MemoryTokenCompressor
from rhea.embed import SentenceTransformerEmbedder
from rhea.models.transformers import TransformersModel

Scores = NDArray[np.float32]


def unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def by_max(query: NDArray[np.float32], replies: NDArray[np.float32]) -> Scores:
    """Largest cosine between any vector of the query and any of the reply: (k, h), (n, k, h) → (n,)."""
    return np.einsum("kh,nmh->nkm", unit(query), unit(replies)).max((1, 2))


def by_mean(query: NDArray[np.float32], replies: NDArray[np.float32]) -> Scores:
    """Cosine of the mean vectors."""
    return unit(replies.mean(1)) @ unit(query.mean(0))


def by_concat(query: NDArray[np.float32], replies: NDArray[np.float32]) -> Scores:
    """Cosine of all vectors end to end."""
    return unit(replies.reshape(len(replies), -1)) @ unit(query.reshape(-1))


def z(values: Scores) -> Scores:
    return (values - values.mean()) / (values.std() + 1e-6)


def recall(score: Scores, sizes: NDArray[np.int64], evidence: set[int], budget: int) -> float:
    taken, used = set(), 0
    for row in np.argsort(-score, kind="stable"):
        if used + sizes[row] <= budget:
            used += int(sizes[row])
            taken.add(int(row))
    return len(taken & evidence) / len(evidence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--compressor", type=Path, default=None)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=100, help="of each conversation")
    given = parser.parse_args()
    model = TransformersModel(None, device="cpu")
    compressor = MemoryTokenCompressor.load(given.compressor, model.network, model.prompts)
    embedder = SentenceTransformerEmbedder()
    found: dict[str, list[float]] = {}
    for line in given.file.read_text(encoding="utf-8").splitlines():
        talk = json.loads(line)
        texts = [f"{m['name']}: {m['text']}" for m in talk["messages"]]
        places = {m["id"]: i for i, m in enumerate(talk["messages"])}
        sizes = np.array([len(model.prompts.encode_text(t)) + 1 for t in texts])
        dense = embedder.embed(texts)
        memory = np.stack([m[: compressor.tokens].numpy() for m in compressor.encode([("", t) for t in texts])])
        centred = memory - memory.mean(0)
        for query in talk["queries"][: given.queries]:
            evidence = {places[e] for e in query["evidence"] if e in places}
            if not evidence:
                continue
            asked = compressor.encode_query(query["question"])[: compressor.tokens].numpy()
            near = dense @ embedder.embed([query["question"]])[0]
            less = asked - memory.mean(0)
            ways = {
                "sentence vectors": near,
                "memory tokens, max": by_max(asked, memory),
                "memory tokens, mean": by_mean(asked, memory),
                "memory tokens, concat": by_concat(asked, memory),
                "memory tokens, concat, centred": by_concat(less, centred),
                "sentence vectors + 0.5 max": z(near) + 0.5 * z(by_max(asked, memory)),
                "sentence vectors + 0.5 concat, centred": z(near) + 0.5 * z(by_concat(less, centred)),
            }
            for name, score in ways.items():
                found.setdefault(name, []).append(recall(score, sizes, evidence, given.budget))
        print(f"{talk['id']} done", file=sys.stderr, flush=True)
    for name, values in found.items():
        print(f"{name:40} {np.mean(values):.3f} of {len(values)}", flush=True)


if __name__ == "__main__":
    main()
