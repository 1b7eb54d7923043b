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

__all__ = ["Lexicon"]

_K1 = 1.2
_B = 0.5
"""Chat messages differ little in length, and a long one is often the informative one: mild normalisation."""


class Lexicon:
    """Postings of one conversation; documents are numbered in the order in which they were added."""

    def __init__(self) -> None:
        self._documents: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        self._lengths = array("i")

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """Rough size in bytes: eight a posting, and what a dictionary entry costs."""
        return 8 * sum(len(p) for p in self._documents.values()) + 300 * len(self._documents) + 4 * len(self)

    def add(self, terms: Sequence[str]) -> None:
        """Append one document, given as its terms."""
        number = len(self._lengths)
        for term, count in Counter(terms).items():
            if term not in self._documents:
                self._documents[term] = array("i")
                self._counts[term] = array("i")
            self._documents[term].append(number)
            self._counts[term].append(count)
        self._lengths.append(len(terms))

    def rarity(self, term: str) -> float:
        """Inverse document frequency, never negative; 0 for a term that no document has."""
        if term not in self._documents:
            return 0.0
        frequency = len(self._documents[term])
        return float(np.log1p((len(self) - frequency + 0.5) / (frequency + 0.5)))

    def scores(self, query: Mapping[str, float]) -> NDArray[np.float32]:
        """BM25 of every document.

        Args:
            query: terms and their weights.

        Returns:
            float32 of shape (documents,); 0 where no term occurs.
        """
        total = np.zeros(len(self), dtype=np.float32)
        if not len(self):
            return total
        lengths = np.asarray(self._lengths, dtype=np.float32)
        norm = _K1 * (1.0 - _B + _B * lengths / max(float(lengths.mean()), 1.0))
        for term in sorted(query):
            if term not in self._documents:
                continue
            documents = np.asarray(self._documents[term])
            counts = np.asarray(self._counts[term], dtype=np.float32)
            weight = np.float32(query[term] * self.rarity(term))
            # A document occurs once in a posting list, so plain indexing adds without losing anything.
            total[documents] += weight * counts * (_K1 + 1.0) / (counts + norm[documents])
        return total
