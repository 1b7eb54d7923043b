"""The result of recall: what enters the context, what is dropped first when it does not fit, what stays out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from rhea.recall.render import PlannedEpisode, render_background
from rhea.recall.traces import TurnScores
from rhea.stores.packing import ABSENT, Columns
from rhea.types import Decision, EpisodeTrace

__all__ = ["RecallPlan", "Trace"]


class Trace(Sequence[EpisodeTrace]):
    """Rows of a trace, made when they are looked at: most turns store theirs, by column, and nobody looks.

    Args:
        episodes: what was chosen.
        omitted: the rows of omitted turns.
    """

    def __init__(self, episodes: Sequence[PlannedEpisode], omitted: Sequence[EpisodeTrace]) -> None:
        rows = [
            (e.conversation or "", e.turn.position, e.decision, e.score, e.tokens, e.reason, e.channels)
            for e in episodes
        ]
        rows += [
            (o.conversation or "", o.position, o.decision, o.score, o.tokens, o.reason, o.channels) for o in omitted
        ]
        self._values = sorted(rows, key=itemgetter(0, 1))
        self._rows: tuple[EpisodeTrace, ...] | None = None

    def columns(self) -> Columns:
        """As `Context.to_dict` has them, by column."""
        names = ("position", "decision", "score", "tokens", "reason", "channels", "conversation")
        if not self._values:
            return Columns(names, [[] for _ in names])
        conversations, positions, decisions, scores, tokens, reasons, channels = zip(*self._values, strict=True)
        where = [name or ABSENT for name in conversations]
        values = [positions, [d.value for d in decisions], scores, tokens, reasons, channels, where]
        most = len(names) if any(conversations) else len(names) - 1
        return Columns(names[:most], values[:most])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._values)

    def __getitem__(self, place: Any) -> Any:
        """One row, or some."""
        if self._rows is None:
            self._rows = tuple(
                EpisodeTrace(position, decision, score, tokens, reason, channels, conversation or None)
                for conversation, position, decision, score, tokens, reason, channels in self._values
            )
        return self._rows[place]

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence of the same rows."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        """Of the rows."""
        return hash((len(self._values), tuple(row[1] for row in self._values)))


@dataclass
class RecallPlan:
    """What enters the context, in time order, and why everything else does not."""

    episodes: list[PlannedEpisode]
    """Chosen episodes in time order; those marked ``recent`` are the last exchange."""
    days: bool
    """Whether the background names the days of its messages."""
    ranks: Mapping[int, float]
    """Worth by message id: what `shrink` drops first is the lowest."""
    omitted: list[EpisodeTrace]
    """The best scored omitted turns."""
    others: TurnScores
    """Position and score of this conversation's turns, 0 for the chosen ones and those in ``omitted``."""

    @property
    def background(self) -> list[PlannedEpisode]:
        """Episodes of the background, in time order."""
        return [e for e in self.episodes if not e.recent]

    @property
    def recent(self) -> list[PlannedEpisode]:
        """The last exchange, as far as it has room."""
        return [e for e in self.episodes if e.recent]

    def background_text(self) -> str:
        """The background as it stands in the prompt, without a heading."""
        return render_background(self.background, days=self.days)

    def trace(self) -> Trace:
        """A row for each episode and each traced omitted turn, by position."""
        return Trace(self.episodes, self.omitted)

    def restate(self, turn_ids: Collection[int], count: Callable[[str], int], *, keep_last: bool) -> None:
        """Take out turns whose requests stand beside the question, replies included.

        Args:
            turn_ids: turns of this conversation.
            count: tokens of a text.
            keep_last: whether the last exchange stays, because its reply is worked on.
        """
        for episode in self.background if keep_last else list(self.episodes):
            if episode.turn.id in turn_ids:
                self.episodes.remove(episode)
                tokens, reason = count(episode.turn.user), "restated beside the question"
                row = (episode.turn.position, Decision.COMPRESSED, episode.score, tokens, reason, episode.channels)
                self.omitted.append(EpisodeTrace(*row, episode.conversation))

    def shrink(self) -> bool:
        """Drop the least valuable message; ``False`` when nothing is left to drop."""
        parts = [
            (self.ranks[p.message_id], p.message_id, place) for place, e in enumerate(self.episodes) for p in e.parts
        ]
        if not parts:
            return False
        _, worst, place = min(parts)
        episode = self.episodes[place]
        left = tuple(p for p in episode.parts if p.message_id != worst)
        if left:
            self.episodes[place] = replace(episode, parts=left, decision=Decision.COMPRESSED)
            return True
        del self.episodes[place]
        self.omitted.append(
            EpisodeTrace(
                episode.turn.position,
                Decision.OMITTED,
                episode.score,
                0,
                "did not fit the final count",
                episode.channels,
                episode.conversation,
            )
        )
        return True
