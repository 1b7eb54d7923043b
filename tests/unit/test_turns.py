"""The life of a turn through the public face, on an in-memory database."""

from __future__ import annotations

import pytest

from rhea import Settings
from rhea.errors import (
    BudgetTooSmall,
    ConversationNotFound,
    EmptyMessage,
    GenerationFailed,
    InstructionsExceedBudget,
    InvalidText,
    MessageTooLong,
    NoModelAttached,
    ReplyNotSaved,
    SettingsError,
    StorageFull,
    TurnAlreadyCommitted,
    TurnNotFound,
    TurnNotPending,
    UserNotFound,
)
from rhea.memory import Conversation, Rhea
from rhea.testing import EchoModel, memory_database
from rhea.types import Decision, TurnState

RULE = "From now on, end every answer with the word amen."


@pytest.fixture
def memory() -> Rhea:
    return memory_database()


@pytest.fixture
def chat(memory: Rhea) -> Conversation:
    return memory.conversation("trip", user="ada")


def say(chat: Conversation, text: str, reply: str = "Noted.") -> None:
    chat.begin(text).commit(reply)


def test_a_rule_stands_in_the_system_message_and_beside_the_question() -> None:
    chat = memory_database(settings=Settings(placement="both")).conversation("trip", user="ada")
    say(chat, RULE)
    turn = chat.begin("What is the tallest mountain?")
    assert turn.messages[0]["role"] == "system"
    assert RULE in turn.messages[0]["content"]
    assert turn.messages[-1]["content"].index(RULE) < turn.messages[-1]["content"].index("What is the tallest")
    assert turn.context.instructions == (RULE,)


def test_the_message_that_brings_a_rule_is_bound_by_it_but_not_told_twice(chat: Conversation) -> None:
    turn = chat.begin(RULE + " Where should I go in May?")
    assert turn.context.instructions == (RULE,)
    assert turn.messages[-1]["content"].count(RULE) == 1


@pytest.mark.parametrize("placement", ["system", "question"])
def test_placement_is_a_choice(placement: str) -> None:
    memory = memory_database(settings=Settings(placement=placement))  # type: ignore[arg-type]
    chat = memory.conversation("c")
    say(chat, RULE)
    say(chat, "Hello there.")
    turn = chat.begin("And now?")
    in_system = turn.messages[0]["role"] == "system" and RULE in turn.messages[0]["content"]
    assert in_system is (placement == "system")


def test_the_relevant_turn_comes_back(chat: Conversation) -> None:
    say(chat, "My dog is called Biscuit.", "What a sweet name.")
    for i in range(20):
        say(chat, f"Tell me fact number {i} about granite and basalt.", "Rocks are old. " * 10)
    turn = chat.begin("What is my dog called?", budget=400)
    episode = next(e for e in turn.context.episodes if e.position == 1)
    assert episode.decision in (Decision.RAW, Decision.COMPRESSED)
    assert any("Biscuit" in m["content"] for m in turn.messages)
    assert turn.context.tokens <= 400
    assert any(e.decision is Decision.OMITTED for e in turn.context.episodes)


def test_a_turn_is_stored_before_the_model_runs(chat: Conversation) -> None:
    chat.begin("Are you there?")
    (record,) = chat.history()
    assert (record.user, record.reply, record.state) == ("Are you there?", None, TurnState.PENDING)


def test_committing_twice(chat: Conversation) -> None:
    turn = chat.begin("One?")
    turn.commit("Yes.")
    turn.commit("Yes.")
    with pytest.raises(TurnAlreadyCommitted):
        turn.commit("No.")
    assert [r.reply for r in chat.history()] == ["Yes."]
    with pytest.raises(TurnAlreadyCommitted):
        turn.abandon()


def test_an_abandoned_turn_leaves_no_trace_in_later_contexts(chat: Conversation) -> None:
    turn = chat.begin(RULE)
    turn.abandon()
    turn.abandon()
    with pytest.raises(TurnNotPending):
        turn.commit("amen")
    later = chat.begin("Hello?")
    assert later.context.instructions == ()
    assert later.context.episodes == ()
    assert [r.user for r in chat.history()] == ["Hello?"]


def test_refused_messages_store_nothing(chat: Conversation) -> None:
    for text, error in [
        ("  ", EmptyMessage),
        ("a\0b", InvalidText),
        ("\ud800", InvalidText),
        ("x" * 70_000, MessageTooLong),
    ]:
        with pytest.raises(error):
            chat.begin(text)
    with pytest.raises(BudgetTooSmall, match="budget is 20"):
        chat.begin("word " * 50, budget=20)
    assert chat.history() == []


def test_rules_over_the_budget_name_the_largest(chat: Conversation) -> None:
    for n in range(30):
        chat.instructions.add(f"Always mention the number {n} and explain at length why it matters to you.")
    with pytest.raises(InstructionsExceedBudget, match=r"#\d+"):
        chat.begin("Hello?", budget=200)
    assert chat.history() == []


def test_unknown_names(memory: Rhea) -> None:
    memory.conversation("trip", user="ada")
    with pytest.raises(UserNotFound):
        memory.conversation("trip", user="bob", create=False)
    with pytest.raises(ConversationNotFound):
        memory.conversation("work", user="ada", create=False)
    with pytest.raises(UserNotFound):
        memory.user("bob")
    assert memory.users() == ["ada"]


def test_send_and_stream_need_a_model(chat: Conversation) -> None:
    with pytest.raises(NoModelAttached):
        chat.send("Hello?")


def test_a_reply_is_streamed_and_stored() -> None:
    model = EchoModel(reply="one two three")
    chat = memory_database(model=model).conversation("c")
    reply = chat.stream("Count.")
    assert "".join(reply) == "one two three"
    assert not reply.interrupted
    assert chat.history()[0].state is TurnState.COMMITTED
    assert model.calls[0] == reply.turn.messages


def test_closing_a_stream_keeps_what_was_said() -> None:
    chat = memory_database(model=EchoModel(reply="one two three")).conversation("c")
    with chat.stream("Count.") as reply:
        next(reply)
    assert reply.interrupted
    (record,) = chat.history()
    assert (record.reply, record.state) == ("one ", TurnState.INTERRUPTED)
    assert chat.begin("Go on.").position == 2


def test_closing_before_the_first_piece_keeps_the_question() -> None:
    chat = memory_database(model=EchoModel()).conversation("c")
    chat.stream("Count.").close()
    (record,) = chat.history()
    assert (record.reply, record.state) == (None, TurnState.INTERRUPTED)


def test_a_model_that_breaks_off() -> None:
    chat = memory_database(model=EchoModel(reply="one two three", fail_after=2)).conversation("c")
    with pytest.raises(GenerationFailed):
        chat.send("Count.")
    (record,) = chat.history()
    assert (record.reply, record.state) == ("one two ", TurnState.INTERRUPTED)


def test_an_empty_reply_is_an_error_and_the_question_stays() -> None:
    chat = memory_database(model=EchoModel(reply=" ")).conversation("c")
    with pytest.raises(GenerationFailed, match="empty"):
        chat.send("Count.")
    assert chat.history()[0].state is TurnState.INTERRUPTED


def test_an_unsaved_reply_is_handed_back_and_saved_on_retry(
    chat: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = chat.begin("Precious?")
    store = chat._services.store
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise StorageFull("no space left")

        patch.setattr(store, "commit_turn", full)
        with pytest.raises(ReplyNotSaved, match="no space") as caught:
            turn.commit("Very.")
    assert caught.value.reply == "Very."
    turn.commit(caught.value.reply)
    assert chat.history()[0].reply == "Very."


def test_why_gives_back_the_context(chat: Conversation) -> None:
    say(chat, RULE)
    turn = chat.begin("And?")
    turn.commit("amen")
    record, context = chat.why()
    assert record.position == 2
    assert context.to_dict() == turn.context.to_dict()
    with pytest.raises(TurnNotFound):
        chat.why(9)


def test_the_same_conversation_gives_the_same_context() -> None:
    def run() -> dict[str, object]:
        chat = memory_database(settings=Settings(background=False)).conversation("c")
        for i in range(12):
            say(chat, f"Note {i}: the {i}th train leaves at {i} o'clock.", f"Train {i} noted. " * 6)
        return chat.begin("When does train 7 leave?", budget=300).context.to_dict()

    assert run() == run()


def test_recall_budget_bounds_what_is_remembered() -> None:
    chat = memory_database(settings=Settings(recall_budget=100)).conversation("c")
    for i in range(10):
        say(chat, f"Note {i}: the harbour master is called Number {i}.", "I see. " * 10)
    context = chat.begin("What is the harbour master called?").context
    assert 0 < context.sections["background"] + context.sections["recent"] <= 100


@pytest.mark.parametrize(
    "wrong", [{"budget": 3}, {"placement": "middle"}, {"preference_share": 2.0}, {"recall_mode": "best"}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Settings(**wrong)  # type: ignore[arg-type]


def test_search_finds_words(chat: Conversation) -> None:
    say(chat, "My dog is called Biscuit.")
    say(chat, "I like granite.")
    assert [r.position for r, _ in chat.search("biscuit")] == [1]
