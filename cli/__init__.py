"""The `rhea` command: one module a command group, heavy imports inside the commands."""

from __future__ import annotations

from importlib import import_module

__all__ = ["main"]

COMMAND_MODULES: tuple[str, ...] = ()
"""Modules of this package that register commands on the applications in `app`."""


def main() -> None:
    """Entry point of the `rhea` command."""
    for name in COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    from rhea.cli.app import run

    raise SystemExit(run())
