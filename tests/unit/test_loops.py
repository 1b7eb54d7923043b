import random

from hypothesis import given
from hypothesis import strategies as st

from rhea.models.loops import is_looping


@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=48), st.lists(st.integers(0, 9), max_size=200))
def test_a_phrase_said_over_and_over_is_a_loop(phrase: list[int], before: list[int]) -> None:
    assert is_looping([*before, *phrase * max(4, 97 // len(phrase) + 1)])


def test_varied_text_is_not() -> None:
    rng = random.Random(1)
    assert not is_looping([rng.randrange(1000) for _ in range(2000)])


def test_a_table_rule_or_a_short_chorus_is_not() -> None:
    assert not is_looping([5, 6] * 20)
    assert not is_looping([*range(200), *[1, 2, 3, 4, 5, 6, 7, 8] * 5])
    assert not is_looping([])
