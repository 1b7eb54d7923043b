"""`rhea import`: chats from files, with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import Database, Json, User, opened

__all__ = ["import_chats"]


@app.command("import")
def import_chats(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL, one conversation a line.")],
    user: User,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", metavar="NAME", help="Name for the file's only conversation; else its id."),
    ] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Import chats: Rhea's recall format, {"messages": [{"role", "content"}]}, or ShareGPT's conversations.

    Run it again after an interruption: what is there already is passed over.
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from rhea.importing import import_file
    from rhea.settings import Settings

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with reported(), opened(database, create=True, settings=Settings(background=False)) as memory:
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
        if as_json:
            print_json(asdict(report))
            return
        typer.echo(
            f"{report.conversations} conversations: {report.turns} turns ({report.messages} messages) imported, "
            f"{report.known} turns were there already"
            + (f", {report.blank} messages without text left out" if report.blank else "")
        )
