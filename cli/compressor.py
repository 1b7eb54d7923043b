"""`rhea compressor train|generate|info|verify`: memory-token compressors, made and inspected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rhea.cli.app import compressor_app, print_json, reported
from rhea.cli.options import Json, quiet

__all__ = ["generate", "info", "reader", "train", "verify"]

Model = Annotated[
    str | None, typer.Option("--model", metavar="M", help="Hub name, folder or GGUF file; else the embedded default.")
]
Data = Annotated[list[Path], typer.Option("--data", metavar="FILE", help="Dialogues as JSONL; repeat for more.")]
Folder = Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A compressor; else the one that ships.")]


@compressor_app.command("train")
def train(
    data: Data,
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Where the compressor goes.")],
    model: Model = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, max=64, help="Memory tokens a reply.")] = 8,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Rank of the adapters.")] = 16,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Stop after so many minutes.")] = 0.0,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Stop after so many steps.")] = 0,
    token_budget: Annotated[
        int, typer.Option("--batch-tokens", min=64, help="Tokens of the decoder's row in a micro-batch.")
    ] = 32_768,
    accumulate: Annotated[int, typer.Option("--accumulate", min=1, help="Micro-batches a step.")] = 1,
    learning_rate: Annotated[float, typer.Option("--rate", help="Peak learning rate.")] = 1e-3,
    validate_every: Annotated[int, typer.Option("--validate-every", min=1, help="Steps between validations.")] = 100,
    patience: Annotated[int, typer.Option("--patience", min=0, help="Stop after as many without progress.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare batches.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same steps again for the same seed.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")] = False,
    as_json: Json = False,
) -> None:
    """Train a compressor for a model on dialogues; one in ten is kept out by its id, for measuring."""
    quiet()
    with reported():
        from rhea.compress.recipe import train_compressor
        from rhea.compress.train import Progress, TrainingPlan
        from rhea.models.transformers import TransformersModel

        def report(line: Progress) -> None:
            typer.echo(
                f"step {line.step:>6}  {line.seconds:>7.0f} s  nll {line.nll:.4f}  kl {line.kl:.4f}  "
                f"hint {line.hint:.3f}  validation {line.validation if line.validation is not None else '-'}  "
                f"{line.tokens_per_second:,.0f} tokens/s",
                err=True,
            )

        plan = TrainingPlan(
            steps=steps if steps or minutes else 1000,
            minutes=minutes,
            token_budget=token_budget,
            accumulate=accumulate,
            learning_rate=learning_rate,
            validate_every=validate_every,
            patience=patience,
            checkpoint_every=validate_every,
            workers=workers,
            seed=seed,
        )
        loaded = TransformersModel(model)
        spec = train_compressor(loaded, data, output, tokens=tokens, rank=rank, plan=plan, resume=resume, report=report)
    if as_json:
        print_json({"id": spec.id, "output": str(output), "adapter_sha256": spec.adapter_sha256})
    else:
        typer.echo(f"{spec.id} in {output}")


@compressor_app.command("generate")
def generate(
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="JSONL file to append to.")],
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="FILE", help="First messages to start from.")
    ] = None,
    model: Model = None,
    dialogues: Annotated[int, typer.Option("--dialogues", min=1, help="How many.")] = 1024,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many side by side.")] = 64,
    length: Annotated[int, typer.Option("--length", min=256, help="Tokens a dialogue.")] = 1024,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Freedom of the draw.")] = 0.9,
    seed: Annotated[int, typer.Option("--seed", help="The same draw again.")] = 0,
    as_json: Json = False,
) -> None:
    """Let the model write dialogues with itself, as more data to train on."""
    quiet()
    with reported():
        from rhea.compress.generate import GenerationPlan
        from rhea.compress.recipe import write_generated
        from rhea.models.transformers import TransformersModel

        plan = GenerationPlan(rows=min(rows, dialogues), length=length, temperature=temperature, seed=seed)
        exchanges = write_generated(TransformersModel(model), data or [], output, dialogues=dialogues, plan=plan)
    if as_json:
        print_json({"output": str(output), "exchanges": exchanges})
    else:
        typer.echo(f"{exchanges} exchanges added to {output}")


@compressor_app.command("info")
def info(folder: Folder = None, as_json: Json = False) -> None:
    """What a compressor is: its model, its size, how it was trained."""
    with reported():
        from rhea.compress.memory_tokens import bundled_compressor, describe

        described = describe(folder or bundled_compressor())
    if as_json:
        print_json(described)
        return
    base = described["base"]
    typer.echo(described["id"])
    typer.echo(f"for {base['name']} ({base['model_type']}, {base['layers']} layers of {base['hidden_size']})")
    typer.echo(f"{described['tokens']} memory tokens a reply, trained for {described['trained_tokens']}")
    typer.echo(f"{described['bytes'] / 1e6:.1f} MB; trained on {described['trained_on']} dialogues")


@compressor_app.command("verify")
def verify(folder: Folder = None, model: Model = None, as_json: Json = False) -> None:
    """Check a compressor's files, and that it fits the model; exit code 2 and the difference if not."""
    quiet()
    with reported():
        from rhea.compress.memory_tokens import MemoryTokenCompressor
        from rhea.models.transformers import TransformersModel

        loaded = TransformersModel(model)
        compressor = MemoryTokenCompressor.load(folder, loaded.network, loaded.prompts)
    if as_json:
        print_json({"id": compressor.id, "fits": True})
    else:
        typer.echo(f"{compressor.id} is whole and fits {loaded.name}")


@compressor_app.command("reader")
def reader(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A compressor.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write the adapter to.")],
    as_json: Json = False,
) -> None:
    """Write the adapter that reads memory tokens in PEFT's layout, for a server such as vLLM."""
    with reported():
        from rhea.compress.export import export_reader

        export_reader(folder, output)
    if as_json:
        print_json({"output": str(output)})
    else:
        typer.echo(f"the reading adapter is in {output}")
