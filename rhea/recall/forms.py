"""The forms that a past turn's messages can take in a context, with their sizes: worked out once, then remembered.

A turn that is read again unchanged has the same lines and the same number of tokens, so a question only pays for turns
that are new, or whose digest came meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rhea.recall.render import Part, day_of, raw_part, render_part
from rhea.types import Message, TurnRecord

__all__ = ["Form", "FormCache"]

_MOST = 8_192
"""Turns remembered."""
_MOST_CHARACTERS = 16_000_000


@dataclass(slots=True)
class Form:
    """One message, verbatim and as a digest."""

    message: Message
    key: int
    """The message's id."""
    is_user: bool
    is_reply: bool
    raw: Part
    raw_tokens: int
    """Label and line break included."""
    digest: Part | None
    digest_tokens: int | None
    """``None`` without a digest, or when it is no shorter than the reply."""
    day: int


class FormCache:
    """Forms by turn: least recently used first out."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, tuple[TurnRecord, str, list[Form]]] = OrderedDict()
        self._characters = 0

    def of(self, turn: TurnRecord, count: Callable[[str], int], counter: str) -> list[Form]:
        """The forms of each message of a turn.

        Args:
            turn: as it stands in the store now.
            count: tokens of a text.
            counter: name of the tokenizer, "" for one whose counts are not to be remembered.
        """
        held = self._held.get(turn.id)
        if held is not None:
            if counter and held[1] == counter and (held[0] is turn or held[0] == turn):
                self._held.move_to_end(turn.id)
                return held[2]
            self._drop(turn.id)
        made = [_form(turn, message, count) for message in turn.messages]
        if counter:
            self._held[turn.id] = turn, counter, made
            self._characters += _size(turn)
            while len(self._held) > _MOST or (self._characters > _MOST_CHARACTERS and len(self._held) > 1):
                self._drop(next(iter(self._held)))
        return made

    def _drop(self, turn_id: int) -> None:
        turn, _, _ = self._held.pop(turn_id)
        self._characters -= _size(turn)


def _size(turn: TurnRecord) -> int:
    return sum(len(m.text) for m in turn.messages)


def _form(turn: TurnRecord, message: Message, count: Callable[[str], int]) -> Form:
    raw = raw_part(message)
    tokens = count(render_part(raw) + "\n")
    digest = _digest(turn, message)
    small = None if digest is None else count(render_part(digest) + "\n")
    role = message.role
    return Form(
        message,
        message.id,
        role == "user",
        role == "assistant",
        raw,
        tokens,
        digest,
        small if small is not None and small < tokens else None,
        day_of(raw),
    )


def _digest(turn: TurnRecord, message: Message) -> Part | None:
    """The reply's digest, standing for the first reply of its turn; ``None`` when there is none."""
    if turn.digest is None or message.role != "assistant" or turn.digest == message.text:
        return None
    if sum(m.role == "assistant" for m in turn.messages) != 1:
        return None
    return Part(message.id, message.role, turn.digest, False, message.name, message.time)
