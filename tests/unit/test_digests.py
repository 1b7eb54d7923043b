"""Digests: extractive, bounded, telling, the same each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rhea.compress.base import Compressor
from rhea.compress.text import TextCompressor, content_words

REPLY = (
    "Sure, I am happy to help you with that! Begin with what is hardest to move: water, waste and the flue. "
    "Mark the load-bearing wall, which in flats of 1932 is towards the stairwell. Call `check_circuit(3)` and "
    "ask Rosalind for the report of 14 May. Do not sand the old paint, it holds lead. "
    "I hope this helps, let me know if there is more that I can do for you."
)


def test_a_digest_holds_words_of_the_reply_in_their_order() -> None:
    digest = TextCompressor().digest(REPLY, 40)
    place = -1
    for word in content_words(digest):
        place = content_words(REPLY).index(word, place + 1)
    assert place >= 0


def test_numbers_names_and_identifiers_survive_and_pleasantries_do_not() -> None:
    digest = TextCompressor().digest(REPLY, 36)
    for telling in ("1932", "check_circuit", "Rosalind", "14"):
        assert telling in digest
    assert "happy" not in digest


def test_a_denial_stays_with_what_it_denies() -> None:
    digest = TextCompressor().digest("Do not sand the paint.", 10)
    assert "not sand" in digest


def test_short_replies_are_their_own_digest() -> None:
    compressor = TextCompressor()
    assert isinstance(compressor, Compressor)
    assert compressor.compress(["Yes.", ""]) == ["Yes.", ""]


def test_a_reply_without_content_has_an_empty_digest() -> None:
    assert TextCompressor().digest("It is what it is, and that is that.", 20) == ""


@given(text=st.text(max_size=400), room=st.integers(1, 60))
def test_never_longer_than_asked_and_the_same_twice(text: str, room: int) -> None:
    def count(piece: str) -> int:
        return len(piece.split()) + piece.count(".")

    compressor = TextCompressor(count=count)
    digest = compressor.digest(text, room)
    assert count(digest) <= room
    assert compressor.digest(text, room) == digest


def test_more_room_never_keeps_less() -> None:
    kept = [len(set(content_words(TextCompressor().digest(REPLY, room)))) for room in (10, 20, 40, 80)]
    assert kept == sorted(kept)
