"""Words as the lexical channel sees them: folded, stopped and stemmed.

One light stemmer and one stop list serve messages and questions alike, in memory, so that the lexical
score is the same on every database engine.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["STOP_WORDS", "stem", "terms"]

_WORD = re.compile(r"\w+(?:['’]\w+)?", re.UNICODE)
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts written without spaces: their words are taken as pairs of characters."""

_STOPPED = """
a about after again all also am an and any are as at be because been before being both but by can could
did do does doing done down each else ever every few for from further get gets getting go goes going got
had has have having he her here hers herself him himself his how i if in into is it its itself just let
lets like me more most much my myself no nor not now of off oh ok okay on once one only or other our ours
out over own really same say says she should so some such than that the their theirs them themselves then
there these they thing things this those though through to too under until up us very was we well were
what when where which while who whom whose why will with would yeah yes yet you your yours yourself
d ll m re s t ve don didn doesn isn wasn aren won wouldn couldn shouldn hasn haven
"""
STOP_WORDS = frozenset(_STOPPED.split())

_VOWELS = frozenset("aeiouy")


def terms(text: str) -> list[str]:
    """The stemmed words of a text in order, stop words left out."""
    folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
    found: list[str] = []
    for word in _WORD.findall(folded):
        found += _terms_of(word)
    return found


@lru_cache(maxsize=65_536)
def _terms_of(word: str) -> tuple[str, ...]:
    """What one written word, folded, is found by."""
    if _WIDE.search(word):
        return tuple(word[i : i + 2] for i in range(max(1, len(word) - 1)))
    bare = word.replace("’", "'").split("'", 1)[0]
    return (stem(bare),) if bare and bare not in STOP_WORDS else ()


def stem(word: str) -> str:
    """Cut English endings so that "volunteering", "volunteered" and "volunteers" meet.

    Deliberately light: a wrong merge costs precision, a missed one is caught by the vectors.
    """
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    word = _singular(word)
    for ending, replacement in (("ingly", ""), ("edly", ""), ("ing", ""), ("ed", ""), ("ly", "")):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and not _VOWELS.isdisjoint(root):
            word = _undouble(root + replacement)
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    if word.endswith("y") and len(word) > 3 and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    return word


def _singular(word: str) -> str:
    if word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    if word.endswith("s"):
        return word[:-1]
    return word


def _undouble(root: str) -> str:
    """Undo a doubled consonant: "plann" (planned) gives "plan", but "tell" and "pass" stay."""
    if len(root) > 3 and root[-1] == root[-2] and root[-1] not in "aeioulsz":
        return root[:-1]
    return root
