"""`rhea bench recall`, `recall-scale` and `digest`; `rhea calibrate`: recall, measured and tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import app, bench_app, print_json, reported
from rhea.cli.options import Json, quiet
from rhea.types import RecallMode

__all__ = ["bench_digest", "bench_recall", "bench_recall_scale", "calibrate"]

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


@bench_app.command("recall-scale")
def bench_recall_scale(
    messages: Annotated[
        list[int] | None, typer.Option("--messages", metavar="N", min=2, help="Sizes; repeat for several.")
    ] = None,
    turns: Annotated[int, typer.Option("--turns", metavar="N", min=5, help="Timed turns at each size.")] = 40,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Time and memory of a turn from 200 to 20,000 messages, without the embedder's and the model's time."""
    from rhea.bench.recall_scale import DEFAULT_SIZES, measure_scale, plot_scale

    quiet()
    with reported():
        report = measure_scale(
            sorted(set(messages or DEFAULT_SIZES)), turns=turns, progress=lambda line: typer.echo(line, err=True)
        )
        if plot is not None:
            plot_scale(report, plot)
        if as_json:
            print_json(report)
            return
        typer.echo(
            "messages   begin p50/p95 ms   of it CPU p50/p95   commit p50/p95 ms   first ms   index MB   database MB"
        )
        for row in report["sizes"]:
            begin, used, commit = row["begin_ms"], row["begin_cpu_ms"], row["commit_ms"]
            typer.echo(
                f"{row['messages']:8,} {begin['p50']:9.1f} /{begin['p95']:7.1f} {used['p50']:10.1f} /"
                f"{used['p95']:7.1f} {commit['p50']:10.1f} /"
                f"{commit['p95']:7.1f} {row['first_begin_ms']:10.0f} {row['index_mb']:10.1f} {row['database_mb']:13.1f}"
            )


@bench_app.command("digest")
def bench_digest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Dialogues, or chats as `rhea import` reads.")],
    share: Annotated[
        list[float] | None,
        typer.Option("--share", metavar="X", min=0.01, max=1.0, help="Sizes as shares of a reply's tokens."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Content words that digests keep at each size, against a truncation of the same size."""
    from rhea.bench.digest import DEFAULT_SHARES, measure_digests
    from rhea.models.counting import TokenizerCounter

    quiet()
    with reported():
        report = measure_digests(files, TokenizerCounter().count_text, sorted(set(share or DEFAULT_SHARES)))
        if as_json:
            print_json(report)
            return
        typer.echo(f"{report['replies']} replies, median {report['tokens_p50']} tokens")
        typer.echo(f"{'share':>8} {'digest':>8} {'truncation':>11} {'real size':>10}")
        for name, row in report["shares"].items():
            typer.echo(f"{name:>8} {row['digest']:8.3f} {row['truncation']:11.3f} {row['tokens']:10.3f}")


@app.command()
def calibrate(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Recall format; else the small set that ships.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option("--embedder", metavar="MODEL", help="Hub name or folder; else the default embedder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.json", help="Else where Rhea finds it by itself.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit score levels and thresholds to an embedder, from conversations with known evidence."""
    from dataclasses import asdict

    from rhea.bench.recall import bundled_file, labelled_conversations
    from rhea.embed import SentenceTransformerEmbedder
    from rhea.recall.calibrate import calibrate as fit
    from rhea.recall.calibration import calibration_file

    quiet()
    with reported():
        chosen = SentenceTransformerEmbedder(embedder) if embedder else SentenceTransformerEmbedder()
        made = fit(labelled_conversations(file or bundled_file()), chosen)
        target = output or calibration_file(made.embedder_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made.to_json(), encoding="utf-8")
        if as_json:
            print_json({"file": str(target), **asdict(made)})
            return
        typer.echo(f"slope {made.slope}, offset {made.offset}, {len(made.levels)} channels: written to {target}")
