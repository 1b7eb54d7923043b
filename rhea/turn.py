"""One turn, in order, one step a function: read this first.

::

    user text → accept → detect → store as pending → embed → recall → assemble → (the model) → commit → compress

`prepare` goes as far as the messages for the model; `remember` takes the reply. No transaction is open in
between, so a model may take as long as it likes. `digest_pending` makes digests and vectors afterwards, off
the user's critical path. This module decides the order and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock
from time import sleep
from typing import TYPE_CHECKING

from rhea.assemble import Assembled, assemble, check_question
from rhea.compress.base import makes_memory
from rhea.compress.pending import remember_replies
from rhea.errors import NoModelAttached, ReplyNotSaved, RheaError, StoreError
from rhea.instructions.detect import Detection
from rhea.instructions.in_force import by_turn, choose, in_force
from rhea.instructions.piece import MOST_TURNS, earlier_requests, goes_on
from rhea.intake import accept
from rhea.models.base import reads_memory
from rhea.observe import step
from rhea.recall.work import settle
from rhea.types import ChatMessage, Context, Instruction, InstructionChange, Message, OwnerId, TurnRecord, TurnState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rhea.compress.base import Compressor, MemoryCompressor
    from rhea.embed import Embedder
    from rhea.instructions.detect import InstructionDetector
    from rhea.models.base import ChatModel, TokenCounter
    from rhea.recall.plan import Recall, RecallPlan
    from rhea.settings import Settings
    from rhea.stores.base import Store

__all__ = [
    "Prepared",
    "Services",
    "answer",
    "digest_pending",
    "give_up",
    "prepare",
    "reembed_some",
    "remember",
    "remember_some",
]


_ANSWERED = (TurnState.COMMITTED, TurnState.INTERRUPTED)
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
    asked_for: set[int] = field(default_factory=set)
    """Turns whose replies were asked to be made memory tokens of, by this process."""

    @property
    def memory(self) -> MemoryCompressor | None:
        """The compressor, where it makes memory tokens that the attached model reads."""
        if makes_memory(self.compressor) and reads_memory(self.model) and self.counter is self.model:
            return self.compressor
        return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stored, pending turn and what the model is to see."""

    record: TurnRecord
    messages: list[ChatMessage]
    context: Context
    memory: Mapping[int, NDArray[np.float16]] = field(default_factory=dict)
    """Index of a message → the memory tokens that the attached model is to read in place of its text."""


def prepare(
    services: Services,
    owner: OwnerId,
    conversation_id: int,
    text: str,
    budget: int | None,
    *,
    read_memory: bool = False,
) -> Prepared:
    """Store the user's message as a pending turn and build the context for its reply.

    With ``read_memory`` the attached model will read the context itself, memory tokens included; else replies
    are text in all forms. When the context cannot be built the turn is abandoned, and with it the instructions
    that it brought.

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
        memories = Memories(services, owner) if read_memory and services.memory is not None else None
        built = build(services, owner, conversation_id, record, active, limit, detection.notes, memories)
    except BaseException:
        give_up(services, owner, record)
        raise
    read = {i: memories.held[turn_id] for i, turn_id in built.memory.items()} if memories is not None else {}
    return Prepared(record, built.messages, built.context, read)


class Memories:
    """What replies of one user there are as memory tokens, looked up once a turn."""

    def __init__(self, services: Services, owner: OwnerId) -> None:
        self._services, self._owner = services, owner
        self.held: dict[int, NDArray[np.float16]] = {}

    def sizes(self, turn_ids: Sequence[int]) -> dict[int, int]:
        """Number of memory tokens by turn, of those that have any."""
        compressor = self._services.memory
        if compressor is not None and compressor.ready():
            self.held = self._services.store.memory(self._owner, turn_ids, compressor.memory_id)
            ask_for_memory(self._services, self._owner, [i for i in turn_ids if i not in self.held])
        return {turn_id: len(vectors) for turn_id, vectors in self.held.items()}


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
    memories: Memories | None = None,
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
                memory=memories.sizes if memories is not None else None,
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
            earlier=requests_before(services, owner, conversation_id, record),
        )


def requests_before(
    services: Services, owner: OwnerId, conversation_id: int, record: TurnRecord
) -> Sequence[TurnRecord]:
    """The turns whose requests this message goes on with ("make it shorter"); none when it stands for itself."""
    if not (services.settings.detect and goes_on(record.user)):
        return ()
    turns = services.store.last_turns(owner, conversation_id, MOST_TURNS, before=record.position, states=_ANSWERED)
    return earlier_requests(turns, record.user)


def answer(services: Services, turn: Prepared) -> Iterator[str]:
    """The attached model's reply, piece by piece.

    Raises:
        GenerationFailed: the model failed.
        NoModelAttached: there is none.
    """
    model, memory = services.model, services.memory
    if model is None:
        raise NoModelAttached("no model is attached: pass model= to Rhea, or call begin and commit yourself")
    if turn.memory and memory is not None and reads_memory(model):
        return model.stream_mixed(turn.messages, turn.memory, memory.reader)
    return model.stream(turn.messages)


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
            stored = services.store.commit_turn(
                owner, turn.record.id, reply, interrupted=interrupted, trace=turn.context.to_record()
            )
    except StoreError as error:
        raise ReplyNotSaved(reply, str(error)) from error
    ask_for_memory(services, owner, [stored.id])
    return stored


def ask_for_memory(services: Services, owner: OwnerId, turn_ids: Sequence[int]) -> None:
    """Note that these replies shall become memory tokens, each once: new ones, and those recall looked for in vain.

    What no question comes near is not made, so that another compressor does not mean making everything anew.
    """
    fresh = [turn_id for turn_id in turn_ids if turn_id not in services.asked_for]
    if fresh and services.memory is not None and services.memory.ready():
        with suppress(StoreError):  # text digests stand in, and the next start asks again
            services.store.request_memory(services.memory.memory_id, owner, turn_ids=fresh)
            services.asked_for.update(fresh)


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


def remember_some(services: Services) -> int:
    """Make memory tokens of a few replies that wait for them; returns how many were done."""
    return remember_replies(services.store, services.memory) if services.memory is not None else 0


def reembed_some(services: Services) -> int:
    """After a change of embedder: make new vectors for a few turns; returns how many were done."""
    from rhea.reembedding import BATCH, ask_once, reembed

    ask_once(services.store, services.embedder)
    return reembed(services.store, services.embedder, limit=BATCH)
