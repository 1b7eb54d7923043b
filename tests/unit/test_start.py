"""What a start costs: `import rhea` and `rhea --help` load none of the heavy libraries."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import pytest

HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "sqlalchemy", "alembic", "openai", "sklearn"}


def imported(code: str) -> set[str]:
    """Top-level packages that Python imports while it runs this, by its own account."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {name.partition(".")[0] for name in rows}


def command_line(*arguments: str) -> str:
    """A program that does what the `rhea` script does."""
    call = "from rhea.cli import main\ntry: main()\nexcept SystemExit: pass"
    return f"import sys; sys.argv = ['rhea', *{arguments!r}]; {call}"


def test_import_rhea_loads_nothing_heavy() -> None:
    found = imported("import rhea")
    assert "rhea" in found
    assert not found & HEAVY


def test_help_loads_nothing_heavy() -> None:
    found = imported(command_line("--help"))
    assert {"rhea", "typer"} <= found
    assert not found & (HEAVY | {"numpy", "prompt_toolkit"})


@pytest.mark.parametrize("command", [("history", "--help"), ("chat", "--help"), ("db", "path")])
def test_small_commands_do_not_load_torch(command: tuple[str, ...]) -> None:
    assert not imported(command_line(*command)) & {"torch", "transformers", "sentence_transformers", "faiss"}


def test_help_answers(record_property) -> None:
    """Reports the median of ten runs; a machine may be busy, so only a gross slip fails."""
    times = []
    for _ in range(10):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rhea.cli", "--help"], capture_output=True, check=True, env=os.environ)
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    record_property("rhea_help_median_seconds", round(median, 3))
    print(f"rhea --help: median {median:.3f} s of ten runs")
    assert median < 5
