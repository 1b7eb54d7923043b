"""A context in words: what was chosen, what was left out, and why. Plain text, no colours, no terminal.

`print(turn.context)` shows this; `rhea why` draws the same facts in colour from the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from rhea.types import Context, Decision, EpisodeTrace

__all__ = [
    "GLYPHS",
    "bar_cells",
    "chosen",
    "counts",
    "explain",
    "omitted_best",
    "summary_line",
    "timeline",
    "top_reasons",
]

GLYPHS: Mapping[Decision, str] = {Decision.RAW: "█", Decision.COMPRESSED: "▒", Decision.OMITTED: "·"}
"""Shapes that tell the decisions apart without colour."""

_BAR = 40
_STRENGTH = {Decision.OMITTED: 0, Decision.COMPRESSED: 1, Decision.RAW: 2}
_OMITTED_SHOWN = 3


def explain(context: Context, *, width: int = 100) -> str:
    """The whole context as lines of text.

    Args:
        context: what the model saw in one turn.
        width: columns; longer texts are cut with an ellipsis.
    """
    lines = [f"Context: {context.tokens:,} of {context.budget:,} tokens"]
    cells = bar_cells(context, _BAR)
    for name, tokens in context.sections.items():
        lines.append(f"  {name:<13}{tokens:>7,}  {'#' * cells.get(name, 0)}".rstrip())
    lines += _listed("Instructions in force", context.instructions, width)
    lines += _listed("Left out, no room", context.left_out, width)
    lines.append(f"Past turns: {summary_line(context)}")
    for episode in (*chosen(context), *omitted_best(context, _OMITTED_SHOWN)):
        lines.append(_cut(f"  {_where(episode):<9} {_figures(episode)}  {episode.reason}", width))
    lines += _listed("Notes", context.notes, width)
    return "\n".join(lines)


def counts(context: Context) -> dict[Decision, int]:
    """Number of past turns by decision."""
    found = dict.fromkeys(Decision, 0)
    for episode in context.episodes:
        found[episode.decision] += 1
    return found


def summary_line(context: Context) -> str:
    """Such as ``2 raw, 1 compressed, 14 omitted``; ``none`` in the first turn."""
    parts = [f"{number} {decision}" for decision, number in counts(context).items() if number]
    return ", ".join(parts) or "none"


def chosen(context: Context) -> list[EpisodeTrace]:
    """Episodes that stand in the context, in order of time."""
    return [e for e in context.episodes if e.decision is not Decision.OMITTED]


def omitted_best(context: Context, most: int) -> list[EpisodeTrace]:
    """The omitted turns that came nearest, best first."""
    left = [e for e in context.episodes if e.decision is Decision.OMITTED]
    return sorted(left, key=lambda e: (-e.score, e.position))[:most]


def top_reasons(context: Context, most: int = 5) -> list[str]:
    """One sentence for each of the most relevant turns, the best omitted one included.

    Args:
        context: what the model saw.
        most: sentences, at most.
    """
    taken = sorted(chosen(context), key=lambda e: (-e.score, e.position))
    nearest = omitted_best(context, 1)
    picked = [*taken[: max(0, most - len(nearest))], *nearest]
    return [f"{_where(e)} {_verb(e.decision)}: {e.reason}{_evidence(e)}" for e in picked]


def bar_cells(context: Context, width: int) -> dict[str, int]:
    """Cells of a bar of ``width`` that each section fills, the budget being the whole bar.

    A section with any tokens gets a cell at least, so that none disappears; empty ones are left out.
    """
    full = max(context.budget, context.tokens, 1)
    return {name: max(1, round(width * n / full)) for name, n in context.sections.items() if n > 0}


def timeline(context: Context, turns: int, width: int) -> list[Decision]:
    """One decision a cell for the past turns of this conversation, oldest first.

    Args:
        context: what the model saw.
        turns: number of past turns; those that the trace does not name were omitted.
        width: cells, at most. With more turns than cells, a cell shows the strongest form among its turns.
    """
    row = [Decision.OMITTED] * turns
    for episode in context.episodes:
        if episode.conversation is None and 1 <= episode.position <= turns:
            row[episode.position - 1] = episode.decision
    if turns <= width:
        return row
    edges = [i * turns // width for i in range(width + 1)]
    return [max(row[a:b], key=_STRENGTH.__getitem__) for a, b in pairwise(edges)]


def _where(episode: EpisodeTrace) -> str:
    place = f"turn {episode.position}"
    return f"{place} of {episode.conversation}" if episode.conversation else place


def _figures(episode: EpisodeTrace) -> str:
    return f"{episode.decision:<11}{episode.score:5.2f} {episode.tokens:>6,} tokens"


def _verb(decision: Decision) -> str:
    return "left out" if decision is Decision.OMITTED else decision.value


def _evidence(episode: EpisodeTrace) -> str:
    """Score and what it comes from, told as two figures: nearness of meaning and words in common."""
    figures = [] if episode.reason.startswith("score") else [f"score {episode.score:.2f}"]
    words = [value for name, value in episode.channels.items() if "words" in name]
    meaning = [value for name, value in episode.channels.items() if "words" not in name]
    for title, values in (("meaning", meaning), ("words", words)):
        if values and max(values) > 0:
            figures.append(f"{title} {max(values):.2f}")
    return f" ({', '.join(figures)})" if figures else ""


def _listed(title: str, texts: Sequence[str], width: int) -> list[str]:
    if not texts:
        return []
    return [f"{title}:", *(_cut(f"  {n}. {text}", width) for n, text in enumerate(texts, 1))]


def _cut(line: str, width: int) -> str:
    flat = line.replace("\r", " ").replace("\n", " ")
    return flat if len(flat) <= width else flat[: max(width - 1, 1)].rstrip() + "…"
