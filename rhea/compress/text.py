"""The extractive digest: the sentences that carry a reply, verbatim, in their order.

A reply is cut into units (sentences, list items, code lines). Each is worth the words it adds that no
chosen unit holds yet, so that a digest repeats nothing; numbers, names and code identifiers count more,
first sentences a little more, pleasantries nothing. Offline, without a model, the same on every machine.
Paper: the digest stands for the memory tokens of asymmetric noise control where no LM is at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rhea.recall.chunks import sentences
from rhea.recall.words import STOP_WORDS

__all__ = ["TextCompressor", "content_words"]

_WORD = re.compile(r"[^\W_]+(?:['’.\-_/][^\W_]+)*", re.UNICODE)
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
_CODE = re.compile(r"[_`(){}=<>]|\w\.\w|[a-z][A-Z]")


@dataclass(frozen=True, slots=True)
class _Unit:
    place: int
    text: str
    words: dict[str, float]
    cost: int


def content_words(text: str) -> list[str]:
    """The words of a text that carry content: folded, stop words and single letters left out."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group().replace("’", "'").casefold()
        if word.split("'", 1)[0] not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            found.append(word)
    return found


class TextCompressor:
    """Makes extractive digests of a share of a reply's length.

    Args:
        share: of the reply's length, 0 to 1.
        whole: replies up to this length in tokens of ``count`` come back unchanged: a digest of a short
            reply saves little, and without its user text says less.
        least: shortest digest.
        most: longest digest.
        count: length of a text; words and marks by default, so that a digest does not depend on the model.
    """

    def __init__(
        self,
        share: float = 0.25,
        *,
        whole: int = 96,
        least: int = 48,
        most: int = 160,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self._share, self._whole, self._least, self._most = share, whole, least, most
        self._count = count or _length
        self.id = f"text-1-{share:g}-{whole}-{least}-{most}"

    def compress(self, replies: Sequence[str]) -> list[str]:
        """One digest a reply; a reply that is short already comes back unchanged."""
        return [self._one(reply) for reply in replies]

    def _one(self, reply: str) -> str:
        length = self._count(reply)
        room = min(self._most, max(self._least, int(length * self._share)))
        return reply if length <= max(room, self._whole) else self.digest(reply, room)

    def digest(self, reply: str, room: int) -> str:
        """The best units within ``room`` tokens, in their order, joined by spaces."""
        units = [u for u in self._units(reply) if u.words]
        chosen: list[_Unit] = []
        held: set[str] = set()
        used = 0
        left = units
        while left:
            fitting = [u for u in left if used + u.cost <= room]
            if not fitting:
                break
            best = max(fitting, key=lambda u: (_gain(u, held) / u.cost, -u.place))
            if _gain(best, held) <= 0.0:
                break
            chosen.append(best)
            held |= best.words.keys()
            used += best.cost
            left = [u for u in left if u is not best]
        return " ".join(u.text for u in sorted(chosen, key=lambda u: u.place)).strip()

    def _units(self, reply: str) -> list[_Unit]:
        units = []
        for place, text in enumerate(sentences(reply)):
            bare = _ITEM.sub("", text)
            if bare:
                units.append(_Unit(place, bare, _worth(bare), max(1, self._count(bare))))
        return units


def _gain(unit: _Unit, held: set[str]) -> float:
    return sum(worth for word, worth in unit.words.items() if word not in held)


def _worth(text: str) -> dict[str, float]:
    """Content words and what each is worth."""
    worth: dict[str, float] = {}
    for i, match in enumerate(_WORD.finditer(text)):
        written = match.group()
        for word in content_words(written):
            value = 1.0
            if any(c.isdigit() for c in written) or _CODE.search(written):
                value = 1.5
            elif i > 0 and written[0].isupper():
                value = 1.4
            worth[word] = max(value, worth.get(word, 0.0))
    return worth


def _length(text: str) -> int:
    """Words and marks, a long word counted once for each six letters: close to what tokenizers give."""
    return sum(1 + (len(piece) - 1) // 6 for piece in re.findall(r"\w+|[^\w\s]", text))
