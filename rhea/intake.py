"""Intake: refuse what no store can hold, keep everything else as it is.

User text is stored verbatim, so nothing is trimmed or normalised here; this module only says no.
"""

from __future__ import annotations

from rhea.errors import EmptyMessage, InvalidText, MessageTooLong

__all__ = ["accept", "decode_line"]


def accept(text: str, max_bytes: int | None) -> str:
    """Check one message and return it unchanged.

    Args:
        text: what the user (or an import) says.
        max_bytes: cap in bytes of UTF-8; ``None`` for a reply, which is stored whatever its length.

    Raises:
        EmptyMessage: nothing but white space.
        InvalidText: a NUL character or a lone surrogate.
        MessageTooLong: over the cap.
    """
    if not isinstance(text, str):
        raise InvalidText(f"a message must be text, not {type(text).__name__}")
    if not text.strip():
        raise EmptyMessage("the message is empty; say something")
    if "\0" in text:
        raise InvalidText(f"the message holds a NUL character at offset {text.index(chr(0))}; remove it")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise InvalidText(
            f"the message holds a lone surrogate at offset {error.start}; decode the input as UTF-8 first"
        ) from None
    if max_bytes is not None and size > max_bytes:
        raise MessageTooLong(
            f"the message takes {size:,} bytes, the cap is {max_bytes:,}; split it, or raise max_message_bytes"
        )
    return text


def decode_line(line: bytes) -> str:
    """Decode one line of piped input, without its line ending.

    Raises:
        InvalidText: the bytes are not UTF-8.
    """
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidText(f"the input is not UTF-8 (byte {error.start} of the line); convert it first") from None
