"""`rhea bench compression` and `rhea bench latency`: what memory tokens keep, and what a turn costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rhea.cli.app import bench_app, print_json, reported
from rhea.cli.options import Json, quiet

__all__ = ["bench_compression", "bench_latency"]

Model = Annotated[
    str | None, typer.Option("--model", metavar="M", help="Hub name, folder or GGUF file; else the embedded default.")
]


@bench_app.command("compression")
def bench_compression(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help='Dialogues: {"id", "turns": [{"user", "reply"}]} a line.')
    ],
    model: Model = None,
    compressor: Annotated[
        Path | None, typer.Option("--compressor", metavar="DIR", help="Compressor folder; else the one that ships.")
    ] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="Memory tokens a reply.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Measure the first pairs only.")] = None,
    seen: Annotated[bool, typer.Option("--seen", help="Also dialogues that the compressor was trained on.")] = False,
    probes: Annotated[bool, typer.Option("--probes", help="Also facts asked for, and replies said again.")] = False,
    as_json: Json = False,
) -> None:
    """Likelihood of the next real reply with the earlier one raw, omitted, cut, or as memory tokens.

    Dialogues that the compressor was trained on are left out, by their ids.
    """
    quiet()
    with reported():
        from rhea.bench.compression import measure_file

        report = measure_file(
            file, model=model, compressor=compressor, tokens=tokens, limit=limit, seen=seen, probes=probes
        )
    if as_json:
        print_json(report)
        return
    typer.echo(f"{report['pairs']} pairs, replies of {report['reply_tokens_mean']} tokens; nats a token:")
    for name, value in report["nll"].items():
        typer.echo(f"{name:>22} " + ("       -" if value is None else f"{value:8.4f}"))
    for name, value in report["gain"].items():
        typer.echo(f"{'gain of ' + name:>22} " + ("       -" if value is None else f"{value:8.2f}"))
    for form, value in report.get("cloze", {}).items():
        typer.echo(f"{'cloze, ' + form:>22} {value:8.2f}")
    for form, value in report.get("reconstruction", {}).items():
        typer.echo(f"{'said again, ' + form:>22} {value:8.4f}")
    if "note" in report:
        typer.echo(report["note"])


@bench_app.command("latency")
def bench_latency(
    model: Model = None,
    random_weights: Annotated[
        Path | None,
        typer.Option("--random-weights", metavar="CONFIG", help="config.json of a model shape; weights are random."),
    ] = None,
    turns: Annotated[int, typer.Option("--turns", min=2, help="Turns of the synthetic conversation.")] = 64,
    arms: Annotated[
        str, typer.Option("--arms", help="Of rhea, full, full-kept, full-eager; commas between.")
    ] = "rhea,full",
    every: Annotated[int, typer.Option("--every", min=1, help="Measure each so-manieth turn.")] = 8,
    new_tokens: Annotated[int, typer.Option("--new-tokens", min=2, help="Tokens of each reply.")] = 128,
    budget: Annotated[int, typer.Option("--budget", min=256, help="Rhea's context, in tokens.")] = 2048,
    device: Annotated[str | None, typer.Option("--device", help="Torch device; else the best there is.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw latency by turn.")] = None,
    as_json: Json = False,
) -> None:
    """Time to first token, time a token, total and peak memory by turn; Rhea's context beside the full history."""
    quiet()
    with reported():
        from rhea.bench.latency import LatencyPlan, load_network, measure_latency, plot_latency

        plan = LatencyPlan(turns=turns, every=every, new_tokens=new_tokens, budget=budget)
        network = load_network(model, random_weights, device)
        report: dict[str, Any] = measure_latency(network, plan, [a.strip() for a in arms.split(",") if a.strip()])
        if plot is not None:
            plot_latency(report, plot)
    if as_json:
        print_json(report)
        return
    typer.echo(f"{'arm':>12} {'turn':>5} {'context':>8} {'first token':>12} {'a token':>9} {'total':>8} {'memory':>9}")
    for arm, result in report["arms"].items():
        for cost in result["turns"]:
            typer.echo(
                f"{arm:>12} {cost['turn']:5} {cost['context_tokens']:8} {1000 * cost['first_token']:9.1f} ms "
                f"{1000 * cost['a_token']:6.2f} ms {cost['total']:6.2f} s {cost['peak_memory'] / 1e9:6.1f} GB"
            )
