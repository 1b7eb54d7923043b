"""Standing instructions by hand: list, add, edit, revoke, history (`chat.instructions`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rhea.errors import EmptyMessage, InstructionNotFound, SettingsError
from rhea.intake import accept
from rhea.types import (
    Instruction,
    InstructionChange,
    InstructionEvent,
    InstructionKind,
    InstructionStatus,
    OwnerId,
    Scope,
)

if TYPE_CHECKING:
    from rhea.stores.base import Store

__all__ = ["InstructionManager"]

_MOST_BYTES = 65_536
_Events: TypeAlias = list[InstructionEvent]  # inside the class, `list` is the method


class InstructionManager:
    """The instructions of one conversation, and those of its user.

    Args:
        store: where they are kept.
        owner: the user.
        conversation_id: the conversation.
    """

    def __init__(self, store: Store, owner: OwnerId, conversation_id: int) -> None:
        self._store = store
        self._owner = owner
        self._conversation_id = conversation_id

    def list(self, *, every: bool = False) -> list[Instruction]:
        """Active instructions, oldest first; with ``every``, superseded and revoked ones too."""
        return self._store.instructions(self._owner, self._conversation_id, active_only=not every)

    def add(
        self,
        text: str,
        *,
        kind: InstructionKind | str = InstructionKind.RULE,
        scope: Scope | str = Scope.CONVERSATION,
        expires_after: int | None = None,
    ) -> Instruction:
        """Add one, verbatim.

        Args:
            text: the instruction.
            kind: "rule", "role" or "preference".
            scope: "conversation" or "user" (all of the user's conversations).
            expires_after: turns for which it binds; ``None`` for good.

        Raises:
            InputError: the text is empty or cannot be stored, or an option is unknown.
        """
        change = self._addition(text, kind, scope, expires_after)
        return self._store.change_instructions(self._owner, self._conversation_id, [change])[0]

    def edit(self, instruction_id: int, text: str) -> Instruction:
        """Supersede an active instruction with new wording; the old one stays in the history.

        Raises:
            InstructionNotFound: no active instruction of that id here.
        """
        old = self._active(instruction_id)
        change = InstructionChange(
            "supersede",
            text=_checked(text),
            kind=old.kind,
            scope=old.scope,
            expires_after=old.expires_after,
            until=old.until,
            topic=_topic(text, old.kind),
            target_ids=(old.id,),
            reason="edited by hand",
        )
        return self._store.change_instructions(self._owner, self._conversation_id, [change])[0]

    def revoke(self, instruction_id: int) -> None:
        """End an active instruction; it stays in the history.

        Raises:
            InstructionNotFound: no active instruction of that id here.
        """
        old = self._active(instruction_id)
        change = InstructionChange("revoke", target_ids=(old.id,), reason="revoked by hand")
        self._store.change_instructions(self._owner, self._conversation_id, [change])

    def history(self, instruction_id: int | None = None) -> _Events:
        """What happened to one instruction, or to all, oldest first."""
        return self._store.instruction_history(self._owner, self._conversation_id, instruction_id)

    def _active(self, instruction_id: int) -> Instruction:
        for instruction in self._store.instructions(self._owner, self._conversation_id, active_only=False):
            if instruction.id == instruction_id:
                if instruction.status is InstructionStatus.ACTIVE:
                    return instruction
                raise InstructionNotFound(
                    f"instruction {instruction_id} is {instruction.status} already; add it anew to bring it back"
                )
        raise InstructionNotFound(
            f"no instruction {instruction_id} in this conversation; `rhea instructions list` shows their ids"
        )

    def _addition(
        self, text: str, kind: InstructionKind | str, scope: Scope | str, expires_after: int | None
    ) -> InstructionChange:
        if expires_after is not None and expires_after < 1:
            raise SettingsError(
                f"expires_after={expires_after} is out of range; give 1 or more turns, or none for good"
            )
        try:
            chosen, reach = InstructionKind(kind), Scope(scope)
        except ValueError as error:
            raise SettingsError(f"{error}; kinds: rule, role, preference; scopes: conversation, user") from None
        return InstructionChange(
            "add",
            text=_checked(text),
            kind=chosen,
            scope=reach,
            expires_after=expires_after,
            topic=_topic(text, chosen),
            reason="added by hand",
        )


def _checked(text: str) -> str:
    stripped = text.strip()
    if not stripped:
        raise EmptyMessage("the instruction is empty; give its text")
    accept(stripped, _MOST_BYTES)
    return stripped


def _topic(text: str, kind: InstructionKind) -> str | None:
    from rhea.instructions.lifecycle import topic_of

    return topic_of(text, kind)
