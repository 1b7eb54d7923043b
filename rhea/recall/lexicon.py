"""BM25 over one conversation's messages, in memory, extended message by message.

Postings live in growing integer arrays and a query is a few numpy additions, so that scoring 20,000
messages takes about a millisecond. Robertson and Zaragoza, "The Probabilistic Relevance Framework:
BM25 and Beyond" (2009) is the source of the formula.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lexicon", "window", "window_sums"]

_K1 = 1.2
_B = 0.5
"""Chat messages differ little in length, and a long one is often the informative one: mild normalisation."""


class Lexicon:
    """Postings of one conversation; documents are numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._documents: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        self._lengths = array("i")
        self._postings = 0

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """Rough size in bytes: eight a posting, and what a dictionary entry costs."""
        return 8 * self._postings + 300 * len(self._documents) + 4 * len(self)

    def add(self, terms: Sequence[str]) -> None:
        """Append one document, given as its terms."""
        number = len(self._lengths)
        for term, count in Counter(terms).items():
            documents = self._documents.get(term)
            if documents is None:
                documents = self._documents[term] = array("i")
                self._counts[term] = array("i")
            documents.append(number)
            self._counts[term].append(count)
            self._postings += 1
        self._lengths.append(len(terms))

    def rarity(self, term: str) -> float:
        """Inverse document frequency, never negative; 0 for a term that no document has."""
        if term not in self._documents:
            return 0.0
        frequency = len(self._documents[term])
        return float(np.log1p((len(self) - frequency + 0.5) / (frequency + 0.5)))

    def scores(self, query: Mapping[str, float], reach: int = 0) -> NDArray[np.float32]:
        """BM25 of every document, or of the block of documents around it.

        Args:
            query: terms and their weights.
            reach: documents on each side that are read as one with it; 0 for the document alone.

        Returns:
            float32 of shape (documents,); 0 where no term occurs.
        """
        return self.scores_around(query, reach)[1 if reach else 0]

    def scores_around(self, query: Mapping[str, float], reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of every document alone, and of the block around it, postings read once; see :meth:`scores`."""
        n = len(self)
        alone, around = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
        if not n:
            return alone, around
        lengths = np.array(self._lengths, dtype=np.float32)
        norm, norm_around = _norm(lengths), _norm(window_sums(lengths, reach))
        for term in sorted(query):
            if term not in self._documents:
                continue
            # Copies, because a growing array cannot be appended to while numpy looks at it.
            documents = np.array(self._documents[term])
            counts = np.array(self._counts[term], dtype=np.float32)
            weight = np.float32(query[term] * self.rarity(term) * (_K1 + 1.0))
            # A document occurs once in a posting list, so plain indexing adds without losing anything.
            alone[documents] += weight * counts / (counts + norm[documents])
            dense = np.zeros(n, dtype=np.float32)
            dense[documents] = counts
            dense = window_sums(dense, reach)
            around += weight * dense / (dense + norm_around)
        return alone, around


def _norm(lengths: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a document's length adds to the count of a term before it counts half."""
    return np.float32(_K1 * (1.0 - _B)) + np.float32(_K1 * _B / max(float(lengths.mean()), 1.0)) * lengths


def window(n: int, reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-end index of the window around each of ``n`` places, cut at the ends."""
    places = np.arange(n)
    return np.maximum(places - reach, 0), np.minimum(places + reach + 1, n)


def window_sums(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Sum over the window of ``reach`` places on each side, for a small reach."""
    total = values.copy()
    for step in range(1, min(reach, len(values) - 1) + 1):
        total[step:] += values[:-step]
        total[:-step] += values[step:]
    return total
