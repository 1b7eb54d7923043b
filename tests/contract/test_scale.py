"""The scale script: it runs, and a large database is not slower for a turn than a small one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.xdist_group("postgresql")),
]
pytestmark = pytest.mark.slow


def scale(engine: str, *options: str) -> list[dict[str, Any]]:
    private = Path(tempfile.gettempdir()) / f"rhea-run-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    where = ["--server"] if engine == "postgresql" else []
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "scale.py"), "--json", *where, *options],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(private)},
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_script_loads_and_measures(engine: str) -> None:
    small, large = scale(engine, "--users", "3", "--chats", "2", "--turns", "5", "--dim", "16", "--repeat", "30")
    assert (small["messages"], large["messages"]) == (60, 60)
    assert all(0 < times["p50"] <= times["p95"] for times in large["ms"].values())


@pytest.mark.soak
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_million_messages(engine: str) -> None:
    """1,000 users, 10,000 conversations: loaded within 30 minutes, and a turn stays as fast."""
    small, large = scale(engine)
    print(f"\nscale, {engine}: small case, a million messages")
    for name in large["ms"]:
        print(f"  {name:22} {small['ms'][name]} {large['ms'][name]}")
    print(f"  load {large['load_seconds']} s, {large['bytes_per_message']} bytes a message")
    assert large["messages"] == 1_000_000
    assert large["load_seconds"] < 1_800
    for name in ("begin", "commit", "last 20 turns", "list conversations"):
        assert large["ms"][name]["p50"] < 2 * small["ms"][name]["p50"] + 2
