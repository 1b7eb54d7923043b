"""One conversation's messages in memory: vectors by channel as matrices, words as postings.

A cache of what SQL holds, built from `Store.turns` and `Store.vectors` and extended as the conversation
grows. It holds no text: what a context shows is read from SQL each time, so a row that was erased there
cannot come back from here. Not thread-safe by itself; `rhea.recall.cache` guards it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rhea.recall.dates import message_day
from rhea.recall.lexicon import Lexicon, window
from rhea.recall.words import terms
from rhea.stores.base import MessageVectors
from rhea.types import TurnRecord, TurnState

__all__ = ["ConversationIndex", "Growing", "VectorChannel"]

ROLE_CODES = {"user": 0, "assistant": 1, "system": 2, "tool": 3}


class Growing:
    """A numpy array that is appended to in amortised constant time."""

    def __init__(self, dtype: DTypeLike, width: int | None = None) -> None:
        self._shape = () if width is None else (width,)
        self._data = np.empty((16, *self._shape), dtype=dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def view(self) -> NDArray[Any]:
        """What was appended so far; valid until the next append."""
        return self._data[: self._length]

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return int(self._data.nbytes)

    def truncate(self, length: int) -> None:
        """Forget what comes after the first ``length`` rows."""
        self._length = min(self._length, length)

    def extend(self, rows: NDArray[Any] | Sequence[int]) -> None:
        """Append rows of the array's width."""
        needed = self._length + len(rows)
        if needed > len(self._data):
            grown = np.empty((max(needed, len(self._data) * 3 // 2), *self._shape), dtype=self._data.dtype)
            grown[: self._length] = self._data[: self._length]
            self._data = grown
        self._data[self._length : needed] = rows
        self._length = needed


class VectorChannel:
    """The vectors of one channel and the message row that each belongs to."""

    def __init__(self, dim: int) -> None:
        self._vectors = Growing(np.float32, dim)
        self._rows = Growing(np.int64)

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """float32 of shape (vectors, d), in the order in which they were added."""
        return self._vectors.view

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return self._vectors.nbytes + self._rows.nbytes

    def add(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Append vectors of shape (n, d), each with the row of its message."""
        self._vectors.extend(vectors)
        self._rows.extend(rows)

    def largest(
        self, groups: Sequence[NDArray[np.float32]], messages: int, only: NDArray[np.bool_] | None = None
    ) -> list[NDArray[np.float32]]:
        """Largest cosine between any vector of a group and any vector of each message (paper: HCR score).

        Args:
            groups: wordings of the question, each float32 of shape (q, d), rows L2-normalised.
            messages: number of messages in the index.
            only: bool of shape (messages,): which to look at; ``None`` for all.

        Returns:
            For each group float32 of shape (messages,); NaN where a message has no vector in this channel,
            or was not looked at.
        """
        vectors, rows = self._vectors.view, self._rows.view
        if only is not None:
            chosen = np.flatnonzero(only[rows])
            vectors, rows = vectors[chosen], rows[chosen]
        out = [np.full(messages, np.nan, dtype=np.float32) for _ in groups]
        if not len(vectors):
            return out
        # One pass over the vectors for all groups: reading them is what takes the time.
        similar = vectors @ np.concatenate(groups).T
        start = 0
        for best, group in zip(out, groups, strict=True):
            if len(group):
                own = similar[:, start : start + len(group)].max(axis=1)
                start += len(group)
                best[rows] = -np.inf
                np.maximum.at(best, rows, own)
        return out


class ConversationIndex:
    """Messages of one conversation, in order, as arrays.

    Args:
        conversation_id: the conversation.
        dim: length of the embedder's vectors.
    """

    def __init__(self, conversation_id: int, dim: int) -> None:
        self.conversation_id = conversation_id
        self.dim = dim
        self.lexicon = Lexicon()
        self.channels: dict[str, VectorChannel] = {}
        self.speakers: list[str] = []
        self.last_seen = 0
        """Position of the newest turn that was read, also when it is not held (pending, abandoned)."""
        self.unsettled: dict[int, tuple[TurnState, int]] = {}
        """Turns that can still change, by id: the state and number of messages that were read."""
        self._message_ids = Growing(np.int64)
        self._turn_ids = Growing(np.int64)
        self._positions = Growing(np.int64)
        self._roles = Growing(np.int8)
        self._days = Growing(np.int64)
        self._speaker_codes = Growing(np.int16)
        self._row_of: dict[int, int] = {}
        self._with_vectors: set[int] = set()
        self._covered = 0
        self._first_vector = Growing(np.int64)
        self._lengths = Growing(np.int64)
        self._norms = Growing(np.float32)
        self._stale_from = 0
        self._norms_reach = 0

    def __len__(self) -> int:
        """Number of messages."""
        return len(self._message_ids)

    @property
    def last_position(self) -> int:
        """Position of the newest turn held; 0 when empty."""
        return int(self._positions.view[-1]) if len(self) else 0

    @property
    def message_ids(self) -> NDArray[np.int64]:
        """int64 of shape (messages,)."""
        return self._message_ids.view

    @property
    def turn_ids(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): the turn of each message."""
        return self._turn_ids.view

    @property
    def positions(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): the position of each message's turn, not decreasing."""
        return self._positions.view

    @property
    def roles(self) -> NDArray[np.int8]:
        """int8 of shape (messages,): 0 user, 1 assistant, 2 system, 3 tool."""
        return self._roles.view

    @property
    def days(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): day of the message as a proleptic ordinal, 0 when unknown."""
        return self._days.view

    @property
    def speaker_codes(self) -> NDArray[np.int16]:
        """int16 of shape (messages,): index into ``speakers``, -1 for a message without a name."""
        return self._speaker_codes.view

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): characters of each message."""
        return self._lengths.view

    def row(self, message_id: int) -> int | None:
        """Row of a message; ``None`` when it is not held."""
        return self._row_of.get(message_id)

    @property
    def nbytes(self) -> int:
        """Rough size in bytes, for the memory cap."""
        arrays = sum(
            a.nbytes
            for a in (self._message_ids, self._turn_ids, self._positions, self._roles, self._days, self._speaker_codes)
        )
        return arrays + self.lexicon.nbytes + sum(c.nbytes for c in self.channels.values()) + 200 * len(self)

    @property
    def vectors_wanted_after(self) -> int:
        """Message id after which vectors may be missing: all messages up to it have theirs."""
        ids = self._message_ids.view
        while self._covered < len(ids) and int(ids[self._covered]) in self._with_vectors:
            self._covered += 1
        return int(ids[self._covered - 1]) if self._covered else 0

    @property
    def complete(self) -> bool:
        """Whether every message has its vectors."""
        return len(self._with_vectors) == len(self)

    def add_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Append turns newer than those held; the caller keeps the order."""
        said = [(turn, message) for turn in turns for message in turn.messages]
        if not said:
            return
        for row, (_, message) in enumerate(said, len(self)):
            self._row_of[message.id] = row
            self.lexicon.add(terms(message.text))
        self._message_ids.extend([m.id for _, m in said])
        self._turn_ids.extend([t.id for t, _ in said])
        self._positions.extend([t.position for t, _ in said])
        self._roles.extend([ROLE_CODES[m.role] for _, m in said])
        self._days.extend([message_day(m.time) for _, m in said])
        self._speaker_codes.extend([self._speaker(m.name) for _, m in said])
        self._first_vector.extend([-1] * len(said))
        self._lengths.extend([len(m.text) for _, m in said])

    def block_norms(self, reach: int) -> NDArray[np.float32]:
        """Length of the mean of the message vectors around each message: float32 of shape (messages,).

        With it the cosine to a block's mean vector is a window mean of cosines, and no block is embedded.
        Only what changed since the last call is worked out.
        """
        n = len(self)
        if reach != self._norms_reach:
            self._norms_reach, self._stale_from = reach, 0
        start = max(0, min(self._stale_from, len(self._norms)) - reach)
        if start < n and (self._stale_from < n or len(self._norms) < n):
            base = max(0, start - reach)
            held = self.channels.get("message")
            places = self._first_vector.view[base:n]
            vectors = np.zeros((n - base, self.dim), dtype=np.float64)
            if held is not None:
                vectors[places >= 0] = held.vectors[places[places >= 0]]
            low, high = window(n, reach)
            low, high = low[start:] - base, high[start:] - base
            running = np.concatenate((np.zeros((1, self.dim)), np.cumsum(vectors, axis=0)))
            means = (running[high] - running[low]) / (high - low)[:, None]
            self._norms.truncate(start)
            self._norms.extend(np.maximum(np.linalg.norm(means, axis=1), 1e-3).astype(np.float32))
            self._stale_from = n
        return self._norms.view

    def add_vectors(self, found: Iterable[MessageVectors]) -> None:
        """Add vectors of messages that are held; others and those already there are passed over."""
        kept: list[tuple[int, MessageVectors]] = []
        for item in found:
            row = self._row_of.get(item.message_id)
            if row is not None and item.message_id not in self._with_vectors:
                self._with_vectors.add(item.message_id)
                kept.append((row, item))
        if not kept:
            return
        rows = np.repeat([row for row, _ in kept], [len(item.channels) for _, item in kept])
        vectors = np.concatenate([item.vectors for _, item in kept])
        places: dict[str, list[int]] = {}
        for place, channel in enumerate(channel for _, item in kept for channel in item.channels):
            places.setdefault(channel, []).append(place)
        for channel, at in places.items():
            held = self.channels.setdefault(channel, VectorChannel(self.dim))
            if channel == "message":
                self._note_first(rows[at].tolist(), len(held))
            held.add(rows[at], vectors[at])

    def _note_first(self, rows: list[int], start: int) -> None:
        """Remember where each message's first vector stands, and that the blocks around it change."""
        for place, row in enumerate(rows, start):
            if self._first_vector.view[row] < 0:
                self._first_vector.view[row] = place
        self._stale_from = min(self._stale_from, *rows)

    def _speaker(self, name: str | None) -> int:
        if not name:
            return -1
        if name not in self.speakers:
            self.speakers.append(name)
        return self.speakers.index(name)
