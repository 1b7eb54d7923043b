"""Training a memory-token compressor: the loop, its checkpoints and its log.

Only the adapters and the compressor's few own tensors learn. On a GPU, feed batches of tens of thousands of
tokens: small steps are bound by the launching of kernels and not by arithmetic. Layers can be compiled, once
with dynamic shapes for encoder and decoder together, which pays in long runs. With ``steps`` a run is a
function of its seed; with ``minutes`` it also depends on the machine's speed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.compress.losses import likelihood_and_distillation
from rhea.compress.network import CompressorNetwork
from rhea.compress.samples import Batch, Exchange, Frame, Mix, batches
from rhea.errors import CompressorError

if TYPE_CHECKING:
    import torch

    from rhea.models.prompts import PromptEncoder

__all__ = ["Progress", "TrainingPlan", "compile_layers", "train"]

CHECKPOINT = "checkpoint.safetensors"
STATE = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train.

    Args:
        steps: optimizer steps; 0 when ``minutes`` alone decides.
        minutes: wall-clock limit; with it the learning rate follows the clock.
        token_budget: padded tokens a micro-batch, on each side.
        accumulate: micro-batches a step.
        learning_rate: peak, for the adapters; ``own_rate`` for memory tokens, projection and gain.
        warmup: share of the run over which the rate rises.
        validate_every: steps between validations; the best state is kept.
        patience: validations without a better loss before stopping; 0 for never.
        checkpoint_every: steps between checkpoints.
        distillation: weight of the divergence from the teacher.
        mix: kinds of sample at first, and ``late_mix`` from the share ``switch`` of the run on.
        compiled: compile layers and loss; pays off in long runs only, it takes minutes to begin with.
        workers: processes that build batches; 0 builds them in line.
    """

    steps: int = 0
    minutes: float = 0.0
    token_budget: int = 32_768
    accumulate: int = 1
    learning_rate: float = 5e-4
    own_rate: float = 1e-3
    warmup: float = 0.04
    clip: float = 1.0
    validate_every: int = 200
    patience: int = 0
    checkpoint_every: int = 0
    compiled: bool = False
    workers: int = 0
    seed: int = 0
    distillation: float = 2.0
    mix: Mix = field(default_factory=Mix)
    late_mix: Mix | None = None
    switch: float = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the log: the step, losses in nats a token, tokens a second since the last line."""

    step: int
    seconds: float
    nll: float
    kl: float
    rate: float
    tokens_per_second: float
    validation: float | None = None


def compile_layers(network: Any) -> None:
    """Compile each decoder layer for any shape; equal layers share the compiled code."""
    for layer in network.base_model.layers:
        layer.compile(dynamic=True)


def train(
    compressor: CompressorNetwork,
    prompts: PromptEncoder,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    plan: TrainingPlan,
    *,
    validate: Callable[[], float] | None = None,
    folder: Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> list[Progress]:
    """Train in place; returns the log. The best state by ``validate`` is what remains.

    Args:
        compressor: what learns.
        prompts: tokenizer and chat template.
        real: dialogues people and models wrote; their replies are also learnt by likelihood.
        generated: the model's own dialogues, for distillation and reconstruction.
        plan: see `TrainingPlan`.
        validate: a loss to keep the best state by; called between steps.
        folder: where checkpoints go.
        resume: go on from the folder's checkpoint.
        report: called with each line of the log.

    Raises:
        CompressorError: neither steps nor minutes, no data, or no checkpoint to resume from.
    """
    if plan.steps <= 0 and plan.minutes <= 0:
        raise CompressorError("training needs a number of steps or of minutes")
    run = _Run(compressor, plan)
    if resume:
        run.restore(folder)
    mixes = [plan.mix, plan.late_mix or plan.mix]
    streams = [_stream(compressor, prompts, real, generated, plan, mix, skip=run.step) for mix in mixes]
    if not resume:
        streams[0] = run.calibrated(streams[0])
    while not run.finished():
        run.one_step(streams[run.progress() >= plan.switch])
        if run.step % plan.validate_every == 0 or run.finished():
            loss = validate() if validate else None
            entry = run.entry(loss)
            if report:
                report(entry)
            if run.judge(loss):
                break
        if folder and plan.checkpoint_every and run.step % plan.checkpoint_every == 0:
            run.save(folder)
    if folder and plan.checkpoint_every:
        run.save(folder)
    run.keep_best()
    return run.log


class _Run:
    """The moving parts of one training run."""

    def __init__(self, compressor: CompressorNetwork, plan: TrainingPlan) -> None:
        import torch

        self.compressor, self.plan = compressor, plan
        self.cuda = compressor.device.type == "cuda"
        self.compiled = plan.compiled
        if self.compiled:
            for network in (compressor.encoder, compressor.decoder, compressor.plain):
                compile_layers(network)
        groups = [
            {"params": compressor.adapter_parameters(), "lr": plan.learning_rate},
            {"params": compressor.own_parameters(), "lr": plan.own_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=self.cuda)
        self.peaks = [float(g["lr"]) for g in groups]  # type: ignore[arg-type]
        self.step = 0
        self.began = time.monotonic()
        self.log: list[Progress] = []
        self.best: tuple[float, dict[str, torch.Tensor]] | None = None
        self.since_best = 0
        self._sums: dict[str, Any] = {}
        self._tokens = 0
        self._marked = self.began

    def progress(self) -> float:
        """How much of the run is over, from 0 to 1."""
        by_steps = self.step / self.plan.steps if self.plan.steps else 0.0
        by_clock = (time.monotonic() - self.began) / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def finished(self) -> bool:
        return self.progress() >= 1.0

    def calibrated(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """Take the states' common part from the first batch, which the stream then yields too."""
        first = next(stream)
        device = self.compressor.device
        self.compressor.calibrate(first.encoder_ids.to(device), first.encoder_lengths.to(device))
        return chain([first], stream)

    def one_step(self, stream: Iterator[Batch]) -> None:
        import torch

        done = self.progress()
        rising = done / self.plan.warmup if self.plan.warmup else 1.0
        factor = min(rising, 0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * max(factor, 0.01)
        for _ in range(self.plan.accumulate):
            batch = next(stream)
            loss, parts = batch_loss(
                self.compressor, batch, distillation=self.plan.distillation, compiled=self.compiled
            )
            (loss / self.plan.accumulate).backward()  # type: ignore[no-untyped-call]
            self._note(batch, parts)
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.plan.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _note(self, batch: Batch, parts: dict[str, torch.Tensor]) -> None:
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + value  # stays on the device: no waiting
        self._tokens += batch.encoder_ids.numel() + batch.decoder_ids.numel() + batch.teacher_ids.numel()

    def entry(self, validation: float | None) -> Progress:
        now = time.monotonic()
        sums = {name: float(value) for name, value in self._sums.items()}
        means = {name: sums[name] / max(1e-6, sums[f"{name}_weight"]) for name in ("nll", "kl") if name in sums}
        entry = Progress(
            step=self.step,
            seconds=round(now - self.began, 1),
            nll=round(means.get("nll", 0.0), 4),
            kl=round(means.get("kl", 0.0), 4),
            rate=self.optimizer.param_groups[0]["lr"],
            tokens_per_second=round(self._tokens / max(1e-6, now - self._marked)),
            validation=None if validation is None else round(validation, 4),
        )
        self.log.append(entry)
        self._sums, self._tokens, self._marked = {}, 0, now
        return entry

    def judge(self, loss: float | None) -> bool:
        """Remember the best state; say whether to stop early."""
        if loss is None:
            return False
        if self.best is None or loss < self.best[0]:
            self.best, self.since_best = (loss, self.compressor.state()), 0
            return False
        self.since_best += 1
        return bool(self.plan.patience) and self.since_best >= self.plan.patience

    def keep_best(self) -> None:
        if self.best is not None:
            self.compressor.load_state(self.best[1])

    def save(self, folder: Path) -> None:
        """Write a checkpoint: weights and optimizer moments as safetensors, the rest as JSON."""
        import torch
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"state.{k}": v.contiguous() for k, v in self.compressor.state().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
        if self.best is not None:
            tensors |= {f"best.{k}": v.contiguous() for k, v in self.best[1].items()}
        staging = folder / f".{CHECKPOINT}.part"
        save_file(tensors, staging)
        staging.replace(folder / CHECKPOINT)
        seconds = time.monotonic() - self.began
        state = {"step": self.step, "seconds": seconds, "best": self.best and self.best[0],
                 "log": [asdict(entry) for entry in self.log]}  # fmt: skip
        (folder / STATE).write_text(json.dumps(state), encoding="utf-8")

    def restore(self, folder: Path | None) -> None:
        from safetensors.torch import load_file

        if folder is None or not (folder / CHECKPOINT).is_file() or not (folder / STATE).is_file():
            raise CompressorError(f"there is no checkpoint to resume from in {folder}")
        tensors = load_file(folder / CHECKPOINT, device=str(self.compressor.device))
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.compressor.load_state(_with_prefix(tensors, "state."))
        moments: dict[int, dict[str, Any]] = {}
        for key, value in _with_prefix(tensors, "optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        whole = self.optimizer.state_dict()
        whole["state"] = moments
        self.optimizer.load_state_dict(whole)
        self.step = int(state["step"])
        self.began = time.monotonic() - float(state["seconds"])
        self.log = [Progress(**entry) for entry in state["log"]]
        if state["best"] is not None:
            self.best = (float(state["best"]), _with_prefix(tensors, "best."))


def batch_loss(
    compressor: CompressorNetwork, batch: Batch, *, distillation: float = 1.0, compiled: bool = False
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss of one batch with its graph, and its parts for the log."""
    import torch

    device = compressor.device

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, non_blocking=True)

    memory = None
    if len(batch.encoder_lengths):
        memory = compressor.encode(move(batch.encoder_ids), move(batch.encoder_lengths), batch.tokens)
    hidden = compressor.decode(move(batch.decoder_ids), move(batch.slots), memory)
    teacher = None
    if len(batch.taught):
        with torch.no_grad():
            states = compressor.plain.base_model(move(batch.teacher_ids), use_cache=False).last_hidden_state
            teacher = states.flatten(0, 1)[move(batch.teacher_predictors)]
    return likelihood_and_distillation(
        hidden.flatten(0, 1)[move(batch.predictors)],
        compressor.plain.get_output_embeddings().weight.detach(),
        move(batch.targets),
        move(batch.likelihood),
        teacher,
        move(batch.taught),
        distillation=distillation,
        compiled=compiled,
    )


def _stream(
    compressor: CompressorNetwork,
    prompts: PromptEncoder,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    plan: TrainingPlan,
    mix: Mix,
    *,
    skip: int,
) -> Iterator[Batch]:
    frame = Frame.of(prompts)

    def make(seed: int) -> Iterator[Batch]:
        return batches(
            frame,
            real,
            generated,
            prompts,
            mix=mix,
            tail=compressor.spec.user_tail,
            cut=compressor.spec.cut,
            token_budget=plan.token_budget,
            seed=seed,
        )

    if plan.workers:
        from rhea.compress.feeding import parallel

        return parallel(make, workers=plan.workers, seed=plan.seed + skip)
    return make(plan.seed + skip)


def _with_prefix(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
