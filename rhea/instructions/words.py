"""A sentence as hashed word sequences and word ends: what is said, where a vector tells what it is about."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

__all__ = ["SIZE", "word_ids"]

SIZE = 1 << 14
"""Number of buckets."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[?!:…]")
_LONGEST = 60
"""Words of a sentence that are looked at."""
_AFFIXED = 5
"""Length from which a word's beginnings and ends count too: German inflects and compounds."""


def word_ids(text: str) -> list[int]:
    """Buckets of one, two and three words in a row and of the beginnings and ends of long words, sorted, each once."""
    words = [w.replace("’", "'") for w in _WORD.findall(text.lower())][:_LONGEST]
    return sorted({zlib.crc32(piece.encode()) % SIZE for piece in _pieces(["^", *words, "$"])})


def _pieces(words: list[str]) -> Iterator[str]:
    for n in (1, 2, 3):
        for start in range(len(words) - n + 1):
            yield " ".join(words[start : start + n])
    for word in words:
        if len(word) >= _AFFIXED:
            for length in (4, 5, 6):
                if len(word) > length:
                    yield "p" + word[:length]
                    yield "s" + word[-length:]
