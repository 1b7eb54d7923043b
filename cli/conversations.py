"""`rhea conversations`: what a user has, last used first."""

from __future__ import annotations

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import Database, Json, User, opened

__all__ = ["conversations"]


@app.command()
def conversations(user: User, database: Database = None, as_json: Json = False) -> None:
    """List a user's conversations, last used first.

    JSON: {"user", "conversations": [{"name", "turns", "created_at", "updated_at"}]}.
    """
    with reported(), opened(database) as memory:
        found = memory.user(user).conversations()
        if as_json:
            listed = [
                {
                    "name": c.name,
                    "turns": c.turns,
                    "created_at": c.created_at.isoformat(),
                    "updated_at": c.updated_at.isoformat(),
                }
                for c in found
            ]
            print_json({"user": user, "conversations": listed})
            return
        from rhea.cli.drawing import conversations_view, make_console

        make_console().print(conversations_view(found))
