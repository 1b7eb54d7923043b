"""How an episode reads in the prompt: labels, days, and the exact text that the budget counts.

Framing costs tokens that evidence could have, so a line has one short label, a day is written once for
all messages of that day, and only its year when it changes. Message text is never altered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rhea.recall.dates import message_day, short_day
from rhea.types import Decision, Message, Role, TurnRecord

__all__ = ["Part", "PlannedEpisode", "day_of", "raw_part", "render_background", "render_episode", "render_part"]

_LABELS: dict[str, str] = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class Part:
    """One message of an episode in the form that enters the context."""

    message_id: int
    role: Role
    text: str
    """The message verbatim, or the reply's digest."""
    verbatim: bool
    name: str | None = None
    time: str | None = None
    memory: int = 0
    """Memory tokens that can stand for it instead of its text, 0 where there are none."""


@dataclass(slots=True)
class PlannedEpisode:
    """One past turn that enters the context, and why."""

    turn: TurnRecord
    decision: Decision
    score: float
    channels: Mapping[str, float]
    """What each channel said of its best message; kept for the best scored few."""
    reason: str
    tokens: int
    """What its parts take in the context, labels included, days shared with others not."""
    parts: tuple[Part, ...]
    recent: bool
    """Whether it stands in the recent section (the last exchange) rather than in the background."""
    conversation: str | None = None
    """Name of the conversation it comes from, when not the current one."""

    @property
    def remembered(self) -> bool:
        """Whether it is one user message and one reply as memory tokens: it stands as messages, not as background."""
        return [p.role for p in self.parts] == ["user", "assistant"] and self.parts[1].memory > 0


def raw_part(message: Message) -> Part:
    """A message as it stands."""
    return Part(message.id, message.role, message.text, True, message.name, message.time)


def render_part(part: Part) -> str:
    """One labelled line (or more, when the text has line breaks)."""
    return f"{part.name or _LABELS[part.role]}: {part.text}"


def day_of(part: Part) -> int:
    """Day of the message as a proleptic ordinal, 0 when its time is unknown."""
    return message_day(part.time)


def render_episode(episode: PlannedEpisode) -> str:
    """The parts of one episode, one a line, without a day."""
    return "\n".join(render_part(part) for part in episode.parts)


def render_background(episodes: Sequence[PlannedEpisode], *, days: bool) -> str:
    """All background episodes in time order; with ``days``, a line "[8 May 2023]" before each new day.

    Args:
        episodes: in time order.
        days: whether days are written (``RecallPlan.days``).
    """
    lines: list[str] = []
    current, year = 0, None
    conversation: str | None = None
    for episode in episodes:
        if episode.conversation != conversation:
            conversation = episode.conversation
            lines.append(f"[conversation {conversation}]" if conversation else "[this conversation]")
        for part in episode.parts:
            day = day_of(part)
            if days and day and day != current:
                label = short_day(day, year)
                lines.append(f"[{label}]")
                current, year = day, int(label[-4:]) if label[-4:].isdigit() else year
            lines.append(render_part(part))
    return "\n".join(lines)
