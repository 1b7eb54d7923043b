"""One message and its reply, for both forms of `rhea chat`: streamed, stoppable, and told as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rhea.cli.interrupts import Interrupts
from rhea.errors import ReplyNotSaved

if TYPE_CHECKING:
    from rhea.memory import Conversation, Reply, Turn
    from rhea.types import Context

__all__ = ["Answer", "answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one message."""

    turn: Turn
    user: str
    reply: str
    interrupted: bool
    seconds: float
    signal: int | None
    """The signal that stopped the reply."""
    unsaved: ReplyNotSaved | None
    """Why the reply is not in the database; commit it again with ``turn.commit(reply)``."""

    @property
    def context(self) -> Context:
        """What the model saw."""
        return self.turn.context

    def to_dict(self) -> dict[str, Any]:
        """The object that ``rhea chat --json`` prints for a turn."""
        return {
            "position": self.turn.position,
            "user": self.user,
            "reply": self.reply,
            "interrupted": self.interrupted,
            "context": self.context.to_dict(),
            "seconds": round(self.seconds, 3),
            **({"saved": False} if self.unsaved else {}),
        }


def answer(chat: Conversation, text: str, show: Callable[[str], object]) -> Answer:
    """Send one message and show the reply piece by piece.

    Args:
        chat: the conversation.
        text: what the user says.
        show: called with each piece; when it raises, the reply is stopped and kept.

    Raises:
        RheaError: the message was refused, or the model failed.
    """
    began = perf_counter()
    unsaved: ReplyNotSaved | None = None
    with Interrupts() as interrupts:
        reply = chat.stream(text)
        try:
            try:
                while True:
                    with interrupts.let_through():
                        piece = next(reply, None)
                    if piece is None:
                        break
                    show(piece)
            except KeyboardInterrupt:
                _keep(reply)
            finally:
                reply.close()
        except ReplyNotSaved as error:
            unsaved = error
    return Answer(
        turn=reply.turn,
        user=text,
        reply=reply.text,
        interrupted=reply.interrupted,
        seconds=perf_counter() - began,
        signal=interrupts.signal,
        unsaved=unsaved,
    )


def _keep(reply: Reply) -> None:
    """Store what was said, also when the signal came just while that was being done: both calls repeat safely."""
    reply.close()
    if reply.interrupted:
        reply.turn.interrupt(reply.text)
    else:
        reply.turn.commit(reply.text)
