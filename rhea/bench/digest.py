"""`rhea bench digest`: how much of a reply's content survives in a digest of a given size.

Kept content is the share of a reply's content words (stop words left out) that stand in the digest, against
a truncation of the same number of tokens, both counted by the default model's tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rhea.compress.text import TextCompressor, content_words
from rhea.errors import ImportFormatError

__all__ = ["DEFAULT_SHARES", "measure_digests", "read_replies"]

DEFAULT_SHARES = (0.1, 0.15, 0.25, 0.35, 0.5)
_SHORTEST = 64
"""Replies of fewer tokens are left out: they enter a context whole."""


def measure_digests(
    files: Sequence[Path], count: Callable[[str], int], shares: Sequence[float] = DEFAULT_SHARES
) -> dict[str, Any]:
    """Measure digests and truncations of each size on every reply.

    Args:
        files: JSONL with ``{"turns": [{"user", "reply"}]}``, or any format that `rhea import` reads.
        count: tokens of a text.
        shares: sizes, as shares of the reply's tokens.

    Returns:
        ``{"replies", "tokens_p50", "shares": {"0.25": {"digest", "truncation", "tokens"}}}``: the mean share
        of content words kept by each, and the mean size that the digests really have.

    Raises:
        ImportFormatError: a file cannot be read.
    """
    compressor = TextCompressor(count=count)
    replies = [(reply, count(reply)) for file in files for reply in read_replies(file)]
    replies = [(reply, tokens) for reply, tokens in replies if tokens >= _SHORTEST and content_words(reply)]
    if not replies:
        raise ImportFormatError(f"no reply of {_SHORTEST} tokens or more in {', '.join(map(str, files))}")
    curve = {}
    for share in shares:
        rows = [_one(compressor, reply, tokens, share, count) for reply, tokens in replies]
        digest, truncation, size = np.mean(rows, axis=0).tolist()
        curve[f"{share:g}"] = {
            "digest": round(digest, 4),
            "truncation": round(truncation, 4),
            "tokens": round(size, 4),
        }
    return {
        "replies": len(replies),
        "tokens_p50": int(np.median([tokens for _, tokens in replies])),
        "shares": curve,
    }


def read_replies(path: Path) -> list[str]:
    """Every reply of a file."""
    from rhea.importing import read_file

    with path.open(encoding="utf-8") as file:
        first = file.readline()
    try:
        data = json.loads(first) if first.strip() else None
    except json.JSONDecodeError as error:
        raise ImportFormatError(f"{path}, line 1: not JSON ({error})") from None
    if isinstance(data, dict) and isinstance(data.get("turns"), list):
        return _dialogue_replies(path)
    return [m.text for found, _ in read_file(path) for m in found.messages if m.role == "assistant"]


def _dialogue_replies(path: Path) -> list[str]:
    replies = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                replies += [turn["reply"] for turn in json.loads(line)["turns"] if turn.get("reply")]
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
                raise ImportFormatError(f"{path}, line {number}: turns with 'user' and 'reply' are expected") from None
    return replies


def _one(
    compressor: TextCompressor, reply: str, tokens: int, share: float, count: Callable[[str], int]
) -> tuple[float, float, float]:
    room = max(1, round(tokens * share))
    digest = compressor.digest(reply, room)
    words = set(content_words(reply))
    size = count(digest) if digest else 0
    cut = truncated(reply, room, count)
    return _kept(words, digest), _kept(words, cut), size / tokens


def _kept(words: set[str], text: str) -> float:
    return len(words & set(content_words(text))) / len(words)


def truncated(text: str, room: int, count: Callable[[str], int]) -> str:
    """The longest beginning of a text of at most ``room`` tokens, cut between words."""
    words = text.split(" ")
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if count(" ".join(words[:middle])) <= room:
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])
