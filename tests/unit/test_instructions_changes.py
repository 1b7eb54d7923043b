"""From judged sentences and rules to changes, with the judgement given."""

from __future__ import annotations

import numpy as np
from rules_of_tests import rule

from rhea.instructions.changes import changes_from
from rhea.instructions.detection import Detection
from rhea.instructions.evidence import collect, collect_rules
from rhea.instructions.sentences import split_sentences
from rhea.instructions.standing import read_message
from rhea.instructions.weigh import Judgement
from rhea.testing import HashEmbedder
from rhea.types import InstructionChange

EMBEDDER = HashEmbedder()
YES, NO = 3.0, -3.0


def changes(
    text: str, rules: list[str], stands: list[float], ends: list[float], first: Detection | None = None
) -> Detection:
    active = [rule(n, r) for n, r in enumerate(rules, start=1)]
    readings = read_message(split_sentences(text))
    message, first = collect(readings, EMBEDDER), first or Detection()
    evidence = collect_rules(message, active, first, EMBEDDER) if active else None
    judged = Judgement(np.array(stands, np.float32), np.array(ends, np.float32), (0,) * len(rules))
    return changes_from(readings, message, evidence, judged, first)


def test_a_sentence_that_stands_is_added_with_its_place() -> None:
    (change,) = changes("Hello. Answer in French.", [], [NO, YES], []).changes
    assert (change.action, change.text, change.start, change.end) == ("add", "Answer in French.", 7, 24)
    assert change.topic == "language=french"


def test_a_new_value_takes_the_place_of_the_old_one_and_nothing_else_does() -> None:
    found = changes("Answer in German instead.", ["Answer in French.", "No tables."], [YES], [YES, NO]).changes
    assert [(c.action, c.target_ids) for c in found] == [("supersede", (1,))]


def test_what_ends_without_a_successor_is_withdrawn_first() -> None:
    text = "The tables can go. Call me Ada."
    found = changes(text, ["Use tables everywhere."], [NO, YES], [YES]).changes
    assert [(c.action, c.reason if c.action == "revoke" else c.text) for c in found] == [
        ("revoke", "The tables can go."),
        ("add", "Call me Ada."),
    ]


def test_a_rule_said_again_is_confirmed_and_not_stored_twice() -> None:
    found = changes("Answer in French!", ["Answer in French."], [YES], [NO]).changes
    assert [(c.action, c.target_ids) for c in found] == [("confirm", (1,))]


def test_a_rule_said_again_for_all_conversations_takes_its_own_place() -> None:
    first = Detection((InstructionChange("confirm", target_ids=(1,), reason="said before"),))
    text = "Answer in French in all our chats."
    found = changes(text, ["Answer in French in our chats."], [YES], [NO], first).changes
    assert [(c.action, c.target_ids, c.scope.value) for c in found] == [("supersede", (1,), "user")]


def test_a_sentence_said_twice_in_one_message_counts_once() -> None:
    assert len(changes("No emojis. No emojis.", [], [YES, YES], []).changes) == 1


def test_patterns_and_a_mild_doubt_end_a_rule_and_a_doubt_alone_is_told() -> None:
    said = Detection((InstructionChange("revoke", target_ids=(1,), reason="x"),))
    assert changes("Enough rhymes.", ["Answer in rhyme."], [NO], [-1.0], said).changes[0].action == "revoke"
    doubted = changes("Enough rhymes.", ["Answer in rhyme."], [NO], [-0.5])
    assert doubted.changes == ()
    assert "may be meant to end" in doubted.notes[0]
