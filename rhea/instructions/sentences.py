"""A message as sentences with exact character offsets, each marked as the user's own words or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rhea.instructions.foreign import ForeignRange, foreign_ranges

__all__ = ["Sentence", "split_sentences"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """``text`` is ``message[start:end]`` exactly. ``foreign`` names why it is not the user's own voice, else ``""``.

    ``voice`` is the sentence with quoted and code parts blanked out: what patterns look at.
    ``header`` is the line with a colon that a list item stands under, if any.
    """

    text: str
    start: int
    end: int
    voice: str
    foreign: str = ""
    header: str = ""
    message: str = ""
    """The whole message."""

    @property
    def heard(self) -> str:
        """The sentence with other people's words and code left out: what the learned part looks at."""
        return self.text if self.voice == self.text else _BLANKED.sub("…", self.voice)


_ABBREVIATIONS = frozenset(
    "e.g i.e etc mr mrs ms dr prof vs approx no st jr sr inc fig cf al z.b d.h u.a bzw usw ca nr z p.s p.p.s p s "  # noqa: SIM905
    "u.s u.k a.m p.m".split()
)
_BREAK = re.compile(r"(?:[.!?…]+[\"'”’)\]]*|[。！？])(?=\s|$)\s*|(?<=[。！？])")
_BLANKED = re.compile(r"_{2,}(?:\s+_{2,})*")
_ITEM = re.compile(r"^[ \t]*(?:[-*•–]|\(?\d{1,2}[.)]|\(?[a-z][.)])[ \t]+")


def split_sentences(text: str) -> list[Sentence]:
    """Split a user's message; code, quotations and pasted documents come back marked as foreign."""
    ranges = foreign_ranges(text)
    sentences: list[Sentence] = []
    header = ""
    for start, end in _lines(text):
        line = text[start:end]
        item = _ITEM.match(line)
        if not line.strip():
            continue
        if not item:
            header = line.strip() if line.rstrip().endswith(":") else ""
        body = start + (item.end() if item else 0)
        for first, last in _pieces(text, body, end):
            sentences.append(_sentence(text, first, last, ranges, header if item else ""))
    return sentences


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in re.finditer(r"\n|\Z", text):
        yield start, match.start()
        start = match.end()


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of the sentences between two offsets, white space trimmed."""
    first = start
    for match in _BREAK.finditer(text, start, end):
        last_word = text[first : match.start()].rsplit(None, 1)[-1:] or [""]
        ends_short = match.group().strip() == "." and last_word[0].lower().lstrip("(\"'") in _ABBREVIATIONS
        if ends_short and match.end() < end:
            continue
        if re.fullmatch(r"\s*\d{1,2}", text[first : match.start()]):  # "1." opens an item, it ends nothing
            continue
        yield from _trimmed(text, first, match.end())
        first = match.end()
    yield from _trimmed(text, first, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def _sentence(text: str, start: int, end: int, ranges: Sequence[ForeignRange], header: str) -> Sentence:
    piece = text[start:end]
    inside = [r for r in ranges if r.start < end and r.end > start]
    blanked = list(piece)
    for r in inside:
        for i in range(max(r.start, start) - start, min(r.end, end) - start):
            blanked[i] = "_" if not piece[i].isspace() else piece[i]
    voice = "".join(blanked)
    own = sum(c.isalnum() for c in voice)
    foreign = ""
    if inside and own < max(4, 0.25 * sum(c.isalnum() for c in piece)):
        foreign = inside[0].why
    return Sentence(piece, start, end, voice, foreign, header, text)
