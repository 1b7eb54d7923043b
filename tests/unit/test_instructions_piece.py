"""Which messages go on with the piece of work before them, and which earlier requests stand beside them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rhea import Settings
from rhea.instructions.in_force import render_question
from rhea.instructions.piece import MOST_TURNS, constraints, earlier_requests, fewer, goes_on, reworks
from rhea.memory import Conversation
from rhea.testing import memory_database
from rhea.types import Decision, Message, TurnRecord, TurnState

TASK = "Write a poem about a lighthouse keeper."

GOES_ON = [
    "Make it shorter.",
    "Your answer must mention a gull.",
    "The poem should not rhyme.",
    "No commas, please.",
    "Shorter, please.",
    "Nice! Now put it in the past tense.",
    "Can you rephrase that in simpler words?",
    "End your response with a question.",
    "In at most four lines, and in French. Keep it cheerful.",
    "At most sixty words.",
    "Kürzer, bitte.",
    "Deine Antwort soll drei Absätze haben.",
]
STANDS_FOR_ITSELF = [
    TASK,
    "I'd like to know its height.",
    "I'd like to know the result of their last match.",
    "How high is it?",
    "how high is it",
    "What about a cottage by the sea?",
    "Write another poem. It should rhyme.",
    "Thanks, that helps a lot.",
    "I have painted it blue since then.",
    "My sister says the text should be longer.",
    "Please recommend a hotel in Lisbon.",
    "Translate the following sentence, and keep it formal.\nThe gate opens at nine.",
    "From now on, answer in French.",
    "> Make it shorter.",
    "```\nMake it shorter.\n```",
    "Make it shorter. And why is the sea salt?",
    "Well done, keep it up!",
    "Let's make it happen tomorrow.",
    "I'm sure we'll make it.",
    "",
    "   ",
]


@pytest.mark.parametrize("text", GOES_ON)
def test_orders_about_a_reply_go_on_with_the_work(text: str) -> None:
    assert goes_on(text)


@pytest.mark.parametrize("text", STANDS_FOR_ITSELF)
def test_tasks_questions_rules_and_foreign_words_do_not(text: str) -> None:
    assert not goes_on(text)


def test_a_long_message_brings_its_own_material() -> None:
    assert not goes_on("Make it shorter. " + "The lamp was lit at dusk. " * 40)


@pytest.mark.parametrize(
    "text", ["Make it shorter.", "Shorter, please.", "Rephrase your answer.", "Can you turn that list into prose?"]
)
def test_what_works_on_the_reply_needs_it(text: str) -> None:
    assert reworks(text)


@pytest.mark.parametrize(
    "text",
    ["Your answer must mention a gull.", "No commas, please.", "The text should have less than fifty words."],
)
def test_what_says_how_a_reply_must_be_does_not(text: str) -> None:
    assert not reworks(text)


def test_constraints_are_the_sentences_that_bind_one_reply() -> None:
    text = f"{TASK} It is for my aunt. The poem should not rhyme. Use no commas in your response."
    assert constraints(text) == ["The poem should not rhyme.", "Use no commas in your response."]


def test_constraints_leave_out_rules_and_foreign_words() -> None:
    text = "From now on, answer in French.\n> Your answer must be long.\n```\nMake it long.\n```\nMake it shorter."
    assert constraints(text) == ["Make it shorter."]


def turns(*said: str) -> list[TurnRecord]:
    now = datetime.now(UTC)
    return [
        TurnRecord(n, 1, n, TurnState.COMMITTED, (Message("user", text), Message("assistant", "Done.")), now)
        for n, text in enumerate(said, start=1)
    ]


def positions(found: list[TurnRecord]) -> list[int]:
    return [turn.position for turn in found]


def test_the_walk_back_ends_at_the_request_that_set_the_task() -> None:
    before = turns("How high is Ben Nevis?", TASK, "Make it shorter.")
    assert positions(earlier_requests(before, "No commas.")) == [2, 3]


def test_a_message_that_only_gives_a_rule_is_passed_over() -> None:
    before = turns(TASK, "From now on, answer in French.")
    assert positions(earlier_requests(before, "Make it shorter.")) == [1]


def test_a_message_that_stands_for_itself_has_none() -> None:
    assert earlier_requests(turns(TASK), "How high is Ben Nevis?") == []
    assert earlier_requests([], "Make it shorter.") == []


def test_no_more_turns_than_the_limit_are_looked_at() -> None:
    before = turns(TASK, *["Make it shorter."] * (MOST_TURNS + 2))
    assert len(earlier_requests(before, "No commas.")) == MOST_TURNS


def test_the_opening_request_is_dropped_last() -> None:
    left = [positions(list(some)) for some in fewer(turns(TASK, "Make it shorter.", "No commas."))]
    assert left == [[1, 2, 3], [1, 3], [1], []]


def test_requests_stand_before_the_question_and_what_binds_after_it() -> None:
    text = render_question([], "No commas.", [TASK], ["No commas."])
    assert text == f"{TASK}\n\nNo commas.\n\nRemember: No commas."


# --- through the public face ---


def opened(**options: object) -> Conversation:
    return memory_database(settings=Settings(background=False, **options)).conversation("c", user="ada")  # type: ignore[arg-type]


def say(chat: Conversation, *texts: str) -> None:
    for text in texts:
        chat.begin(text).commit("The lamp turns, the ships pass.")


def test_a_demand_brings_its_requests_and_not_the_replies_that_did_not_meet_it() -> None:
    chat = opened()
    say(chat, TASK, "The poem should mention a gull.")
    turn = chat.begin("No commas.")
    assert turn.messages == [
        {
            "role": "user",
            "content": f"{TASK}\n\nThe poem should mention a gull.\n\nNo commas.\n\n"
            "Remember: The poem should mention a gull. No commas.",
        },
    ]
    assert turn.context.sections["requests"] > 0
    assert sum(turn.context.sections.values()) == turn.context.tokens
    assert f"goes on with turn 1: {TASK}" in turn.context.notes
    rows = [(e.position, e.decision, e.reason) for e in turn.context.episodes]
    assert rows == [(n, Decision.COMPRESSED, "restated beside the question") for n in (1, 2)]


def test_the_last_exchange_stays_where_its_reply_is_worked_on() -> None:
    chat = opened()
    say(chat, TASK, "The poem should mention a gull.")
    turn = chat.begin("Make it shorter.")
    assert [m["content"] for m in turn.messages[:-1]] == [
        "The poem should mention a gull.",
        "The lamp turns, the ships pass.",
    ]
    assert turn.messages[-1]["content"].startswith(TASK)
    assert sum(turn.context.sections.values()) == turn.context.tokens


def test_other_turns_stay_in_the_background() -> None:
    chat = opened()
    say(chat, "My aunt keeps a lighthouse near Calais.", TASK)
    turn = chat.begin("The poem should be about my aunt's lighthouse.")
    asked = turn.messages[-1]["content"]
    assert asked.index("near Calais") < asked.index(f"Question: {TASK}")


def test_rules_come_first_and_are_reminded_of_with_the_constraints() -> None:
    chat = opened()
    say(chat, "From now on, answer in French.", TASK)
    asked = chat.begin("No commas.").messages[-1]["content"]
    assert asked.endswith("No commas.\n\nRemember: From now on, answer in French. No commas.")
    assert asked.index("From now on") < asked.index(TASK) < asked.index("No commas.")


def test_a_question_of_its_own_is_left_as_it_is() -> None:
    chat = opened()
    say(chat, TASK)
    turn = chat.begin("How high is Ben Nevis?")
    assert turn.messages[-1]["content"] == "How high is Ben Nevis?"
    assert "requests" not in turn.context.sections


def test_abandoned_turns_are_not_gone_on_with() -> None:
    chat = opened()
    say(chat, TASK)
    chat.begin("Write a letter to my landlord.").abandon()
    asked = chat.begin("Make it shorter.").messages[-1]["content"]
    assert TASK in asked
    assert "landlord" not in asked


def test_another_conversation_of_the_same_user_is_not_gone_on_with() -> None:
    memory = memory_database(settings=Settings(background=False, recall="user"))
    say(memory.conversation("one", user="ada"), TASK)
    turn = memory.conversation("two", user="ada").begin("Make it shorter.")
    assert "requests" not in turn.context.sections


@pytest.mark.parametrize(("budget", "stands"), [(4096, True), (160, False)])
def test_requests_take_a_quarter_of_the_budget_at_most(budget: int, stands: bool) -> None:
    chat = opened(budget=budget)
    chat.begin(TASK + " It has a lamp." * 10).commit("The lamp turns.")
    turn = chat.begin("Make it shorter.")
    assert (turn.context.sections.get("requests", 0) > 0) is stands
    assert turn.context.tokens <= budget


def test_without_detection_nothing_is_gone_on_with() -> None:
    chat = opened(detect=False)
    say(chat, TASK, "The poem should mention a gull.")
    assert "requests" not in chat.begin("No commas.").context.sections
