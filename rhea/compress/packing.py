"""Training batches without padding: every sequence of a batch end to end in one row.

Each of the three passes of a training step (encoder, decoder, teacher) takes one row of a fixed number of
tokens, with the bounds of the sequences beside it. All batches then have the same shapes whatever their
samples, nothing is computed on padding but a short rest, and one captured graph serves a whole run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from rhea.compress.mixed import SLOT
from rhea.compress.samples import Sample

if TYPE_CHECKING:
    import torch

__all__ = ["LONGEST", "PROBED", "Capacity", "PackedBatch", "pack", "packed", "usable"]

LONGEST = 1280
"""Tokens that one sequence may have; longer samples are left out."""
PROBED = 1024
"""Samples to take a capacity from."""
_ROOM = 1.04
_REST = 64
"""Places at the end of a row that no sample takes, for slots and predictions that there is nothing to fill with."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Fixed sizes of a batch: tokens of each row, sequences of each row, slots, targets and hints."""

    encoder: int
    decoder: int
    teacher: int
    sequences: int
    slots: int
    targets: int
    hints: int

    @classmethod
    def for_budget(cls, budget: int, samples: Sequence[Sample]) -> Capacity:
        """Sizes that such samples fill evenly when the decoder's row has ``budget`` tokens."""
        sizes = [_Size.of(s) for s in samples]
        scale = budget / sum(s.decoder for s in sizes)

        def room(name: str, least: int) -> int:
            whole = sum(getattr(s, name) for s in sizes) * scale * _ROOM
            return -(-int(max(whole, least, max(getattr(s, name) for s in sizes))) // 64) * 64

        return cls(
            encoder=room("encoder", 64),
            decoder=max(-(-budget // 64) * 64, room("decoder", 64) if budget < LONGEST else 0),
            teacher=room("teacher", 64),
            sequences=room("sequences", 1),
            slots=room("slots", 1),
            targets=room("targets", 1),
            hints=room("hints", 1),
        )


@dataclass(slots=True)
class PackedBatch:
    """Index tensors of one step, all of fixed shapes.

    ``*_ids`` and ``*_places`` are ids and positions along a row, ``*_spans`` the bounds of its sequences,
    int32. ``memory`` names the memory-token embedding at each of ``encoder_slots``; its state goes to the
    place of the same number in ``decoder_slots``. ``predictors`` are the decoder's places whose hidden state
    predicts ``targets``, ``teacher_predictors`` the teacher's; ``likelihood`` and ``share`` weigh the two
    losses, zero where there is none. A hint says that the memory of a slot should bring a token to mind.
    """

    encoder_ids: torch.Tensor
    encoder_places: torch.Tensor
    encoder_spans: torch.Tensor
    encoder_slots: torch.Tensor
    memory: torch.Tensor
    decoder_ids: torch.Tensor
    decoder_places: torch.Tensor
    decoder_spans: torch.Tensor
    decoder_slots: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    likelihood: torch.Tensor
    teacher_ids: torch.Tensor
    teacher_places: torch.Tensor
    teacher_spans: torch.Tensor
    teacher_predictors: torch.Tensor
    share: torch.Tensor
    hint_slots: torch.Tensor
    hint_ids: torch.Tensor
    hint_weights: torch.Tensor

    def to(self, device: torch.device) -> PackedBatch:
        """The same batch on another device."""
        return PackedBatch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))

    def copy_(self, other: PackedBatch) -> None:
        """Take over another batch's values in place."""
        for f in fields(self):
            getattr(self, f.name).copy_(getattr(other, f.name), non_blocking=True)


@dataclass(slots=True)
class _Size:
    """What samples take up together."""

    encoder: int = 0
    decoder: int = 0
    teacher: int = 0
    sequences: int = 0
    slots: int = 0
    targets: int = 0
    hints: int = 0

    @classmethod
    def of(cls, sample: Sample) -> _Size:
        targets = len(sample.ids) - sample.first
        teacher = len(sample.teacher) + targets if sample.teacher else 0
        slots = sample.tokens * len(sample.rows)
        read = sum(map(len, sample.rows))
        return cls(read + slots, len(sample.ids), teacher, max(1, len(sample.rows)), slots, targets, sum(sample.spoken))

    def plus(self, other: _Size) -> _Size:
        return _Size(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def fits(self, capacity: Capacity) -> bool:
        return all(getattr(self, f.name) <= getattr(capacity, f.name) for f in fields(self))


def usable(drawn: Iterable[Sample]) -> Iterator[Sample]:
    """Those samples whose sequences are no longer than `LONGEST`."""
    return (s for s in drawn if max(len(s.ids), len(s.teacher) + len(s.ids) - s.first) <= LONGEST)


def packed(
    drawn: Iterable[Sample], capacity: Capacity, offsets: Mapping[int, int], rarity: Sequence[float]
) -> Iterator[PackedBatch]:
    """Batches of as many samples as fit, in the order they come.

    Args:
        drawn: samples without end, each of which fits.
        capacity: sizes of a batch.
        offsets: group size → where its memory-token embeddings begin.
        rarity: weight of each token of the vocabulary as a hint.
    """
    taken: list[Sample] = []
    size = _Size()
    for sample in drawn:
        own = _Size.of(sample)
        grown = size.plus(own)
        if taken and not grown.fits(capacity):
            yield pack(taken, capacity, offsets, rarity)
            taken, grown = [], own
        if own.fits(capacity):
            taken.append(sample)
            size = grown


class _Row:
    """One row under construction."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.places: list[int] = []
        self.spans = [0]

    def add(self, ids: Sequence[int]) -> int:
        """Append a sequence; returns where it starts."""
        start = len(self.ids)
        self.ids += ids
        self.places += range(len(ids))
        self.spans.append(len(self.ids))
        return start

    def tensors(self, length: int, sequences: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, places and spans, the rest filled with sequences that nobody reads."""
        import torch

        while (rest := length - len(self.ids)) > 0:
            self.add([0] * min(rest, LONGEST))
        spans = self.spans + [length] * (sequences + 1 + -(-length // LONGEST) - len(self.spans))
        ids = torch.tensor(self.ids).clamp(min=0)
        return ids, torch.tensor(self.places), torch.tensor(spans, dtype=torch.int32)


def pack(
    samples: Sequence[Sample], capacity: Capacity, offsets: Mapping[int, int], rarity: Sequence[float]
) -> PackedBatch:
    """Lay samples that fit out in rows; see `PackedBatch`."""
    import torch

    encoder, decoder, teacher = _Row(), _Row(), _Row()
    encoder_slots: list[int] = []
    memory: list[int] = []
    decoder_slots: list[int] = []
    predictors: list[int] = []
    targets: list[int] = []
    likelihood: list[float] = []
    teacher_predictors: list[int] = []
    share: list[float] = []
    hints: list[tuple[int, int]] = []
    for sample in samples:
        for row, spoken in zip(sample.rows, sample.spoken, strict=True):
            first_slot = len(encoder_slots)
            start = encoder.add([*row, *[0] * sample.tokens]) + len(row)
            encoder_slots += range(start, start + sample.tokens)
            memory += range(offsets[sample.tokens], offsets[sample.tokens] + sample.tokens)
            reply = row[len(row) - spoken :]
            hints += [(first_slot + i * sample.tokens // spoken, t) for i, t in enumerate(reply)]
        start = decoder.add(sample.ids)
        decoder_slots += [start + i for i, t in enumerate(sample.ids) if t == SLOT]
        said = sample.ids[sample.first :]
        predictors += range(start + sample.first - 1, start + len(sample.ids) - 1)
        targets += said
        likelihood += [sample.likelihood] * len(said)
        share += [float(bool(sample.teacher))] * len(said)
        if sample.teacher:
            begin = teacher.add([*sample.teacher, *said]) + len(sample.teacher) - 1
            teacher_predictors += range(begin, begin + len(said))
        else:
            teacher_predictors += [0] * len(said)

    def filled(values: Sequence[float], size: int, fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([*values, *[fill] * (size - len(values))], dtype=dtype)

    c, whole, real = capacity, torch.long, torch.float32
    rows = [
        r.tensors(n + 64, c.sequences) for r, n in ((encoder, c.encoder), (decoder, c.decoder), (teacher, c.teacher))
    ]
    return PackedBatch(
        *rows[0],
        filled(encoder_slots, c.slots, c.encoder + _REST - 1, whole),
        filled(memory, c.slots, 0, whole),
        *rows[1],
        filled(decoder_slots, c.slots, c.decoder + _REST - 1, whole),
        filled(predictors, c.targets, 0, whole),
        filled(targets, c.targets, 0, whole),
        filled(likelihood, c.targets, 0.0, real),
        *rows[2],
        filled(teacher_predictors, c.targets, 0, whole),
        filled(share, c.targets, 0.0, real),
        filled([s for s, _ in hints], c.hints, 0, whole),
        filled([t for _, t in hints], c.hints, 0, whole),
        filled([rarity[t] for _, t in hints], c.hints, 0.0, real),
    )
