"""One turn, in order, one step a function: read this first.

::

    user text → accept → detect → store as pending → embed → recall → assemble → (the model) → commit → compress

`prepare` goes as far as the messages for the model; `remember` takes the reply. No transaction is open in
between, so a model may take as long as it likes. `digest_pending` makes digests and vectors afterwards, off
the user's critical path. This module decides the order and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from time import sleep
from typing import TYPE_CHECKING

from rhea.assemble import Assembled, assemble, check_question
from rhea.errors import ReplyNotSaved, RheaError, StoreError
from rhea.instructions.detect import Detection
from rhea.instructions.in_force import by_turn, choose, in_force
from rhea.intake import accept
from rhea.observe import step
from rhea.recall.work import settle
from rhea.types import ChatMessage, Context, Instruction, InstructionChange, Message, OwnerId, TurnRecord

if TYPE_CHECKING:
    from rhea.compress.base import Compressor
    from rhea.embed import Embedder
    from rhea.instructions.detect import InstructionDetector
    from rhea.models.base import ChatModel, TokenCounter
    from rhea.recall.plan import Recall, RecallPlan
    from rhea.settings import Settings
    from rhea.stores.base import Store

__all__ = ["Prepared", "Services", "digest_pending", "give_up", "prepare", "reembed_some", "remember"]


_PIECES = 64
"""Pieces of pending work done while the lock is held once."""
_GAP_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that a turn passes through, made once for a `Rhea`."""

    store: Store
    embedder: Embedder
    compressor: Compressor
    detector: InstructionDetector
    recall: Recall
    counter: TokenCounter
    model: ChatModel | None
    settings: Settings
    working: RLock = field(default_factory=RLock)
    """Held while pending work is done, so that a turn sees what the background thread has half finished."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stored, pending turn and what the model is to see."""

    record: TurnRecord
    messages: list[ChatMessage]
    context: Context


def prepare(services: Services, owner: OwnerId, conversation_id: int, text: str, budget: int | None) -> Prepared:
    """Store the user's message as a pending turn and build the context for its reply.

    When the context cannot be built the turn is abandoned, and with it the instructions that it brought.

    Raises:
        InputError: the message cannot be stored; nothing was.
        BudgetError: question or instructions do not fit.
        StoreError: the database failed.
    """
    limit = token_limit(services, budget)
    accept(text, services.settings.max_message_bytes)
    check_question(text, limit, services.counter)
    active = services.store.instructions(owner, conversation_id)
    detection = detect(services, text, active)
    record = store_pending(services, owner, conversation_id, text, detection.changes)
    try:
        if detection.changes:
            active = services.store.instructions(owner, conversation_id)
        # what recall may look at must be made first, or the same input would not give the same context
        digest_pending(services, owner, conversation_id if services.settings.recall == "conversation" else None)
        built = build(services, owner, conversation_id, record, active, limit, detection.notes)
    except BaseException:
        give_up(services, owner, record)
        raise
    return Prepared(record, built.messages, built.context)


def token_limit(services: Services, budget: int | None) -> int:
    """Tokens that the context may take: the budget, lowered to leave the reply its room in the window."""
    limit = services.settings.budget if budget is None else budget
    if services.model is not None:
        limit = min(limit, services.model.context_window - services.model.reserve)
    return limit


def detect(services: Services, text: str, active: Sequence[Instruction]) -> Detection:
    """Does the message hold, supersede or revoke a standing instruction?"""
    if not services.settings.detect:
        return Detection()
    with step("detect"):
        return services.detector.detect(text, active)


def store_pending(
    services: Services, owner: OwnerId, conversation_id: int, text: str, changes: Sequence[InstructionChange]
) -> TurnRecord:
    """The user's message is safe before the model runs."""
    with step("begin"):
        return services.store.begin_turn(owner, conversation_id, Message(role="user", text=text), changes)


def build(
    services: Services,
    owner: OwnerId,
    conversation_id: int,
    record: TurnRecord,
    active: Sequence[Instruction],
    limit: int,
    notes: Sequence[str],
) -> Assembled:
    """Instructions in force, past turns by evidence, all of it inside the budget."""
    settings = services.settings
    kept, left_out = choose(
        in_force(active, record.position),
        record.user,
        count_tokens=services.counter.count_text,
        budget=limit,
        share=settings.preference_share,
        embedder=services.embedder,
    )

    def plan(budget: int) -> RecallPlan:
        with step("recall"):
            return services.recall.plan(
                owner,
                conversation_id,
                record.user,
                budget=budget,
                count=services.counter.count_text,
                counter=services.counter.name,
                mode=settings.recall_mode,
                scope=settings.recall,
                before_position=record.position,
                pinned=by_turn(kept),
            )

    with step("assemble"):
        return assemble(
            record,
            kept,
            left_out,
            plan,
            limit=limit,
            placement=settings.placement,
            counter=services.counter,
            recall_budget=settings.recall_budget,
            notes=notes,
        )


def remember(
    services: Services, owner: OwnerId, turn: Prepared, reply: str, *, interrupted: bool = False
) -> TurnRecord:
    """Store the reply, its pending work and the trace in one transaction.

    Raises:
        TurnAlreadyCommitted: the turn holds another reply.
        ReplyNotSaved: the database is away or full; the error carries the reply.
    """
    accept(reply, None)
    try:
        with step("commit"):
            return services.store.commit_turn(
                owner, turn.record.id, reply, interrupted=interrupted, trace=turn.context.to_record()
            )
    except StoreError as error:
        raise ReplyNotSaved(reply, str(error)) from error


def give_up(services: Services, owner: OwnerId, record: TurnRecord) -> None:
    """Abandon a turn whose context could not be built, without hiding why."""
    try:
        services.store.abandon_turn(owner, record.id)
    except RheaError:
        return  # the first error is the one to tell; the next begin finds the turn pending and marks it


def digest_pending(services: Services, owner: OwnerId | None = None, conversation_id: int | None = None) -> int:
    """Make the digests and vectors that are pending; returns how many pieces were done.

    Between two batches the lock is free for a moment: a turn that begins need not wait for a long import.
    """
    done = 0
    while True:
        with services.working, step("digest"):
            made = settle(
                services.store,
                services.embedder,
                services.compressor,
                owner=owner,
                conversation_id=conversation_id,
                limit=_PIECES,
            )
        done += made
        if made < _PIECES:
            return done
        sleep(_GAP_SECONDS)


def reembed_some(services: Services) -> int:
    """After a change of embedder: make new vectors for a few turns; returns how many were done."""
    from rhea.reembedding import BATCH, ask_once, reembed

    ask_once(services.store, services.embedder)
    return reembed(services.store, services.embedder, limit=BATCH)
