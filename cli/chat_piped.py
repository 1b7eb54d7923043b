"""`rhea chat` with piped input: one line is one message, stdout holds only the replies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from rhea.cli.answering import answer
from rhea.cli.app import print_json
from rhea.errors import MessageTooLong
from rhea.intake import decode_line

if TYPE_CHECKING:
    from rhea.memory import Conversation

__all__ = ["converse"]


def converse(chat: Conversation, source: BinaryIO, *, as_json: bool, max_bytes: int) -> int:
    """Answer each line of ``source``; the first error ends it, earlier turns stay. Returns the exit code.

    A signal stops the reply, keeps what was said, and ends the loop with 128 + its number.

    Args:
        chat: the conversation.
        source: lines of UTF-8.
        as_json: print one object a turn rather than the reply's text.
        max_bytes: longest line read into memory.

    Raises:
        RheaError: a line cannot be a message, the model failed, or the reply was not saved.
    """
    for text in _lines(source, max_bytes):
        done = answer(chat, text, _ignore if as_json else _write)
        if as_json:
            print_json(done.to_dict())
        else:
            _write("\n")
        if done.unsaved is not None:
            raise done.unsaved
        if done.signal is not None:
            return 128 + done.signal
    return 0


def _lines(source: BinaryIO, max_bytes: int) -> Iterator[str]:
    while line := source.readline(max_bytes + 3):
        if len(line.rstrip(b"\r\n")) > max_bytes:
            raise MessageTooLong(f"a line is over the cap of {max_bytes:,} bytes; split the message")
        yield decode_line(line)


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _ignore(piece: str) -> None:
    """Pieces are not shown while a JSON object is still to be made of them."""
