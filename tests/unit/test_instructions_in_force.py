"""Which instructions bind a turn, which fit, and where they stand."""

from __future__ import annotations

import pytest

from rhea.errors import InstructionsExceedBudget
from rhea.instructions.in_force import by_turn, choose, in_force, instruction_lines, render_question, render_system
from rhea.testing import HashEmbedder
from rhea.types import Instruction, InstructionKind, InstructionStatus, Scope


def given(
    number: int,
    text: str,
    kind: InstructionKind = InstructionKind.RULE,
    *,
    status: InstructionStatus = InstructionStatus.ACTIVE,
    position: int | None = 1,
    expires_after: int | None = None,
    start: int | None = None,
    turn: int | None = None,
) -> Instruction:
    end = None if start is None else start + len(text)
    return Instruction(
        number, text, kind, Scope.CONVERSATION, status, 1, turn, position, start, end, expires_after=expires_after
    )


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(("position", "binds"), [(4, True), (5, True), (7, True), (8, False), (100, False)])
def test_three_answers_are_three_turns_after_the_source(position: int, binds: bool) -> None:
    rule = given(1, "Use bullets.", position=4, expires_after=3)
    assert bool(in_force([rule], position)) is binds


def test_only_active_ones_bind() -> None:
    rules = [given(n, "x", status=s) for n, s in enumerate(InstructionStatus, start=1)]
    assert [i.status for i in in_force(rules, 9)] == [InstructionStatus.ACTIVE]


def test_by_hand_without_a_turn_binds_for_good() -> None:
    assert in_force([given(1, "x", position=None, expires_after=2)], 999)


def test_rules_and_roles_stay_and_preferences_beyond_their_share_are_named() -> None:
    rule = given(1, "Answer in French please now.")
    near = given(2, "I dislike spicy curry dishes.", InstructionKind.PREFERENCE)
    far = given(3, "I avoid loud rock concerts.", InstructionKind.PREFERENCE)
    kept, left = choose([rule, near, far], "Which curry dishes are spicy?", words, budget=40, share=0.2)
    assert [i.id for i in kept] == [1, 2]
    assert [i.id for i in left] == [3]


def test_equally_distant_preferences_stay_newest_first() -> None:
    tastes = [given(n, f"taste {n} a b", InstructionKind.PREFERENCE) for n in range(1, 6)]
    kept, left = choose(tastes, "???", words, budget=24, share=0.5)
    assert [i.id for i in kept] == [4, 5]
    assert [i.id for i in left] == [1, 2, 3]


def test_an_embedder_ranks_preferences_by_meaning() -> None:
    tastes = [given(n, t, InstructionKind.PREFERENCE) for n, t in [(1, "green tea in the morning"), (2, "old maps")]]
    kept, left = choose(tastes, "green tea in the morning", words, 28, 0.25, HashEmbedder())
    assert ([i.id for i in kept], [i.id for i in left]) == ([1], [2])


def test_rules_that_do_not_fit_raise_and_the_largest_is_named() -> None:
    rules = [given(1, "short one"), given(2, "long " * 50)]
    with pytest.raises(InstructionsExceedBudget, match=r"#2 .*revoke"):
        choose(rules, "q", words, budget=20, share=0.25)


def test_preferences_alone_never_stop_a_chat() -> None:
    tastes = [given(n, "I like " + "very " * 30, InstructionKind.PREFERENCE) for n in range(50)]
    kept, left = choose(tastes, "q", words, budget=20, share=0.25)
    assert not kept
    assert len(left) == 50


def test_rules_enclose_the_question_and_preferences_stand_before_it() -> None:
    kept = [given(1, "Answer in French."), given(2, "I don't fly.", InstructionKind.PREFERENCE)]
    text = render_question(kept, "How do I get to Rome?")
    assert text == ("Answer in French.\nI don't fly.\n\nHow do I get to Rome?\n\nRemember: Answer in French.")


def test_nothing_in_force_leaves_the_question_untouched() -> None:
    assert render_question([], "  spaced  ") == "  spaced  "
    assert render_system([]) == ""


def test_neighbours_of_one_message_stand_as_they_were_written() -> None:
    text = "Use bullets. Be brief."
    kept = [given(1, text[:12], turn=5, start=0), given(2, text[13:], turn=5, start=13)]
    assert instruction_lines(kept) == [text]
    assert text in render_system(kept)


def test_sentences_of_different_messages_stand_apart() -> None:
    kept = [given(1, "Use bullets.", turn=5, start=0), given(2, "Be brief.", turn=6, start=13)]
    assert instruction_lines(kept) == ["Use bullets.", "Be brief."]


def test_what_stands_of_a_turn_is_told_by_its_id() -> None:
    text = "Use bullets. Be brief."
    rules = [given(1, text[:12], turn=5, start=0), given(2, text[13:], turn=5, start=13), given(3, "By hand.")]
    assert by_turn([*rules, given(4, "Rhyme.", turn=6, start=30)]) == {5: text, 6: "Rhyme."}
