"""Turns: begun before the model runs, committed with their reply, in order of a gapless position.

The order of a conversation comes from its counter, raised under the row's lock in the transaction that
inserts the turn: a failed begin leaves no gap and two at once get two positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, null, select, text, update

from rhea.errors import ConversationNotFound, TurnAlreadyCommitted, TurnNotFound, TurnNotPending
from rhea.stores.database import Database
from rhea.stores.holders import gone, this_process
from rhea.stores.instructions import apply_changes, undo_changes
from rhea.stores.packing import unpack
from rhea.stores.prepared import Prepared
from rhea.stores.remembered import TurnCache, read_turns
from rhea.stores.rows import message_row, moment_from, now, range_query, turn_query, turns_from
from rhea.stores.tables import Moment, conversations, messages, traces, turns
from rhea.stores.work import enqueue
from rhea.types import InstructionChange, Message, OwnerId, TurnRecord, TurnState

__all__ = ["TurnRows"]

LEASE = timedelta(hours=1)
"""How long a pending turn of a process on another machine is believed to be alive."""
BATCH = 500
"""Turns per transaction of an import."""


class TurnRows:
    """The part of a store that keeps turns, their messages and their traces."""

    database: Database
    remembered: TurnCache

    def begin_turn(
        self, owner: OwnerId, conversation_id: int, message: Message, changes: Sequence[InstructionChange]
    ) -> TurnRecord:
        """Store the user's message as a pending turn at the next position, with the instruction changes it causes.

        Raises:
            ConversationNotFound: no such conversation of this owner.
            ConversationBusy: another process held this conversation for too long; nothing was stored.
            DatabaseBusy: the writer's lock was not free in time; nothing was stored.
        """
        # A loss of power takes an embedded database and this process together, and the commit that a reply
        # waits for carries this transaction to the disk too. A server can fall while this process lives on.
        with self.database.write(owner, durable=self.database.dialect != "sqlite") as connection:
            moment = now()
            position = _next_positions(connection, owner, conversation_id, 1, moment)
            _interrupt_the_dead(connection, owner, conversation_id, moment)
            turn_id = _INSERT_TURN.one(
                connection,
                {
                    "user_id": owner,
                    "conversation_id": conversation_id,
                    "position": position,
                    "state": TurnState.PENDING.value,
                    "created_at": moment,
                    "updated_at": moment,
                    "holder": this_process(),
                    "lease_until": moment + LEASE,
                },
            )
            stored = _store_message(connection, owner, conversation_id, turn_id, 0, message)
            if changes:
                apply_changes(
                    connection, owner, conversation_id, changes, turn_id=turn_id, position=position, at=moment
                )
            return TurnRecord(turn_id, conversation_id, position, TurnState.PENDING, (stored,), moment)

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

        A turn that was marked interrupted without a reply (its process seemed gone) still takes one.

        Raises:
            TurnNotFound: no such turn of this owner.
            TurnAlreadyCommitted: the turn holds another reply.
            TurnNotPending: the turn was abandoned.
        """
        state = TurnState.INTERRUPTED if interrupted else TurnState.COMMITTED
        with self.database.write(owner) as connection:
            found = _locked(connection, owner, turn_id)
            if found.state is TurnState.ABANDONED:
                raise TurnNotPending(f"turn {found.position} was abandoned; begin a new one")
            if found.reply is not None:
                if found.reply != reply:
                    raise TurnAlreadyCommitted(
                        f"turn {found.position} already holds another reply; nothing was changed"
                    )
                if found.state is state or interrupted:
                    return found
            said = found.messages
            if found.reply is None:
                answer = Message("assistant", reply)
                said += (_store_message(connection, owner, found.conversation_id, turn_id, len(said), answer),)
            _settle(connection, owner, found, state, now())
            enqueue(connection, owner, found.conversation_id, [turn_id], ("digest", "vectors"))
            if trace is not None:
                _store_trace(connection, owner, turn_id, trace)
            return replace(found, state=state, messages=said)

    def abandon_turn(self, owner: OwnerId, turn_id: int) -> None:
        """Mark a pending turn as given up and undo the instruction changes it caused; a second time changes nothing.

        Raises:
            TurnNotFound: no such turn of this owner.
            TurnAlreadyCommitted: the turn holds a reply.
        """
        with self.database.write(owner) as connection:
            found = _locked(connection, owner, turn_id)
            if found.state is TurnState.ABANDONED:
                return
            if found.reply is not None:
                raise TurnAlreadyCommitted(f"turn {found.position} holds a reply and cannot be abandoned")
            moment = now()
            undo_changes(connection, owner, turn_id, moment)
            _settle(connection, owner, found, TurnState.ABANDONED, moment)

    def interrupt_turn(self, owner: OwnerId, turn_id: int) -> None:
        """Mark a pending turn that got no reply as interrupted; it stays in the history.

        Raises:
            TurnNotFound: no such turn of this owner.
            TurnNotPending: the turn was abandoned.
        """
        with self.database.write(owner) as connection:
            found = _locked(connection, owner, turn_id)
            if found.state is TurnState.ABANDONED:
                raise TurnNotPending(f"turn {found.position} was abandoned; begin a new one")
            if found.state is TurnState.PENDING:
                _settle(connection, owner, found, TurnState.INTERRUPTED, now())
                enqueue(connection, owner, found.conversation_id, [turn_id], ("vectors",))

    def interrupt_dead(self, owner: OwnerId, conversation_id: int) -> None:
        """Mark pending turns whose process is gone as interrupted; writes only when there is a pending turn."""
        with self.database.read(owner) as connection:
            pending = _PENDING.run(connection, {"wanted": conversation_id, "owner": owner}).first()
        if pending is not None:
            with self.database.write(owner) as connection:
                _interrupt_the_dead(connection, owner, conversation_id, now())

    def append_turns(
        self, owner: OwnerId, conversation_id: int, turns: Iterable[Sequence[Message]], *, source: str | None = None
    ) -> list[TurnRecord]:
        """Store finished turns, a transaction per batch; with ``source``, turns already there are skipped.

        A turn is known again by ``source`` and its place in the sequence.
        """
        stored: list[TurnRecord] = []
        numbered = enumerate(turns)
        while batch := list(islice(numbered, BATCH)):
            stored += self._append_batch(owner, conversation_id, batch, source)
        return stored

    def _append_batch(
        self, owner: OwnerId, conversation_id: int, batch: list[tuple[int, Sequence[Message]]], source: str | None
    ) -> list[TurnRecord]:
        with self.database.write(owner) as connection:
            moment = now()
            fresh = [(None if source is None else f"{source}#{number}", said) for number, said in batch]
            if source is not None:
                query = select(turns.c.source_key).where(
                    turns.c.conversation_id == conversation_id,
                    turns.c.user_id == owner,
                    turns.c.source_key.in_([key for key, _ in fresh]),
                )
                known = set(connection.scalars(query))
                fresh = [(key, said) for key, said in fresh if key not in known]
            first = _next_positions(connection, owner, conversation_id, len(fresh), moment)
            if not fresh:
                return []
            new = [
                {
                    "user_id": owner,
                    "conversation_id": conversation_id,
                    "position": first + step,
                    "state": TurnState.COMMITTED.value,
                    "created_at": moment,
                    "updated_at": moment,
                    "source_key": key,
                }
                for step, (key, _) in enumerate(fresh)
            ]
            ids = list(connection.scalars(insert(turns).returning(turns.c.id, sort_by_parameter_order=True), new).all())
            rows = [
                message_row(owner, conversation_id, turn_id, seq, message)
                for turn_id, (_, said) in zip(ids, fresh, strict=True)
                for seq, message in enumerate(said)
            ]
            if rows:
                connection.execute(insert(messages), rows)
            enqueue(connection, owner, conversation_id, ids, ("digest", "vectors"))
            return read_turns(connection, owner, ids)

    def save_trace(self, owner: OwnerId, turn_id: int, trace: dict[str, Any]) -> None:
        """Keep why the turn's context was as it was; a later trace replaces an earlier one."""
        with self.database.write(owner, durable=False) as connection:
            _locked(connection, owner, turn_id)
            _store_trace(connection, owner, turn_id, trace)

    def load_trace(self, owner: OwnerId, turn_id: int) -> dict[str, Any] | None:
        """The turn's trace; ``None`` when it has none or is not the owner's."""
        with self.database.read(owner) as connection:
            body = _TRACE.run(connection, {"wanted": turn_id, "owner": owner}).scalar()
        return None if body is None else unpack(body)

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
        return self._range(owner, conversation_id, after, before, limit, states, newest=False)

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
        return self._range(owner, conversation_id, 0, before, count, states, newest=True)

    def _range(
        self,
        owner: OwnerId,
        conversation_id: int,
        after: int,
        before: int | None,
        limit: int | None,
        states: Sequence[TurnState] | None,
        *,
        newest: bool,
    ) -> list[TurnRecord]:
        wanted = None if states is None else tuple(sorted({state.value for state in states}))
        query = range_query(before is not None, wanted, limit is not None, newest)
        given: dict[str, Any] = {"conversation": conversation_id, "owner": owner, "after": after}
        if before is not None:
            given["before"] = before
        if limit is not None:
            given["most"] = max(0, limit)
        with self.database.read(owner) as connection:
            return turns_from(query.rows(connection, given))

    def turns_by_id(self, owner: OwnerId, turn_ids: Sequence[int]) -> list[TurnRecord]:
        """The owner's turns among these, in order of id; others are left out."""
        with self.database.read(owner) as connection:
            return self.remembered.read(connection, owner, turn_ids)

    def turn_at(self, owner: OwnerId, conversation_id: int, position: int) -> TurnRecord:
        """The turn at a position.

        Raises:
            TurnNotFound: there is none.
        """
        found = self.turns(owner, conversation_id, after=position - 1, before=position + 1)
        if not found:
            raise TurnNotFound(f"no turn {position} in this conversation")
        return found[0]


def _next_positions(connection: Connection, owner: OwnerId, conversation_id: int, count: int, moment: datetime) -> int:
    """Take ``count`` positions; returns the first. Holds the conversation's row until the transaction ends."""
    found = _TAKE_POSITIONS.rows(
        connection, {"wanted": conversation_id, "owner": owner, "taken": count, "moment": moment}
    )
    if not found:
        raise ConversationNotFound(f"no conversation with id {conversation_id}")
    return int(found[0][0]) - count + 1


def _interrupt_the_dead(connection: Connection, owner: OwnerId, conversation_id: int, moment: datetime) -> None:
    pending = _PENDING.rows(connection, {"wanted": conversation_id, "owner": owner})
    me = this_process()
    machine = me.partition("|")[0]
    dead = []
    for turn_id, holder, lease in pending:
        elsewhere = bool(holder) and holder.partition("|")[0] != machine
        if holder != me and (gone(holder) or (elsewhere and lease is not None and moment_from(lease) < moment)):
            dead.append(turn_id)
    if dead:
        connection.execute(
            update(turns)
            .where(turns.c.id.in_(dead), turns.c.user_id == owner)
            .values(state=TurnState.INTERRUPTED.value, updated_at=moment, holder=None, lease_until=None)
        )
        enqueue(connection, owner, conversation_id, dead, ("vectors",))


def _locked(connection: Connection, owner: OwnerId, turn_id: int) -> TurnRecord:
    """The turn, its row locked until the transaction ends (SQLite's writer lock covers it anyway)."""
    found = turns_from(_ONE_TURN.rows(connection, {"wanted": turn_id, "owner": owner}))
    if not found:
        raise TurnNotFound(f"no turn with id {turn_id}")
    return found[0]


def _settle(connection: Connection, owner: OwnerId, turn: TurnRecord, state: TurnState, moment: datetime) -> None:
    _SETTLE.rows(connection, {"wanted": turn.id, "owner": owner, "to": state.value, "moment": moment})


def _store_message(
    connection: Connection, owner: OwnerId, conversation_id: int, turn_id: int, seq: int, message: Message
) -> Message:
    row = message_row(owner, conversation_id, turn_id, seq, message)
    return replace(message, id=_INSERT_MESSAGE.one(connection, row))


def _store_trace(connection: Connection, owner: OwnerId, turn_id: int, trace: dict[str, Any]) -> None:
    _DROP_TRACE.rows(connection, {"wanted": turn_id, "owner": owner})
    _INSERT_TRACE.rows(connection, {"turn_id": turn_id, "user_id": owner, "body": trace})


# The statements of every turn, compiled once.
_TAKE_POSITIONS = Prepared(
    update(conversations)
    .where(conversations.c.id == bindparam("wanted"), conversations.c.user_id == bindparam("owner"))
    .values(turns=conversations.c.turns + bindparam("taken"), updated_at=bindparam("moment", type_=Moment))
    .returning(conversations.c.turns)
)
_PENDING = Prepared(
    select(turns.c.id, turns.c.holder, turns.c.lease_until).where(
        turns.c.conversation_id == bindparam("wanted"),
        turns.c.user_id == bindparam("owner"),
        turns.c.state == text("'pending'"),  # written out, so that the partial index applies
    )
)
_INSERT_TURN = Prepared(insert(turns).returning(turns.c.id))
_INSERT_MESSAGE = Prepared(insert(messages).returning(messages.c.id))
_ONE_TURN = Prepared(
    turn_query()
    .where(turns.c.id == bindparam("wanted"), turns.c.user_id == bindparam("owner"))
    .order_by(messages.c.seq)
    .with_for_update(of=turns)
)
_SETTLE = Prepared(
    update(turns)
    .where(turns.c.id == bindparam("wanted"), turns.c.user_id == bindparam("owner"))
    .values(state=bindparam("to"), updated_at=bindparam("moment", type_=Moment), holder=null(), lease_until=null())
)
_DROP_TRACE = Prepared(
    delete(traces).where(traces.c.turn_id == bindparam("wanted"), traces.c.user_id == bindparam("owner"))
)
_INSERT_TRACE = Prepared(insert(traces))
_TRACE = Prepared(
    select(traces.c.body).where(traces.c.turn_id == bindparam("wanted"), traces.c.user_id == bindparam("owner"))
)
