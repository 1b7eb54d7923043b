"""Which process holds a pending turn or a piece of work, and whether it is still alive.

A process is named by its machine (host, boot, process-id namespace), its process id and the moment it
started: a process id alone is used again sooner or later. A holder on this machine is checked directly;
of a holder on another machine only its lease tells.
"""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

__all__ = ["gone", "this_process"]


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, namespace = "", ""
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _started(pid: int) -> str | None:
    """Start of a process in clock ticks since boot; "" where the system does not tell, ``None`` when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat[stat.rindex(")") + 2 :].split()
        # A zombie has ended: nobody will ever commit its turns.
        return None if fields[0] in "ZX" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, ValueError, IndexError):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""


def this_process() -> str:
    """Identity of the running process (not cached by value: a forked child has its own)."""
    pid = os.getpid()
    return _identity(pid)


@lru_cache(maxsize=8)
def _identity(pid: int) -> str:
    return f"{_machine()}|{pid}|{_started(pid) or ''}"


def gone(holder: str | None) -> bool:
    """Whether the holder surely no longer runs; ``False`` for holders on other machines."""
    if not holder:
        return True
    machine, _, rest = holder.partition("|")
    pid, _, started = rest.partition("|")
    if machine != _machine() or not pid.isdigit():
        return False
    now = _started(int(pid))
    return now is None or (bool(now) and bool(started) and now != started)
