"""The nouns of Rhea: what one turn is made of, and what a context says about itself.

Plain frozen dataclasses, shared by every layer; nothing here touches a database, a model or a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NewType, TypedDict

__all__ = [
    "ChatMessage",
    "Context",
    "ConversationSummary",
    "Decision",
    "EpisodeTrace",
    "Instruction",
    "InstructionChange",
    "InstructionEvent",
    "InstructionKind",
    "InstructionStatus",
    "Message",
    "OwnerId",
    "Placement",
    "RecallMode",
    "RecallScope",
    "Role",
    "Scope",
    "TurnRecord",
    "TurnState",
]

OwnerId = NewType("OwnerId", int)
"""Identifies the user that a row belongs to; every store call names one."""

Role = Literal["user", "assistant", "system", "tool"]
Placement = Literal["both", "system", "question"]
"""Where standing instructions are rendered: system message, beside the question, or both."""
RecallMode = Literal["budget", "paper"]
RecallScope = Literal["conversation", "user"]


class ChatMessage(TypedDict):
    """One message in the shape that chat templates and OpenAI-compatible servers take."""

    role: str
    content: str


class TurnState(StrEnum):
    """Where a turn stands: waiting for its reply, complete, cut off, or given up by the caller."""

    PENDING = "pending"
    COMMITTED = "committed"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"


class Decision(StrEnum):
    """In which form a past turn enters the context (paper: Heuristic Context Retrieval)."""

    RAW = "raw"
    COMPRESSED = "compressed"
    OMITTED = "omitted"


class InstructionKind(StrEnum):
    """What an instruction binds: how to answer, who to be, or what the user lastingly likes."""

    RULE = "rule"
    ROLE = "role"
    PREFERENCE = "preference"


class InstructionStatus(StrEnum):
    """Only active instructions enter a context; the others are history."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class Scope(StrEnum):
    """Whether an instruction binds one conversation or all of a user's conversations."""

    CONVERSATION = "conversation"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message, verbatim.

    ``id`` is 0 until stored. ``name`` is the speaker's name and ``time`` the time as the source
    wrote it, where an imported chat has them. ``source_id`` is the message's id in an imported file.
    """

    role: Role
    text: str
    name: str | None = None
    time: str | None = None
    source_id: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One stored turn: a run of user messages and the replies to them (either may be missing in imports)."""

    id: int
    conversation_id: int
    position: int
    """1-based, gapless within the conversation."""
    state: TurnState
    messages: tuple[Message, ...]
    created_at: datetime
    digest: str | None = None
    """Extractive text digest of the reply; ``None`` until made."""

    @property
    def user(self) -> str:
        """The user's text of this turn, messages joined by a newline."""
        return "\n".join(m.text for m in self.messages if m.role == "user")

    @property
    def reply(self) -> str | None:
        """The reply's text, messages joined by a newline; ``None`` when there is none."""
        parts = [m.text for m in self.messages if m.role == "assistant"]
        return "\n".join(parts) if parts else None


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """One line of a user's list of conversations."""

    id: int
    name: str
    user: str
    turns: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Instruction:
    """A standing instruction, kept verbatim.

    ``start`` and ``end`` are character offsets into the source turn's user text; ``None`` when it was
    added by hand. ``expires_after`` counts the turns for which it stays in force, the turn after the
    source being the first; ``None`` means for good. ``until`` is the user's own condition ("until I say stop").
    """

    id: int
    text: str
    kind: InstructionKind
    scope: Scope
    status: InstructionStatus
    conversation_id: int | None
    source_turn_id: int | None
    source_position: int | None
    start: int | None
    end: int | None
    expires_after: int | None = None
    until: str | None = None
    replaced_by: int | None = None
    topic: str | None = None
    """What it governs (length, language, format …), when known: two rules on one topic may conflict."""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InstructionChange:
    """One step in an instruction's life, decided by detection or by hand, not yet stored.

    ``action`` "add" takes ``text`` and its companions; "supersede" is an "add" that also ends
    ``target_ids``; "revoke" ends ``target_ids``; "confirm" records a repeated rule on ``target_ids``.
    """

    action: Literal["add", "supersede", "revoke", "confirm"]
    text: str = ""
    kind: InstructionKind = InstructionKind.RULE
    scope: Scope = Scope.CONVERSATION
    start: int | None = None
    end: int | None = None
    expires_after: int | None = None
    until: str | None = None
    topic: str | None = None
    target_ids: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InstructionEvent:
    """One line of an instruction's history."""

    instruction_id: int
    action: str
    turn_id: int | None
    position: int | None
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class EpisodeTrace:
    """Why one past turn stands in the context as it does, omitted ones included."""

    position: int
    decision: Decision
    score: float
    """Calibrated relevance in [0, 1]."""
    tokens: int
    """Tokens that its chosen form takes in the context; 0 when omitted."""
    reason: str
    channels: Mapping[str, float] = field(default_factory=dict)
    conversation: str | None = None
    """Name of the conversation it comes from, when not the current one."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the model sees in one turn, and why: the trace that is stored with the turn."""

    budget: int
    tokens: int
    """Exact count of the rendered prompt, template included."""
    sections: Mapping[str, int]
    """Tokens by section: instructions, background, recent, question, template; requests where a message goes on."""
    instructions: Sequence[str]
    """Instructions in force, verbatim, as placed."""
    episodes: Sequence[EpisodeTrace]
    left_out: Sequence[str] = ()
    """Preferences in force that did not fit their share."""
    notes: Sequence[str] = ()
    """In words: doubts and choices worth telling."""
    others: str = ""
    """Scores of the omitted turns that have no row in ``episodes``, packed: see :mod:`rhea.recall.traces`."""

    def __str__(self) -> str:
        """The context in words, for `print`."""
        from rhea.explain import explain

        return explain(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that ``--json`` prints."""
        return self._with(
            [
                {
                    "position": e.position,
                    "decision": str(e.decision),
                    "score": round(e.score, 4),
                    "tokens": e.tokens,
                    "reason": e.reason,
                    "channels": {k: round(v, 2) for k, v in e.channels.items()},
                    **({"conversation": e.conversation} if e.conversation else {}),
                }
                for e in self.episodes
            ]
        )

    def to_record(self) -> dict[str, Any]:
        """What is stored: equal to :meth:`to_dict`, its episodes by column where recall has them so."""
        columns = getattr(self.episodes, "columns", None)
        return self.to_dict() if columns is None else self._with(columns())

    def _with(self, episodes: Any) -> dict[str, Any]:
        return {
            "budget": self.budget,
            "tokens": self.tokens,
            "sections": dict(self.sections),
            "instructions": list(self.instructions),
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            **({"others": self.others} if self.others else {}),
            "episodes": episodes,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Context:
        """The inverse of :meth:`to_dict`."""
        return cls(
            budget=data["budget"],
            tokens=data["tokens"],
            sections=data["sections"],
            instructions=tuple(data["instructions"]),
            left_out=tuple(data.get("left_out", ())),
            notes=tuple(data.get("notes", ())),
            others=data.get("others", ""),
            episodes=tuple(
                EpisodeTrace(
                    position=e["position"],
                    decision=Decision(e["decision"]),
                    score=e["score"],
                    tokens=e["tokens"],
                    reason=e["reason"],
                    channels=e["channels"],
                    conversation=e.get("conversation"),
                )
                for e in data["episodes"]
            ),
        )
