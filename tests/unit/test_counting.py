import random

import pytest

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
