"""Which texts of a message are embedded: its sentences, the whole of it, and it with the message before.

One vector for a long message blurs what it says, so similarity is later taken as the largest over
several vectors (the paper takes the largest over several memory tokens). A text longer than the embedder
sees is split, never silently cut. This module knows nothing of vectors or databases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Channel", "Piece", "labelled", "pieces", "sentences", "split_to_fit"]

Channel = Literal["sentence", "message", "pair"]

_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'”’)\]]*(?:\s+|(?<=[。！？]))|\n+")
_CONTEXT_SHARE = 0.5
"""Most of the embedder's window that the message before may take in a pair."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One text to embed, and the channel that its vector serves."""

    channel: Channel
    text: str


def sentences(text: str) -> list[str]:
    """Split a text at sentence ends and line breaks; white space around sentences is dropped, nothing else."""
    parts: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        # Closing quotes belong to the sentence they close.
        tail = match.group().rstrip()
        part = (text[start : match.start()] + tail).strip()
        if part:
            parts.append(part)
        start = match.end()
    rest = text[start:].strip()
    if rest:
        parts.append(rest)
    return parts


def split_to_fit(text: str, limit: int, count: Callable[[str], int]) -> list[str]:
    """Cut a text into consecutive chunks of at most ``limit`` tokens, at sentence ends where possible.

    Args:
        text: any text.
        limit: most tokens a chunk, as ``count`` counts; at least 1.
        count: length of a text in the embedder's tokens.

    Returns:
        Chunks that together hold every sentence; a sentence over the limit is cut between words, and a
        word over the limit between characters.
    """
    if _surely_fits(text, limit) or count(text) <= limit:
        return [text]
    chunks: list[str] = []
    current = ""
    for unit in _units(text, limit, count):
        joined = f"{current} {unit}" if current else unit
        if current and count(joined) > limit:
            chunks.append(current)
            current = unit
        else:
            current = joined
    if current:
        chunks.append(current)
    return chunks


def pieces(
    text: str, before: str | None, limit: int, count: Callable[[str], int], *, speaker: str | None = None
) -> list[Piece]:
    """Every text of one message to embed.

    Args:
        text: the message.
        before: the message before it in the conversation as it was labelled (see :func:`labelled`), ``None``
            at the start.
        limit: most tokens that the embedder sees whole.
        count: length of a text in the embedder's tokens.
        speaker: who says it, where a chat has names. Questions name people, so each text starts with it.

    Returns:
        "message" pieces (one, or several chunks of a long message), "sentence" pieces when there are at
        least two sentences (one sentence would repeat the message's own vector), and one "pair" piece:
        the end of the message before, then the message's beginning.
    """
    room = max(1, limit - count(labelled("", speaker)) - 1) if speaker else limit
    chunks = split_to_fit(text, room, count)
    found = [Piece("message", labelled(chunk, speaker)) for chunk in chunks]
    parts = [piece for sentence in sentences(text) for piece in split_to_fit(sentence, room, count)]
    if len(parts) > 1 and parts != chunks:
        found.extend(Piece("sentence", labelled(part, speaker)) for part in parts)
    if before is not None and before.strip():
        found.append(Piece("pair", _pair(before, labelled(chunks[0], speaker), limit, count)))
    return found


def labelled(text: str, speaker: str | None) -> str:
    """The text as its embedding sees it: after the speaker's name, where there is one."""
    return f"{speaker}: {text}" if speaker else text


def _pair(before: str, text: str, limit: int, count: Callable[[str], int]) -> str:
    """The end of ``before`` and the start of ``text``, together inside the limit."""
    both = f"{before}\n{text}"
    if _surely_fits(both, limit) or count(both) <= limit:
        return both
    tail = split_to_fit(before, max(1, int(limit * _CONTEXT_SHARE)), count)[-1]
    # One token is kept for the line break, which some tokenizers count.
    head = split_to_fit(text, max(1, limit - count(tail) - 1), count)[0]
    return f"{tail}\n{head}"


def _units(text: str, limit: int, count: Callable[[str], int]) -> Iterable[str]:
    """Sentences, or the words or characters of what is longer than the limit."""
    for sentence in sentences(text):
        if count(sentence) <= limit:
            yield sentence
            continue
        for word in sentence.split():
            if _surely_fits(word, limit) or count(word) <= limit:
                yield word
            else:
                # A character takes at most four tokens, one a byte, in any byte-level vocabulary.
                step = max(1, limit // 4)
                yield from (word[i : i + step] for i in range(0, len(word), step))


def _surely_fits(text: str, limit: int) -> bool:
    """Whether the text fits whatever the vocabulary: never more than one token a byte."""
    return len(text) * 4 <= limit or (len(text) <= limit and text.isascii())
