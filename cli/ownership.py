"""`rhea export`, `rhea erase`, `rhea prune`: the user owns the data."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import Database, Json, login_name, opened

if TYPE_CHECKING:
    from rhea.ownership import Erasure

__all__ = ["Yes", "erase", "export", "parse_age", "prune"]

_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}
_MOST_DAYS = 36_500

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask in a terminal.")]


@app.command()
def export(
    user: Annotated[str, typer.Argument(help="Whose data.")],
    file: Annotated[str, typer.Argument(help="JSONL file to write; - for stdout.")],
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Write everything of a user to a JSONL file: conversations, turns, instructions, traces.

    `rhea import FILE` restores it exactly. JSON: {"user", "file", "lines"}.
    """
    with reported(), opened(database) as memory:
        data = memory.user(user)
        if file == "-":
            for line in data.lines():
                sys.stdout.write(line + "\n")
            return
        count = data.export(Path(file).expanduser())
        if as_json:
            print_json({"user": user, "file": file, "lines": count})
        else:
            typer.echo(f"{count:,} lines written to {file}")


@app.command()
def erase(
    user: Annotated[str | None, typer.Argument(help="User to erase with everything.", show_default=False)] = None,
    owner: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="The same as USER.", show_default=False)
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Erase only this conversation, of USER or else of the login name."),
    ] = None,
    database: Database = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a user or one conversation, rewrite the files, and search them for what is left.

    Rows, vectors, digests, full-text entries, caches and free pages go; exit code 1 when something was found.
    JSON: {"user", "conversation", "rows", "searched", "pieces", "left", "verified", "notes"}.
    """
    from rhea.errors import InputError

    with reported():
        if user is not None and owner is not None and user != owner:
            raise InputError(f"two users are named, {user!r} and {owner!r}; name one")
        name = user or owner or (login_name() if conversation is not None else None)
        if name is None:
            raise InputError("name the user to erase, or one conversation with --conversation NAME")
        with opened(database) as memory:
            data = memory.user(name)
            what = f"user {name!r} with everything" if conversation is None else f"{conversation!r} of {name!r}"
            _ask(f"Erase {what} for good?", yes)
            done = data.erase(conversation)
    if as_json:
        print_json({"user": name, "conversation": conversation, **_as_dict(done)})
    else:
        _tell(done, what)
    if done.left:
        raise typer.Exit(1)


@app.command()
def prune(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Such as 90d, 12w, 6m (30 days each) or 2y.")],
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this user's.", show_default="all users")
    ] = None,
    database: Database = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase conversations that were last used longer ago than this.

    JSON: {"rows": {table: deleted}}.
    """
    from rhea.ownership import prune as prune_store

    with reported():
        age = parse_age(older_than)
        with opened(database) as memory:
            _ask(f"Erase all conversations not used for {age.days} days for good?", yes)
            rows = prune_store(memory.store, age, user=user)
    if as_json:
        print_json({"rows": rows})
    else:
        typer.echo(_rows(rows) if rows else "nothing is that old")


def parse_age(text: str) -> timedelta:
    """An age such as ``90d``.

    Raises:
        InputError: not a number and a unit, or out of range.
    """
    from rhea.errors import InputError

    found = re.fullmatch(r"([0-9]{1,6})([dwmy])", text.strip().lower())
    days = int(found[1]) * _DAYS[found[2]] if found else 0
    if not 1 <= days <= _MOST_DAYS:
        raise InputError(f"{text!r} is not an age; write 90d, 12w, 6m or 2y")
    return timedelta(days=days)


def _at_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(question: str, yes: bool) -> None:
    """Only a person at a terminal is asked; a script that names its target means it."""
    if not yes and _at_a_terminal() and not typer.confirm(question):
        raise typer.Exit(1)


def _rows(rows: dict[str, int]) -> str:
    return "rows erased: " + ", ".join(f"{table} {number:,}" for table, number in rows.items() if number)


def _as_dict(done: Erasure) -> dict[str, object]:
    return {
        "rows": done.rows,
        "searched": list(done.searched),
        "pieces": done.pieces,
        "left": list(done.left),
        "verified": done.verified,
        "notes": list(done.notes),
    }


def _tell(done: Erasure, what: str) -> None:
    typer.echo(f"{what}: {_rows(done.rows)}")
    if done.verified:
        typer.echo(f"verified: {done.pieces:,} pieces of it looked for in {len(done.searched)} files, none found")
    for path in done.left:
        typer.echo(f"rhea: a piece of the erased text is still in {path}", err=True)
    for note in done.notes:
        typer.echo(f"note: {note}")
