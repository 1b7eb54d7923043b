"""Text that arrives in pieces, broken between words at the terminal's edge."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.cells import cell_len

__all__ = ["WordWrap"]

_TOKEN = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrap:
    """Holds back the last word until it is whole; inside a fenced code block lines stay as they are.

    Args:
        width: gives the columns at the moment, so that a resized terminal is seen.

    Attributes:
        column: cells written on the present line.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        self.column = 0
        self._held = ""
        self._space = ""
        self._fenced = False

    def feed(self, piece: str) -> str:
        """Take a piece; returns what can be written now."""
        text = self._held + piece
        tokens = _TOKEN.findall(text)
        self._held = tokens.pop() if tokens and not text[-1].isspace() else ""
        return "".join(self._place(token) for token in tokens)

    def rest(self) -> str:
        """What was held back, at the end of the reply."""
        held, self._held = self._held, ""
        return self._place(held) if held else ""

    def _place(self, part: str) -> str:
        if part == "\n":
            self.column, self._space = 0, ""
            return "\n"
        if part.isspace():
            self._space += part
            return ""
        if part.startswith("```") and self.column == 0:
            self._fenced = not self._fenced
        space, self._space = self._space, ""
        cells = cell_len(space) + cell_len(part)
        if self.column and not self._fenced and self.column + cells > self._width():
            self.column = cell_len(part)
            return "\n" + part
        self.column += cells
        return space + part
