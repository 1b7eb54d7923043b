"""The chat message history against the real langchain-core: what goes in comes out, and clearing erases."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables.history import RunnableWithMessageHistory

from rhea.adapters.langchain import RheaChatMessageHistory
from rhea.testing import memory_database

EVERY_KIND = [
    SystemMessage("You are a guide."),
    HumanMessage("Where should I go in May?"),
    AIMessage("", tool_calls=[{"name": "weather", "args": {"month": "May"}, "id": "c1"}]),
    ToolMessage("mild", tool_call_id="c1"),
    AIMessage("Lisbon.", id="a1", response_metadata={"model": "m"}),
    HumanMessage([{"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": "x"}}]),
    AIMessage("A harbour.", name="guide"),
    HumanMessage("Thanks", additional_kwargs={"mood": "glad"}),
]


@pytest.fixture
def memory():
    with memory_database() as opened:
        yield opened


@pytest.fixture
def history(memory):
    return RheaChatMessageHistory("s", memory=memory, user="ada")


def test_it_is_a_history(history):
    assert isinstance(history, BaseChatMessageHistory)
    assert history.messages == []


def test_every_kind_of_message_comes_back_as_it_was(history):
    history.add_messages(EVERY_KIND)
    assert history.messages == EVERY_KIND


def test_one_by_one_is_the_same_as_all_at_once(history, memory):
    for message in EVERY_KIND:
        history.add_message(message)
    assert history.messages == EVERY_KIND
    other = RheaChatMessageHistory("other", memory=memory)
    other.add_messages(EVERY_KIND)
    shape = [
        [[m.role for m in t.messages] for t in memory.conversation(n, user=u).history()]
        for n, u in (("s", "ada"), ("other", "default"))
    ]
    assert shape[0] == shape[1]


def test_the_conveniences_work(history):
    history.add_user_message("hello")
    history.add_ai_message("hi")
    assert [(m.type, m.content) for m in history.messages] == [("human", "hello"), ("ai", "hi")]
    assert str(history) == "Human: hello\nAI: hi"


async def test_the_async_side_is_the_same(history):
    await history.aadd_messages(EVERY_KIND)
    assert await history.aget_messages() == EVERY_KIND
    await history.aclear()
    assert await history.aget_messages() == []


def test_clear_erases_messages_and_rules(history, memory):
    history.add_user_message("From now on answer in one sentence.")
    history.add_ai_message("Yes.")
    assert memory.conversation("s", user="ada").instructions.list()
    history.clear()
    assert history.messages == []
    assert memory.conversation("s", user="ada").instructions.list() == []
    history.add_user_message("again")
    assert [m.content for m in history.messages] == ["again"]


def test_sessions_and_users_do_not_meet(history, memory):
    history.add_user_message("hello")
    assert RheaChatMessageHistory("t", memory=memory, user="ada").messages == []
    assert RheaChatMessageHistory("s", memory=memory, user="bob").messages == []


def test_what_was_chatted_elsewhere_is_in_the_history(history, memory):
    memory.conversation("s", user="ada").begin("What is a quay?").commit("A place where ships lie.")
    assert history.messages == [HumanMessage("What is a quay?"), AIMessage("A place where ships lie.")]


def test_the_context_holds_rule_and_evidence_inside_the_budget(history, memory):
    history.add_messages([HumanMessage("From now on answer in one sentence."), AIMessage("Yes.")])
    for number in range(30):
        history.add_messages([HumanMessage(f"Tell me of bay {number}."), AIMessage(f"Bay {number} is deep. " * 8)])
    before = history.messages
    found = history.context("How deep is bay 7?", budget=400)
    text = "\n".join(str(m.content) for m in found)
    assert "From now on answer in one sentence." in text
    assert "Bay 7 is deep." in text
    assert found[-1].type == "human"
    assert "How deep is bay 7?" in found[-1].content
    count = memory._services.counter.count_messages
    assert count([{"role": "user", "content": str(m.content)} for m in found]) <= 400
    assert history.messages == before


def test_a_runnable_with_history_keeps_its_turns_here(memory):
    chain = RunnableWithMessageHistory(
        FakeListChatModel(responses=["Lisbon.", "Turku."]),
        lambda session: RheaChatMessageHistory(session, memory=memory),
    )
    config = {"configurable": {"session_id": "s"}, "callbacks": []}
    chain.invoke([HumanMessage("May?")], config=config)
    chain.invoke([HumanMessage("June?")], config=config)
    turns = memory.conversation("s").history()
    assert [(t.user, t.reply) for t in turns] == [("May?", "Lisbon."), ("June?", "Turku.")]
