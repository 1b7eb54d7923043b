"""A user's rows as a whole: read out, put back, deleted.

Identifiers stay inside: an export names conversations by name, turns by position and instructions by their
number in the file, so that it reads the same from any database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from rhea.errors import ImportFormatError
from rhea.stores.database import Database
from rhea.stores.erasure import EraseRows
from rhea.stores.tables import conversations, instruction_events, instructions, messages, traces, turns, users
from rhea.stores.work import enqueue
from rhea.types import OwnerId, TurnState

__all__ = ["OwnershipRows"]

_BATCH = 500
_TURN = ("position", "state", "created_at", "updated_at", "digest", "digest_id", "source_key")
_MESSAGE = ("role", "name", "text", "time", "source_id")
_RULE = ("text", "kind", "scope", "status", "start_at", "end_at", "expires_after", "until", "topic", "created_at")
_EVENT = ("action", "at", "reason", "position")


class OwnershipRows(EraseRows):
    """The part of a store that treats what a user owns as one thing."""

    database: Database

    def user_rows(self, owner: OwnerId) -> Iterator[tuple[str, dict[str, Any]]]:
        """Everything a user owns, in a fixed order: (kind, values); derived vectors and pending work left out.

        Kinds: ``user``, ``conversation``, ``turn`` (with ``messages`` and ``trace``), ``instruction``, ``event``.
        One reading transaction: a snapshot, however long the caller takes.
        """
        with self.database.read(owner) as connection:
            named = connection.execute(select(users).where(users.c.id == owner)).one()
            yield "user", {"name": named.name, "created_at": named.created_at}
            kept = connection.execute(
                select(conversations).where(conversations.c.user_id == owner).order_by(conversations.c.id)
            ).all()
            names = {row.id: row.name for row in kept}
            for row in kept:
                yield (
                    "conversation",
                    {
                        "name": row.name,
                        "turns": row.turns,
                        "created_at": row.created_at,
                        "updated_at": row.updated_at,
                    },
                )
                yield from _turns_of(connection, owner, row.id, row.name)
            yield from _instructions_of(connection, owner, names)

    def restore_rows(self, rows: Iterable[tuple[str, dict[str, Any]]], *, user: str | None = None) -> OwnerId:
        """Put an export back, in one transaction; vectors are made again as pending work.

        Args:
            rows: as :meth:`user_rows` gives them.
            user: another name for the user.

        Raises:
            ImportFormatError: the rows do not fit together, or a conversation of that name exists already.
        """
        with self.database.write() as connection:
            restoring = _Restoring(connection, user)
            for kind, values in rows:
                restoring.take(kind, values)
            return restoring.finish()

    def prune(self, before: datetime, *, owner: OwnerId | None = None) -> dict[str, int]:
        """Delete conversations last used before a moment, of one user or of all; returns what went by kind."""
        with self.database.read(owner) as connection:
            query = select(conversations.c.user_id, conversations.c.id).where(conversations.c.updated_at < before)
            if owner is not None:
                query = query.where(conversations.c.user_id == owner)
            old = connection.execute(query).tuples().all()
        gone: dict[str, int] = {}
        for user_id, conversation_id in old:
            for kind, count in self.delete_rows(OwnerId(user_id), conversation_id).items():
                gone[kind] = gone.get(kind, 0) + count
        return gone


def _turns_of(
    connection: Connection, owner: OwnerId, conversation_id: int, name: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    last = 0
    while True:
        page = connection.execute(
            select(turns)
            .where(turns.c.conversation_id == conversation_id, turns.c.user_id == owner, turns.c.position > last)
            .order_by(turns.c.position)
            .limit(_BATCH)
        ).all()
        if not page:
            return
        ids = [row.id for row in page]
        said: dict[int, list[dict[str, Any]]] = {turn_id: [] for turn_id in ids}
        for row in connection.execute(
            select(messages).where(messages.c.turn_id.in_(ids)).order_by(messages.c.turn_id, messages.c.seq)
        ):
            said[row.turn_id].append({key: row._mapping[key] for key in _MESSAGE if row._mapping[key] is not None})
        why = dict(
            connection.execute(select(traces.c.turn_id, traces.c.body).where(traces.c.turn_id.in_(ids))).tuples().all()
        )
        for row in page:
            values = {"conversation": name} | {key: row._mapping[key] for key in _TURN}
            yield "turn", values | {"messages": said[row.id], "trace": why.get(row.id)}
        last = page[-1].position


def _instructions_of(
    connection: Connection, owner: OwnerId, names: dict[int, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    rules = connection.execute(
        select(
            instructions, turns.c.conversation_id.label("source_conversation"), turns.c.position.label("at_position")
        )
        .outerjoin(turns, turns.c.id == instructions.c.source_turn_id)
        .where(instructions.c.user_id == owner)
        .order_by(instructions.c.id)
    ).all()
    numbers = {row.id: number for number, row in enumerate(rules, 1)}
    for row in rules:
        values: dict[str, Any] = {"number": numbers[row.id], "conversation": names.get(row.conversation_id)}
        values |= {key: row._mapping[key] for key in _RULE}
        yield (
            "instruction",
            values
            | {
                "source_position": row.source_position,
                "source_conversation": names.get(row.source_conversation),
                "replaced_by": numbers.get(row.replaced_by),
            },
        )
    events = connection.execute(
        select(
            instruction_events, turns.c.conversation_id.label("turn_conversation"), turns.c.position.label("turn_at")
        )
        .outerjoin(turns, turns.c.id == instruction_events.c.turn_id)
        .where(instruction_events.c.user_id == owner)
        .order_by(instruction_events.c.id)
    )
    for row in events:
        values = {"instruction": numbers[row.instruction_id], "conversation": names.get(row.conversation_id)}
        values |= {key: row._mapping[key] for key in _EVENT}
        yield "event", values | {"turn": [names[row.turn_conversation], row.turn_at] if row.turn_at else None}


class _Restoring:
    """One export on its way into the tables: names and numbers become identifiers."""

    def __init__(self, connection: Connection, user: str | None) -> None:
        self.connection = connection
        self.user = user
        self.owner: OwnerId | None = None
        self.conversations: dict[str, int] = {}
        self.turns: dict[tuple[str, int], int] = {}
        self.rules: dict[int, int] = {}
        self.replaced: list[tuple[int, int]] = []
        self.waiting: list[dict[str, Any]] = []

    def take(self, kind: str, values: dict[str, Any]) -> None:
        if (self.owner is None) != (kind == "user"):
            raise ImportFormatError("an export begins with its one user")
        try:
            if kind != "turn":
                self._flush()
            getattr(self, f"_{kind}")(values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ImportFormatError(f"a line of kind '{kind}' does not fit ({error})") from None

    def finish(self) -> OwnerId:
        if self.owner is None:
            raise ImportFormatError("the file holds no user")
        try:
            self._flush()
        except (KeyError, TypeError) as error:
            raise ImportFormatError(f"a turn does not fit ({error})") from None
        for number, by in self.replaced:
            self.connection.execute(
                update(instructions)
                .where(instructions.c.id == self.rules[number])
                .values(replaced_by=self.rules.get(by))
            )
        return self.owner

    def _user(self, values: dict[str, Any]) -> None:
        name = self.user or values["name"]
        found = self.connection.scalar(select(users.c.id).where(users.c.name == name))
        if found is None:
            found = self.connection.execute(
                insert(users).values(name=name, created_at=values["created_at"]).returning(users.c.id)
            ).scalar_one()
        self.owner = OwnerId(found)

    def _conversation(self, values: dict[str, Any]) -> None:
        taken = self.connection.scalar(
            select(func.count())
            .select_from(conversations)
            .where(conversations.c.user_id == self.owner, conversations.c.name == values["name"])
        )
        if taken:
            raise ImportFormatError(
                f"the user already has a conversation '{values['name']}': erase it first, or import under another user"
            )
        self.conversations[values["name"]] = self.connection.execute(
            insert(conversations).values(user_id=self.owner, **values).returning(conversations.c.id)
        ).scalar_one()

    def _turn(self, values: dict[str, Any]) -> None:
        self.waiting.append(values)
        if len(self.waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        batch, self.waiting = self.waiting, []
        if not batch:
            return
        assert self.owner is not None
        own = {"user_id": self.owner}
        rows = [
            own | {key: values[key] for key in _TURN} | {"conversation_id": self.conversations[values["conversation"]]}
            for values in batch
        ]
        ids = list(
            self.connection.scalars(insert(turns).returning(turns.c.id, sort_by_parameter_order=True), rows).all()
        )
        said, why = [], []
        for turn_id, row, values in zip(ids, rows, batch, strict=True):
            self.turns[values["conversation"], values["position"]] = turn_id
            place = own | {"conversation_id": row["conversation_id"], "turn_id": turn_id}
            said += [
                place | {"seq": seq} | {key: message.get(key) for key in _MESSAGE}
                for seq, message in enumerate(values["messages"])
            ]
            if values.get("trace") is not None:
                why.append(own | {"turn_id": turn_id, "body": values["trace"]})
            if values["state"] in {TurnState.COMMITTED.value, TurnState.INTERRUPTED.value}:
                owed: Sequence[Any] = ("vectors",) if values["digest_id"] is not None else ("digest", "vectors")
                enqueue(self.connection, self.owner, row["conversation_id"], [turn_id], owed)
        if said:
            self.connection.execute(insert(messages), said)
        if why:
            self.connection.execute(insert(traces), why)

    def _instruction(self, values: dict[str, Any]) -> None:
        here = values["conversation"]
        source = (values["source_conversation"], values["source_position"])
        self.rules[values["number"]] = self.connection.execute(
            insert(instructions)
            .values(
                {key: values[key] for key in _RULE}
                | {
                    "user_id": self.owner,
                    "conversation_id": None if here is None else self.conversations[here],
                    "source_turn_id": None if source[0] is None else self.turns[source],
                    "source_position": values["source_position"],
                }
            )
            .returning(instructions.c.id)
        ).scalar_one()
        if values["replaced_by"] is not None:
            self.replaced.append((values["number"], values["replaced_by"]))

    def _event(self, values: dict[str, Any]) -> None:
        here, turn = values["conversation"], values["turn"]
        self.connection.execute(
            insert(instruction_events).values(
                {key: values[key] for key in _EVENT}
                | {
                    "user_id": self.owner,
                    "instruction_id": self.rules[values["instruction"]],
                    "conversation_id": None if here is None else self.conversations[here],
                    "turn_id": None if turn is None else self.turns[turn[0], turn[1]],
                }
            )
        )
