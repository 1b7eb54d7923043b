"""A context in words, and drawn: the same facts with and without colour."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rhea.cli.drawing import footer, history_view, printable, rules_view, why_view
from rhea.explain import bar_cells, counts, explain, omitted_best, summary_line, timeline, top_reasons
from rhea.testing import EchoModel, memory_database
from rhea.types import Context, Decision, EpisodeTrace, Message, TurnRecord, TurnState


def episode(position: int, decision: str, score: float = 0.5, **more) -> EpisodeTrace:
    tokens = 0 if decision == "omitted" else 20
    return EpisodeTrace(position, Decision(decision), score, tokens, more.pop("reason", f"score {score:.2f}"), **more)


@pytest.fixture
def context() -> Context:
    return Context(
        budget=400,
        tokens=200,
        sections={"instructions": 40, "background": 100, "recent": 0, "question": 2, "template": 58},
        instructions=("Answer in one sentence.",),
        episodes=(
            episode(1, "omitted", 0.2, reason="below what the budget holds"),
            episode(2, "raw", 0.9, channels={"message": 0.4, "sentence": 0.7, "words": 2.0}),
            episode(3, "compressed", 0.6),
            episode(4, "omitted", 0.4, reason="below what the budget holds"),
            episode(5, "omitted", 0.1, conversation="trip"),
        ),
        left_out=("I like tea.",),
        notes=("two rules on length",),
    )


@pytest.fixture
def record() -> TurnRecord:
    from datetime import UTC, datetime

    said = (Message("user", "Where to?\x1b[2J"), Message("assistant", "Lisbon."))
    return TurnRecord(7, 1, 7, TurnState.COMMITTED, said, datetime.now(UTC))


def drawn(view: object, width: int = 80, **options) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=options.pop("terminal", False), **options)
    console.print(view)
    return console.file.getvalue()


def test_print_shows_the_context_in_words(context) -> None:
    text = str(context)
    assert text == explain(context)
    for part in (
        "200 of 400 tokens",
        "background       100",
        "1. Answer in one sentence.",
        "1. I like tea.",
        "1. two rules on length",
        "1 raw, 1 compressed, 3 omitted",
        "turn 2    raw",
        "turn 4    omitted",
        "below what the budget holds",
    ):
        assert part in text
    assert max(map(len, explain(context, width=50).splitlines())) <= 60


def test_print_of_a_first_turn() -> None:
    turn = memory_database(model=EchoModel()).conversation("c", user="ada").begin("hello")
    assert "Past turns: none" in str(turn.context)
    assert f"{turn.context.tokens} of 4,096 tokens" in str(turn.context)


def test_counts_and_the_nearest_omitted(context) -> None:
    assert counts(context) == {Decision.RAW: 1, Decision.COMPRESSED: 1, Decision.OMITTED: 3}
    assert summary_line(context) == "1 raw, 1 compressed, 3 omitted"
    assert [e.position for e in omitted_best(context, 2)] == [4, 1]


def test_the_bar_is_the_budget_and_hides_no_section(context) -> None:
    assert bar_cells(context, 40) == {"instructions": 4, "background": 10, "question": 1, "template": 6}


def test_the_timeline_has_a_cell_a_turn_or_the_strongest_of_several(context) -> None:
    raw, small, out = Decision.RAW, Decision.COMPRESSED, Decision.OMITTED
    assert timeline(context, 6, 80) == [out, raw, small, out, out, out]
    assert timeline(context, 6, 3) == [raw, small, out]
    assert timeline(context, 6, 4) == [out, raw, out, out]
    assert timeline(context, 0, 80) == []


def test_reasons_come_best_first_and_end_with_the_best_left_out(context) -> None:
    assert top_reasons(context, 3) == [
        "turn 2 raw: score 0.90 (meaning 0.70, words 2.00)",
        "turn 3 compressed: score 0.60",
        "turn 4 left out: below what the budget holds (score 0.40)",
    ]
    assert len(top_reasons(context, 2)) == 2


def test_why_is_drawn_with_and_without_colour(context, record) -> None:
    plain = drawn(why_view(record, context), width=60)
    assert "IIIIIBBBBBBBBBBBB" in plain
    assert "\x1b" not in plain
    assert "Answer in one sentence." in plain
    coloured = drawn(why_view(record, context), width=60, terminal=True, color_system="standard")
    assert "IIIII" not in coloured
    assert "█" in coloured
    assert "\x1b[2J" not in coloured
    none = drawn(why_view(record, context), width=60, terminal=True, no_color=True)
    assert "IIIII" in none
    for width in (24, 40, 200):
        assert max(map(len, drawn(why_view(record, context), width=width).splitlines())) <= width


def test_the_timeline_counts_turns_that_the_trace_does_not_name(context, record) -> None:
    assert "5 omitted" in drawn(why_view(record, context))  # three traced, one of them elsewhere; three unnamed


def test_history_marks_what_is_not_complete(record) -> None:
    cut = TurnRecord(8, 1, 8, TurnState.INTERRUPTED, (Message("user", "And then?"),), record.created_at)
    text = drawn(history_view([record, cut]))
    assert "Lisbon." in text
    assert "(interrupted)" in text
    assert text.count("(") == 1
    assert "no turns" in drawn(history_view([]))


def test_rules_say_where_they_come_from() -> None:
    chat = memory_database(model=EchoModel()).conversation("c", user="ada")
    chat.send("From now on, answer in one sentence.")
    chat.instructions.add("Call me Ada.", scope="user")
    text = drawn(rules_view(chat.instructions.list()))
    assert "rule, turn 1, this conversation" in text
    assert "by hand, all conversations" in text
    assert "no rules yet" in drawn(rules_view([]))


def test_the_footer(context) -> None:
    assert footer(context, 1.25, interrupted=False).plain.endswith("3 omitted · 1.2 s")
    assert footer(context, 1.25, interrupted=True).plain.startswith("interrupted, kept")


@pytest.mark.parametrize("code", [*range(0x00, 0x09), 0x0B, 0x0C, 0x0D, 0x1B, 0x7F, 0x85, 0x9B, 0x202E, 0x2066])
def test_stored_text_cannot_steer_the_terminal(code: int) -> None:
    assert chr(code) not in printable(f"a{chr(code)}b")


def test_printable_keeps_lines_and_letters() -> None:
    assert printable("a\tb\nç ☕ 漢\r\nend") == "a\tb\nç ☕ 漢\nend"
