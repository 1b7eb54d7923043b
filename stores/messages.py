"""Messages added and taken back one by one, for front ends that keep a list and not turns.

A turn stays open until it has a reply: until then it takes whatever comes, so that a question, the calls
of tools and the answer end up as one turn however they arrive. Taking back removes the newest message for
good; a turn that has none left is marked abandoned and keeps its position, so positions stay gapless.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, exists, insert, select, update

from rhea.errors import ConversationNotFound
from rhea.stores.database import Database
from rhea.stores.instructions import undo_changes
from rhea.stores.rows import message_row, now, turn_query, turns_from
from rhea.stores.tables import conversations, messages, traces, turns, work
from rhea.stores.work import enqueue
from rhea.types import Message, OwnerId, TurnRecord, TurnState

__all__ = ["MessageRows"]


class MessageRows:
    """The part of a store that adds and removes single messages."""

    database: Database

    def append_messages(
        self, owner: OwnerId, conversation_id: int, said: Sequence[Message]
    ) -> list[tuple[TurnRecord, bool]]:
        """Store messages at the end of a conversation, in one transaction.

        Returns:
            The turns that took some, in order, each with whether it is new.

        Raises:
            ConversationNotFound: no such conversation of this owner.
            InvalidText: a text that no store can keep; nothing was stored.
        """
        with self.database.write(owner) as connection:
            moment = now()
            _hold(connection, owner, conversation_id)
            last = _newest(connection, owner, conversation_id)
            current = last if last is not None and last.state is not TurnState.PENDING else None
            touched: dict[int, bool] = {}
            seen = list(current.messages) if current else []
            for message in said:
                if current is None or (message.role == "user" and any(m.role == "assistant" for m in seen)):
                    current, seen = _new_turn(connection, owner, conversation_id, moment), []
                    touched[current.id] = True
                touched.setdefault(current.id, False)
                seq = _next_seq(connection, current.id)
                connection.execute(insert(messages), message_row(owner, conversation_id, current.id, seq, message))
                seen.append(message)
            for turn_id in touched:
                _refresh(connection, owner, conversation_id, turn_id, moment)
            query = (
                turn_query()
                .where(turns.c.id.in_(list(touched)), turns.c.user_id == owner)
                .order_by(turns.c.position, messages.c.seq)
            )
            return [(turn, touched[turn.id]) for turn in turns_from(connection.execute(query))]

    def remove_last_message(self, owner: OwnerId, conversation_id: int) -> Message | None:
        """Remove the newest message and all that was made of it; ``None`` when there is none.

        A turn left without messages is abandoned, and the instructions that it brought are undone.

        Raises:
            ConversationNotFound: no such conversation of this owner.
        """
        with self.database.write(owner) as connection:
            moment = now()
            _hold(connection, owner, conversation_id)
            turn = _newest(connection, owner, conversation_id)
            if turn is None:
                return None
            gone = turn.messages[-1]
            connection.execute(delete(messages).where(messages.c.id == gone.id, messages.c.user_id == owner))
            if len(turn.messages) > 1:
                _refresh(connection, owner, conversation_id, turn.id, moment)
                return gone
            undo_changes(connection, owner, turn.id, moment)
            for table in (work, traces):
                connection.execute(delete(table).where(table.c.turn_id == turn.id, table.c.user_id == owner))
            _set(connection, owner, turn.id, state=TurnState.ABANDONED.value, updated_at=moment)
            return gone


def _hold(connection: Connection, owner: OwnerId, conversation_id: int) -> None:
    """Lock the conversation's row until the transaction ends."""
    held = connection.scalar(
        select(conversations.c.id)
        .where(conversations.c.id == conversation_id, conversations.c.user_id == owner)
        .with_for_update()
    )
    if held is None:
        raise ConversationNotFound(f"no conversation with id {conversation_id}")


def _newest(connection: Connection, owner: OwnerId, conversation_id: int) -> TurnRecord | None:
    newest = (
        select(turns.c.id)
        .where(
            turns.c.conversation_id == conversation_id,
            turns.c.user_id == owner,
            turns.c.state != TurnState.ABANDONED.value,
            exists().where(messages.c.turn_id == turns.c.id),
        )
        .order_by(turns.c.position.desc())
        .limit(1)
    )
    turn_id = connection.scalar(newest)
    if turn_id is None:
        return None
    found = turns_from(connection.execute(turn_query().where(turns.c.id == turn_id).order_by(messages.c.seq)))
    return found[0]


def _new_turn(connection: Connection, owner: OwnerId, conversation_id: int, moment: datetime) -> TurnRecord:
    position = connection.execute(
        update(conversations)
        .where(conversations.c.id == conversation_id, conversations.c.user_id == owner)
        .values(turns=conversations.c.turns + 1, updated_at=moment)
        .returning(conversations.c.turns)
    ).scalar_one()
    state = TurnState.INTERRUPTED
    values = {
        "user_id": owner,
        "conversation_id": conversation_id,
        "position": position,
        "state": state.value,
        "created_at": moment,
        "updated_at": moment,
    }
    turn_id = connection.execute(insert(turns).values(values).returning(turns.c.id)).scalar_one()
    return TurnRecord(turn_id, conversation_id, position, state, (), moment)


def _next_seq(connection: Connection, turn_id: int) -> int:
    last = connection.scalar(
        select(messages.c.seq).where(messages.c.turn_id == turn_id).order_by(messages.c.seq.desc()).limit(1)
    )
    return 0 if last is None else int(last) + 1


def _refresh(connection: Connection, owner: OwnerId, conversation_id: int, turn_id: int, moment: datetime) -> None:
    """The turn's state, and the work that it owes, after its messages changed; its old digest is void."""
    answered = connection.scalar(
        select(messages.c.id).where(messages.c.turn_id == turn_id, messages.c.role == "assistant").limit(1)
    )
    state = TurnState.COMMITTED if answered is not None else TurnState.INTERRUPTED
    _set(connection, owner, turn_id, state=state.value, updated_at=moment, digest=None, digest_id=None)
    enqueue(connection, owner, conversation_id, [turn_id], ("digest", "vectors"))


def _set(connection: Connection, owner: OwnerId, turn_id: int, **values: Any) -> None:
    connection.execute(update(turns).where(turns.c.id == turn_id, turns.c.user_id == owner).values(**values))
