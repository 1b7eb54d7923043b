"""The `rhea` command: one module a command group, heavy imports inside the commands."""

from __future__ import annotations

import io
import sys
from importlib import import_module

__all__ = ["main"]

COMMAND_MODULES: tuple[str, ...] = (
    "chat",
    "conversations",
    "history",
    "why",
    "db",
    "ownership",
    "instructions",
    "bench_instructions",
    "importing",
    "search",
    "bench_recall",
    "bench_overhead",
    "bench_quality",
)
"""Modules of this package that register commands on the applications in `app`."""


def main() -> None:
    """Entry point of the `rhea` command."""
    for name in COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    from rhea.cli.app import run

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # what is stored is Unicode, whatever the locale
    raise SystemExit(run())
