"""The result of recall: what enters the context, what is dropped first when it does not fit, what stays out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rhea.recall.render import PlannedEpisode, render_background
from rhea.recall.traces import TurnScores
from rhea.types import Decision, EpisodeTrace

__all__ = ["RecallPlan"]


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
    """Position and score of this conversation's turns that are neither chosen nor in ``omitted``."""

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

    def trace(self) -> list[EpisodeTrace]:
        """A row for each episode and each traced omitted turn, by position."""
        chosen = [
            EpisodeTrace(e.turn.position, e.decision, e.score, e.tokens, e.reason, e.channels, e.conversation)
            for e in self.episodes
        ]
        return sorted([*chosen, *self.omitted], key=lambda t: (t.conversation or "", t.position))

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
