"""Active rules for tests that need no database."""

from __future__ import annotations

from rhea.types import Instruction, InstructionKind, InstructionStatus, Scope

__all__ = ["rule"]


def rule(number: int, text: str, kind: InstructionKind = InstructionKind.RULE, **more: object) -> Instruction:
    """An active rule of one conversation, given in turn ``number``; ``more`` are other fields."""
    fields: dict[str, object] = {
        "id": number,
        "text": text,
        "kind": kind,
        "scope": Scope.CONVERSATION,
        "status": InstructionStatus.ACTIVE,
        "conversation_id": 1,
        "source_turn_id": number,
        "source_position": number,
        "start": 0,
        "end": len(text),
    }
    return Instruction(**(fields | more))  # type: ignore[arg-type]
