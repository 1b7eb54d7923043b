"""Texts to embed, words to match, days to read, lines to render."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhea.recall.chunks import pieces, sentences, split_to_fit
from rhea.recall.dates import NamedDate, asks_for_time, message_day, named_dates, short_day
from rhea.recall.render import PlannedEpisode, raw_part, render_background
from rhea.recall.score import wordings
from rhea.recall.words import terms
from rhea.types import Decision, Message, TurnRecord, TurnState


def letters(text: str) -> int:
    """A tokenizer at its worst: a token a character."""
    return len(text)


def test_sentences_end_at_marks_and_line_breaks_and_keep_their_quotes() -> None:
    assert sentences('He said "Go." Then 3.14 came!\n- one\n- two') == [
        'He said "Go."',
        "Then 3.14 came!",
        "- one",
        "- two",
    ]


@given(text=st.text(min_size=1, max_size=300), limit=st.integers(4, 40))
def test_chunks_fit_and_lose_nothing_but_white_space(text: str, limit: int) -> None:
    chunks = split_to_fit(text, limit, letters)
    assert all(letters(c) <= limit for c in chunks) or len(text) <= limit
    assert "".join("".join(chunks).split()) == "".join(text.split())


def test_every_text_of_a_long_message_fits_the_embedder() -> None:
    text = "The ferry leaves at nine. " * 40 + "x" * 500
    made = pieces(text, "Ada: When does it leave?", 64, letters, speaker="Bo")
    assert all(letters(p.text) <= 64 for p in made)
    assert {p.channel for p in made} == {"message", "sentence", "pair"}
    assert all(p.text.startswith("Bo: ") for p in made if p.channel != "pair")


def test_a_message_of_one_sentence_has_no_sentence_vector() -> None:
    assert [p.channel for p in pieces("Hello there.", None, 64, letters)] == ["message"]


@pytest.mark.parametrize(
    "family",
    [
        ("volunteer", "volunteers", "volunteering", "volunteered"),
        ("plan", "plans", "planned", "planning"),
        ("study", "studies", "studied"),
        ("make", "makes", "making"),
        ("class", "classes"),
    ],
)
def test_forms_of_a_word_meet(family: tuple[str, ...]) -> None:
    assert len({tuple(terms(word)) for word in family}) == 1


def test_terms_leave_out_stop_words_and_keep_numbers_and_other_scripts() -> None:
    assert terms("What did Ada's 3 cats do?") == ["ada", "3", "cat"]
    assert terms("東京タワー") == ["東京", "京タ", "タワ", "ワー"]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-03 10:12", date(2024, 2, 3)),
        ("3 January 2023, 21:15", date(2023, 1, 3)),
        ("Mon Jul 4 12:03:00 2022", date(2022, 7, 4)),
        ("29.12.2023, 22:08", date(2023, 12, 29)),
        ("2:15 pm on 1 June, 2020", date(2020, 6, 1)),
    ],
)
def test_days_are_read_from_times_as_sources_write_them(text: str, day: date) -> None:
    assert message_day(text) == day.toordinal()


@pytest.mark.parametrize("text", [None, "", "yesterday", "31 February 2023", "14:30"])
def test_times_without_a_full_date_have_no_day(text: str | None) -> None:
    assert message_day(text) == 0


def test_questions_name_dates() -> None:
    assert named_dates("What happened on May 3, 2023?") == [NamedDate(2023, 5, 3)]
    assert named_dates("in December 2023") == [NamedDate(2023, 12, None)]
    assert named_dates("I may go") == []
    assert NamedDate(2023, 12, None).matches(date(2023, 12, 24))
    assert not NamedDate(2023, 12, 25).matches(date(2023, 12, 24))
    assert asks_for_time("When did she go?")
    assert not asks_for_time("What did she buy?")


def test_the_year_is_said_once() -> None:
    day = date(2024, 2, 3).toordinal()
    assert short_day(day, None) == "3 Feb 2024"
    assert short_day(day, 2024) == "3 Feb"


def test_speakers_names_leave_the_bare_wording_but_never_all_of_it() -> None:
    assert wordings("Where did Ada's aunt go?", ["Ada Lund", "Bo"]) == (
        "Where did Ada's aunt go?",
        "Where did aunt go?",
    )
    assert wordings("Who is Ada?", ["Ada"])[1] == "Who is Ada?"
    assert wordings("Where?", [])[1] == "Where?"


def test_background_writes_each_day_once_and_only_when_asked() -> None:
    def episode(number: int, time: str, *texts: str, conversation: str | None = None) -> PlannedEpisode:
        messages = tuple(Message("user", t, name="Ada", time=time, id=number * 10 + i) for i, t in enumerate(texts))
        turn = TurnRecord(number, 1, number, TurnState.COMMITTED, messages, datetime.now(UTC))
        parts = tuple(raw_part(m) for m in messages)
        return PlannedEpisode(turn, Decision.RAW, 0.5, {}, "", 0, parts, recent=False, conversation=conversation)

    episodes = [episode(1, "2024-02-03", "a", "b"), episode(2, "2024-02-03", "c"), episode(3, "2024-03-01", "d")]
    assert render_background(episodes, days=True) == "[3 Feb 2024]\nAda: a\nAda: b\nAda: c\n[1 Mar]\nAda: d"
    assert render_background(episodes, days=False) == "Ada: a\nAda: b\nAda: c\nAda: d"
    other = [episode(4, "", "z", conversation="trip"), episode(5, "", "y")]
    assert render_background(other, days=False) == "[conversation trip]\nAda: z\n[this conversation]\nAda: y"
