"""Which form enters: the paper's rules, the budget's order, never a token too many."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rhea.recall.decide import PINNED, Candidate, decide
from rhea.types import RecallMode


def exchange(
    turn: int, score: float, *, user: int = 10, reply: int = 100, digest: int | None = 30, kept: str = "", day: int = 0
) -> list[Candidate]:
    """User message 10 * turn and reply 10 * turn + 1."""
    return [
        Candidate(10 * turn, turn, turn, score / 2, user, False, None, day, kept),  # type: ignore[arg-type]
        Candidate(10 * turn + 1, turn, turn, score, reply, True, digest, day, kept),  # type: ignore[arg-type]
    ]


def test_paper_mode_has_three_forms_and_keeps_both_ends() -> None:
    turns = [
        *exchange(1, 0.1, kept="first"),
        *exchange(2, 0.9),
        *exchange(3, 0.6),
        *exchange(4, 0.4),
        *exchange(5, 0.0, kept="last"),
    ]
    chosen = decide(turns, 10_000, "paper")
    forms = {key: choice.verbatim for key, choice in chosen.items()}
    assert forms == {10: True, 11: True, 20: True, 21: True, 30: True, 31: False, 50: True, 51: True}
    assert {key for key, choice in chosen.items() if choice.recent} == {50, 51}


def test_a_digest_brings_its_user_text() -> None:
    chosen = decide(exchange(1, 0.8), 60, "budget")
    assert chosen[11].verbatim is False
    assert 10 in chosen


def test_raw_is_downgraded_before_a_relevant_turn_is_omitted() -> None:
    turns = [*exchange(1, 0.9), *exchange(2, 0.8)]
    tight = decide(turns, 100, "budget")
    assert {key: c.verbatim for key, c in tight.items()} == {10: True, 11: False, 20: True, 21: False}
    roomy = decide(turns, 160, "budget")
    assert roomy[11].verbatim, "the better one is expanded with what is left"
    assert not roomy[21].verbatim


def test_the_better_message_wins_and_what_does_not_fit_is_passed_over() -> None:
    turns = [
        *exchange(1, 0.3, reply=500, digest=None),
        *exchange(2, 0.2, reply=40, digest=None),
        *exchange(3, 0.1, reply=40, digest=None),
    ]
    chosen = decide(turns, 70, "budget")
    assert 21 in chosen
    assert 11 not in chosen
    assert 31 not in chosen


def test_a_small_budget_keeps_only_what_the_ends_share() -> None:
    turns = [*exchange(1, 0.0, kept="first"), *exchange(2, 0.9, reply=60, digest=None), *exchange(3, 0.0, kept="last")]
    chosen = decide(turns, 100, "budget")
    assert 21 in chosen, "a tenth for the last exchange must not push the evidence out"
    assert 31 not in chosen


def test_a_day_is_paid_for_once() -> None:
    turns = [*exchange(1, 0.4, reply=20, digest=None, day=5), *exchange(2, 0.3, reply=20, digest=None, day=5)]
    assert set(decide(turns, 48, "budget", day_cost=8)) == {11, 21}
    assert len(decide(turns, 47, "budget", day_cost=8)) < 3


candidates = st.lists(
    st.tuples(
        st.floats(0, 1, width=32),
        st.integers(1, 80),
        st.integers(1, 400),
        st.one_of(st.none(), st.integers(1, 60)),
        st.integers(0, 4),
    ),
    max_size=12,
)


@given(rows=candidates, budget=st.integers(0, 900), mode=st.sampled_from(["paper", "budget"]), cost=st.integers(0, 9))
def test_choices_never_cost_more_than_the_budget_and_are_the_same_twice(
    rows: list[tuple[float, int, int, int | None, int]], budget: int, mode: RecallMode, cost: int
) -> None:
    turns: list[Candidate] = []
    for number, (score, user, reply, digest, day) in enumerate(rows, 1):
        kept = "last" if number == len(rows) else "first" if number == 1 else ""
        shorter = digest if digest is not None and digest < reply else None
        turns += exchange(number, score, user=user, reply=reply, digest=shorter, kept=kept, day=day)
    chosen = decide(turns, budget, mode, day_cost=cost)
    by_key = {c.key: c for c in turns}
    spent = sum(by_key[k].raw if c.verbatim else (by_key[k].digest or 0) for k, c in chosen.items()) + cost * len(
        {by_key[k].day for k, c in chosen.items() if by_key[k].day and not c.recent}
    )
    assert spent <= budget
    assert decide(turns, budget, mode, day_cost=cost) == chosen
    for key, choice in chosen.items():
        if not choice.verbatim and not choice.recent and by_key[key].kept == "":
            assert key - 1 in chosen, "a digest without its user text"


def test_the_users_opening_words_stay_whatever_their_score() -> None:
    """They often hold what the conversation is about; the final count must not drop them before weak episodes."""
    opening = Candidate(key=1, turn=1, order=1, score=0.0, raw=90, is_reply=False, kept="first")
    others = [
        Candidate(key=k, turn=k, order=k, score=0.9, raw=50, is_reply=False, kept="last" if k == 40 else "")
        for k in range(2, 41)
    ]
    chosen = decide([opening, *others], 800, "budget")
    assert chosen[1].verbatim
    assert chosen[1].rank > max(c.rank for key, c in chosen.items() if key not in (1, 40))
    assert 1 not in decide([opening, *others], 400, "budget")  # more than its share of a small budget


def pinned(turn: int, user: int) -> Candidate:
    return replace(exchange(turn, 0.0, user=user)[0], pinned=True)


def test_a_pinned_message_enters_whatever_it_scores_in_either_mode() -> None:
    for mode in ("budget", "paper"):
        chosen = decide([pinned(1, 60), *exchange(2, 0.95), *exchange(3, 0.9)], 200, mode)  # type: ignore[arg-type]
        assert chosen[10].verbatim
        assert chosen[10].reason == PINNED
        assert chosen[10].rank > max(c.rank for key, c in chosen.items() if key != 10)


def test_pinned_messages_take_their_share_alone_and_the_newest_come_first() -> None:
    chosen = decide([pinned(1, 60), pinned(2, 60), pinned(3, 60), *exchange(4, 0.9)], 400, "budget")
    assert {key for key, c in chosen.items() if c.reason == PINNED} == {20, 30}
