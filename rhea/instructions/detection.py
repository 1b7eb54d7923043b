"""What one message does to its user's standing instructions."""

from __future__ import annotations

from dataclasses import dataclass

from rhea.types import InstructionChange

__all__ = ["Detection"]


@dataclass(frozen=True, slots=True)
class Detection:
    """What one message changes; ``notes`` are doubts worth telling in the trace."""

    changes: tuple[InstructionChange, ...] = ()
    notes: tuple[str, ...] = ()
