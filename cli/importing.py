"""`rhea import`: chats from files, with a progress bar, and Rhea's own exports put back exactly."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import Database, Json, User, opened

if TYPE_CHECKING:
    from rhea.importing import ImportReport

__all__ = ["import_chats"]


@app.command("import")
def import_chats(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSONL, an export of Rhea's, or another memory's store."),
    ],
    user: User,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="NAME", help="Name for the file's only conversation; else its id."),
    ] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Import chats: Rhea's recall format, {"messages": [{"role", "content"}]}, or ShareGPT's conversations.

    Run it again after an interruption: what is there already is passed over. A file that `rhea export` wrote is
    put back exactly, under its own user's name unless --user gives another. Stores of LangChain, openai-agents,
    LlamaIndex (SQLite files) and mem0 (the folder of its FAISS store) are read as they lie.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from rhea.adapters.importers import import_store, is_store
    from rhea.errors import InputError
    from rhea.importing import import_file
    from rhea.ownership import is_export, restore
    from rhea.settings import Settings

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with reported(), opened(database, create=True, settings=Settings(background=False)) as memory:
        if is_store(file):
            if conversation is not None:
                raise InputError(f"{file} is a store with sessions of its own; leave --conversation out")
            _tell(import_store(memory, file, user=user), as_json=as_json)
            return
        if is_export(file):
            if conversation is not None:
                raise InputError(f"{file} is an export with conversations of its own; leave --conversation out")
            source = context.get_parameter_source("user")
            named = source is not None and source.name == "COMMANDLINE"
            name = restore(memory.store, file, user=user if named else None)
            if as_json:
                print_json({"user": name, "restored": True})
            else:
                typer.echo(f"{name} is restored from {file}")
            return
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
            reading = bars.add_task("reading", total=1.0)
            indexing = bars.add_task("indexing", total=1.0)
            report = import_file(
                memory,
                file,
                user=user,
                conversation=conversation,
                progress=lambda done, total: bars.update(reading, completed=done, total=total),
                working=lambda done, total: bars.update(indexing, completed=done, total=total),
            )
        _tell(report, as_json=as_json)


def _tell(report: ImportReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    typer.echo(
        f"{report.conversations} conversations: {report.turns} turns ({report.messages} messages) imported, "
        f"{report.known} turns were there already"
        + (f", {report.blank} messages without text left out" if report.blank else "")
    )
