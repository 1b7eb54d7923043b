import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhea.errors import EmptyMessage, InvalidText, MessageTooLong
from rhea.intake import accept, decode_line


@pytest.mark.parametrize("text", ["", "   ", "\n\t ", " "])
def test_blank_messages_are_refused(text: str) -> None:
    with pytest.raises(EmptyMessage, match="empty"):
        accept(text, 100)


def test_nul_names_its_offset() -> None:
    with pytest.raises(InvalidText, match="offset 3"):
        accept("abc\0def", 100)


def test_lone_surrogate_names_its_offset() -> None:
    with pytest.raises(InvalidText, match="offset 2"):
        accept("ab\ud800", 100)


def test_the_cap_counts_bytes_not_characters() -> None:
    assert accept("é" * 50, 100) == "é" * 50
    with pytest.raises(MessageTooLong, match="102 bytes"):
        accept("é" * 51, 100)


def test_not_text() -> None:
    with pytest.raises(InvalidText, match="bytes"):
        accept(b"hi", 100)  # type: ignore[arg-type]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(lambda t: t.strip()))
def test_what_is_accepted_comes_back_unchanged(text: str) -> None:
    assert accept(text, 1 << 20) == text


def test_lines_are_decoded_without_their_ending() -> None:
    assert decode_line("né\r\n".encode()) == "né"
    with pytest.raises(InvalidText, match="byte 1"):
        decode_line(b"n\xe9\n")
