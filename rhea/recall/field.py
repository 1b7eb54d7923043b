"""What one question looks at: one conversation, or several of the same user, as one row of messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rhea.recall.index import ConversationIndex

__all__ = ["Field"]


class Field:
    """Indexes side by side: row numbers run through all of them, the current conversation's first.

    Args:
        indexes: the current conversation's, then others of the same user.
        names: of the conversations; ``None`` for the current one.
    """

    def __init__(self, indexes: Sequence[ConversationIndex], names: Sequence[str | None] = (None,)) -> None:
        self.indexes = tuple(indexes)
        self._names = tuple(names)
        self.starts = np.cumsum([0, *(len(index) for index in indexes)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def current(self) -> ConversationIndex:
        """The conversation that is being asked in."""
        return self.indexes[0]

    @property
    def speakers(self) -> list[str]:
        """Everyone who speaks, in order of appearance."""
        return list(dict.fromkeys(name for index in self.indexes for name in index.speakers))

    @property
    def parts(self) -> list[tuple[ConversationIndex, slice]]:
        """Each index and its rows."""
        spans = pairwise(self.starts.tolist())
        return [(index, slice(low, high)) for index, (low, high) in zip(self.indexes, spans, strict=True)]

    @property
    def turn_ids(self) -> NDArray[np.int64]:
        """int64 of shape (messages,)."""
        return self._joined("turn_ids")

    @property
    def message_ids(self) -> NDArray[np.int64]:
        """int64 of shape (messages,)."""
        return self._joined("message_ids")

    @property
    def positions(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): positions within each conversation."""
        return self._joined("positions")

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 of shape (messages,): characters."""
        return self._joined("lengths")

    def row(self, message_id: int) -> int | None:
        """Row of a message; ``None`` when it is not held."""
        if len(self.indexes) == 1:
            return self.indexes[0].row(message_id)
        for index, start in zip(self.indexes, self.starts, strict=False):
            row = index.row(message_id)
            if row is not None:
                return int(start) + row
        return None

    def conversations(self, rows: NDArray[np.int64]) -> list[str | None]:
        """For each row the name of the conversation that it belongs to; ``None`` for the current one."""
        if len(self.indexes) == 1:
            return [self._names[0]] * len(rows)
        return [self._names[place - 1] for place in np.searchsorted(self.starts, rows, side="right").tolist()]

    def _joined(self, what: str) -> NDArray[np.int64]:
        arrays = [getattr(index, what) for index in self.indexes]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
