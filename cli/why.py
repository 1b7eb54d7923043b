"""`rhea why`: what the model saw in one turn, drawn against the budget, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from rhea.cli.app import app, print_json, reported
from rhea.cli.history import turn_as_dict
from rhea.cli.options import DEFAULT_CONVERSATION, Conversation, Database, Json, User, opened

__all__ = ["why"]


@app.command()
def why(
    user: User,
    position: Annotated[int | None, typer.Argument(min=1, help="Which turn.", show_default="the newest")] = None,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Explain a turn: sections against the budget, past turns raw, compressed or omitted, the reasons.

    JSON: {"user", "conversation", "turn": {"position", "user", "reply", "state"}, "context": {...}} with the
    context as in `rhea chat --json`.
    """
    with reported(), opened(database) as memory:
        record, context = memory.conversation(conversation, user=user, create=False).why(position)
        if as_json:
            found = {"user": user, "conversation": conversation}
            print_json(found | {"turn": turn_as_dict(record), "context": context.to_dict()})
            return
        from rhea.cli.drawing import make_console, why_view

        make_console().print(why_view(record, context))
