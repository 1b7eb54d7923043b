"""`rhea db`: create or migrate the database, and say where it is and how new."""

from __future__ import annotations

import typer

from rhea.cli.app import db_app, print_json, reported
from rhea.cli.options import Database, Json

__all__ = ["current", "path", "upgrade"]


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


def _shown(url: str) -> str:
    """A file's path, or a server's URL without its password."""
    from rhea.stores.database import parse_url

    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return str(parsed.database or ":memory:")
    return parsed.render_as_string(hide_password=True)
