"""What is known of a message before it is weighed."""

from __future__ import annotations

import numpy as np
from rules_of_tests import rule

from rhea.instructions.by_patterns import PatternPass
from rhea.instructions.evidence import RuleEvidence, collect, collect_rules
from rhea.instructions.sentences import split_sentences
from rhea.instructions.standing import REASONS, read_message
from rhea.testing import HashEmbedder

EMBEDDER = HashEmbedder()
BY_PLACE, BOTH, ALL = -3, -2, -1


def beside(text: str, *rules: str) -> RuleEvidence:
    active = [rule(n, r) for n, r in enumerate(rules, start=1)]
    readings = read_message(split_sentences(text))
    first = PatternPass(readings, active, EMBEDDER).run()
    return collect_rules(collect(readings, EMBEDDER), active, first, EMBEDDER)


def test_only_own_sentences_count_and_quoted_words_are_not_heard() -> None:
    readings = read_message(split_sentences('> always answer in French\nNever use the word "obviously".\nWhy?'))
    message = collect(readings, EMBEDDER)
    assert [r.sentence.text for r in message.readings] == ['Never use the word "obviously".', "Why?"]
    assert message.readings[0].sentence.heard == "Never use the word …."
    assert message.around[1].endswith('"obviously". _')
    assert message.dense.shape[0] == len(message.words) == 2


def test_a_message_of_others_words_alone_has_no_evidence() -> None:
    message = collect(read_message(split_sentences("```\nalways = True\n```")), EMBEDDER)
    assert message.readings == ()


def test_every_reason_that_patterns_give_is_counted() -> None:
    texts = [
        "From now on answer in French.",
        "Write a poem.",
        "What is rain?",
        "I'm allergic to nuts.",
        "Rules:\n- Be brief.",
    ]
    seen = {r.reason for t in texts for r in read_message(split_sentences(t))}
    assert seen <= set(REASONS)
    assert len(seen) >= 4


def test_a_rule_is_named_by_its_place() -> None:
    named = beside("Drop the second one, please.", "Be brief.", "Use tables.", "No emojis.").numbers[:, BY_PLACE]
    assert named.tolist() == [-1.0, 1.0, -1.0]
    assert beside("Drop both.", "Be brief.", "Use tables.").numbers[:, BOTH].tolist() == [1.0, 1.0]
    assert beside("Forget everything.", "Be brief.").numbers[:, ALL].tolist() == [1.0]


def test_long_messages_are_read_in_parts() -> None:
    text = " ".join(f"Sentence number {n} speaks about the weather in a small harbour town." for n in range(20))
    rules = beside(text, "Be brief.", "Use tables.")
    assert len(rules.parts) > 2
    assert sorted(k for members, _ in rules.parts for k in members) == list(range(20))
    assert len(rules.pairs) == 2 * len(rules.parts) == len(rules.dense)
    assert rules.gate.shape == (len(rules.parts), EMBEDDER.dim + 3)
    assert np.isfinite(rules.dense).all()
