"""The contract of storage: what every engine must do, the owner named in every call.

Invariants that the conformance suite proves: a row is only reached through its owner; positions are
gapless within a conversation; a commit is idempotent by turn; nothing acknowledged is lost.
A `Store` knows nothing of models, budgets or recall: it keeps rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rhea.types import (
    ConversationSummary,
    Instruction,
    InstructionChange,
    InstructionEvent,
    Message,
    OwnerId,
    TurnRecord,
    TurnState,
)

__all__ = ["MessageVectors", "Store", "VectorHit", "WorkItem", "WorkKind"]

WorkKind = Literal["digest", "vectors", "memory", "reembed"]
"""`reembed` is the vectors of a new embedder: no turn waits for it."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One piece of pending work, claimed by one worker until ``lease`` runs out."""

    id: int
    kind: WorkKind
    owner: OwnerId
    conversation_id: int
    turn_id: int


@dataclass(frozen=True, slots=True)
class MessageVectors:
    """All vectors of one message under one embedder.

    ``vectors`` is float32 of shape (n, d), rows L2-normalised; ``channels`` names what each row saw
    (``"sentence"``, ``"message"``, ``"pair"`` for previous + message, ``"block"``).
    """

    message_id: int
    turn_id: int
    position: int
    channels: tuple[str, ...]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class VectorHit:
    """One near vector: which message, in which conversation, through which channel, how near (cosine)."""

    message_id: int
    turn_id: int
    conversation_id: int
    channel: str
    score: float


class Store(Protocol):
    """Everything durable. Each method is one short transaction."""

    dialect: str
    """``"sqlite"`` or ``"postgresql"``."""

    def close(self) -> None:
        """Release every connection."""
        ...

    # users and conversations
    def ensure_user(self, name: str) -> OwnerId: ...
    def find_user(self, name: str) -> OwnerId:
        """Raises UserNotFound."""
        ...

    def list_users(self) -> list[str]: ...
    def ensure_conversation(self, owner: OwnerId, name: str) -> int: ...
    def find_conversation(self, owner: OwnerId, name: str) -> int:
        """Raises ConversationNotFound, for another user's conversation too."""
        ...

    def list_conversations(self, owner: OwnerId) -> list[ConversationSummary]: ...

    # one turn
    def begin_turn(
        self, owner: OwnerId, conversation_id: int, message: Message, changes: Sequence[InstructionChange]
    ) -> TurnRecord:
        """Store the user's message as a pending turn at the next position, with the instruction changes it causes.

        The same transaction marks earlier pending turns whose process is gone as interrupted.
        """
        ...

    def save_trace(self, owner: OwnerId, turn_id: int, trace: dict[str, Any]) -> None: ...
    def load_trace(self, owner: OwnerId, turn_id: int) -> dict[str, Any] | None: ...
    def commit_turn(
        self,
        owner: OwnerId,
        turn_id: int,
        reply: str,
        *,
        interrupted: bool = False,
        trace: dict[str, Any] | None = None,
    ) -> TurnRecord:
        """Store the reply, its pending work and the state in one transaction; the same reply again changes nothing.

        Raises:
            TurnAlreadyCommitted: the turn holds another reply.
            TurnNotPending: the turn was abandoned.
        """
        ...

    def abandon_turn(self, owner: OwnerId, turn_id: int) -> None:
        """Mark a pending turn as given up and undo the instruction changes it caused."""
        ...

    def interrupt_turn(self, owner: OwnerId, turn_id: int) -> None:
        """Mark a pending turn that got no reply as interrupted; it stays in the history."""
        ...

    def interrupt_dead(self, owner: OwnerId, conversation_id: int) -> None:
        """Mark pending turns whose process is gone as interrupted, as `begin_turn` does."""
        ...

    def append_turns(
        self, owner: OwnerId, conversation_id: int, turns: Iterable[Sequence[Message]], *, source: str | None = None
    ) -> list[TurnRecord]:
        """Store finished turns (imports), a transaction per batch; with ``source``, turns already there are skipped."""
        ...

    def append_messages(
        self, owner: OwnerId, conversation_id: int, said: Sequence[Message]
    ) -> list[tuple[TurnRecord, bool]]:
        """Store single messages at the end: a turn takes them until it has a reply and a new question comes.

        Returns the turns that took some, each with whether it is new.
        """
        ...

    def remove_last_message(self, owner: OwnerId, conversation_id: int) -> Message | None:
        """Remove the newest message for good; a turn left without any is abandoned and its instructions undone."""
        ...

    def turns(
        self,
        owner: OwnerId,
        conversation_id: int,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = None,
        states: Sequence[TurnState] | None = None,
    ) -> list[TurnRecord]:
        """Turns with ``after < position < before`` in order of position."""
        ...

    def last_turns(
        self,
        owner: OwnerId,
        conversation_id: int,
        count: int,
        *,
        before: int | None = None,
        states: Sequence[TurnState] | None = None,
    ) -> list[TurnRecord]:
        """The newest ``count`` turns, in order of position."""
        ...

    def turns_by_id(self, owner: OwnerId, turn_ids: Sequence[int]) -> list[TurnRecord]: ...
    def turn_at(self, owner: OwnerId, conversation_id: int, position: int) -> TurnRecord:
        """Raises TurnNotFound."""
        ...

    def search_text(
        self, owner: OwnerId, query: str, *, conversation_id: int | None = None, limit: int = 20
    ) -> list[tuple[TurnRecord, str, float]]:
        """Full-text search by the engine (FTS5, tsvector): (turn, conversation name, score), best first."""
        ...

    # instructions
    def instructions(self, owner: OwnerId, conversation_id: int, *, active_only: bool = True) -> list[Instruction]:
        """Those of the conversation and the user's own (scope user), oldest first."""
        ...

    def change_instructions(
        self, owner: OwnerId, conversation_id: int, changes: Sequence[InstructionChange], *, turn_id: int | None = None
    ) -> list[Instruction]:
        """Apply changes by hand; returns the instructions added."""
        ...

    def instruction_history(
        self, owner: OwnerId, conversation_id: int, instruction_id: int | None = None
    ) -> list[InstructionEvent]: ...

    # derived data and the work that makes it
    def claim_work(
        self,
        kinds: Sequence[WorkKind],
        *,
        limit: int,
        lease_seconds: float = 60.0,
        owner: OwnerId | None = None,
        conversation_id: int | None = None,
    ) -> list[WorkItem]: ...
    def due_work(
        self,
        kinds: Sequence[WorkKind],
        *,
        limit: int,
        owner: OwnerId | None = None,
        conversation_id: int | None = None,
    ) -> list[WorkItem] | None:
        """All pending pieces, unclaimed; ``None`` when there are more than ``limit``, or somebody works on one."""
        ...

    def finish_work(
        self,
        digests: Sequence[tuple[WorkItem, str, str]],
        vectors: Sequence[tuple[WorkItem, Sequence[MessageVectors]]],
        embedder_id: str,
    ) -> None:
        """(item, digest, compressor id) and (item, vectors): store all of it and drop the work, in one transaction.

        A piece that another worker has finished first is gone already, and nothing is stored for it again.
        """
        ...

    def finish_digests(self, items: Sequence[tuple[WorkItem, str, str]]) -> None:
        """(item, digest, compressor id): store the digests and drop the work in one transaction."""
        ...

    def finish_vectors(self, items: Sequence[tuple[WorkItem, Sequence[MessageVectors]]], embedder_id: str) -> None: ...
    def release_work(self, items: Sequence[WorkItem]) -> None: ...
    def pending_work(self, owner: OwnerId | None = None) -> dict[str, int]:
        """Number of pending pieces by kind."""
        ...

    def vectors(
        self, owner: OwnerId, conversation_id: int, embedder_id: str, *, after_message_id: int = 0
    ) -> list[MessageVectors]:
        """Vectors of a conversation in order of message, newer than ``after_message_id``: feeds the caches."""
        ...

    def nearest(
        self,
        owner: OwnerId,
        embedder_id: str,
        queries: NDArray[np.float32],
        *,
        limit: int,
        exclude_conversation: int | None = None,
    ) -> list[VectorHit]:
        """Nearest vectors over all of the owner's conversations, the owner's filter applied inside the search."""
        ...

    def request_vectors(self, embedder_id: str, owner: OwnerId | None = None) -> int:
        """Note as work of kind `reembed` every turn that lacks vectors under this embedder; returns their number."""
        ...

    def embedder_names(self) -> set[str]:
        """Every embedder that has vectors here, or had."""
        ...

    def described(self, owner: OwnerId, conversation_id: int, embedder_id: str, previous_id: str) -> bool:
        """Whether every message that has vectors of the previous embedder has those of this one too."""
        ...

    def vector_coverage(self, owner: OwnerId | None = None) -> dict[str, int]:
        """How many messages have vectors, by embedder."""
        ...

    def drop_vectors(self, embedder_id: str) -> int:
        """Delete every vector of an embedder that is no longer used."""
        ...

    def finish_memory(self, items: Sequence[tuple[WorkItem, NDArray[np.floating[Any]]]], compressor_id: str) -> None:
        """Store replies as memory tokens, each of shape (tokens, width), and drop the work."""
        ...

    def memory(self, owner: OwnerId, turn_ids: Sequence[int], compressor_id: str) -> dict[int, NDArray[np.float16]]:
        """The memory tokens of the owner's turns, by turn; turns without are left out."""
        ...

    def request_memory(
        self, compressor_id: str, owner: OwnerId | None = None, *, turn_ids: Sequence[int] | None = None
    ) -> int:
        """Note as pending work every reply (of these turns) without memory tokens of this compressor; how many."""
        ...

    # the user's own data
    def user_rows(self, owner: OwnerId) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything a user owns, in a fixed order: (kind, values)."""
        ...

    def restore_rows(self, rows: Iterable[tuple[str, dict[str, Any]]], *, user: str | None = None) -> OwnerId:
        """Put an export back, in one transaction."""
        ...

    def delete_rows(self, owner: OwnerId, conversation_id: int | None = None) -> dict[str, int]:
        """Delete one conversation, or the user with everything; returns the rows that went, by table."""
        ...

    def prune(self, before: datetime, *, owner: OwnerId | None = None) -> dict[str, int]:
        """Delete conversations last used before a moment; returns the rows that went, by table."""
        ...

    def compact(self) -> bool:
        """Rewrite the files without what was deleted; returns whether it was allowed to."""
        ...

    def texts(self, owner: OwnerId, conversation_id: int | None = None) -> Iterator[str]:
        """Every text of a user or of one conversation."""
        ...

    def still_said(self, part: str) -> bool:
        """Whether anything that is still stored holds this text."""
        ...

    def files(self) -> list[Path]:
        """Every file of the database that this process can read."""
        ...

    def search_files(self, parts: Sequence[bytes]) -> dict[Path, set[bytes]]:
        """Which of these byte strings still stand in which of the files."""
        ...
