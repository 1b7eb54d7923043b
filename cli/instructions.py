"""`rhea instructions list|add|edit|revoke|history`: standing instructions by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rhea.cli.app import instructions_app, print_json, reported
from rhea.cli.options import DEFAULT_CONVERSATION, Conversation, Database, Json, User, opened

if TYPE_CHECKING:
    from rhea.types import Instruction, InstructionEvent

__all__ = [
    "add_instruction",
    "edit_instruction",
    "instruction_history",
    "instruction_json",
    "list_instructions",
    "revoke_instruction",
]

_Id = Annotated[int, typer.Argument(metavar="ID", help="As `rhea instructions list` shows it.")]


@instructions_app.command("list")
def list_instructions(
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    every: Annotated[bool, typer.Option("--all", help="Superseded and revoked ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Show the instructions of a conversation and of its user, oldest first.

    JSON: {"instructions": [{"id", "text", "kind", "scope", "status", "source_position", "start", "end",
    "expires_after", "until", "replaced_by", "topic"}]}.
    """
    with reported(), opened(database) as memory:
        found = memory.conversation(conversation, user=user, create=False).instructions.list(every=every)
        if as_json:
            print_json({"instructions": [instruction_json(i) for i in found]})
            return
        for line in map(_line, found):
            typer.echo(line)
        if not found:
            typer.echo("no instructions yet: say one in a chat, or `rhea instructions add TEXT`")


@instructions_app.command("add")
def add_instruction(
    text: str,
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    kind: Annotated[str, typer.Option(help="rule, role or preference.")] = "rule",
    scope: Annotated[
        str, typer.Option(help="conversation, or user for all of the user's conversations.")
    ] = "conversation",
    turns: Annotated[int | None, typer.Option(help="Turns for which it binds; for good by default.")] = None,
    as_json: Json = False,
) -> None:
    """Add an instruction, verbatim.

    JSON: the instruction, as in `list`.
    """
    with reported(), opened(database) as memory:
        chat = memory.conversation(conversation, user=user, create=False)
        _show(chat.instructions.add(text, kind=kind, scope=scope, expires_after=turns), as_json)


@instructions_app.command("edit")
def edit_instruction(
    instruction: _Id,
    text: str,
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Give an instruction new words; the old ones stay in its history.

    JSON: the new instruction, as in `list`.
    """
    with reported(), opened(database) as memory:
        chat = memory.conversation(conversation, user=user, create=False)
        _show(chat.instructions.edit(instruction, text), as_json)


@instructions_app.command("revoke")
def revoke_instruction(
    instruction: _Id,
    user: User,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """End an instruction; it stays in the history.

    JSON: {"revoked": id}.
    """
    with reported(), opened(database) as memory:
        memory.conversation(conversation, user=user, create=False).instructions.revoke(instruction)
        if as_json:
            print_json({"revoked": instruction})
        else:
            typer.echo(f"revoked {instruction}")


@instructions_app.command("history")
def instruction_history(
    user: User,
    instruction: Annotated[int | None, typer.Argument(metavar="[ID]", help="One instruction; all by default.")] = None,
    conversation: Conversation = DEFAULT_CONVERSATION,
    database: Database = None,
    as_json: Json = False,
) -> None:
    """Tell what happened to the instructions, oldest first: which turn added, superseded or revoked them.

    JSON: {"events": [{"instruction_id", "action", "turn_id", "position", "at", "reason"}]}.
    """
    with reported(), opened(database) as memory:
        events = memory.conversation(conversation, user=user, create=False).instructions.history(instruction)
        if as_json:
            print_json({"events": [_event_json(e) for e in events]})
            return
        for event in events:
            where = f"turn {event.position}" if event.position is not None else "by hand"
            reason = f": {' '.join(event.reason.split())}" if event.reason else ""
            typer.echo(f"{event.at:%Y-%m-%d %H:%M}  {event.instruction_id:>4}  {event.action:10} {where}{reason}")


def instruction_json(instruction: Instruction) -> dict[str, Any]:
    """One instruction as the commands print it."""
    return {
        "id": instruction.id,
        "text": instruction.text,
        "kind": str(instruction.kind),
        "scope": str(instruction.scope),
        "status": str(instruction.status),
        "source_position": instruction.source_position,
        "start": instruction.start,
        "end": instruction.end,
        "expires_after": instruction.expires_after,
        "until": instruction.until,
        "replaced_by": instruction.replaced_by,
        "topic": instruction.topic,
    }


def _event_json(event: InstructionEvent) -> dict[str, Any]:
    return {
        "instruction_id": event.instruction_id,
        "action": event.action,
        "turn_id": event.turn_id,
        "position": event.position,
        "at": event.at.isoformat(),
        "reason": event.reason,
    }


def _line(instruction: Instruction) -> str:
    marks = [str(instruction.kind)]
    if instruction.scope == "user":
        marks.append("all chats")
    if instruction.status != "active":
        marks.append(str(instruction.status))
    if instruction.expires_after is not None:
        marks.append(f"for {instruction.expires_after} turns")
    if instruction.until:
        marks.append(f"until {instruction.until}")
    where = f" (turn {instruction.source_position})" if instruction.source_position is not None else ""
    return f"{instruction.id:>4}  {' '.join(instruction.text.split())}  [{', '.join(marks)}]{where}"


def _show(instruction: Instruction, as_json: bool) -> None:
    if as_json:
        print_json(instruction_json(instruction))
    else:
        typer.echo(_line(instruction))
