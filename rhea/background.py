"""The thread that makes digests, vectors and memory tokens after a commit, off the user's critical path."""

from __future__ import annotations

import contextlib
from threading import Event, Thread

from rhea.errors import RheaError
from rhea.turn import Services, digest_pending, reembed_some, remember_some

__all__ = ["Background"]


class Background:
    """One daemon thread for what a commit leaves to be made. A crash loses nothing: work is in SQL."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._due = Event()
        self._stopping = False
        self._thread: Thread | None = None

    def wake(self) -> None:
        """Something is pending; starts the thread the first time."""
        self._due.set()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="rhea-background", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Wait for the batch under way, then end; what is left stays pending in SQL."""
        self._stopping = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            with contextlib.suppress(RheaError):  # stays pending; begin or settle meets the error in the open
                digest_pending(self._services)
                while not self._stopping and remember_some(self._services):
                    pass
                while not self._stopping and not self._due.is_set() and reembed_some(self._services):
                    pass  # a change of embedder: a batch at a time, new turns first
