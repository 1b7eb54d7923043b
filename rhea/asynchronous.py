"""The same face for asyncio: `AsyncRhea`, `AsyncConversation`, `AsyncTurn`.

Embedding, the model and SQLite all block, so each call runs in a worker thread; the event loop stays free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rhea.memory import Conversation, Reply, Rhea, Turn
from rhea.types import ChatMessage, Context, TurnRecord

if TYPE_CHECKING:
    from rhea.instructions.manage import InstructionManager

__all__ = ["AsyncConversation", "AsyncReply", "AsyncRhea", "AsyncTurn"]

_END = object()


class AsyncRhea:
    """:class:`rhea.Rhea` for asyncio. Options are the same; use it as an async context manager."""

    def __init__(self, url: str | Path | None = None, **options: Any) -> None:
        self._url = url
        self._options = options
        self._memory: Rhea | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> Rhea:
        """Open the database, once."""
        async with self._opening:
            if self._memory is None:
                self._memory = await asyncio.to_thread(Rhea, self._url, **self._options)
        return self._memory

    async def conversation(
        self, name: str = "main", *, user: str = "default", create: bool = True
    ) -> AsyncConversation:
        """See :meth:`rhea.Rhea.conversation`."""
        memory = await self.open()
        return AsyncConversation(await asyncio.to_thread(memory.conversation, name, user=user, create=create))

    async def users(self) -> list[str]:
        """Names of all users."""
        return await asyncio.to_thread((await self.open()).users)

    async def settle(self) -> int:
        """See :meth:`rhea.Rhea.settle`."""
        return await asyncio.to_thread((await self.open()).settle)

    async def close(self) -> None:
        """See :meth:`rhea.Rhea.close`."""
        if self._memory is not None:
            await asyncio.to_thread(self._memory.close)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncConversation:
    """:class:`rhea.Conversation` for asyncio."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.name = conversation.name
        self.user = conversation.user

    async def begin(self, text: str, *, budget: int | None = None) -> AsyncTurn:
        """See :meth:`rhea.Conversation.begin`."""
        return AsyncTurn(await asyncio.to_thread(self._conversation.begin, text, budget=budget))

    async def send(self, text: str, *, budget: int | None = None) -> str:
        """See :meth:`rhea.Conversation.send`."""
        reply = await self.stream(text, budget=budget)
        async for _ in reply:
            pass
        return reply.text

    async def stream(self, text: str, *, budget: int | None = None) -> AsyncReply:
        """See :meth:`rhea.Conversation.stream`; iterate over what it returns with ``async for``."""
        return AsyncReply(await asyncio.to_thread(self._conversation.stream, text, budget=budget))

    async def history(self, *, last: int | None = None) -> list[TurnRecord]:
        """See :meth:`rhea.Conversation.history`."""
        return await asyncio.to_thread(self._conversation.history, last=last)

    async def why(self, position: int | None = None) -> tuple[TurnRecord, Context]:
        """See :meth:`rhea.Conversation.why`."""
        return await asyncio.to_thread(self._conversation.why, position)

    @property
    def instructions(self) -> InstructionManager:
        """Standing instructions by hand; its calls are short and block."""
        return self._conversation.instructions


class AsyncTurn:
    """:class:`rhea.Turn` for asyncio."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    @property
    def position(self) -> int:
        """1-based place in the conversation."""
        return self._turn.position

    @property
    def messages(self) -> list[ChatMessage]:
        """What to send to the model."""
        return self._turn.messages

    @property
    def context(self) -> Context:
        """What was chosen, what was left out, and why."""
        return self._turn.context

    async def commit(self, reply: str, *, interrupted: bool = False) -> None:
        """See :meth:`rhea.Turn.commit`."""
        await asyncio.to_thread(self._turn.commit, reply, interrupted=interrupted)

    async def abandon(self) -> None:
        """See :meth:`rhea.Turn.abandon`."""
        await asyncio.to_thread(self._turn.abandon)


class AsyncReply(AsyncIterator[str]):
    """A reply that is being streamed. Cancelling the task keeps what was said and marks the turn interrupted."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def text(self) -> str:
        """What was said so far."""
        return self._reply.text

    @property
    def turn(self) -> AsyncTurn:
        """The turn that it answers."""
        return AsyncTurn(self._reply.turn)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        pending = asyncio.ensure_future(asyncio.to_thread(next, self._reply, _END))
        try:
            piece = await asyncio.shield(pending)
        except asyncio.CancelledError:
            await asyncio.wait([pending])  # the worker thread cannot be cancelled; let it hand over its piece
            await asyncio.to_thread(self._reply.close)
            raise
        if not isinstance(piece, str):
            raise StopAsyncIteration
        return piece

    async def close(self) -> None:
        """Stop the model and keep what was said."""
        await asyncio.to_thread(self._reply.close)
