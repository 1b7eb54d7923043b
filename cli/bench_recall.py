"""`rhea bench recall`, `recall-scale` and `digest`; `rhea calibrate`: recall, measured and tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import bench_app, print_json, reported
from rhea.cli.options import Json, quiet
from rhea.types import RecallMode

__all__ = ["bench_recall"]

Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the curve.")]


@bench_app.command("recall")
def bench_recall(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Recall format; else the small set that ships.")
    ] = None,
    budget: Annotated[
        list[int] | None, typer.Option("--budget", metavar="N", min=16, help="Tokens; repeat for a curve.")
    ] = None,
    mode: Annotated[RecallMode, typer.Option("--mode", help="How to decide.")] = "budget",
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Evidence in the context at a token budget, against recency, dense only and words only."""
    from rich.progress import Progress

    from rhea.bench.recall import bundled_file, measure_recall, plot_recall
    from rhea.cli.drawing import make_console

    quiet()
    with reported():
        with Progress(console=make_console(stderr=True), transient=True) as bars:
            task = bars.add_task("asking", total=None)
            report = measure_recall(
                file or bundled_file(),
                sorted(set(budget or [500, 1000, 2000])),
                mode=mode,
                progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
        if plot is not None:
            plot_recall(report, plot)
        if as_json:
            print_json(report)
            return
        typer.echo(
            f"{report['queries']} questions on {report['messages']} messages, {report['ms_per_query']['p50']} ms each"
        )
        typer.echo(
            f"{'budget':>8} {'recall':>8} {'verbatim':>8} {'tokens':>8} "
            + " ".join(f"{n:>8}" for n in report["baselines"])
        )
        for name, row in report["budgets"].items():
            others = " ".join(f"{values[name]:8.3f}" for values in report["baselines"].values())
            typer.echo(f"{name:>8} {row['recall']:8.3f} {row['verbatim']:8.3f} {row['tokens_max']:8} {others}")
