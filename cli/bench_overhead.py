"""`rhea bench overhead`: what a turn costs, beside other memories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import bench_app, print_json, reported

__all__ = ["overhead", "sizes"]


def sizes(text: str) -> list[int]:
    """Numbers from a comma separated list.

    Raises:
        SettingsError: something else stands there, or a number below 50.
    """
    from rhea.errors import SettingsError

    try:
        found = [int(part.replace("_", "")) for part in text.split(",") if part.strip()]
    except ValueError:
        found = []
    if not found or min(found) < 50:
        raise SettingsError(f"--turns takes numbers from 50 up, such as 100,500,10000, not {text!r}")
    return found


@bench_app.command("overhead")
def overhead(
    turns: Annotated[str, typer.Option(metavar="N,N", help="Sizes, in exchanges stored.")] = "100,500,10000",
    peers: Annotated[str, typer.Option(metavar="NAMES", help="all, none, or names joined by commas.")] = "all",
    embedders: Annotated[
        str, typer.Option(metavar="NAMES", help="stand-in, all-MiniLM-L6-v2, or both joined by a comma.")
    ] = "stand-in,all-MiniLM-L6-v2",
    limit: Annotated[float, typer.Option(metavar="SECONDS", help="Longest time to fill one memory.")] = 240.0,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw read and write over size.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Read, write, size on disk and memory of Rhea and its peers, the model's and the embedder's time left out."""
    with reported():
        from rhea.bench.overhead import measure_overhead
        from rhea.bench.overhead_report import overhead_markdown, plot_overhead, targets
        from rhea.bench.peers import chosen_peers

        result = measure_overhead(
            sizes(turns),
            chosen_peers(peers),
            embedders=[e.strip() for e in embedders.split(",") if e.strip()],
            limit=limit,
            say=lambda line: typer.echo(line, err=True),
        )
        if plot is not None:
            plot_overhead(result, plot)
        if json:
            print_json({**result, "targets": targets(result)})
        else:
            typer.echo(overhead_markdown(result))
