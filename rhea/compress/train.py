"""Training a memory-token compressor: the loop, its checkpoints and its log.

Only the adapters and the compressor's few own tensors learn; each kind lies in one flat tensor, so that an
optimizer step is a handful of kernels. With ``steps`` a run is a function of its seed; with ``minutes`` it
also depends on the machine's speed.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.compress.network import CompressorNetwork, group_offsets
from rhea.compress.packing import PROBED, Capacity, PackedBatch, packed, usable
from rhea.compress.passes import PARTS, TrainingStep
from rhea.compress.samples import Exchange, Frame, Mix, Sample, samples
from rhea.errors import CompressorError

if TYPE_CHECKING:
    import torch

    from rhea.models.prompts import PromptEncoder

__all__ = ["Progress", "TrainingPlan", "train"]

CHECKPOINT = "checkpoint.safetensors"
STATE = "checkpoint.json"
_COMMON = 1e-3
"""Share of all tokens at which one counts half as a hint."""
_CALIBRATED = 8
"""Batches that the common part of the states is measured on."""


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train.

    Args:
        steps: optimizer steps; 0 when ``minutes`` alone decides.
        minutes: wall-clock limit; with it the learning rate follows the clock.
        token_budget: tokens of the decoder's row in a micro-batch; the other rows follow from the data.
        accumulate: micro-batches a step.
        learning_rate: peak, for the adapters; ``own_rate`` for memory tokens, projection and gain.
        warmup: share of the run over which the rate rises.
        validate_every: steps between validations; the best state is kept.
        patience: validations without a better loss before stopping; 0 for never.
        checkpoint_every: steps between checkpoints.
        distillation: weight of the divergence from the teacher.
        hint: weight at first of the hint that memory tokens name the reply's words (`hint_loss`), falling to
            nothing over the share ``hinted`` of the run.
        mix: kinds of sample at first, and ``late_mix`` from the share ``switch`` of the run on.
        workers: processes that build batches; 0 builds them in line.
    """

    steps: int = 0
    minutes: float = 0.0
    token_budget: int = 32_768
    accumulate: int = 1
    learning_rate: float = 1e-3
    own_rate: float = 2e-3
    warmup: float = 0.04
    clip: float = 1.0
    validate_every: int = 200
    patience: int = 0
    checkpoint_every: int = 0
    workers: int = 0
    seed: int = 0
    distillation: float = 4.0
    hint: float = 0.3
    hinted: float = 0.4
    mix: Mix = field(default_factory=Mix)
    late_mix: Mix | None = None
    switch: float = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the log: the step, losses in nats a token, tokens a second since the last line.

    ``nll`` is of replies said again, ``kl`` the divergence from the teacher.
    """

    step: int
    seconds: float
    nll: float
    kl: float
    hint: float
    rate: float
    tokens_per_second: float
    validation: float | None = None


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
        real: dialogues people and models wrote.
        generated: dialogues that the model wrote itself.
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
        self.work = TrainingStep(compressor, distillation=plan.distillation)
        cuda = compressor.device.type == "cuda"
        own = [*compressor.own_parameters(), self.work.hint_scale]
        self.flat = [_flatten(compressor.adapter_parameters()), _flatten(own)]
        self.peaks = [plan.learning_rate, plan.own_rate]
        groups = [{"params": [flat], "lr": peak} for flat, peak in zip(self.flat, self.peaks, strict=True)]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=cuda)
        self.step = 0
        self.began = time.monotonic()
        self.log: list[Progress] = []
        self.best: tuple[float, dict[str, torch.Tensor]] | None = None
        self.since_best = 0
        self._sums: torch.Tensor | None = None
        self._tokens = 0
        self._marked = self.began

    def progress(self) -> float:
        """How much of the run is over, from 0 to 1."""
        by_steps = self.step / self.plan.steps if self.plan.steps else 0.0
        by_clock = (time.monotonic() - self.began) / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def finished(self) -> bool:
        return self.progress() >= 1.0

    def calibrated(self, stream: Iterator[PackedBatch]) -> Iterator[PackedBatch]:
        """Take the states' common part from the first batches, which the stream then yields too."""
        first = [next(stream) for _ in range(_CALIBRATED)]
        self.work.calibrate(first)
        return chain(first, stream)

    def one_step(self, stream: Iterator[PackedBatch]) -> None:
        import torch

        done = self.progress()
        rising = done / self.plan.warmup if self.plan.warmup else 1.0
        factor = min(rising, 0.5 * (1 + math.cos(math.pi * done)) * 0.98 + 0.02)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * max(factor, 0.01)
        hint = self.plan.hint * max(0.0, 1 - done / self.plan.hinted) if self.plan.hinted else 0.0
        gradients = [flat.grad for flat in self.flat if flat.grad is not None]
        for gradient in gradients:
            gradient.zero_()
        for _ in range(self.plan.accumulate):
            self._note(next(stream), hint)
        for gradient in gradients:
            gradient.div_(self.plan.accumulate)
        torch.nn.utils.clip_grad_norm_(self.flat, self.plan.clip)
        self.optimizer.step()
        self.step += 1

    def _note(self, batch: PackedBatch, hint: float) -> None:
        parts = self.work.run(batch, hint=hint)
        self._sums = parts.clone() if self._sums is None else self._sums + parts  # stays on the device: no waiting
        self._tokens += len(batch.encoder_ids) + len(batch.decoder_ids) + len(batch.teacher_ids)

    def entry(self, validation: float | None) -> Progress:
        now = time.monotonic()
        values = self._sums.tolist() if self._sums is not None else [0.0] * len(PARTS)
        sums = dict(zip(PARTS, values, strict=True))
        steps = max(1, self.step - (self.log[-1].step if self.log else 0)) * self.plan.accumulate
        entry = Progress(
            step=self.step,
            seconds=round(now - self.began, 1),
            nll=round(sums["nll"] / max(1e-6, sums["nll_weight"]), 4),
            kl=round(sums["kl"] / max(1e-6, sums["kl_weight"]), 4),
            hint=round(sums["hint"] / steps, 4),
            rate=self.optimizer.param_groups[0]["lr"],
            tokens_per_second=round(self._tokens / max(1e-6, now - self._marked)),
            validation=None if validation is None else round(validation, 4),
        )
        self.log.append(entry)
        self._sums, self._tokens, self._marked = None, 0, now
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


def _flatten(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """One flat parameter whose parts the given ones become, values and gradients alike."""
    import torch

    flat = torch.nn.Parameter(torch.cat([p.detach().float().flatten() for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    at = 0
    for p in parameters:
        part = slice(at, at + p.numel())
        p.data = flat.data[part].view(p.shape)
        p.grad = flat.grad[part].view(p.shape)
        at += p.numel()
    return flat


def _stream(
    compressor: CompressorNetwork,
    prompts: PromptEncoder,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    plan: TrainingPlan,
    mix: Mix,
    *,
    skip: int,
) -> Iterator[PackedBatch]:
    frame, spec = Frame.of(prompts), compressor.spec
    offsets = group_offsets(spec.trained_tokens)
    rarity = _rarity([*real, *generated], spec.base.vocabulary)

    def draw(seed: int) -> Iterator[Sample]:
        return usable(samples(frame, real, generated, prompts, mix=mix, tail=spec.user_tail, cut=spec.cut, seed=seed))

    capacity = Capacity.for_budget(plan.token_budget, list(islice(draw(plan.seed), PROBED)))

    def make(seed: int) -> Iterator[PackedBatch]:
        return packed(draw(seed), capacity, offsets, rarity)

    if plan.workers:
        from rhea.compress.feeding import parallel

        return parallel(make, workers=plan.workers, seed=plan.seed + skip)
    return make(plan.seed + skip)


def _rarity(dialogues: Sequence[Sequence[Exchange]], vocabulary: int) -> list[float]:
    """Weight of each token as a hint: near 1 for rare ones, small for those that every reply has."""
    counts = Counter(t for d in dialogues for e in d for t in e.reply)
    whole = max(1, sum(counts.values()))
    return [_COMMON / (_COMMON + counts[t] / whole) for t in range(vocabulary)]


def _with_prefix(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
