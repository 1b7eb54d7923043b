"""Standing instructions and every change in their lives: with its turn, its moment and its reason.

Nothing is ever overwritten: an instruction that no longer binds keeps its text and gets an end in its
history. What an abandoned turn changed is undone, and the undoing is history too.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from rhea.errors import ConversationNotFound, InstructionNotFound
from rhea.stores.database import Database
from rhea.stores.prepared import Prepared
from rhea.stores.rows import instruction_from, now
from rhea.stores.tables import conversations, instruction_events, instructions, turns
from rhea.types import Instruction, InstructionChange, InstructionEvent, InstructionStatus, OwnerId, Scope

__all__ = ["InstructionRows", "apply_changes", "undo_changes"]


class InstructionRows:
    """The part of a store that keeps instructions."""

    database: Database

    def instructions(self, owner: OwnerId, conversation_id: int, *, active_only: bool = True) -> list[Instruction]:
        """Those of the conversation and the user's own (scope user), oldest first."""
        query = _ACTIVE if active_only else _ALL
        with self.database.read(owner) as connection:
            found = query.rows(connection, {"owner": owner, "conversation": conversation_id})
        return [instruction_from(_Row(*row)) for row in found]

    def change_instructions(
        self, owner: OwnerId, conversation_id: int, changes: Sequence[InstructionChange], *, turn_id: int | None = None
    ) -> list[Instruction]:
        """Apply changes by hand; returns the instructions added.

        Raises:
            ConversationNotFound: no such conversation of this owner.
            InstructionNotFound: a target is not in force here; nothing was changed.
        """
        with self.database.write(owner) as connection:
            held = connection.scalar(
                select(conversations.c.id)
                .where(conversations.c.id == conversation_id, conversations.c.user_id == owner)
                .with_for_update()
            )
            if held is None:
                raise ConversationNotFound(f"no conversation with id {conversation_id}")
            position = None
            if turn_id is not None:
                position = connection.scalar(
                    select(turns.c.position).where(turns.c.id == turn_id, turns.c.user_id == owner)
                )
            return apply_changes(
                connection, owner, conversation_id, changes, turn_id=turn_id, position=position, at=now()
            )

    def instruction_history(
        self, owner: OwnerId, conversation_id: int, instruction_id: int | None = None
    ) -> list[InstructionEvent]:
        """Every change, oldest first: of one instruction, or of all that :meth:`instructions` would list.

        Raises:
            InstructionNotFound: no such instruction in the conversation.
        """
        here = (
            instructions.c.user_id == owner,
            or_(instructions.c.conversation_id == conversation_id, instructions.c.conversation_id.is_(None)),
        )
        query = (
            select(instruction_events)
            .join(instructions, instructions.c.id == instruction_events.c.instruction_id)
            .where(*here)
            .order_by(instruction_events.c.id)
        )
        if instruction_id is not None:
            query = query.where(instructions.c.id == instruction_id)
        with self.database.read(owner) as connection:
            if instruction_id is not None:
                known = connection.scalar(select(instructions.c.id).where(*here, instructions.c.id == instruction_id))
                if known is None:
                    raise InstructionNotFound(f"no instruction {instruction_id} in this conversation")
            return [
                InstructionEvent(row.instruction_id, row.action, row.turn_id, row.position, row.at, row.reason)
                for row in connection.execute(query)
            ]


def apply_changes(
    connection: Connection,
    owner: OwnerId,
    conversation_id: int,
    changes: Sequence[InstructionChange],
    *,
    turn_id: int | None,
    position: int | None,
    at: datetime,
) -> list[Instruction]:
    """Apply the changes inside the caller's transaction; returns the instructions added.

    Raises:
        InstructionNotFound: a target is not in force in this conversation.
    """
    added: list[Instruction] = []

    def record(instruction_id: int, action: str, reason: str) -> None:
        connection.execute(
            insert(instruction_events).values(
                user_id=owner,
                instruction_id=instruction_id,
                conversation_id=conversation_id,
                turn_id=turn_id,
                position=position,
                action=action,
                at=at,
                reason=reason,
            )
        )

    for change in changes:
        targets = _targets(connection, owner, conversation_id, change.target_ids)
        if change.action in {"add", "supersede"}:
            new = _add(connection, owner, conversation_id, change, turn_id, position, at)
            added.append(new)
            record(new.id, "add", change.reason)
            if change.action == "supersede" and targets:
                _end(connection, targets, InstructionStatus.SUPERSEDED, new.id)
                for target in targets:
                    record(target, "supersede", change.reason)
        elif change.action == "revoke":
            if targets:
                _end(connection, targets, InstructionStatus.REVOKED, None)
            for target in targets:
                record(target, "revoke", change.reason)
        else:
            for target in targets:
                record(target, "confirm", change.reason)
    return added


def _targets(connection: Connection, owner: OwnerId, conversation_id: int, wanted: Sequence[int]) -> list[int]:
    if not wanted:
        return []
    known = set(
        connection.scalars(
            select(instructions.c.id).where(
                instructions.c.id.in_(wanted),
                instructions.c.user_id == owner,
                instructions.c.status == InstructionStatus.ACTIVE.value,
                or_(instructions.c.conversation_id == conversation_id, instructions.c.conversation_id.is_(None)),
            )
        )
    )
    for target in wanted:
        if target not in known:
            raise InstructionNotFound(f"no instruction {target} in force in this conversation")
    return list(dict.fromkeys(wanted))


def _add(
    connection: Connection,
    owner: OwnerId,
    conversation_id: int,
    change: InstructionChange,
    turn_id: int | None,
    position: int | None,
    at: datetime,
) -> Instruction:
    row = connection.execute(
        insert(instructions)
        .values(
            user_id=owner,
            conversation_id=None if change.scope is Scope.USER else conversation_id,
            text=change.text,
            kind=change.kind.value,
            scope=change.scope.value,
            status=InstructionStatus.ACTIVE.value,
            source_turn_id=turn_id,
            source_position=position,
            start_at=change.start,
            end_at=change.end,
            expires_after=change.expires_after,
            until=change.until,
            topic=change.topic,
            created_at=at,
        )
        .returning(instructions)
    ).one()
    return instruction_from(row)


def _end(connection: Connection, targets: Sequence[int], status: InstructionStatus, by: int | None) -> None:
    connection.execute(
        update(instructions).where(instructions.c.id.in_(targets)).values(status=status.value, replaced_by=by)
    )


def undo_changes(connection: Connection, owner: OwnerId, turn_id: int, at: datetime) -> None:
    """Undo what a turn changed: what it added no longer binds, what it ended binds again.

    Where a later turn has meanwhile replaced what this one added, the older instruction stays replaced,
    by that later one.
    """
    events = connection.execute(
        select(instruction_events)
        .where(instruction_events.c.turn_id == turn_id, instruction_events.c.user_id == owner)
        .order_by(instruction_events.c.id.desc())
    ).all()
    reason = "the turn was abandoned"
    for past in events:
        row = connection.execute(select(instructions).where(instructions.c.id == past.instruction_id)).one()
        values: dict[str, object] | None = None
        if past.action == "add" and row.status == InstructionStatus.ACTIVE.value:
            values = {"status": InstructionStatus.REVOKED.value}
        elif past.action == "supersede" and row.status == InstructionStatus.SUPERSEDED.value:
            heir = connection.execute(
                select(instructions.c.status, instructions.c.replaced_by).where(instructions.c.id == row.replaced_by)
            ).one_or_none()
            if heir is not None and heir.status == InstructionStatus.SUPERSEDED.value:
                values = {"replaced_by": heir.replaced_by}
            else:
                values = {"status": InstructionStatus.ACTIVE.value, "replaced_by": None}
        elif past.action == "revoke" and row.status == InstructionStatus.REVOKED.value:
            values = {"status": InstructionStatus.ACTIVE.value}
        if values is not None:
            connection.execute(update(instructions).where(instructions.c.id == row.id).values(values))
            connection.execute(
                insert(instruction_events).values(
                    user_id=owner,
                    instruction_id=row.id,
                    conversation_id=past.conversation_id,
                    turn_id=turn_id,
                    position=past.position,
                    action="undo",
                    at=at,
                    reason=reason,
                )
            )


_Row = namedtuple("_Row", [column.name for column in instructions.c])  # type: ignore[misc]
"""What the driver gives, by name."""
# Asked in every turn, so built once.
_KNOWN = (
    select(instructions)
    .where(
        instructions.c.user_id == bindparam("owner"),
        or_(
            instructions.c.conversation_id == bindparam("conversation"),
            instructions.c.conversation_id.is_(None),
        ),
    )
    .order_by(instructions.c.id)
)
_ALL = Prepared(_KNOWN)
_ACTIVE = Prepared(_KNOWN.where(instructions.c.status == InstructionStatus.ACTIVE.value))
