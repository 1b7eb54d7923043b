"""Watching, in a process of its own: OpenTelemetry takes its providers once a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ALONE = Path(__file__).with_name("observed_alone.py")


def test_what_is_watched() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ALONE)]
    done = subprocess.run(command, cwd=ALONE.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "3 passed" in done.stdout
