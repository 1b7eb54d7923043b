"""The `rhea` command: one module a command group, heavy imports inside the commands."""

from __future__ import annotations

import io
import os
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
    "bench_compression",
    "compressor",
    "bench_all",
)
"""Modules of this package that register commands on the applications in `app`."""


def main() -> None:
    """Entry point of the `rhea` command."""
    for name in COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    from rhea.cli.app import run

    _prepare_streams()
    raise SystemExit(run())


def _prepare_streams() -> None:
    """A stream that the caller closed is an empty one; what is printed is UTF-8, whatever the locale."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open for good
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
