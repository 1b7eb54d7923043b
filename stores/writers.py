"""The queue of writers before one SQLite file, across processes.

SQLite's own waiting is polling with growing pauses: whoever comes fresh gets the lock before whoever has waited
long, and with many writers some wait for seconds. Here writers first queue for a lock file, where the
kernel wakes the next one at once. It is a courtesy, not a safeguard: SQLite's lock still decides, and where
files cannot be locked this way there is no queue.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rhea.errors import DatabaseBusy

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

__all__ = ["WriterQueue"]


class WriterQueue:
    """Lets one process at a time begin to write.

    Args:
        path: the database's file; the lock file lies beside it.
        seconds: the longest wait.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path.with_name(path.name + "-lock")
        self._seconds = seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; it lasts until the end of the block.

        Raises:
            DatabaseBusy: the wait was too long.
        """
        file = self._open()
        if file is None:
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait(file)
        except OSError:  # a file system without locks
            os.close(file)
            yield
            return
        try:
            yield
        finally:
            # Unlocked, not just closed: a forked child may hold the same open file.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _open(self) -> int | None:
        if fcntl is None or not self._path.parent.is_dir():
            return None
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # a folder that may only be read: SQLite will say so better
            return None

    def _wait(self, file: int) -> None:
        """Wait in a thread, because the kernel's wait has no end of its own."""
        guard = threading.Lock()
        locked, given_up = threading.Event(), threading.Event()

        def block() -> None:
            fcntl.flock(file, fcntl.LOCK_EX)
            with guard:
                if given_up.is_set():
                    fcntl.flock(file, fcntl.LOCK_UN)
                    os.close(file)
                else:
                    locked.set()

        threading.Thread(target=block, name="rhea-writer-queue", daemon=True).start()
        if locked.wait(self._seconds):
            return
        with guard:
            if locked.is_set():
                return
            given_up.set()
        raise DatabaseBusy(f"other processes kept {self._path.name[:-5]} busy for {self._seconds:g} s; try again")
