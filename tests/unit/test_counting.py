import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhea.models.counting import FallbackCounter

WORDS = [
    "the",
    "of",
    "planning",
    "garden",
    "Lisbon",
    "internationalisation",
    "2024",
    "don't",
    "e.g.",
    "x=1",
    "ok",
    "café",
    "東京",
    "naïve",
    "👍🏽",
    "\n",
]


def test_a_message_costs_its_text_and_a_frame() -> None:
    counter = FallbackCounter()
    bare = counter.count_text("hello world")
    assert counter.count_messages([{"role": "user", "content": "hello world"}]) == bare + 16


@given(st.text(alphabet="ab \t\n\r\x1c\x85é東.7", max_size=60))
def test_counting_line_by_line_is_counting_the_whole(text: str) -> None:
    whole = sum(len(run) for run in re.findall(rb"[\t-\r\x1c- ]{2,}|[\t-\r\x1c-\x1f]", text.encode()))
    whole += sum(-(-len(run) // 4) for run in re.findall(rb"[a-zA-Z]+", text.encode()))
    whole += len(re.findall(rb"[^a-zA-Z\t-\r\x1c- ]", text.encode()))
    assert FallbackCounter().count_text(text) == whole


@pytest.mark.slow
def test_the_fallback_counts_at_least_what_a_real_tokenizer_counts() -> None:
    from rhea.models.counting import TokenizerCounter

    real, fallback = TokenizerCounter(), FallbackCounter()
    rng = random.Random(7)
    low = 0
    for _ in range(300):
        text = " ".join(rng.choices(WORDS, k=rng.randint(5, 60)))
        low += fallback.count_text(text) < real.count_text(text)
    assert low == 0
