"""`rhea bench all`: every measurement, JSON and one report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import bench_app, print_json, reported

__all__ = ["bench_all"]


@bench_app.command("all")
def bench_all(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folders recall, instructions, adherence, dialogues; else what ships."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results go.")] = Path("bench-results"),
    peers: Annotated[str, typer.Option(metavar="NAMES", help="all, none, or names joined by commas.")] = "all",
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Just this one; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Run every measurement; write JSON for each and one Markdown report with plots."""
    with reported():
        from rhea.bench.report import run_all

        result = run_all(out, data=data, peers=peers, only=only or (), say=lambda line: typer.echo(line, err=True))
        failed = {name: run["error"] for name, run in result["runs"].items() if "error" in run}
        if as_json:
            print_json({"report": result["report"], "measured": len(result["runs"]) - len(failed), "failed": failed})
        else:
            typer.echo(result["report"])
