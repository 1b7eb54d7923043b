"""Dialogues that a model writes itself: the training data there can be as much of as one likes.

Every row is one long dialogue: a seed (a user's message from real data, or nothing but the template's
header), then the model speaks for both sides in turn, the template's own tokens forced in between. All rows
stand at the same position, so the batch needs no padding and no mask, and one captured step serves it.
Writing a user's message from nothing but the header is what makes the prompts as varied as the model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rhea.compress.samples import Exchange, Frame
from rhea.errors import CompressorError
from rhea.models.cuda import StaticDecoder, capture

if TYPE_CHECKING:
    import torch

__all__ = ["GenerationPlan", "generate_dialogues"]

_USER, _REPLY, _TEMPLATE = 0, 1, 2
_VIEW = 256
_SHORTEST = 30


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """How to draw.

    Args:
        rows: dialogues drawn together.
        length: tokens of a dialogue, template included; what is unfinished then is left out.
        temperature: of the draw.
        top_k: tokens to draw from.
        longest: a message is ended after a number of tokens drawn up to this, so that dialogues have several turns.
        seeded: share of rows that begin with a user's message from the data.
    """

    rows: int = 512
    length: int = 512
    temperature: float = 0.9
    top_k: int = 50
    longest: int = 220
    seeded: float = 0.6
    seed: int = 0


def generate_dialogues(
    network: Any, frame: Frame, seeds: Sequence[Sequence[int]], plan: GenerationPlan, *, batches: int = 1
) -> list[list[Exchange]]:
    """Draw ``batches`` times ``plan.rows`` dialogues; only complete exchanges are returned.

    Args:
        network: a transformers causal LM.
        frame: its chat template, taken apart.
        seeds: user messages as ids, to begin dialogues with.
        plan: see `GenerationPlan`.
        batches: how often to fill the rows.

    Raises:
        CompressorError: the template's pieces cannot tell where a message ends.
    """
    import torch

    if not frame.to_reply or not frame.to_user:
        raise CompressorError("the chat template writes nothing between messages, so dialogues cannot be drawn")
    rng = random.Random(plan.seed)  # noqa: S311
    torch.manual_seed(plan.seed)
    found: list[list[Exchange]] = []
    with torch.inference_mode():
        writer = _Writer(network, frame, plan)
        for _ in range(batches):
            found += writer.run([_seed(frame, seeds, plan, rng) for _ in range(plan.rows)])
    return found


def _seed(frame: Frame, seeds: Sequence[Sequence[int]], plan: GenerationPlan, rng: random.Random) -> list[int]:
    if seeds and rng.random() < plan.seeded:
        message = rng.choice(seeds)
        if len(message) < plan.length // 3:
            return [*frame.start, *message, *frame.to_reply]
    return list(frame.start)


class _Writer:
    """The device state of one batch of dialogues and the step that moves it on."""

    def __init__(self, network: Any, frame: Frame, plan: GenerationPlan) -> None:
        import torch

        device, rows = network.device, plan.rows
        self.frame, self.plan = frame, plan
        self.decoder = StaticDecoder(network, rows, plan.length)
        self.length = self.decoder.cache.max_len
        headers = [frame.to_reply, frame.to_user]
        self.wide = max(map(len, headers))
        padded = [[*h, *[-1] * (self.wide - len(h))] for h in headers]
        self.headers = torch.tensor(padded, device=device)
        self.header_lengths = torch.tensor([len(h) for h in headers], device=device)
        self.token = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self.forced = torch.zeros(rows, self.length + 1, dtype=torch.long, device=device)
        self.forced_lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.speaker = torch.zeros(rows, dtype=torch.long, device=device)
        self.in_header = torch.zeros(rows, dtype=torch.long, device=device)
        self.spoken = torch.zeros(rows, dtype=torch.long, device=device)
        self.limits = torch.zeros(rows, dtype=torch.long, device=device)
        self.written = torch.zeros(rows, self.length + 1, dtype=torch.long, device=device)
        self.roles = torch.full_like(self.written, _TEMPLATE)
        self.steps: dict[int, Any] = {}
        self.pool: Any = None
        self.graphs = device.type == "cuda"

    def run(self, seeds: Sequence[Sequence[int]]) -> list[list[Exchange]]:
        self._begin(seeds)
        for at in range(self.length - 1):
            view = min(self.length, -(-(at + 1) // _VIEW) * _VIEW)
            if not self.graphs:
                self._step(view)
                continue
            if view not in self.steps:
                state = [t.clone() for t in self._state()]
                self.steps[view], self.pool = capture(partial(self._step, view), self.pool, warm_ups=2)
                for tensor, before in zip(self._state(), state, strict=True):
                    tensor.copy_(before)
            self.steps[view]()
        return [self._read(*row) for row in zip(self.written.tolist(), self.roles.tolist(), strict=True)]

    def _state(self) -> list[torch.Tensor]:
        cache = self.decoder.cache
        return [
            self.token,
            self.speaker,
            self.in_header,
            self.spoken,
            self.limits,
            self.written,
            self.roles,
            cache.position,
        ]

    def _begin(self, seeds: Sequence[Sequence[int]]) -> None:
        import torch

        device = self.token.device
        lengths = [len(s) for s in seeds]
        padded = torch.zeros(len(seeds), self.length + 1, dtype=torch.long)
        for row, seed in enumerate(seeds):
            padded[row, : len(seed)] = torch.tensor(list(seed))
        self.forced.copy_(padded)
        self.forced_lengths.copy_(torch.tensor(lengths))
        seeded = torch.tensor([n > len(self.frame.start) for n in lengths])
        self.speaker.copy_(torch.where(seeded, _REPLY, _USER))
        self.in_header.copy_(self.header_lengths[torch.zeros(len(seeds), dtype=torch.long, device=device)] + self.wide)
        self.spoken.zero_()
        self.limits.fill_(self.plan.longest)
        self.token.copy_(self.forced[:, :1])
        self.written.copy_(self.forced)
        self.roles.fill_(_TEMPLATE)
        for row, n in enumerate(lengths):
            if n > len(self.frame.start):
                self.roles[row, len(self.frame.start) : n - len(self.frame.to_reply)] = _USER
        self.decoder.cache.position.zero_()

    def _step(self, view: int) -> None:
        """Draw a token a row, or force the seed's or the template's, and note whose it is."""
        import torch

        logits = self.decoder.step(self.token, view).float() / self.plan.temperature
        best, ids = logits.topk(min(self.plan.top_k, logits.shape[-1]), dim=-1)
        # Gumbel noise: the same draw as from the softmax, in operations a graph can hold
        noise = -torch.empty_like(best).exponential_().log()
        drawn = ids.gather(1, (best + noise).argmax(-1, keepdim=True))[:, 0]
        at = self.decoder.cache.position.expand(len(drawn))
        seeding = at < self.forced_lengths
        header = 1 - self.speaker
        heading = ~seeding & (self.in_header < self.header_lengths[header])
        from_header = self.headers[header, self.in_header.clamp(max=self.wide - 1)]
        from_seed = self.forced.gather(1, at[:, None])[:, 0]
        stop = self.headers[self.speaker, 0]
        speaking = ~seeding & ~heading
        drawn = torch.where(speaking & (self.spoken >= self.limits), stop, drawn)
        ended = speaking & (drawn == stop)
        following = torch.where(seeding, from_seed, torch.where(heading, from_header, drawn))
        role = torch.where(heading | ended, _TEMPLATE, self.speaker)
        role = torch.where(seeding, self.roles.gather(1, at[:, None])[:, 0], role)
        fresh = torch.empty_like(self.limits, dtype=torch.float).uniform_(_SHORTEST, self.plan.longest).long()
        self.limits.copy_(torch.where(ended, fresh, self.limits))
        self.spoken.copy_(torch.where(speaking & ~ended, self.spoken + 1, 0))
        self.in_header.copy_(torch.where(ended, 1, torch.where(heading, self.in_header + 1, self.in_header)))
        self.speaker.copy_(torch.where(ended, 1 - self.speaker, self.speaker))
        self.token.copy_(following[:, None])
        self.written.scatter_(1, at[:, None], following[:, None])
        self.roles.scatter_(1, at[:, None], role[:, None])

    def _read(self, ids: Sequence[int], roles: Sequence[int]) -> list[Exchange]:
        """Split one row into exchanges; the last message was cut off by the length and is dropped."""
        messages: list[tuple[int, list[int]]] = []
        previous = _TEMPLATE
        for token, role in zip(ids[: self.length], roles[: self.length], strict=True):
            if role != _TEMPLATE:
                if role != previous:
                    messages.append((role, []))
                messages[-1][1].append(token)
            previous = role
        if previous != _TEMPLATE and messages:
            messages.pop()
        pairs = zip(messages[::2], messages[1::2], strict=False)
        return [Exchange(tuple(u), tuple(r)) for (a, u), (b, r) in pairs if (a, b) == (_USER, _REPLY)]
