"""The Typer applications that command modules register on, and what they share: JSON, errors, exit codes.

Exit codes: 0 done; 1 the reader of stdout went away; 2 bad input or anything else that a typed error tells,
in one line on stderr; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

__all__ = ["app", "bench_app", "compressor_app", "db_app", "instructions_app", "print_json", "reported", "run"]

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


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"rhea {version('rhea-memory')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Conversational memory: rules that are never forgotten, past turns inside a hard token budget."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code.

    A command line that cannot be understood is one line on stderr, like every other error.
    """
    from typer.exceptions import Abort, TyperException

    try:
        code = app(args=arguments, prog_name="rhea", standalone_mode=False)
    except Abort:
        return 130
    except TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its help is on the screen already
            return 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "rhea"
        _complain(f"{error.format_message()} (see `{command} --help`)")
        return 2
    return code if isinstance(code, int) else 0


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


@contextmanager
def reported() -> Iterator[None]:
    """Turn typed errors, and files that cannot be used, into one clear line on stderr and exit code 2.

    A closed pipe passes through: `run` ends quietly.
    """
    from rhea.errors import RheaError

    try:
        yield
    except RheaError as error:
        message = str(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        return
    _complain(message)
    raise typer.Exit(2)


def _complain(message: str) -> None:
    """One line on stderr; names that it quotes cannot steer the terminal."""
    from rhea.cli.drawing import printable

    sys.stderr.write(f"rhea: {' '.join(printable(message).split())}\n")
