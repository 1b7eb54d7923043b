"""The face of Rhea: `Rhea`, `Conversation`, `Turn`.

>>> from rhea.testing import EchoModel, memory_database
>>> memory = memory_database()
>>> chat = memory.conversation("trip", user="ada")
>>> turn = chat.begin("From now on answer in one sentence. Where should I go in May?")
>>> turn.commit("Lisbon is lovely in May.")
>>> [r.user for r in chat.history()]
['From now on answer in one sentence. Where should I go in May?']
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rhea import turn as steps
from rhea.background import Background
from rhea.errors import GenerationFailed, NoModelAttached, RheaError, TurnAlreadyCommitted, TurnNotPending
from rhea.observe import Stopwatch, watch_queue
from rhea.settings import Settings, database_url
from rhea.types import ChatMessage, Context, ConversationSummary, OwnerId, TurnRecord, TurnState

if TYPE_CHECKING:
    from rhea.compress.base import Compressor
    from rhea.embed import Embedder
    from rhea.instructions.manage import InstructionManager
    from rhea.models.base import ChatModel, TokenCounter
    from rhea.ownership import UserData
    from rhea.stores.base import Store

__all__ = ["Conversation", "Reply", "Rhea", "Turn"]


class Rhea:
    """Conversational memory on one database.

    Args:
        url: an SQLAlchemy URL or a file path; ``None`` reads ``RHEA_DATABASE_URL``, else a file in the user
            data folder. An embedded database is created and migrated on first use.
        model: a chat model for `send` and `stream`; not needed for `begin` and `commit`.
        embedder: sentence vectors; ``None`` for the packaged all-MiniLM-L6-v2.
        previous_embedder: the one that made the vectors already stored, when the embedder has changed: it serves
            while new vectors are made in the background.
        compressor: makes digests of replies, and memory tokens where the model reads such; ``None`` for the
            extractive text digest.
        counter: counts tokens when no model is attached; ``None`` for a fallback that counts high.
        settings: see :class:`rhea.Settings`.

    Raises:
        StoreError: the database cannot be opened.
        SettingsError: the URL or a setting cannot be used.
    """

    def __init__(
        self,
        url: str | Path | None = None,
        *,
        model: ChatModel | None = None,
        embedder: Embedder | None = None,
        previous_embedder: Embedder | None = None,
        compressor: Compressor | None = None,
        counter: TokenCounter | None = None,
        settings: Settings | None = None,
    ) -> None:
        from rhea.parts import make_services

        self._services = make_services(
            database_url(str(url) if url is not None else None, create=True),
            model=model,
            embedder=embedder,
            previous_embedder=previous_embedder,
            compressor=compressor,
            counter=counter,
            settings=settings or Settings(),
        )
        self._background = Background(self._services) if self.settings.background else None
        self._unwatch = watch_queue(self._services.store.pending_work)
        if previous_embedder is not None:
            self._wake()

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._services.settings

    @property
    def model(self) -> ChatModel | None:
        """The attached model."""
        return self._services.model

    @property
    def store(self) -> Store:
        """The storage below, for `rhea.ownership.restore` and `prune` and for watching the queue."""
        return self._services.store

    def conversation(self, name: str = "main", *, user: str = "default", create: bool = True) -> Conversation:
        """Open a conversation of a user; both are made when they are not there yet.

        Args:
            name: the conversation's name, unique for the user.
            user: the user's name.
            create: with ``False`` both must exist.

        Raises:
            UserNotFound, ConversationNotFound: with ``create=False``.
        """
        store = self._services.store
        owner = store.ensure_user(name=user) if create else store.find_user(user)
        found = store.ensure_conversation(owner, name) if create else store.find_conversation(owner, name)
        store.interrupt_dead(owner, found)
        return Conversation(self, owner, found, name=name, user=user)

    def user(self, name: str) -> UserData:
        """What belongs to one user: list, export, erase.

        Raises:
            UserNotFound: no such user.
        """
        from rhea.ownership import UserData

        return UserData(self._services.store, self._services.store.find_user(name), name)

    def users(self) -> list[str]:
        """Names of all users."""
        return self._services.store.list_users()

    def settle(self) -> int:
        """Make everything that is pending now; returns how many pieces of work were done."""
        done = steps.digest_pending(self._services)
        for some in (steps.reembed_some, steps.remember_some):
            while more := some(self._services):
                done += more
        return done

    def close(self) -> None:
        """Stop the background thread and release the database; pending work is done at the next start."""
        if self._background is not None:
            self._background.stop()
        self._unwatch()
        self._services.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        if self._background is not None:
            self._background.wake()


class Conversation:
    """One conversation of one user. Made by :meth:`Rhea.conversation`."""

    def __init__(self, memory: Rhea, owner: OwnerId, conversation_id: int, *, name: str, user: str) -> None:
        self._memory = memory
        self._services = memory._services
        self._owner = owner
        self._id = conversation_id
        self.name = name
        self.user = user

    def begin(self, text: str, *, budget: int | None = None) -> Turn:
        """Store the user's message and build the context for its reply.

        Args:
            text: what the user says, stored verbatim.
            budget: most tokens for this context; ``None`` for the setting.

        Raises:
            InputError: empty, too long, or text that no store can hold; nothing was stored.
            BudgetError: question or instructions do not fit the budget.
            StoreError: the database failed.
        """
        return self._begin(text, budget)

    def _begin(self, text: str, budget: int | None, *, read_memory: bool = False) -> Turn:
        prepared = steps.prepare(self._services, self._owner, self._id, text, budget, read_memory=read_memory)
        return Turn(self, prepared)

    def send(self, text: str, *, budget: int | None = None) -> str:
        """Begin a turn, ask the attached model, commit and return its reply.

        Raises:
            NoModelAttached: this `Rhea` has no model.
            GenerationFailed: the model failed; what it had said is kept, the turn marked interrupted.
        """
        reply = self.stream(text, budget=budget)
        for _ in reply:
            pass
        return reply.text

    def stream(self, text: str, *, budget: int | None = None) -> Reply:
        """Like :meth:`send`, as an iterator over the pieces of the reply.

        Closing it early keeps what was said and marks the turn interrupted.
        """
        if self._services.model is None:
            raise NoModelAttached("no model is attached: pass model= to Rhea, or call begin and commit yourself")
        return Reply(self._begin(text, budget, read_memory=True), self._services)

    def history(self, *, last: int | None = None) -> list[TurnRecord]:
        """Turns in order, abandoned ones left out; with ``last`` only the newest."""
        states = (TurnState.PENDING, TurnState.COMMITTED, TurnState.INTERRUPTED)
        if last is not None:
            return self._services.store.last_turns(self._owner, self._id, last, states=states)
        return self._services.store.turns(self._owner, self._id, states=states)

    def why(self, position: int | None = None) -> tuple[TurnRecord, Context]:
        """A turn and the trace stored with it; the newest turn that has one by default.

        Raises:
            TurnNotFound: no such turn, or none with a trace.
        """
        from rhea.errors import TurnNotFound

        store = self._services.store
        if position is not None:
            candidates = [store.turn_at(self._owner, self._id, position)]
        else:
            candidates = list(reversed(self.history(last=16)))
        for record in candidates:
            if (trace := store.load_trace(self._owner, record.id)) is not None:
                return record, Context.from_dict(trace)
        where = f"turn {position}" if position is not None else "the newest turns"
        raise TurnNotFound(f"{where} of {self.name!r} has no trace: imported, pending and abandoned turns have none")

    def search(self, text: str, *, limit: int = 20) -> list[tuple[TurnRecord, float]]:
        """Full-text search in this conversation, best first."""
        found = self._services.store.search_text(self._owner, text, conversation_id=self._id, limit=limit)
        return [(record, score) for record, _, score in found]

    @property
    def instructions(self) -> InstructionManager:
        """Standing instructions, by hand: list, add, edit, revoke, history."""
        from rhea.instructions.manage import InstructionManager

        return InstructionManager(self._services.store, self._owner, self._id)

    @property
    def summary(self) -> ConversationSummary:
        """Name, number of turns and times."""
        return next(c for c in self._services.store.list_conversations(self._owner) if c.id == self._id)

    def settle(self) -> int:
        """Make this conversation's pending digests and vectors now."""
        return steps.digest_pending(self._services, self._owner, self._id)


class Turn:
    """One turn under way: its messages go to the model, its reply comes back. Made by `Conversation.begin`."""

    def __init__(self, conversation: Conversation, prepared: steps.Prepared) -> None:
        self._conversation = conversation
        self._prepared = prepared
        self._committed: str | None = None
        self._abandoned = False

    @property
    def id(self) -> int:
        """The stored turn's id."""
        return self._prepared.record.id

    @property
    def position(self) -> int:
        """1-based place in the conversation."""
        return self._prepared.record.position

    @property
    def messages(self) -> list[ChatMessage]:
        """What to send to the model: ``[{"role", "content"}]``, inside the token budget."""
        return [ChatMessage(role=m["role"], content=m["content"]) for m in self._prepared.messages]

    @property
    def context(self) -> Context:
        """What was chosen, what was left out, and why; ``print`` shows it."""
        return self._prepared.context

    def commit(self, reply: str, *, interrupted: bool = False) -> None:
        """Store the reply. The same reply again changes nothing.

        Args:
            reply: the model's reply, stored verbatim.
            interrupted: the reply was cut off.

        Raises:
            TurnAlreadyCommitted: another reply is stored.
            TurnNotPending: the turn was abandoned.
            ReplyNotSaved: the database is away; the error carries the reply, call `commit` again.
        """
        if self._abandoned:
            raise TurnNotPending(f"turn {self.position} was abandoned; begin a new one")
        if self._committed is not None and self._committed != reply:
            raise TurnAlreadyCommitted(f"turn {self.position} already has another reply; begin a new turn")
        if self._committed is None:
            services = self._conversation._services
            steps.remember(services, self._conversation._owner, self._prepared, reply, interrupted=interrupted)
            self._committed = reply
            self._conversation._memory._wake()

    def abandon(self) -> None:
        """Give the turn up: it stays out of later contexts, and the instructions that it brought are undone."""
        if self._committed is not None:
            raise TurnAlreadyCommitted(f"turn {self.position} is committed and cannot be abandoned")
        if not self._abandoned:
            self._conversation._services.store.abandon_turn(self._conversation._owner, self.id)
            self._abandoned = True

    def interrupt(self, said: str = "") -> None:
        """Keep a reply that broke off; without any text only the user's message stays."""
        if said.strip():
            self.commit(said, interrupted=True)
        elif self._committed is None:
            store, owner = self._conversation._services.store, self._conversation._owner
            store.save_trace(owner, self.id, self.context.to_record())  # `commit` would have stored it
            store.interrupt_turn(owner, self.id)
            self._abandoned = True


class Reply(Iterator[str]):
    """A reply that is being streamed. Iterate over it; `close` stops it and keeps what was said."""

    def __init__(self, turn: Turn, services: steps.Services) -> None:
        self.turn = turn
        self.text = ""
        self.interrupted = False
        self._pieces = steps.answer(services, turn._prepared)
        self._done = False
        self._watch = Stopwatch("model")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._done:
            raise StopIteration
        try:
            piece = next(self._pieces)
        except StopIteration:
            self._finish()
            raise
        except GenerationFailed:
            self.close()
            raise
        except BaseException as error:
            self.close()
            if isinstance(error, Exception) and not isinstance(error, RheaError):
                raise GenerationFailed(f"the model failed while it answered: {error}") from error
            raise
        self.text += piece
        return piece

    def close(self) -> None:
        """Stop the model, keep what was said so far and mark the turn interrupted."""
        if self._done:
            return
        self._done = True
        self._watch.stop()
        self.interrupted = True
        if callable(stop := getattr(self._pieces, "close", None)):
            with contextlib.suppress(Exception):
                stop()
        self.turn.interrupt(self.text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _finish(self) -> None:
        self._done = True
        self._watch.stop()
        if not self.text.strip():
            self.interrupted = True
            self.turn.interrupt()
            raise GenerationFailed("the model gave an empty reply; the message is kept, try again")
        self.turn.commit(self.text)
