"""Lines and sizes of past messages: worked out once, and again when the turn is another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from rhea.recall.forms import FormCache
from rhea.types import Message, TurnRecord, TurnState

TURN = TurnRecord(
    7,
    1,
    1,
    TurnState.COMMITTED,
    (Message("user", "How deep?", id=1), Message("assistant", "Three metres. " * 20, id=2)),
    datetime(2026, 5, 1, tzinfo=UTC),
    digest="Three metres.",
)


class Counting:
    """A tokenizer of words that knows how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, text: str) -> int:
        self.asked += 1
        return len(text.split())


def test_sizes_are_counted_once() -> None:
    cache, count = FormCache(), Counting()
    user, reply = cache.of(TURN, count, "words")
    assert (user.raw_tokens, user.digest, user.is_user) == (3, None, True)
    assert (reply.raw_tokens, reply.digest_tokens, reply.is_reply) == (41, 3, True)
    asked = count.asked
    assert cache.of(replace(TURN), count, "words") == [user, reply]
    assert count.asked == asked


def test_another_tokenizer_a_new_digest_and_a_nameless_counter_count_again() -> None:
    cache, count = FormCache(), Counting()
    cache.of(TURN, count, "words")
    for turn, name in ((TURN, "others"), (replace(TURN, digest="Three."), "others"), (TURN, ""), (TURN, "")):
        before = count.asked
        _, reply = cache.of(turn, count, name)
        assert count.asked > before
        assert reply.digest is not None
        assert reply.digest.text == turn.digest


def test_a_digest_no_shorter_than_the_reply_or_for_two_replies_is_none() -> None:
    count = Counting()
    long = replace(TURN, digest="word " * 60)
    assert FormCache().of(long, count, "words")[1].digest_tokens is None
    twice = replace(TURN, messages=(*TURN.messages, Message("assistant", "And wide.", id=3)))
    assert [form.digest for form in FormCache().of(twice, count, "words")] == [None, None, None]
