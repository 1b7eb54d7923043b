"""Active rules for tests that need no database."""

from __future__ import annotations

from rhea.types import Instruction, InstructionKind, InstructionStatus, Scope

__all__ = ["rule"]


def rule(number: int, text: str) -> Instruction:
    """An active rule of one conversation, given in turn ``number``."""
    return Instruction(
        id=number,
        text=text,
        kind=InstructionKind.RULE,
        scope=Scope.CONVERSATION,
        status=InstructionStatus.ACTIVE,
        conversation_id=1,
        source_turn_id=number,
        source_position=number,
        start=None,
        end=None,
        expires_after=None,
        until=None,
        topic=None,
    )
