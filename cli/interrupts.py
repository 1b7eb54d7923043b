"""Ctrl-C and its kin while a reply is being made: the reply stops, what was said is kept, nothing is cut in half.

A signal is only let through while Rhea waits for the model. At any other moment (a transaction, say) it is
noted, and looked at when that is done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts", "ctrl_c_passed_over"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ctrl_c_passed_over() -> Iterator[None]:
    """While the block lasts Ctrl-C does nothing, but for those who take it: the line editor, and a reply."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupts:
    """Takes the signals that ask to stop, for as long as the block lasts.

    Attributes:
        signal: number of the signal that came; ``None`` while none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._open = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """While the block lasts the first signal raises KeyboardInterrupt at once.

        Raises:
            KeyboardInterrupt: a signal came in the block, or had come before.
        """
        self._open = True
        try:
            if self.signal is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._open = False

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first = self.signal is None
        self.signal = number
        if self._open and first:
            self._open = False
            raise KeyboardInterrupt
