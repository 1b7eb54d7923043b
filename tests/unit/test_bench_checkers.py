"""Every checker says yes to a reply that obeys and no to one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from rhea.bench.checkers import CHECKERS, check, obeys
from rhea.errors import InputError

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("change_case:capital_letter", {}, "ALL LOUD.", "All quiet."),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "A BIG one",
        "a BIG one",
    ),
    (
        "change_case:english_capital",
        {},
        "THIS IS A PLAIN ENGLISH SENTENCE ABOUT TREES.",
        "This is not loud at all, my friend.",
    ),
    ("change_case:english_lowercase", {}, "this is a plain english sentence about trees.", "This is not quiet."),
    ("change_case:lowercase", {}, "all quiet.", "Not quiet."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Hi!"),
    ("combination:two_responses", {}, "One.\n******\nTwo.", "Same.\n******\nSame."),
    ("content:placeholder", {"num_placeholders": 1}, "Dear [name]", "Dear Kim"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a] only"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. Call me.", "Bye."),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP.P.S. Call me.", "P.S. no"),
    ("detectable_format:constrained_response", {}, "My answer is yes.", "Yes."),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 x Day 2 y", "Day 1"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b", "* a\n**b**"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a*"),
    ("detectable_format:title", {}, "<<Trees>>\nText", "Trees"),
    ("format:bullet_list", {}, "- a\n- b", "a, b"),
    ("format:constrained_response", {"options": ["Left.", "Right."]}, "Left.", "Up."),
    ("format:json_format", {}, '{"a": [1]}', "a: 1"),
    ("keywords:existence", {"keywords": ["oak", "elm"]}, "An Oak and an elm", "An oak"),
    ("keywords:forbidden_words", {"forbidden_words": ["oak"]}, "soaked", "the oak"),
    ("keywords:frequency", {"keyword": "oak", "frequency": 2, "relation": "at least"}, "oak oak", "oak"),
    ("keywords:letter_frequency", {"letter": "o", "let_frequency": 2, "let_relation": "less than"}, "so", "soo"),
    ("language:response_language", {"language": "de"}, "Das ist ein kurzer Satz über Bäume.", "This is about trees."),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First this.\n\nThen that.",
        "First this.\n\nAnd that.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One\n***\nTwo", "One"),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 3}, "Mr. Oak. Two.", "A! B? C."),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("punctuation:no_comma", {}, "None here.", "One, here."),
    ("startend:end_checker", {"end_phrase": "The end."}, 'Well. "The end."', "The end. No."),
    ("startend:end_phrase", {"phrase": "The end."}, "Well. the end.", "The end. No."),
    ("startend:quotation", {}, '"All of it."', 'Some "of it".'),
    ("startend:start_char", {"start_char": "A"}, "A tree.", "The tree."),
    ("startend:start_emoji", {}, "🌳 A tree.", "A tree 🌳"),
]


@pytest.mark.parametrize(("name", "args", "good", "bad"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_a_checker_tells_good_from_bad(name: str, args: dict[str, Any], good: str, bad: str) -> None:
    assert check(good, name, args)
    assert not check(bad, name, args)
    assert not check("  \n", name, args)


def test_every_checker_has_a_case() -> None:
    assert {c[0] for c in CASES} == set(CHECKERS)


def test_all_checks_of_a_reply_must_hold() -> None:
    both = [{"type": "punctuation:no_comma", "args": {}}, {"type": "format:json_format", "args": {}}]
    assert obeys("[1]", both)
    assert not obeys("[1, 2]", both)


def test_an_unknown_checker_is_an_error() -> None:
    with pytest.raises(InputError, match="no checker named"):
        check("x", "length:colour", {})
