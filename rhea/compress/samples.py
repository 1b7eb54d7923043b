"""From dialogues to training batches: what the encoder reads, what the decoder must then say.

Kinds of sample, each one decoder sequence with memory tokens in place of earlier replies:

``next``         the following reply, towards the same model reading the raw reply (distillation) and the data
``repeat``       the compressed reply itself, asked for in words (reconstruction)
``continue``     the rest of a reply whose beginning is in memory
``omitted``      the following reply with the earlier one left out, so that the decoder's adapter learns the
                 data's manner without memory too; else that would be taken for the memory's merit
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rhea.compress.mixed import SLOT, render_mixed
from rhea.compress.network import pad_rows, round_up
from rhea.errors import CompressorError

if TYPE_CHECKING:
    import torch

    from rhea.models.prompts import PromptEncoder

__all__ = [
    "Batch",
    "Dialogue",
    "Exchange",
    "Frame",
    "Mix",
    "Sample",
    "batches",
    "encoder_row",
    "held_out",
    "make_batch",
    "read_dialogues",
    "tokenize",
]

_REPEAT = (
    "Repeat your last answer word for word.",
    "Say that again, exactly as before.",
    "Write your previous reply once more.",
)
_LONGEST_USER, _LONGEST_TARGET = 320, 256
_POOL = 4096
"""Samples drawn together and sorted by length, so that batches hold little padding."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One user message and its reply as token ids, control tokens left out."""

    user: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A dialogue's id and its turns, text or ids."""

    id: str
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A chat template taken apart: the ids before the first message, between messages, and after a reply."""

    start: tuple[int, ...]
    to_reply: tuple[int, ...]
    to_user: tuple[int, ...]
    end: int
    pad: int

    @classmethod
    def of(cls, prompts: PromptEncoder) -> Frame:
        """Read the pieces off a rendered prompt of slots.

        Raises:
            CompressorError: the template does not join messages the same way each time.
        """
        roles = ("user", "assistant", "user", "assistant", "user")
        messages = [{"role": role, "content": ""} for role in roles]
        prompt = render_mixed(prompts, messages, dict.fromkeys(range(5), 1))  # type: ignore[arg-type]
        edges = [s.start for s in prompt.slots]
        cuts = zip([-1, *edges], [*edges, len(prompt)], strict=True)
        start, reply, user, reply_2, user_2, last = (prompt.ids[a + 1 : b] for a, b in cuts)
        end = prompts.tokenizer.eos_token_id
        if reply != reply_2 or user != user_2 or last != reply or end is None:
            raise CompressorError(f"the chat template of {prompts.name} joins messages in a way training cannot follow")
        return cls(start, reply, user, end, end)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the kinds of sample (they are normalised) and of generated dialogues, and group sizes."""

    next: float = 0.5
    repeat: float = 0.25
    continued: float = 0.05
    omitted: float = 0.2
    generated: float = 0.75
    """Share of samples from generated dialogues, where there are any."""
    two: float = 0.15
    """Share of ``next`` samples whose memory covers two earlier replies."""
    tokens: Mapping[int, float] = field(default_factory=lambda: {8: 1.0})


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoder sequence.

    ``rows`` are the encoder's inputs, one a slot group, ``ids`` has `SLOT` at memory tokens, ``first`` is the
    index of the first target; ``teacher`` is the raw prompt before the same targets, empty without distillation.
    """

    rows: tuple[tuple[int, ...], ...]
    ids: tuple[int, ...]
    first: int
    teacher: tuple[int, ...]
    likelihood: float


@dataclass(slots=True)
class Batch:
    """Padded tensors of one step; see :func:`make_batch`."""

    tokens: int
    encoder_ids: torch.Tensor
    encoder_lengths: torch.Tensor
    decoder_ids: torch.Tensor
    slots: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    likelihood: torch.Tensor
    teacher_ids: torch.Tensor
    teacher_predictors: torch.Tensor
    taught: torch.Tensor


def read_dialogues(paths: Sequence[Path]) -> list[Dialogue]:
    """Read ``{"id", "turns": [{"user", "reply"}]}`` lines.

    Raises:
        CompressorError: a file is missing or a line is not in that form; the message names the line.
    """
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CompressorError(f"cannot read the dialogues in {path} ({error})") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                found.append(Dialogue(str(data["id"]), tuple((t["user"], t["reply"]) for t in data["turns"])))
            except (ValueError, KeyError, TypeError) as error:
                raise CompressorError(
                    f'{path}, line {number}: not {{"id", "turns": [{{"user", "reply"}}]}} ({error})'
                ) from error
    return found


def held_out(dialogue_id: str, *, salt: str = "", parts: int = 10) -> bool:
    """Whether a dialogue is kept out of training: one in ``parts``, by a hash of its id."""
    return int(hashlib.sha256(f"{salt}{dialogue_id}".encode()).hexdigest(), 16) % parts == 0


def tokenize(prompts: PromptEncoder, dialogues: Sequence[Dialogue]) -> list[list[Exchange]]:
    """Dialogues as ids; control tokens in the text stay plain text."""
    return [
        [Exchange(tuple(prompts.encode_text(user)), tuple(prompts.encode_text(reply))) for user, reply in d.turns]
        for d in dialogues
    ]


def encoder_row(user: Sequence[int], reply: Sequence[int], *, end: int, tail: int, cut: int) -> tuple[int, ...]:
    """What the encoder reads before its memory tokens: end of the user's message, an end mark, the reply."""
    return (*user[max(0, len(user) - tail) :], end, *reply[:cut])


class _Drawer:
    """Draws samples from dialogues, deterministically for a seed."""

    def __init__(self, frame: Frame, mix: Mix, repeats: Sequence[tuple[int, ...]], *, tail: int, cut: int) -> None:
        self.frame, self.mix, self.repeats, self.tail, self.cut = frame, mix, repeats, tail, cut
        kinds = {"next": mix.next, "repeat": mix.repeat, "continue": mix.continued, "omitted": mix.omitted}
        self.kinds, self.weights = list(kinds), list(kinds.values())

    def draw(self, turns: Sequence[Exchange], tokens: int, rng: random.Random, likelihood: float) -> Sample | None:
        kind = rng.choices(self.kinds, self.weights)[0]
        at = rng.randrange(len(turns))
        turn = turns[at]
        if not turn.reply:
            return None
        if kind == "repeat":
            return self._repeat(turn, tokens, rng)
        if kind == "continue":
            return self._continue(turn, tokens, rng, likelihood)
        if len(turns) < 2 or (kind == "omitted" and not likelihood):
            return None
        at = rng.randrange(1, len(turns))
        count = 2 if at > 1 and rng.random() < self.mix.two else 1
        return self._next(turns[at - count : at], turns[at], 0 if kind == "omitted" else tokens, likelihood)

    def _row(self, turn: Exchange, reply: Sequence[int]) -> tuple[int, ...]:
        return encoder_row(turn.user, reply, end=self.frame.end, tail=self.tail, cut=self.cut)

    def _next(self, past: Sequence[Exchange], turn: Exchange, tokens: int, likelihood: float) -> Sample:
        student, teacher = list(self.frame.start), list(self.frame.start)
        for earlier in past:
            user = earlier.user[-_LONGEST_USER:]
            student += [*user, *self.frame.to_reply, *[SLOT] * tokens, *self.frame.to_user]
            teacher += [*user, *self.frame.to_reply, *earlier.reply[: self.cut], *self.frame.to_user]
        tail = [*turn.user[-_LONGEST_USER:], *self.frame.to_reply]
        student, teacher = student + tail, teacher + tail
        rows = tuple(self._row(e, e.reply) for e in past) if tokens else ()
        # without memory nothing can be distilled from the raw reply, only the data's manner learnt
        teacher_ids = tuple(teacher) if tokens else ()
        return Sample(rows, (*student, *self._target(turn)), len(student), teacher_ids, likelihood)

    def _repeat(self, turn: Exchange, tokens: int, rng: random.Random) -> Sample:
        user = turn.user[-_LONGEST_USER:]
        reply = turn.reply[:_LONGEST_TARGET]
        ids = [*self.frame.start, *user, *self.frame.to_reply, *[SLOT] * tokens, *self.frame.to_user]
        ids += [*rng.choice(self.repeats), *self.frame.to_reply]
        return Sample((self._row(turn, reply),), (*ids, *reply, self.frame.end), len(ids), (), 1.0)

    def _continue(self, turn: Exchange, tokens: int, rng: random.Random, likelihood: float) -> Sample | None:
        if len(turn.reply) < 24:
            return None
        at = rng.randrange(12, min(len(turn.reply) - 8, self.cut))
        head = [*self.frame.start, *turn.user[-_LONGEST_USER:], *self.frame.to_reply]
        target = turn.reply[at : at + _LONGEST_TARGET // 2]
        student = [*head, *[SLOT] * tokens]
        rows = (self._row(turn, turn.reply[:at]),)
        return Sample(rows, (*student, *target), len(student), (*head, *turn.reply[:at]), likelihood)

    def _target(self, turn: Exchange) -> tuple[int, ...]:
        whole = len(turn.reply) <= _LONGEST_TARGET
        return (*turn.reply, self.frame.end) if whole else turn.reply[:_LONGEST_TARGET]


def batches(
    frame: Frame,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    prompts: PromptEncoder,
    *,
    mix: Mix,
    tail: int,
    cut: int,
    token_budget: int,
    seed: int,
) -> Iterator[Batch]:
    """Endless training batches of at most ``token_budget`` padded tokens on each side, the same for a seed."""
    rng = random.Random(seed)  # noqa: S311
    real, generated = [d for d in real if d], [d for d in generated if d]
    drawer = _Drawer(frame, mix, [tuple(prompts.encode_text(t)) for t in _REPEAT], tail=tail, cut=cut)
    if not real and not generated:
        raise CompressorError("the data holds no dialogue to train on")
    sizes, weights = list(mix.tokens), list(mix.tokens.values())
    waiting: dict[int, list[Sample]] = {size: [] for size in sizes}
    while True:
        tokens = rng.choices(sizes, weights)[0]
        if not waiting[tokens]:
            waiting[tokens] = _pool(drawer, real, generated, tokens, rng)
        yield make_batch(_take(waiting[tokens], tokens, token_budget, rng), tokens, frame)


def _pool(
    drawer: _Drawer,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    tokens: int,
    rng: random.Random,
) -> list[Sample]:
    pool: list[Sample] = []
    share = drawer.mix.generated if real and generated else float(bool(generated))
    size = min(_POOL, 8 * (len(real) + len(generated)))
    while len(pool) < size:
        own = rng.random() < share
        # the model's own words carry no knowledge of how real replies go on: distillation alone
        sample = drawer.draw(rng.choice(generated if own else real), tokens, rng, 0.0 if own else 1.0)
        if sample is not None:
            pool.append(sample)
    pool.sort(key=lambda s: max(len(s.ids), len(s.teacher) + len(s.ids) - s.first))
    return pool


def _take(pool: list[Sample], tokens: int, budget: int, rng: random.Random) -> list[Sample]:
    """Cut a run of neighbours in length out of the sorted pool, as many as the budget holds."""
    at = rng.randrange(len(pool))
    taken: list[Sample] = []
    widest = rows = longest_row = 0
    while pool:
        at = min(at, len(pool) - 1)
        sample = pool[at]
        wide = max(widest, len(sample.ids), len(sample.teacher) + len(sample.ids) - sample.first)
        long = max([longest_row, *(len(r) + tokens for r in sample.rows)])
        if taken and max(round_up(wide) * (len(taken) + 1), round_up(long) * (rows + len(sample.rows))) > budget:
            break
        widest, longest_row, rows = wide, long, rows + len(sample.rows)
        taken.append(pool.pop(at))
    return taken


def make_batch(samples: Sequence[Sample], tokens: int, frame: Frame) -> Batch:
    """Pad and index one batch.

    ``predictors`` are flat positions in the decoder's rows whose hidden state predicts ``targets``;
    ``taught`` are the places among the targets that a teacher at ``teacher_predictors`` speaks for.
    """
    import torch

    rows = [r for s in samples for r in s.rows]
    lengths = torch.tensor([len(r) for r in rows], dtype=torch.long)
    encoder = pad_rows([[*r, *[frame.pad] * tokens] for r in rows], pad=frame.pad) if rows else torch.zeros(0, 0).long()
    decoder = pad_rows([s.ids for s in samples], pad=frame.pad)
    width = decoder.shape[1]
    slots = (decoder == SLOT).flatten().nonzero().flatten()
    predictors = [i * width + p for i, s in enumerate(samples) for p in range(s.first - 1, len(s.ids) - 1)]
    targets = [t for s in samples for t in s.ids[s.first :]]
    likelihood = [s.likelihood for s in samples for _ in s.ids[s.first :]]
    with_teacher = [s for s in samples if s.teacher]
    teacher = [[*s.teacher, *s.ids[s.first :]] for s in with_teacher]
    teacher_ids = pad_rows(teacher, pad=frame.pad) if teacher else torch.zeros(0, 0).long()
    wide = teacher_ids.shape[1] if teacher else 0
    teacher_predictors = [
        i * wide + p for i, s in enumerate(with_teacher) for p in range(len(s.teacher) - 1, len(teacher[i]) - 1)
    ]
    taught = [bool(s.teacher) for s in samples for _ in s.ids[s.first :]]
    return Batch(
        tokens=tokens,
        encoder_ids=encoder,
        encoder_lengths=lengths,
        decoder_ids=decoder.clamp(min=0),
        slots=slots,
        predictors=torch.tensor(predictors),
        targets=torch.tensor(targets),
        likelihood=torch.tensor(likelihood),
        teacher_ids=teacher_ids,
        teacher_predictors=torch.tensor(teacher_predictors, dtype=torch.long),
        taught=torch.tensor(taught).nonzero().flatten(),
    )
