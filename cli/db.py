"""`rhea db`: create or migrate the database, say where it is and how new, and embed it again."""

from __future__ import annotations

from typing import Annotated

import typer

from rhea.cli.app import db_app, print_json, reported
from rhea.cli.options import Database, Json, opened

__all__ = ["current", "path", "reembed", "upgrade"]


@db_app.command()
def upgrade(
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Create the database, or migrate it to the present schema. An embedded one does this by itself.

    JSON: {"database", "before", "after"}.
    """
    from rhea.settings import database_url
    from rhea.stores import upgrade as migrate

    with reported():
        url = database_url(database, create=True)
        before, after = migrate(url)
        if as_json:
            print_json({"database": _shown(url), "before": before, "after": after})
        elif before == after:
            typer.echo(f"{_shown(url)} is at revision {after} already")
        else:
            typer.echo(f"{_shown(url)}: {before or 'empty'} -> {after}")


@db_app.command()
def current(database: Database = None, as_json: Json = False) -> None:
    """Print the database's revision, and the newest that this version knows.

    JSON: {"database", "revision", "newest"}; the revision is null when there is no database yet.
    """
    from rhea.settings import database_url
    from rhea.stores import current_revision
    from rhea.stores.schema import HEAD

    with reported():
        url = database_url(database)
        found = current_revision(url)
        if as_json:
            print_json({"database": _shown(url), "revision": found, "newest": HEAD})
        elif found is None:
            typer.echo(f"{_shown(url)} is empty or not there yet; `rhea db upgrade` makes it")
        else:
            typer.echo(f"{found} (newest: {HEAD})")


@db_app.command()
def path(database: Database = None, as_json: Json = False) -> None:
    """Print where the database is: its file, or its server without the password. Opens nothing.

    JSON: {"database"}.
    """
    from rhea.settings import database_url

    with reported():
        shown = _shown(database_url(database))
        if as_json:
            print_json({"database": shown})
        else:
            typer.echo(shown)


@db_app.command()
def reembed(
    embedder: Annotated[
        str | None, typer.Option("--embedder", metavar="MODEL", help="Hub name or folder; else the default embedder.")
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Then delete the vectors of every other embedder.")] = False,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Make the vectors that are missing under an embedder, after a change of it; any number of processes may help.

    What is there already is kept, so it goes on where it was stopped. JSON: {"embedder", "turns", "dropped"}.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from rhea.embed import SentenceTransformerEmbedder
    from rhea.reembedding import reembed as embed_missing
    from rhea.settings import Settings

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} turns"))
    with reported(), opened(database, settings=Settings(background=False)) as memory:
        chosen = SentenceTransformerEmbedder(embedder) if embedder else SentenceTransformerEmbedder()
        store = memory.store
        store.request_vectors(chosen.id)
        waiting = store.pending_work().get("reembed", 0)
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("embedding", total=waiting)
            done = embed_missing(store, chosen, progress=lambda more: bars.advance(task, more))
        others = sorted(store.embedder_names() - {chosen.id}) if drop else []
        dropped = {name: store.drop_vectors(name) for name in others}
        if as_json:
            print_json({"embedder": chosen.id, "turns": done, "dropped": dropped})
            return
        typer.echo(f"{done:,} turns embedded by {chosen.id}")
        for name, count in dropped.items():
            typer.echo(f"{count:,} messages' vectors of {name} deleted")


def _shown(url: str) -> str:
    """A file's path, or a server's URL without its password."""
    from rhea.stores.database import parse_url

    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database or ":memory:")
    return parsed.render_as_string(hide_password=True)
