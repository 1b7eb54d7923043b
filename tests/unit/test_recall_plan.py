"""Recall through the public API: what stands in the context, and what the trace says of the rest."""

from __future__ import annotations

from rhea import Settings
from rhea.memory import Conversation, Rhea
from rhea.recall.traces import unpack_scores
from rhea.testing import memory_database
from rhea.types import Decision, Message, TurnState

FACTS = [
    ("My sister Iva paints small gardens in watercolour.", "How lovely, does she sell them?"),
    ("The plum tree broke under its own fruit.", "Prop the branches up next year."),
    ("Our allotment costs 46 crowns a year.", "That is less than a gym."),
    ("Osman grows leeks on plot 31.", "Leeks like clay soil."),
]


def memory(**options: object) -> Rhea:
    return memory_database(settings=Settings(background=False, **options))  # type: ignore[arg-type]


def tell(chat: Conversation, *exchanges: tuple[str, str]) -> None:
    for user, reply in exchanges:
        chat.begin(user).commit(reply)


def fill(chat: Conversation, count: int) -> None:
    tell(chat, *((f"Remark number {i} about the weather.", f"Noted, remark {i}.") for i in range(count)))


def seen(chat: Conversation, question: str, budget: int | None = None) -> str:
    turn = chat.begin(question, budget=budget)
    text = "\n".join(m["content"] for m in turn.messages)
    turn.abandon()
    return text


def test_the_turn_that_answers_is_in_the_context_and_small_talk_is_not() -> None:
    with memory(recall_budget=120) as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, *FACTS)
        fill(chat, 30)
        text = seen(chat, "What does Osman grow on plot 31?")
        assert FACTS[3][0] in text
        assert text.count("Remark number") < 6


def test_every_past_turn_is_traced_once_with_a_reason() -> None:
    with memory(recall_budget=150) as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, *FACTS)
        fill(chat, 140)
        turn = chat.begin("What does Osman grow on plot 31?")
        context = turn.context
        listed = [e.position for e in context.episodes]
        packed = [position for position, _ in unpack_scores(context.others, listed)]
        assert sorted(listed + packed) == list(range(1, 145))
        omitted = [e for e in context.episodes if e.decision is Decision.OMITTED]
        assert omitted
        assert all(e.tokens == 0 and e.reason for e in omitted)
        assert max(omitted, key=lambda e: e.score).channels, "the nearest are explained channel by channel"
        assert max(e.score for e in omitted) >= max(score for _, score in unpack_scores(context.others, listed)) - 0.03
        kept = [e for e in context.episodes if e.decision is not Decision.OMITTED]
        assert 4 in [e.position for e in kept]
        assert all(e.tokens > 0 and 0.0 <= e.score <= 1.0 for e in kept)


def test_the_last_exchange_is_kept_as_real_messages_and_the_first_in_the_background() -> None:
    with memory() as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, *FACTS)
        turn = chat.begin("And?")
        assert [m["role"] for m in turn.messages][:2] == ["user", "assistant"]
        assert turn.messages[0]["content"] == FACTS[3][0]
        reasons = {e.position: e.reason for e in turn.context.episodes}
        assert "last exchange" in reasons[4]
        assert "first exchange" in reasons[1]


def test_a_long_reply_enters_as_its_digest_with_the_users_text() -> None:
    long_reply = " ".join(f"Step {i}: turn the blue valve {i} times and read gauge {i + 100}." for i in range(40))
    with memory(recall_budget=500) as rhea:
        chat = rhea.conversation("works", user="ada")
        tell(chat, ("How do I start the boiler with the blue valve?", long_reply))
        fill(chat, 5)
        record = chat.history()[0]
        assert record.digest
        assert len(record.digest) < len(long_reply) / 2
        turn = chat.begin("Which gauge do I read for the boiler with the blue valve?")
        text = "\n".join(m["content"] for m in turn.messages)
        assert record.digest in text
        assert "How do I start the boiler" in text
        assert next(e for e in turn.context.episodes if e.position == 1).decision is Decision.COMPRESSED


def test_abandoned_turns_are_no_past_and_a_reply_that_comes_late_is() -> None:
    with memory() as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, FACTS[0])
        late = chat.begin("Where do badgers sleep?")
        given_up = chat.begin("Do badgers eat beans?")
        given_up.abandon()
        assert "eat beans" not in seen(chat, "Tell me about badgers.")
        assert "setts" not in seen(chat, "Tell me about badgers.")
        late.commit("In setts under the hedge.")
        assert "In setts under the hedge." in seen(chat, "Where do badgers sleep, did you say?")


def test_only_this_conversation_by_default_and_all_of_the_users_on_request() -> None:
    with memory() as rhea:
        tell(rhea.conversation("plot", user="ada"), *FACTS)
        tell(rhea.conversation("plot", user="bo"), ("Osman grows mushrooms in his cellar.", "How odd."))
        assert "leeks" not in seen(rhea.conversation("new", user="ada"), "What does Osman grow?")
    with memory(recall="user") as rhea:
        tell(rhea.conversation("plot", user="ada"), *FACTS)
        tell(rhea.conversation("plot", user="bo"), ("Osman grows mushrooms in his cellar.", "How odd."))
        chat = rhea.conversation("new", user="ada")
        turn = chat.begin("What does Osman grow?")
        text = turn.messages[-1]["content"]
        assert "Osman grows leeks on plot 31." in text
        assert "mushrooms" not in text, "another user's conversation"
        assert "[conversation plot]" in text
        assert {e.conversation for e in turn.context.episodes} == {"plot"}


def test_what_was_erased_in_sql_does_not_come_back_from_the_index() -> None:
    with memory() as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, *FACTS)
        assert "leeks" in seen(chat, "What does Osman grow?")
        from sqlalchemy import text as sql

        with rhea._services.store.database.write() as connection:  # type: ignore[attr-defined]
            connection.execute(sql("DELETE FROM turns WHERE position = 4"))
        assert "leeks" not in seen(chat, "What does Osman grow?")
        assert 4 not in [e.position for e in chat.begin("And what does Osman grow?").context.episodes]


def test_paper_mode_omits_what_scores_low_even_when_there_is_room() -> None:
    with memory(recall_mode="paper") as rhea:
        chat = rhea.conversation("plot", user="ada")
        tell(chat, *FACTS)
        fill(chat, 30)
        turn = chat.begin("What does Osman grow on plot 31?")
        kept = {e.position: e for e in turn.context.episodes if e.decision is not Decision.OMITTED}
        assert {1, 4, 34} <= kept.keys()
        assert len(kept) < 12


def test_imported_groups_of_any_role_order_can_be_recalled() -> None:
    with memory(recall_budget=120) as rhea:
        chat = rhea.conversation("c", user="ada")
        store = rhea._services.store
        said = [
            [Message("assistant", "Welcome to the observatory.", name="Guide")],
            [Message("user", "I am Lea.", name="Lea"), Message("user", "I study comets.", name="Lea")],
            [Message("tool", "temperature 4 degrees"), Message("assistant", "Dress warmly, Lea.", name="Guide")],
        ]
        store.append_turns(chat._owner, chat._id, said)
        chat.settle()
        assert "Lea: I study comets." in seen(chat, "What does Lea study?")
        assert all(t.state is TurnState.COMMITTED for t in chat.history()[:3])
