"""The openai-agents session against the real package: its documented contract, and a run through its runner."""

from __future__ import annotations

import pytest

pytest.importorskip("agents")

from agents import Agent, ModelResponse, RunConfig, Runner, SessionSettings, Usage
from agents.memory import Session
from agents.models.interface import Model
from agents.run import CallModelData, ModelInputData
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from rhea.adapters.openai_agents import RheaSession
from rhea.errors import InputError
from rhea.testing import memory_database

PLAIN = [
    {"role": "user", "content": "What is the capital of Denmark?"},
    {"role": "assistant", "content": "Copenhagen."},
    {"role": "user", "content": "And of Norway?"},
    {"role": "assistant", "content": "Oslo."},
]
CALL = {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": '{"zone": "UTC"}', "id": "f1"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "12:30"}
ANSWER = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Half past twelve.", "annotations": []}],
}


@pytest.fixture
def memory():
    with memory_database() as opened:
        yield opened


@pytest.fixture
def session(memory):
    return RheaSession("s", memory=memory, user="ada")


def test_it_is_a_session(session):
    assert isinstance(session, Session)


async def test_items_come_back_as_they_were_added(session):
    items = [*PLAIN, {"role": "user", "content": "What time is it?"}, CALL, OUTPUT, ANSWER]
    for item in items:
        await session.add_items([item])
    assert await session.get_items() == items


async def test_many_at_once_are_the_same_as_one_by_one(session, memory):
    await session.add_items([*PLAIN, {"role": "user", "content": "Time?"}, CALL, OUTPUT, ANSWER])
    turns = memory.conversation("s", user="ada").history()
    assert [[m.role for m in t.messages] for t in turns] == [
        ["user", "assistant"],
        ["user", "assistant"],
        ["user", "tool", "tool", "assistant"],
    ]


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 9])
async def test_a_limit_gives_the_newest_in_order(session, limit):
    await session.add_items(PLAIN)
    assert await session.get_items(limit=limit) == (PLAIN[-limit:] if limit else [])


async def test_the_session_settings_limit_holds_unless_one_is_given(memory):
    session = RheaSession("s", memory=memory, session_settings=SessionSettings(limit=2))
    await session.add_items(PLAIN)
    assert await session.get_items() == PLAIN[-2:]
    assert await session.get_items(limit=3) == PLAIN[-3:]


async def test_pop_removes_the_newest_until_none_is_left(session):
    await session.add_items(PLAIN)
    popped = [await session.pop_item() for _ in range(5)]
    assert popped == [*reversed(PLAIN), None]
    assert await session.get_items() == []


async def test_after_a_pop_the_next_item_takes_its_place(session, memory):
    await session.add_items(PLAIN)
    await session.pop_item()
    await session.add_items([{"role": "assistant", "content": "It is Oslo."}])
    assert (await session.get_items())[-1] == {"role": "assistant", "content": "It is Oslo."}
    turn = memory.conversation("s", user="ada").history()[-1]
    assert [m.text for m in turn.messages] == ["And of Norway?", "It is Oslo."]


async def test_a_popped_text_is_nowhere_any_more(session, memory):
    await session.add_items([*PLAIN, {"role": "user", "content": "my password is xylophone"}])
    chat = memory.conversation("s", user="ada")
    chat.settle()
    await session.pop_item()
    assert chat.search("xylophone") == []
    turn = chat.begin("What is my password, the xylophone one?")
    assert not any("my password is xylophone" in m["content"] for m in turn.messages)


async def test_clear_empties_only_its_own_session(session, memory):
    other = RheaSession("other", memory=memory, user="ada")
    await session.add_items(PLAIN)
    await other.add_items(PLAIN[:2])
    await session.clear_session()
    assert await session.get_items() == []
    assert await other.get_items() == PLAIN[:2]
    await session.add_items(PLAIN[:1])
    assert await session.get_items() == PLAIN[:1]


async def test_two_sessions_of_one_name_and_different_users_do_not_meet(memory):
    ada, bob = (RheaSession("s", memory=memory, user=u) for u in ("ada", "bob"))
    await ada.add_items(PLAIN)
    assert await bob.get_items() == []


async def test_adding_nothing_changes_nothing(session):
    await session.add_items([])
    assert await session.get_items() == []
    assert await session.pop_item() is None


async def test_what_no_store_can_hold_is_refused_whole(session):
    with pytest.raises(InputError):
        await session.add_items([PLAIN[0], {"role": "user", "content": "a\0b"}])
    assert await session.get_items() == []


async def test_a_rule_in_an_item_takes_effect_and_is_undone_by_pop(session, memory):
    rules = memory.conversation("s", user="ada").instructions
    await session.add_items([{"role": "user", "content": "From now on answer in one sentence."}])
    assert [r.text for r in rules.list()] == ["From now on answer in one sentence."]
    await session.pop_item()
    assert rules.list() == []


async def test_what_the_model_gets_stays_inside_the_budget_with_the_rule_in_it(memory):
    session = RheaSession("s", memory=memory, budget=400)
    await session.add_items([{"role": "user", "content": "From now on answer in one sentence."}])
    await session.add_items([{"role": "assistant", "content": "I will."}])
    for number in range(30):
        asked = {"role": "user", "content": f"Tell me about town number {number}, please."}
        await session.add_items([asked, {"role": "assistant", "content": f"Town {number} has a harbour. " * 8}])
    now = [{"role": "user", "content": "What about town number 7?"}, CALL, OUTPUT]
    given = ModelInputData(input=[*await session.get_items(), *now], instructions="Be kind.")
    found = await session.within_budget(CallModelData(model_data=given, agent=Agent(name="a"), context=None))
    assert found.instructions == "Be kind."
    assert found.input[-3:] == now
    lead = found.input[:-2]
    assert "From now on answer in one sentence." in str(lead)
    assert "Town 7 has a harbour." in str(lead)
    assert memory._services.counter.count_messages(lead) <= 400 + 8
    assert len(await session.get_items()) == 62


class OneAnswer(Model):
    """A model that answers at once and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list = []

    async def get_response(self, *arguments, **options):
        self.seen.append(options.get("input", arguments[1] if len(arguments) > 1 else None))
        text = ResponseOutputText(text="In May, Lisbon.", type="output_text", annotations=[])
        message = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *arguments, **options):
        raise NotImplementedError


async def test_the_runner_keeps_its_history_here(session, memory):
    model = OneAnswer()
    agent = Agent(name="guide", model=model)
    config = RunConfig(tracing_disabled=True)
    result = await Runner.run(agent, "Where should I go in May?", session=session, run_config=config)
    assert result.final_output == "In May, Lisbon."
    await Runner.run(agent, "And in June?", session=session, run_config=config)
    assert [t.user for t in memory.conversation("s", user="ada").history()] == [
        "Where should I go in May?",
        "And in June?",
    ]
    assert len(model.seen[1]) == 3


async def test_the_runner_takes_what_is_recalled_in_place_of_the_history(session):
    model = OneAnswer()
    agent = Agent(name="guide", model=model)
    config = RunConfig(tracing_disabled=True, call_model_input_filter=session.within_budget)
    for question in ("Always answer in French from now on.", "Where should I go in May?", "And in June?"):
        await Runner.run(agent, question, session=session, run_config=config)
    assert any("Always answer in French" in str(item) for item in model.seen[-1])
    assert sum(str(item).count("And in June?") for item in model.seen[-1]) == 1
    assert len(await session.get_items()) == 6
