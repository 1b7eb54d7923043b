"""Every measurement in one go: JSON for each, and one Markdown report with plots.

Each `rhea bench …` runs as a process of its own, so that one that fails, or takes too long, is reported and
the others go on. Without data of your own the small sets that ship are taken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhea.bench.overhead import machine
from rhea.bench.overhead_report import overhead_markdown
from rhea.bench.quality_report import quality_markdown
from rhea.errors import SettingsError

__all__ = ["MEASUREMENTS", "Measurement", "flattened", "markdown_report", "planned", "run_all"]

_COMMAND = [sys.executable, "-c", "from rhea.cli import main; main()", "bench"]
_MOST_ROWS = 60
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One `rhea bench` command as the report runs it.

    ``folder`` is the subfolder of the user's data whose files it takes, one run a file; ``needs_file`` says
    that it has no small set of its own, so that ``small`` is taken, from what ships. ``{peers}`` in the
    arguments stands for the peers asked for.
    """

    name: str
    title: str
    arguments: tuple[str, ...] = ()
    folder: str | None = None
    plot: bool = False
    seconds: float = 1200.0
    needs_file: bool = False
    small: str = ""
    option: str = ""
    """The option that takes the file, where it is not an argument."""


MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement("instructions", "Finding standing instructions", folder="instructions"),
    Measurement("scenarios", "Rules added, changed and withdrawn"),
    Measurement("retention", "Keeping them", ("--limit", "30"), folder="instructions"),
    Measurement("adherence", "Obeying them", ("--limit", "2", "--max-new-tokens", "64"), folder="adherence"),
    Measurement(
        "recall",
        "Recalling evidence",
        ("--budget", "500", "--budget", "1000", "--budget", "2000"),
        folder="recall",
        plot=True,
    ),
    Measurement("recall-scale", "Long conversations", ("--messages", "200", "--messages", "2000"), plot=True),
    Measurement("digest", "Digests of replies", folder="dialogues", needs_file=True, small="filler.jsonl"),
    Measurement(
        "compression", "Memory tokens", ("--limit", "20"), folder="dialogues", needs_file=True, small="filler.jsonl"
    ),
    Measurement(
        "latency",
        "Latency of a turn",
        ("--turns", "8", "--every", "4", "--new-tokens", "16", "--budget", "512"),
        plot=True,
    ),
    Measurement(
        "quality", "What peers give back", ("--peers", "{peers}"), folder="recall", plot=True, option="--recall"
    ),
    Measurement(
        "overhead", "What a turn costs", ("--peers", "{peers}", "--turns", "100,500"), plot=True, seconds=2400.0
    ),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One command line to run, and the names of its files."""

    measurement: Measurement
    label: str
    arguments: tuple[str, ...]


def planned(data: Path | None, peers: str, only: Sequence[str] = ()) -> list[Run]:
    """The runs of a report.

    Args:
        data: folder with subfolders ``recall``, ``instructions``, ``adherence``, ``dialogues`` of JSONL files.
        peers: as for `rhea bench overhead`.
        only: names of measurements; all of them when empty.

    Raises:
        SettingsError: a name that is none, or a folder that is not there.
    """
    from rhea.bench.files import bundled

    known = {m.name for m in MEASUREMENTS}
    for name in only:
        if name not in known:
            raise SettingsError(f"no measurement is called {name!r}; choose from {', '.join(sorted(known))}")
    if data is not None and not data.is_dir():
        raise SettingsError(f"{data} is not a folder")
    runs: list[Run] = []
    for m in MEASUREMENTS:
        if only and m.name not in only:
            continue
        given = tuple(a.format(peers=peers) for a in m.arguments)
        files = sorted((data / m.folder).glob("*.jsonl")) if data is not None and m.folder else []
        if not files and m.needs_file:
            files = [bundled(m.small)]
        for file in files:
            named = (m.option, str(file)) if m.option else (str(file),)
            runs.append(Run(m, f"{m.name}-{file.stem}", (*named, *given)))
        if not files:
            runs.append(Run(m, m.name, given))
    return runs


def run_all(
    out: Path,
    *,
    data: Path | None = None,
    peers: str = "all",
    only: Sequence[str] = (),
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Run every measurement and write ``NAME.json``, plots and ``report.md`` into a folder.

    Args:
        out: the folder; made when it is not there.
        data: larger sets, see `planned`.
        peers: as for `rhea bench overhead`.
        only: names of measurements; all of them when empty.
        say: told what is going on.

    Returns:
        For each run ``seconds``, and ``result`` or ``error``; under ``report`` the path of the Markdown.

    Raises:
        SettingsError: see `planned`.
    """
    runs = planned(data, peers, only)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for run in runs:
        say(f"rhea bench {run.measurement.name} {' '.join(run.arguments)}".rstrip())
        found[run.label] = one = _run(run, out)
        if "error" in one:
            say(f"  {one['error']}")
        else:
            text = json.dumps(one["result"], ensure_ascii=False, indent=1)
            (out / f"{run.label}.json").write_text(text + "\n", encoding="utf-8")
    report = out / "report.md"
    report.write_text(markdown_report(runs, found), encoding="utf-8")
    return {"runs": found, "report": str(report)}


def _run(run: Run, out: Path) -> dict[str, Any]:
    plot = out / f"{run.label}.png"
    command = [*_COMMAND, run.measurement.name, *run.arguments, "--json"]
    if run.measurement.plot:
        command += ["--plot", str(plot)]
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=run.measurement.seconds,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1")},
        )
    except subprocess.TimeoutExpired:
        return {"seconds": round(time.monotonic() - began, 1), "error": f"not done in {run.measurement.seconds:g} s"}
    seconds = round(time.monotonic() - began, 1)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return {"seconds": seconds, "error": said[-1][:300] if said else f"exit {done.returncode}"}
    try:
        result = json.loads(lines[-1])
    except ValueError:
        return {"seconds": seconds, "error": "its output is not JSON"}
    return {"seconds": seconds, "result": result, **({"plot": plot.name} if plot.exists() else {})}


def markdown_report(runs: Sequence[Run], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The report of some runs: a section for each, tables, plots, and what could not be run."""
    m = machine()
    lines = [
        "# Benchmarks",
        "",
        f"Made by `rhea bench all` on {m['cores']} cores ({m['architecture']}, {m['system']}), Python {m['python']}; "
        f"the disk takes {m['sync_ms']} ms to make a small write safe.",
        "",
    ]
    for run in runs:
        one = found[run.label]
        shown = [Path(a).name if a.endswith(".jsonl") else a for a in run.arguments]
        lines += [f"## {run.measurement.title}: {run.label}", ""]
        lines += [f"`{' '.join(['rhea bench', run.measurement.name, *shown])}`, {one['seconds']:,.0f} s.", ""]
        if "error" in one:
            lines += [f"Not measured: {one['error']}", ""]
            continue
        lines += [_section(run.measurement.name, one["result"]), ""]
        if "plot" in one:
            lines += [f"![{run.measurement.title}]({one['plot']})", ""]
    return "\n".join(lines)


def _section(name: str, result: Any) -> str:
    if name == "overhead":
        return overhead_markdown(result)
    if name == "quality":
        return quality_markdown(result)
    rows = list(flattened(result))
    lines = ["| figure | value |", "|---|--:|", *(f"| {key} | {value} |" for key, value in rows[:_MOST_ROWS])]
    if len(rows) > _MOST_ROWS:
        lines += ["", f"{len(rows) - _MOST_ROWS} more figures stand in the JSON."]
    return "\n".join(lines)


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every number, word and short list of a JSON value, with the dotted path to it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        for place, inner in enumerate(value):
            yield from flattened(inner, f"{path}[{place}]")
    elif isinstance(value, list):
        yield path, ", ".join(map(_shown, value))
    else:
        yield path, _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, bool) or not isinstance(value, int):
        return str(value).replace("|", "\\|")
    return f"{value:,}"
