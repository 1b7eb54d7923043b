"""Background and recent never take more than they may, whatever the budget, mode and chat."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rhea import Settings
from rhea.errors import BudgetError
from rhea.testing import memory_database
from rhea.types import Message

WORDS = "harbour boat tide plum Ada Osman 1,450 3.14 naïve 東京 🌊 check_circuit() the and of May 2023"
words = st.sampled_from([*WORDS.split(), "\n", "  "])
texts = st.lists(words, min_size=1, max_size=120).map(" ".join).filter(lambda t: t.strip())
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "system", "tool"]),
    text=texts,
    name=st.sampled_from([None, "Ada", "Bo Lund"]),
    time=st.sampled_from([None, "2024-02-03", "3 May 2023, 10:00", "at noon"]),
)
turns = st.lists(st.lists(messages, min_size=1, max_size=4), min_size=0, max_size=25)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    past=turns,
    question=texts,
    budget=st.integers(64, 4096),
    mode=st.sampled_from(["budget", "paper"]),
    scope=st.sampled_from(["conversation", "user"]),
)
def test_remembered_tokens_stay_inside_the_recall_budget(
    past: list[list[Message]], question: str, budget: int, mode: str, scope: str
) -> None:
    options = Settings(
        budget=8192,
        recall_budget=budget,
        recall_mode=mode,
        recall=scope,
        detect=False,
        background=False,  # type: ignore[arg-type]
    )
    with memory_database(settings=options) as memory:
        chat = memory.conversation("now", user="ada")
        before = memory.conversation("before", user="ada")
        store = memory._services.store
        half = len(past) // 2
        store.append_turns(chat._owner, before._id, past[:half])
        store.append_turns(chat._owner, chat._id, past[half:])
        before.settle()
        try:
            first = chat.begin(question)
        except BudgetError:
            return
        context = first.context
        assert context.sections["background"] + context.sections["recent"] <= budget
        assert context.tokens <= 8192
        first.abandon()
        again = chat.begin(question).context
        assert again.to_dict() == context.to_dict(), "the same input gives the same trace"
