"""What the overhead measurement says: targets held against it, a Markdown table, a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rhea.bench.peers import PEERS, RHEA, RHEA_SMALL, Peer
from rhea.errors import MissingExtra

__all__ = ["overhead_markdown", "plot_overhead", "targets", "versions_sentence"]

_WRITE_RIVAL = "langgraph"
_WRITE_RATIO = 1.5
_FLAT_RATIO = 1.5
_DISK_RATIO = 2.0
_KNOWN: Mapping[str, Peer] = {p.name: p for p in (RHEA, RHEA_SMALL, *PEERS)}


def targets(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rhea's own targets, each with what was measured in this run.

    Args:
        result: of `rhea.bench.overhead.measure_overhead`.

    Returns:
        One entry a target: ``target`` in words, ``value``, ``bound``, ``met``. One that needs a peer or a size
        that was not measured is left out.
    """
    found: list[dict[str, Any]] = []
    for embedder in result["embedders"]:
        rows = [r for r in result["rows"] if r["embedder"] == embedder]
        mine = {r["turns"]: r for r in rows if r["peer"] == RHEA.name}
        for size, row in mine.items():
            rivals = {r["peer"]: r for r in rows if r["turns"] == size and r["reached"] >= size}
            nearest = [r for r in rivals.values() if r["peer"] in _KNOWN and _KNOWN[r["peer"]].by_meaning]
            others = [r for r in nearest if not r["peer"].startswith(RHEA.name)]
            if others:
                best = min(others, key=lambda r: r["read_ms"]["p50"])
                for own in (r for r in nearest if r["peer"].startswith(RHEA.name)):
                    found.append(
                        _held(
                            f"{_title(own)}: read at {size:,} exchanges, against {_title(best)}, ms ({embedder})",
                            own["read_ms"]["p50"],
                            best["read_ms"]["p50"],
                        )
                    )
            if _WRITE_RIVAL in rivals:
                found.append(
                    _held(
                        f"write at {size:,} exchanges, against {_WRITE_RATIO} x LangGraph SqliteStore, ms ({embedder})",
                        row["write_ms"]["p50"],
                        _WRITE_RATIO * rivals[_WRITE_RIVAL]["write_ms"]["p50"],
                    )
                )
            found.append(
                _held(
                    f"bytes on disk that a write adds at {size:,}, against 2 x text plus vectors ({embedder})",
                    row["disk_per_exchange"],
                    _DISK_RATIO * row["text_per_exchange"] + row["vectors_per_exchange"],
                )
            )
        if len(mine) > 1:
            small, large = mine[min(mine)], mine[max(mine)]
            found.append(
                _held(
                    f"write at {max(mine):,} exchanges, against {_FLAT_RATIO} x at {min(mine):,}, ms ({embedder})",
                    large["write_ms"]["p50"],
                    _FLAT_RATIO * small["write_ms"]["p50"],
                )
            )
    return found


def _held(target: str, value: float, bound: float) -> dict[str, Any]:
    return {"target": target, "value": round(value, 2), "bound": round(bound, 2), "met": value <= bound}


def _title(row: Mapping[str, Any]) -> str:
    known = _KNOWN.get(row["peer"])
    return known.title if known else str(row["peer"])


def overhead_markdown(result: Mapping[str, Any]) -> str:
    """Tables of one measurement, with what each memory gives back and what could not be run."""
    lines: list[str] = []
    for embedder in result["embedders"]:
        lines += [
            f"**Vectors: {embedder}.** Median (95th percentile) in milliseconds; the embedder's time is left out.",
            "",
            "| memory | exchanges | read | write | bytes on disk a write adds | peak memory, MiB | a read gave |",
            "|---|--:|--:|--:|--:|--:|---|",
        ]
        for row in (r for r in result["rows"] if r["embedder"] == embedder):
            reached = f"{row['reached']:,}" + (" ¹" if row["stopped"] else "")
            lines.append(
                f"| {_title(row)} | {reached} | {_spread(row['read_ms'])} | {_spread(row['write_ms'])} "
                f"| {row['disk_per_exchange']:,} | {row['memory_peak_mib']:,.0f} "
                f"| {row['items']:,} messages, {row['characters']:,} characters |"
            )
        lines.append("")
        lines += [
            f"¹ {_title(r)}: {r['stopped']}; measured there."
            for r in result["rows"]
            if r["embedder"] == embedder and r["stopped"]
        ]
        lines += ["", _parts_sentence(result["rows"], embedder), ""]
    lines += ["| memory | a read gives back | a write stores |", "|---|---|---|"]
    shown = dict.fromkeys(r["peer"] for r in result["rows"])
    lines += [f"| {_KNOWN[p].title} | {_KNOWN[p].returns} | {_KNOWN[p].stores} |" for p in shown if p in _KNOWN]
    lines += ["", *(f"Skipped: {_KNOWN[p].title}, {why}." for p, why in result["skipped"].items() if p in _KNOWN), ""]
    lines += ["| target | measured | bound | met |", "|---|--:|--:|---|"]
    for held in targets(result):
        met = "yes" if held["met"] else "no"
        lines.append(f"| {held['target']} | {held['value']:,} | {held['bound']:,} | {met} |")
    lines += ["", versions_sentence(result)]
    return "\n".join(lines) + "\n"


def versions_sentence(result: Mapping[str, Any]) -> str:
    """Machine and versions, in general terms."""
    m = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(result["versions"].items()))
    return (
        f"{m['cores']} cores ({m['architecture']}, {m['system']}), Python {m['python']}; the disk takes "
        f"{m['sync_ms']} ms to make a small write safe. {versions}."
    )


def _spread(value: Mapping[str, float]) -> str:
    return f"{value['p50']:,.1f} ({value['p95']:,.1f})"


def _parts_sentence(rows: Sequence[Mapping[str, Any]], embedder: str) -> str:
    """What Rhea's figures are made of, at the largest size."""
    mine = [r for r in rows if r["embedder"] == embedder and r["peer"] == RHEA.name]
    if not mine:
        return ""
    row = mine[-1]
    parts = row["parts_ms"]
    return (
        f"Rhea at {row['reached']:,}: reading is building the context. `begin` as a whole takes "
        f"{parts.get('read_begin', 0.0):.1f} ms, because it also makes the question durable first. Writing is that "
        f"({parts.get('write_store', 0.0):.1f} ms, with the search for rules), the commit "
        f"({parts.get('write_commit', 0.0):.1f} ms), and digests and vectors "
        f"({parts.get('write_background', 0.0):.1f} ms), which a running chat makes in the background. Vectors take "
        f"{row['vectors_per_exchange']:,} of the bytes, the text {row['text_per_exchange']:,}."
    )


def plot_overhead(result: Mapping[str, Any], path: Path) -> None:
    """Read and write over the number of exchanges, both axes logarithmic, a line for each memory.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtra("bench", "a plot") from None
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    embedder = result["embedders"][-1]
    rows = [r for r in result["rows"] if r["embedder"] == embedder]
    for place, (kind, title) in enumerate((("read_ms", "read: build the context"), ("write_ms", "write: store one"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for peer in dict.fromkeys(r["peer"] for r in rows):
            mine = [r for r in rows if r["peer"] == peer]
            own = peer.startswith(RHEA.name)
            axes.plot(
                [r["reached"] for r in mine],
                [r[kind]["p50"] for r in mine],
                marker="o",
                linewidth=2.4 if own else 1.2,
                label=_title(mine[0]),
            )
        axes.set(xscale="log", yscale="log", xlabel="exchanges stored", ylabel="milliseconds, median", title=title)
        axes.grid(visible=True, alpha=0.3)
        if place == 0:
            axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)
