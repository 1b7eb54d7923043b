"""`rhea history`: what was said in a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.options import DEFAULT_CONVERSATION, Conversation, Database, Json, User, opened

if TYPE_CHECKING:
    from rhea.types import TurnRecord

__all__ = ["history", "turn_as_dict"]


@app.command()
def history(
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    last: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest N turns.", show_default="all")
    ] = None,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Show a conversation, oldest turn first, interrupted turns included.

    JSON: {"user", "conversation", "turns": [{"position", "user", "reply", "state"}]}.
    """
    with reported(), opened(database) as memory:
        turns = memory.conversation(conversation, user=user, create=False).history(last=last)
        if as_json:
            print_json({"user": user, "conversation": conversation, "turns": [turn_as_dict(t) for t in turns]})
            return
        from rhea.cli.drawing import history_view, make_console

        make_console().print(history_view(turns))


def turn_as_dict(turn: TurnRecord) -> dict[str, Any]:
    """A turn as the commands print it in JSON."""
    return {"position": turn.position, "user": turn.user, "reply": turn.reply, "state": str(turn.state)}
