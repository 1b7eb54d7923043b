"""Episodic memory: which past turns enter the context, in which form, and why."""

from __future__ import annotations

from rhea.recall.plan import Recall, RecallPlan
from rhea.recall.render import PlannedEpisode, render_background, render_episode
from rhea.recall.work import settle

__all__ = ["PlannedEpisode", "Recall", "RecallPlan", "render_background", "render_episode", "settle"]
