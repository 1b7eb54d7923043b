"""`rhea bench quality`: what Rhea and other memories give back at equal budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import bench_app, print_json, reported

__all__ = ["quality"]


@bench_app.command("quality")
def quality(
    recall: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Conversations with questions; the bundled ones by default.")
    ] = None,
    retention: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rules to be kept; the bundled ones by default.")
    ] = None,
    peers: Annotated[str, typer.Option(metavar="NAMES", help="all, none, or names joined by commas.")] = "all",
    budget: Annotated[list[int] | None, typer.Option(metavar="TOKENS", help="May be given more than once.")] = None,
    questions: Annotated[int, typer.Option(metavar="N", help="Most questions of one conversation.")] = 40,
    rules: Annotated[int, typer.Option(metavar="N", help="Most conversations with rules.")] = 12,
    filler: Annotated[int, typer.Option(metavar="N", help="Exchanges between a bundled rule and its question.")] = 40,
    embedder: Annotated[str, typer.Option(metavar="NAME", help="all-MiniLM-L6-v2 or stand-in.")] = "all-MiniLM-L6-v2",
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the shares over the budget.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Evidence recall and rule retention of Rhea and its peers, at equal token budgets."""
    with reported():
        from rhea.bench.files import bundled
        from rhea.bench.peers import chosen_peers
        from rhea.bench.quality import measure_quality, recall_cases, retention_cases
        from rhea.bench.quality_report import plot_quality, quality_markdown
        from rhea.models.counting import TokenizerCounter

        cases = [
            *recall_cases(recall or bundled("quality_recall.jsonl"), most=questions),
            *retention_cases(retention or bundled("quality_retention.jsonl"), most=rules, filler=filler),
        ]
        result = measure_quality(
            cases,
            sorted(set(budget or [250, 500, 1000])),
            chosen_peers(peers),
            embedder=embedder,
            counter=TokenizerCounter(),
            say=lambda line: typer.echo(line, err=True),
        )
        if plot is not None:
            plot_quality(result, plot)
        if json:
            print_json(result)
        else:
            typer.echo(quality_markdown(result))
