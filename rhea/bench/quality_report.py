"""What the quality measurement says, as a Markdown table and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rhea.bench.overhead_report import versions_sentence
from rhea.bench.peers import PEERS, RHEA, Peer
from rhea.errors import MissingExtra

__all__ = ["plot_quality", "quality_markdown"]

_KNOWN: Mapping[str, Peer] = {p.name: p for p in (RHEA, *PEERS)}
_MEASURES = {
    "recall": "share of the evidence messages that came back whole",
    "retention": "share of a rule's sentences that came back after filler",
}


def quality_markdown(result: Mapping[str, Any]) -> str:
    """A table for each measure: memories down, budgets across, tokens given back in brackets."""
    lines: list[str] = []
    budgets = result["budgets"]
    for measure, title in _MEASURES.items():
        rows = [r for r in result["rows"] if r["measure"] == measure]
        if not rows:
            continue
        lines += [
            f"**{measure.capitalize()}**: {title} ({result['cases'][measure]} conversations, "
            f"{rows[0]['questions']} questions). In brackets: tokens given back, median and most.",
            "",
            "| memory | " + " | ".join(f"{b:,} tokens" for b in budgets) + " | by itself | budget |",
            "|---|" + "--:|" * (len(budgets) + 1) + "---|",
        ]
        for peer in dict.fromkeys(r["peer"] for r in rows):
            mine = {r["budget"]: r for r in rows if r["peer"] == peer}
            cells = [_cell(mine.get(b)) for b in (*budgets, None)]
            how = next((r["how"] for b, r in mine.items() if b is not None), "")
            lines.append(f"| {_KNOWN[peer].title} | " + " | ".join(cells) + f" | {how} |")
        lines.append("")
    lines += [f"Skipped: {_KNOWN[p].title}, {why}." for p, why in result["skipped"].items()]
    lines += ["", f"Vectors: {result['embedder']}. {versions_sentence(result)}"]
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    return f"{row['share']:.2f} ({row['tokens_p50']:,}, {row['tokens_max']:,})"


def plot_quality(result: Mapping[str, Any], path: Path) -> None:
    """Share found over budget, a line for each memory.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtra("bench", "a plot") from None
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    measures = [m for m in _MEASURES if any(r["measure"] == m for r in result["rows"])]
    for place, measure in enumerate(measures):
        axes = figure.add_subplot(1, len(measures), place + 1)
        rows = [r for r in result["rows"] if r["measure"] == measure and r["budget"]]
        for peer in dict.fromkeys(r["peer"] for r in rows):
            mine = sorted((r for r in rows if r["peer"] == peer), key=lambda r: r["budget"])
            axes.plot(
                [r["budget"] for r in mine],
                [r["share"] for r in mine],
                marker="o",
                linewidth=2.4 if peer == RHEA.name else 1.2,
                label=_KNOWN[peer].title,
            )
        axes.set(ylim=(-0.03, 1.03), xlabel="budget, tokens", ylabel="share that came back", title=measure)
        axes.grid(visible=True, alpha=0.3)
        if place == 0:
            axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)
