"""`rhea search`: find turns by their words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import Database, Json, User, opened

if TYPE_CHECKING:
    from rhea.types import TurnRecord

__all__ = ["search"]

_SHOWN = 240


@app.command()
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words to look for.")],
    user: User,
    conversation: Annotated[
        str | None, typer.Option("--conversation", metavar="NAME", help="Only in this one; else in all of the user's.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Most turns to show.")] = 20,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Search the turns of a user by their words, best first."""
    with reported(), opened(database) as memory:
        store = memory._services.store
        owner = store.find_user(user)
        chosen = store.find_conversation(owner, conversation) if conversation else None
        found = store.search_text(owner, text, conversation_id=chosen, limit=limit)
        if as_json:
            print_json([_as_dict(turn, name, score) for turn, name, score in found])
            return
        if not found:
            typer.echo("nothing found", err=True)
        from rhea.cli.drawing import one_line, printable

        for turn, name, _ in found:
            typer.secho(printable(f"{name} · turn {turn.position}"), bold=True)
            for message in turn.messages:
                typer.echo("  " + one_line(printable(f"{message.name or message.role}: {message.text}"), _SHOWN))


def _as_dict(turn: TurnRecord, conversation: str, score: float) -> dict[str, Any]:
    return {
        "conversation": conversation,
        "position": turn.position,
        "score": round(score, 4),
        "messages": [
            {k: v for k, v in (("role", m.role), ("name", m.name), ("text", m.text), ("time", m.time)) if v}
            for m in turn.messages
        ],
    }
