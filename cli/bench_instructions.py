"""`rhea bench instructions`, `retention` and `adherence`: rules found, kept, obeyed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import bench_app, print_json, reported
from rhea.cli.options import Json

__all__ = ["bench_adherence", "bench_detection", "bench_retention", "bench_scenarios"]

_DETECTION = "Conversations with labelled turns (JSONL); the bundled ones by default."


@bench_app.command("instructions")
def bench_detection(
    files: Annotated[list[Path] | None, typer.Argument(help=_DETECTION)] = None, as_json: Json = False
) -> None:
    """Are standing instructions found, and nothing else?

    JSON: {"sources": {name: {"recall", "false_positive_rate", "positives", "negatives"}}, "precision", "recall",
    "f1", "ms_per_message"}.
    """
    with reported():
        from rhea.bench.files import bundled
        from rhea.bench.instructions import measure_detection

        result = measure_detection(files or [bundled("instructions.jsonl")])
        if as_json:
            print_json(result)
            return
        for name, source in result["sources"].items():
            typer.echo(
                f"{name}: recall {_share(source['recall'])} of {source['positives']}, "
                f"false positives {_share(source['false_positive_rate'])} of {source['negatives']}"
            )
        typer.echo(
            f"precision {_share(result['precision'])}  recall {_share(result['recall'])}  F1 {_share(result['f1'])}  "
            f"{result['ms_per_message']:.2f} ms a message beyond embedding"
        )


@bench_app.command("retention")
def bench_retention(
    file: Annotated[Path | None, typer.Argument(help="Conversations with labelled turns; bundled by default.")] = None,
    filler: Annotated[Path | None, typer.Option(help="Dialogues to put in between; bundled by default.")] = None,
    tokens: Annotated[int, typer.Option(min=0, help="Tokens of filler after each conversation.")] = 10_000,
    budget: Annotated[int, typer.Option(min=64, help="Tokens that a context may take.")] = 1024,
    limit: Annotated[int | None, typer.Option(min=1, help="Conversations at most.")] = None,
    as_json: Json = False,
) -> None:
    """Do instructions still stand verbatim after many tokens of other talk?

    JSON: {"conversations", "filler_tokens", "verbatim", "largest_context"}.
    """
    with reported():
        from rhea.bench.files import bundled
        from rhea.bench.retention import measure_retention

        result = measure_retention(
            file or bundled("retention.jsonl"),
            filler or bundled("filler.jsonl"),
            tokens=tokens,
            budget=budget,
            limit=limit,
        )
        if as_json:
            print_json(result)
            return
        typer.echo(
            f"{_share(result['verbatim'])} of {result['conversations']} conversations keep every instruction after "
            f"{result['filler_tokens']:,} tokens; largest context {result['largest_context']:,} tokens"
        )


@bench_app.command("adherence")
def bench_adherence(
    file: Annotated[Path | None, typer.Argument(help="Conversations with checks; bundled by default.")] = None,
    model: Annotated[
        str, typer.Option(help="Hub name, local folder, GGUF file, or `default` for the packaged model.")
    ] = "default",
    arms: Annotated[str, typer.Option(help="Some of rhea, full, window, with commas.")] = "rhea,full,window",
    limit: Annotated[int | None, typer.Option(min=1, help="Conversations at most.")] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Turns of a conversation at most.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")] = 512,
    budget: Annotated[int, typer.Option(min=64, help="Tokens of a context in the arm `rhea`.")] = 4096,
    placement: Annotated[str, typer.Option(help="Where rules stand: both, system or question.")] = "question",
    replies: Annotated[
        Path | None, typer.Option(help="Write every reply to this file, one JSON object a line.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Are instructions obeyed, turn after turn, checked by program?

    JSON: {"scored", "arms": {arm: {"adherence", "by_turn": […]}}}.
    """
    with reported():
        from rhea.bench.adherence import measure_adherence
        from rhea.bench.files import bundled
        from rhea.bench.generation import BatchedModel

        result = measure_adherence(
            file or bundled("adherence.jsonl"),
            BatchedModel(None if model == "default" else model, max_new_tokens=max_new_tokens),
            arms=[a.strip() for a in arms.split(",") if a.strip()],
            limit=limit,
            turns=turns,
            budget=budget,
            placement=placement,  # type: ignore[arg-type]  # Settings refuses what is no placement
            replies=replies,
        )
        if as_json:
            print_json(result)
            return
        for arm, figures in result["arms"].items():
            by_turn = " ".join(f"{v:.2f}" for v in figures["by_turn"])
            typer.echo(f"{arm:8} {_share(figures['adherence'])} of {result['scored']} replies; by turn {by_turn}")


@bench_app.command("scenarios")
def bench_scenarios(
    file: Annotated[Path | None, typer.Argument(help="Dialogues with their final state; bundled by default.")] = None,
    as_json: Json = False,
) -> None:
    """Do dialogues that add, change and withdraw rules leave the right ones in force?

    JSON: {"tuning": {"dialogues", "right"}, "held_out", "all", "by_kind": {kind: the same}, "wrong": [names]}.
    """
    with reported():
        from rhea.bench.files import bundled
        from rhea.bench.scenarios import measure_scenarios

        result = measure_scenarios(file or bundled("scenarios.jsonl"))
        if as_json:
            print_json(result)
            return
        parts = {name.replace("_", " "): result[name] for name in ("tuning", "held_out", "all")}
        for name, figures in (parts | result["by_kind"]).items():
            typer.echo(f"{name:12} {_share(figures['right'])} of {figures['dialogues']} dialogues right")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
