"""A virtual environment for each peer, made once under the user's cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rhea.bench.peers.registry import Peer
from rhea.settings import cache_directory

__all__ = ["PeerUnavailable", "environment_python", "peers_directory"]


class PeerUnavailable(Exception):
    """A peer cannot be installed or started here; the message says why in one line."""


def peers_directory() -> Path:
    """Folder of the peers' environments."""
    return cache_directory() / "peers"


def environment_python(peer: Peer, *, timeout: float = 900.0) -> Path:
    """The Python of a peer's environment, made and filled by pip when it is not there yet.

    Args:
        peer: which.
        timeout: seconds that the installation may take.

    Raises:
        PeerUnavailable: the environment could not be made or the peer not be installed.
    """
    if not peer.requirements:
        return Path(sys.executable)
    folder = peers_directory() / peer.name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "installed.txt"
    wanted = "\n".join(peer.requirements)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], timeout)
    _run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements, "numpy"],
        timeout,
    )
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str], timeout: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise PeerUnavailable(f"not installed in {timeout:g} s") from None
    except OSError as error:
        raise PeerUnavailable(f"cannot run {command[0]}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise PeerUnavailable(lines[-1][:300] if lines else f"pip ended with {done.returncode}")
