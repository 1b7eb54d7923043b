"""From dialogues to training samples: what the encoder reads, what the decoder must then say.

Kinds of sample, each one decoder sequence with memory tokens in place of earlier replies:

``next``         the following reply, towards the same model reading the raw reply (distillation)
``repeat``       the compressed reply itself, asked for in words (reconstruction)
``continue``     the rest of a reply whose beginning is in memory, towards the same model reading it raw
``omitted``      the following reply with the earlier one left out, towards the same model without it too: the
                 decoder's adapter shall read memories and change nothing else

The words of the data are what is predicted, but apart from repeating they are no goal in themselves: an
adapter that learnt their manner would answer better with no memory at all, and worse for it when chatting.
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
from rhea.errors import CompressorError

if TYPE_CHECKING:
    from rhea.models.prompts import PromptEncoder

__all__ = [
    "Dialogue",
    "Exchange",
    "Frame",
    "Mix",
    "Sample",
    "encoder_row",
    "held_out",
    "read_dialogues",
    "samples",
    "tokenize",
]

_REPEAT = (
    "Repeat your last answer word for word.",
    "Say that again, exactly as before.",
    "Write your previous reply once more.",
)
_LONGEST_USER, _LONGEST_TARGET = 320, 256


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
    repeat: float = 0.3
    continued: float = 0.1
    omitted: float = 0.1
    generated: float = 0.75
    """Share of samples from generated dialogues, where there are any."""
    two: float = 0.15
    """Share of ``next`` samples whose memory covers two earlier replies."""
    tokens: Mapping[int, float] = field(default_factory=lambda: {8: 1.0})


@dataclass(frozen=True, slots=True)
class Sample:
    """One decoder sequence.

    ``rows`` are the encoder's inputs, one a slot group of ``tokens``, each ending in ``spoken`` tokens of a
    reply. ``ids`` has `SLOT` at memory tokens, ``first`` is the index of the first target; ``teacher`` is the
    raw prompt before the same targets, empty without distillation; ``likelihood`` weighs the targets' own.
    """

    tokens: int
    rows: tuple[tuple[int, ...], ...]
    spoken: tuple[int, ...]
    ids: tuple[int, ...]
    first: int
    teacher: tuple[int, ...]
    likelihood: float


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

    def draw(self, turns: Sequence[Exchange], tokens: int, rng: random.Random) -> Sample | None:
        """One sample, or ``None`` when this dialogue has none of the kind drawn."""
        kind = rng.choices(self.kinds, self.weights)[0]
        at = rng.randrange(len(turns))
        if not turns[at].reply:
            return None
        if kind == "repeat":
            return self._repeat(turns[at], tokens, rng)
        if kind == "continue":
            return self._continue(turns[at], tokens, rng)
        if at == 0:
            return None
        past = turns[at - (2 if at > 1 and rng.random() < self.mix.two else 1) : at]
        if not all(e.reply for e in past):
            return None
        return self._omitted(past, turns[at]) if kind == "omitted" else self._next(past, turns[at], tokens)

    def _read(self, turn: Exchange, reply: Sequence[int]) -> tuple[tuple[int, ...], int]:
        row = encoder_row(turn.user, reply, end=self.frame.end, tail=self.tail, cut=self.cut)
        return row, min(len(reply), self.cut)

    def _prompt(self, past: Sequence[Exchange], middles: Sequence[Sequence[int]], turn: Exchange) -> list[int]:
        ids = list(self.frame.start)
        for earlier, middle in zip(past, middles, strict=True):
            ids += [*earlier.user[-_LONGEST_USER:], *self.frame.to_reply, *middle, *self.frame.to_user]
        return [*ids, *turn.user[-_LONGEST_USER:], *self.frame.to_reply]

    def _next(self, past: Sequence[Exchange], turn: Exchange, tokens: int) -> Sample:
        student = self._prompt(past, [[SLOT] * tokens] * len(past), turn)
        teacher = self._prompt(past, [e.reply[: self.cut] for e in past], turn)
        rows, spoken = zip(*(self._read(e, e.reply) for e in past), strict=True)
        return Sample(tokens, rows, spoken, (*student, *self._target(turn)), len(student), tuple(teacher), 0.0)

    def _omitted(self, past: Sequence[Exchange], turn: Exchange) -> Sample:
        prompt = self._prompt(past, [[]] * len(past), turn)
        return Sample(0, (), (), (*prompt, *self._target(turn)), len(prompt), tuple(prompt), 0.0)

    def _repeat(self, turn: Exchange, tokens: int, rng: random.Random) -> Sample:
        reply = turn.reply[:_LONGEST_TARGET]
        prompt = self._prompt([turn], [[SLOT] * tokens], Exchange(rng.choice(self.repeats), ()))
        row, spoken = self._read(turn, reply)
        return Sample(tokens, (row,), (spoken,), (*prompt, *reply, self.frame.end), len(prompt), (), 1.0)

    def _continue(self, turn: Exchange, tokens: int, rng: random.Random) -> Sample | None:
        if len(turn.reply) < 24:
            return None
        at = rng.randrange(12, min(len(turn.reply) - 8, self.cut))
        head = self._prompt([], [], turn)
        target = turn.reply[at : at + _LONGEST_TARGET // 2]
        row, spoken = self._read(turn, turn.reply[:at])
        student = [*head, *[SLOT] * tokens]
        return Sample(tokens, (row,), (spoken,), (*student, *target), len(student), (*head, *turn.reply[:at]), 0.0)

    def _target(self, turn: Exchange) -> tuple[int, ...]:
        whole = len(turn.reply) <= _LONGEST_TARGET
        return (*turn.reply, self.frame.end) if whole else turn.reply[:_LONGEST_TARGET]


def samples(
    frame: Frame,
    real: Sequence[Sequence[Exchange]],
    generated: Sequence[Sequence[Exchange]],
    prompts: PromptEncoder,
    *,
    mix: Mix,
    tail: int,
    cut: int,
    seed: int,
) -> Iterator[Sample]:
    """Endless training samples, the same for a seed.

    Raises:
        CompressorError: no dialogue to draw from.
    """
    rng = random.Random(seed)  # noqa: S311
    real, generated = [d for d in real if d], [d for d in generated if d]
    drawer = _Drawer(frame, mix, [tuple(prompts.encode_text(t)) for t in _REPEAT], tail=tail, cut=cut)
    if not real and not generated:
        raise CompressorError("the data holds no dialogue to train on")
    sizes, weights = list(mix.tokens), list(mix.tokens.values())
    share = mix.generated if real and generated else float(bool(generated))
    while True:
        tokens = rng.choices(sizes, weights)[0]
        sample = drawer.draw(rng.choice(generated if rng.random() < share else real), tokens, rng)
        if sample is not None:
            yield sample
