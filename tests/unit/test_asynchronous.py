from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest

from rhea import AsyncRhea
from rhea.errors import EmptyMessage
from rhea.testing import EchoModel, HashEmbedder
from rhea.types import ChatMessage, TurnState


async def test_one_turn_with_the_users_own_model() -> None:
    async with AsyncRhea("sqlite://", embedder=HashEmbedder()) as memory:
        chat = await memory.conversation("trip", user="ada")
        turn = await chat.begin("From now on answer in one word. Where to?")
        assert turn.position == 1
        assert turn.messages[-1]["content"].endswith("Where to?")
        await turn.commit("Lisbon.")
        assert [r.reply for r in await chat.history()] == ["Lisbon."]
        assert turn.context.instructions
        given_up = await chat.begin("Never mind.")
        await given_up.abandon()
        assert len(await chat.history()) == 1
        assert await memory.users() == ["ada"]
        assert await memory.settle() >= 0
        with pytest.raises(EmptyMessage):
            await chat.begin(" ")


async def test_streaming_and_sending() -> None:
    async with AsyncRhea("sqlite://", embedder=HashEmbedder(), model=EchoModel(reply="a b c")) as memory:
        chat = await memory.conversation("c")
        reply = await chat.stream("Go.")
        assert "".join([piece async for piece in reply]) == "a b c" == reply.text
        assert await chat.send("Again.") == "a b c"
        record, context = await chat.why(2)
        assert record.position == 2
        assert context.tokens > 0
        assert [i async for i in await chat.stream("Third.")]


class SlowModel(EchoModel):
    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        for i in range(1000):
            time.sleep(0.01)
            yield f"{i} "


async def test_cancelling_keeps_what_was_said_and_leaves_the_loop_free() -> None:
    async with AsyncRhea("sqlite://", embedder=HashEmbedder(), model=SlowModel()) as memory:
        chat = await memory.conversation("c")
        task = asyncio.create_task(chat.send("Count."))
        ticks = 0
        while not (await chat.history()):
            await asyncio.sleep(0.001)
        for _ in range(20):
            await asyncio.sleep(0.005)
            ticks += 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (record,) = await chat.history()
        assert record.state is TurnState.INTERRUPTED
        assert record.reply
        assert record.reply.startswith("0 ")
        assert ticks == 20


async def test_many_conversations_at_once() -> None:
    async with AsyncRhea("sqlite://", embedder=HashEmbedder(), model=EchoModel()) as memory:

        async def talk(user: str) -> list[int]:
            chat = await memory.conversation("c", user=user)
            for i in range(3):
                await chat.send(f"Message {i} of {user}.")
            return [r.position for r in await chat.history()]

        assert await asyncio.gather(*(talk(f"user{n}") for n in range(6))) == [[1, 2, 3]] * 6
