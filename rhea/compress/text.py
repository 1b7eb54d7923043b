"""The extractive digest: the phrases that carry a reply, word for word, in their order.

A reply is cut into phrases at punctuation and at words that carry nothing ("of the", "you can"). Each is
worth the content words that it adds, so that a digest repeats nothing; numbers, names and code identifiers
count more, and a "not" stays with what it denies. The best phrases per token are kept and read like notes:
"Draw room scale. mark load-bearing wall. electrics checked". Offline, without a model, the same on every
machine. Paper: it stands for the memory tokens of asymmetric noise control where no LM is at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rhea.recall.chunks import sentences
from rhea.recall.words import STOP_WORDS

__all__ = ["TextCompressor", "content_words"]

_WORD = re.compile(r"[^\W_](?:[^\W_]|[_'’](?=[^\W_])|[.\-/](?=[^\W_])|,(?=\d{3}))*|_+\w+", re.UNICODE)
_CODE = re.compile(r"[_/]|\w\.\w|[a-z][A-Z]")
_DENIALS = frozenset(
    ("not", "no", "never", "without", "nor", "neither", "cannot", "can't", "don't", "doesn't", "isn't", "won't")
)
_TELLING = 1.3
"""What a token of a number, a name or an identifier is worth, one of a plain word being about 0.8."""
_POLITE = frozenset(
    ("absolutely", "certainly", "course", "feel", "free", "glad", "happy", "help", "helps", "hope", "please", "sure")
) | {"thank", "thanks", "welcome"}
_PLEASANTRY = 0.3
"""What a word of mere politeness is worth."""
_JOIN = ". "


@dataclass(frozen=True, slots=True)
class _Phrase:
    place: int
    sentence: int
    text: str
    worth: dict[str, float]
    cost: int


def content_words(text: str) -> list[str]:
    """The words of a text that carry content: folded, stop words and single letters left out."""
    return [word for match in _WORD.finditer(text) if (word := _content(match.group()))]


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
        """The best phrases within ``room`` tokens, in their order.

        Args:
            reply: any text.
            room: most tokens of the digest, as ``count`` counts.

        Returns:
            The digest; empty when not even one phrase fits.
        """
        chosen: list[_Phrase] = []
        held: set[str] = set()
        opened: set[int] = set()
        used = 0
        left = self._phrases(reply)
        while left:
            best = max(left, key=lambda p: (_gain(p, held) / (p.cost + (p.sentence not in opened)), -p.place))
            if _gain(best, held) <= 0.0:
                break
            left = [p for p in left if p is not best]
            cost = best.cost + (best.sentence not in opened)
            if used + cost > room:
                continue
            chosen.append(best)
            used += cost
            held |= best.worth.keys()
            opened.add(best.sentence)
        while chosen and self._count(_written(chosen)) > room:
            chosen.pop()
        return _written(chosen)

    def _phrases(self, reply: str) -> list[_Phrase]:
        count = lru_cache(maxsize=None)(self._count)
        found: list[_Phrase] = []
        for number, sentence in enumerate(sentences(reply)):
            for words in _runs(sentence):
                worth: dict[str, float] = {}
                for place, word in enumerate(words):
                    folded = _content(word)
                    if folded:
                        telling = _tells(word, first=not found and place == 0)
                        plain = _PLEASANTRY if folded in _POLITE else 1.0
                        worth[folded] = _TELLING * count(" " + word) if telling and plain == 1.0 else plain
                text = " ".join(words)
                if worth:
                    found.append(_Phrase(len(found), number, text, worth, max(1, count(" " + text))))
        return found


def _runs(sentence: str) -> list[list[str]]:
    """Content words that stand together; punctuation and stop words part them, a denial stays with what follows."""
    runs: list[list[str]] = [[]]
    end = 0
    for match in _WORD.finditer(sentence):
        word = match.group()
        if sentence[end : match.start()].strip():
            runs.append([])
        end = match.end()
        if word.replace("’", "'").casefold() in _DENIALS:
            runs.append([word])
        elif _content(word):
            runs[-1].append(word)
        elif not (len(runs[-1]) == 1 and runs[-1][0].replace("’", "'").casefold() in _DENIALS):
            runs.append([])
    return [run for run in runs if run]


def _content(written: str) -> str:
    """The folded word, or "" for a stop word or a single letter."""
    word = written.replace("’", "'").casefold()
    bare = word.split("'", 1)[0]
    return word if bare not in STOP_WORDS and (len(word) > 1 or word.isdigit()) else ""


def _tells(word: str, *, first: bool) -> bool:
    """Whether a word is a number, a name or a code identifier."""
    return any(c.isdigit() for c in word) or bool(_CODE.search(word)) or (word[0].isupper() and not first)


def _gain(phrase: _Phrase, held: set[str]) -> float:
    return sum(worth for word, worth in phrase.worth.items() if word not in held)


def _written(chosen: Sequence[_Phrase]) -> str:
    """The phrases in their order; a full stop where another sentence begins."""
    text, sentence = "", -1
    for phrase in sorted(chosen, key=lambda p: p.place):
        text += (_JOIN if text and phrase.sentence != sentence else " " if text else "") + phrase.text
        sentence = phrase.sentence
    return text


def _length(text: str) -> int:
    """Words and marks, a long word counted once for each six letters: close to what tokenizers give."""
    return sum(1 + (len(piece) - 1) // 6 for piece in re.findall(r"\w+|[^\w\s]", text))
