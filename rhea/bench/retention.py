"""`rhea bench retention`: do instructions still stand in the context after many tokens of other talk?

Each conversation of the file is played through the public API with its own replies, then filler turns, then one
question: the context of that question is what counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rhea.bench.files import read_jsonl
from rhea.settings import Settings

if TYPE_CHECKING:
    from rhea.embed import Embedder
    from rhea.memory import Conversation
    from rhea.models.base import TokenCounter

__all__ = ["measure_retention"]

_WHOLE = 300
"""A labelled turn of at most so many characters must stand whole; a longer one by the sentences taken from it."""
_QUESTION = "What would you suggest?"
_NO_REPLY = "Understood."


def measure_retention(
    path: Path,
    filler: Path,
    *,
    tokens: int,
    budget: int,
    limit: int | None = None,
    embedder: Embedder | None = None,
    counter: TokenCounter | None = None,
) -> dict[str, Any]:
    """Share of conversations whose every labelled instruction stands verbatim in the last context.

    Args:
        path: conversations with labelled turns.
        filler: turns to put in between, taken in turn as often as needed.
        tokens: filler tokens, counted over messages and replies.
        budget: tokens that a context may take.
        limit: conversations at most.
        embedder: ``None`` for the packaged one.
        counter: ``None`` for the fallback counter.
    """
    from rhea.embed import SentenceTransformerEmbedder
    from rhea.memory import Rhea
    from rhea.models.counting import FallbackCounter

    rows = [r for r in read_jsonl(path) if any(t.get("rule") is True for t in r["turns"])][:limit]
    between = [t for r in read_jsonl(filler) for t in r["turns"]]
    embedder = _Remembering(embedder or SentenceTransformerEmbedder())
    counter = counter or FallbackCounter()
    filled, largest, whole = 0, 0, 0
    settings = Settings(budget=budget, background=False, max_message_bytes=1 << 20)
    with TemporaryDirectory() as folder:
        for number, row in enumerate(rows):
            with Rhea(
                f"sqlite:///{folder}/{number}.db", embedder=embedder, counter=counter, settings=settings
            ) as memory:
                chat = memory.conversation("retention", user="bench")
                needles = [needle for turn in row["turns"] for needle in _play(chat, turn, budget, counter)]
                filled += _fill(chat, between, tokens, budget, counter)
                turn = chat.begin(row.get("question") or _QUESTION)
                largest = max(largest, turn.context.tokens)
                said = [m["content"] for m in turn.messages]
                whole += all(any(needle in text for text in said) for needle in needles)
    return {
        "conversations": len(rows),
        "filler_tokens": filled // max(1, len(rows)),
        "verbatim": whole / len(rows) if rows else None,
        "largest_context": largest,
    }


class _Remembering:
    """An embedder that embeds a text once: the same filler comes back in every conversation."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.id = inner.id
        self.dim = inner.dim
        self.max_tokens = inner.max_tokens
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        fresh = [t for t in dict.fromkeys(texts) if t not in self._known]
        if fresh:
            self._known |= dict(zip(fresh, self._inner.embed(fresh), strict=True))
        return np.array([self._known[t] for t in texts], dtype=np.float32).reshape(len(texts), self.dim)

    def count(self, text: str) -> int:
        return self._inner.count(text)


def _play(chat: Conversation, turn: dict[str, Any], budget: int, counter: TokenCounter) -> Iterator[str]:
    """Play one turn; yields what must stand verbatim if it is labelled as an instruction."""
    before = {i.id for i in chat.instructions.list(every=True)}
    if not _say(chat, turn, budget, counter):
        return
    if turn.get("rule") is not True:
        return
    text = turn["user"]
    if len(text) <= _WHOLE:
        yield text
        return
    taken = [i.text for i in chat.instructions.list(every=True) if i.id not in before]
    yield from taken or [text]  # nothing was taken: the whole turn would have to stand, and will hardly do


def _say(chat: Conversation, turn: dict[str, Any], budget: int, counter: TokenCounter) -> int:
    """One turn with the file's reply; tokens said, 0 for a message that is larger than the budget."""
    text = turn["user"]
    if not text.strip() or counter.count_messages([{"role": "user", "content": text}]) > budget // 2:
        return 0
    reply = (turn.get("reply") or "").strip() or _NO_REPLY
    chat.begin(text).commit(reply)
    return counter.count_text(text) + counter.count_text(reply)


def _fill(
    chat: Conversation, between: Sequence[dict[str, Any]], tokens: int, budget: int, counter: TokenCounter
) -> int:
    said, idle = 0, 0
    for turn in cycle(between):
        if said >= tokens or idle > len(between):
            return said
        taken = _say(chat, turn, budget, counter)
        idle = 0 if taken else idle + 1
        said += taken
    return said
