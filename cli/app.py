"""The Typer applications that command modules register on, and what they share: JSON, errors, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

__all__ = ["app", "bench_app", "compressor_app", "db_app", "instructions_app", "print_json", "reported"]

app = typer.Typer(
    name="rhea",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Conversational memory: rules that are never forgotten, past turns inside a hard token budget.",
)
bench_app = typer.Typer(no_args_is_help=True, help="Measure detection, recall, retention, adherence, speed.")
instructions_app = typer.Typer(no_args_is_help=True, help="List, add, edit and revoke standing instructions.")
db_app = typer.Typer(no_args_is_help=True, help="Create, upgrade and inspect the database.")
compressor_app = typer.Typer(no_args_is_help=True, help="Train, inspect and verify memory-token compressors.")
app.add_typer(bench_app, name="bench")
app.add_typer(instructions_app, name="instructions")
app.add_typer(db_app, name="db")
app.add_typer(compressor_app, name="compressor")


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


@contextmanager
def reported() -> Iterator[None]:
    """Turn typed errors into one clear line on stderr and exit code 2."""
    from rhea.errors import RheaError

    try:
        yield
    except RheaError as error:
        typer.echo(f"rhea: {error}", err=True)
        raise typer.Exit(2) from None
