"""How much of a reply is left in its memory tokens: likelihood of the next real reply.

For each two consecutive turns the next reply is scored given the user's two messages and the earlier reply
raw, left out, cut to its first tokens, or as memory tokens. The decoder's adapter alone, with no memory at
all, already likes such data better than the plain model does: its own gain is no merit of the memory, so the
memory's gain is measured from ``omitted_with_adapter``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.compress.mixed import SLOT
from rhea.compress.network import CompressorNetwork, pad_rows
from rhea.compress.samples import Exchange, Frame, encoder_row
from rhea.errors import CompressorError, InputError

if TYPE_CHECKING:
    import torch

    from rhea.compress.memory_tokens import MemoryTokenCompressor
    from rhea.models.prompts import PromptEncoder

__all__ = ["Pair", "Scorer", "measure", "measure_file", "pairs_of", "validator"]

_LONGEST_USER, _LONGEST_REPLY, _LONGEST_TARGET = 512, 2048, 512
_BATCH_TOKENS = 16_384
_CHUNK = 2048
TEXT_TOKENS = (8, 32)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two consecutive exchanges: the reply to compress and the next one, to be predicted."""

    first: Exchange
    second: Exchange


def pairs_of(dialogues: Sequence[Sequence[Exchange]]) -> list[Pair]:
    """Every two consecutive exchanges with replies, over-long messages cut."""
    found = []
    for turns in dialogues:
        for a, b in pairwise(turns):
            if a.reply and b.reply:
                first = Exchange(a.user[-_LONGEST_USER:], a.reply[:_LONGEST_REPLY])
                found.append(Pair(first, Exchange(b.user[-_LONGEST_USER:], b.reply[:_LONGEST_TARGET])))
    return found


def measure(
    network: Any,
    frame: Frame,
    pairs: Sequence[Pair],
    compressor: CompressorNetwork | None,
    *,
    tokens: int | None = None,
) -> dict[str, Any]:
    """Score every pair in every form; the keys are those that ``rhea bench compression`` prints.

    Args:
        network: the plain causal LM.
        frame: its chat template, taken apart.
        pairs: what to score.
        compressor: ``None`` leaves out the forms that need one.
        tokens: memory tokens a group; ``None`` for the compressor's own.

    Raises:
        InputError: no pairs.
    """
    if not pairs:
        raise InputError("no two consecutive turns to measure on; give dialogues of at least two turns")
    scorer = Scorer(network, frame, compressor)
    nll = {"raw": scorer.text(pairs, None), "omitted": scorer.text(pairs, 0)}
    nll |= {f"text_{k}": scorer.text(pairs, k) for k in TEXT_TOKENS}
    whole = nll["omitted"] - nll["raw"]
    gain = {f"text_{k}": (nll["omitted"] - nll[f"text_{k}"]) / whole for k in TEXT_TOKENS}
    if compressor is not None:
        nll["raw_with_adapter"] = scorer.text(pairs, None, adapter=True)
        nll["omitted_with_adapter"] = scorer.text(pairs, 0, adapter=True)
        nll["memory"] = scorer.memory(pairs, tokens or compressor.spec.tokens)
        gain = {"memory": (nll["omitted_with_adapter"] - nll["memory"]) / whole, **gain}
    return {
        "pairs": len(pairs),
        "reply_tokens_mean": round(sum(len(p.first.reply) for p in pairs) / len(pairs), 1),
        "nll": {name: round(value, 4) for name, value in nll.items()},
        "gain": {name: round(value, 4) for name, value in gain.items()},
    }


@dataclass(frozen=True, slots=True)
class _Row:
    """One row to score: ids with `SLOT` at memory tokens, the first target, and what the encoder reads."""

    ids: tuple[int, ...]
    first: int
    encoder: tuple[tuple[int, ...], ...] = ()


class Scorer:
    """Mean negative log-likelihood, in nats a token, of the second replies in one form of the first.

    Args:
        network: the plain causal LM.
        frame: its chat template, taken apart.
        compressor: for what needs one.
    """

    def __init__(self, network: Any, frame: Frame, compressor: CompressorNetwork | None) -> None:
        self.network, self.frame, self.compressor = network, frame, compressor

    def text(self, pairs: Sequence[Pair], kept: int | None, *, adapter: bool = False) -> float:
        """With the first ``kept`` tokens of the earlier reply, all of it when ``None``."""
        rows = [self.row(p, p.first.reply if kept is None else p.first.reply[:kept]) for p in pairs]
        return self.mean(rows, 0, adapter=adapter)

    def memory(self, pairs: Sequence[Pair], tokens: int) -> float:
        """With ``tokens`` memory tokens a group in place of the earlier reply."""
        return self.mean([self.memory_row(p, tokens) for p in pairs], tokens, adapter=True)

    def row(self, pair: Pair, middle: Sequence[int], encoder: tuple[tuple[int, ...], ...] = ()) -> _Row:
        """The rendered pair, ``middle`` standing for the earlier reply."""
        frame = self.frame
        ids = [*frame.start, *pair.first.user, *frame.to_reply, *middle, *frame.to_user, *pair.second.user]
        ids += frame.to_reply
        return _Row((*ids, *pair.second.reply), len(ids), encoder)

    def memory_row(self, pair: Pair, tokens: int) -> _Row:
        """The rendered pair with slots, and the encoder's rows, one a group."""
        assert self.compressor is not None
        spec, reply = self.compressor.spec, pair.first.reply
        parts = -(-len(reply) // spec.cut)
        size = -(-len(reply) // parts)
        groups = [reply[i * size : (i + 1) * size] for i in range(parts)]
        rows = tuple(
            encoder_row(pair.first.user, g, end=self.frame.end, tail=spec.user_tail, cut=spec.cut) for g in groups
        )
        return self.row(pair, [SLOT] * (tokens * parts), rows)

    def mean(self, rows: Sequence[_Row], tokens: int, *, adapter: bool) -> float:
        """Mean over all targets of all rows."""
        sums = self.sums(rows, tokens, adapter=adapter)
        return sum(sums) / sum(len(r.ids) - r.first for r in rows)

    def sums(self, rows: Sequence[_Row], tokens: int, *, adapter: bool) -> list[float]:
        """Summed negative log-likelihood of each row's targets."""
        return [nll for nll, _ in self.scores(rows, tokens, adapter=adapter)]

    def scores(self, rows: Sequence[_Row], tokens: int, *, adapter: bool) -> list[tuple[float, int]]:
        """Of each row: summed negative log-likelihood of its targets, and how many of them were the likeliest."""
        import torch

        found = [(0.0, 0)] * len(rows)
        with torch.no_grad():
            for batch in _batches(rows):
                chosen = [rows[i] for i in batch]
                for index, value in zip(batch, self._score(chosen, tokens, adapter=adapter), strict=True):
                    found[index] = value
        return found

    def _score(self, rows: Sequence[_Row], tokens: int, *, adapter: bool) -> list[tuple[float, int]]:
        import torch

        device = self.network.device
        padded = pad_rows([r.ids for r in rows], pad=self.frame.pad)
        width = padded.shape[1]
        if adapter:
            assert self.compressor is not None
            hidden = self.compressor.decode(
                padded.clamp(min=0).to(device),
                (padded == SLOT).flatten().nonzero().flatten().to(device),
                self._encode(rows, tokens),
            )
        else:
            hidden = self.network.base_model(padded.to(device), use_cache=False).last_hidden_state
        places = [i * width + p - 1 for i, r in enumerate(rows) for p in range(r.first, len(r.ids))]
        states = hidden.flatten(0, 1)[torch.tensor(places, device=device)]
        targets = torch.tensor([t for r in rows for t in r.ids[r.first :]], device=device)
        owners = torch.tensor([i for i, r in enumerate(rows) for _ in r.ids[r.first :]], device=device)
        losses = torch.zeros(len(targets), device=device)
        hits = torch.zeros(len(targets), device=device)
        for at in range(0, len(targets), _CHUNK):
            part = slice(at, at + _CHUNK)
            logits = self.network.get_output_embeddings()(states[part].to(self.network.dtype)).float()
            losses[part] = torch.nn.functional.cross_entropy(logits.detach(), targets[part], reduction="none")
            hits[part] = (logits.argmax(-1) == targets[part]).float()
        zero = torch.zeros(len(rows), device=device)
        total, right = zero.index_add(0, owners, losses), zero.index_add(0, owners, hits)
        return list(zip(total.tolist(), map(int, right.tolist()), strict=True))

    def _encode(self, rows: Sequence[_Row], tokens: int) -> torch.Tensor | None:
        import torch

        encoder = [r for row in rows for r in row.encoder]
        if not encoder:
            return None
        assert self.compressor is not None
        ids = pad_rows([[*r, *[self.frame.pad] * tokens] for r in encoder], pad=self.frame.pad)
        lengths = torch.tensor([len(r) for r in encoder])
        return self.compressor.encode(ids.to(self.network.device), lengths.to(self.network.device), tokens)


def _batches(rows: Sequence[_Row]) -> Iterator[list[int]]:
    """Indices of rows in batches of similar length."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    batch: list[int] = []
    for index in order:
        if batch and len(rows[index].ids) * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def validator(network: Any, frame: Frame, pairs: Sequence[Pair], compressor: CompressorNetwork) -> Callable[[], float]:
    """A function that gives the memory's loss on fixed pairs, to keep the best state of a training by."""
    scorer = Scorer(network, frame, compressor)
    return lambda: scorer.memory(pairs, compressor.spec.tokens)


def measure_file(
    file: Path,
    *,
    model: str | None = None,
    compressor: Path | None = None,
    tokens: int | None = None,
    limit: int | None = None,
    seen: bool = False,
    probes: bool = False,
) -> dict[str, Any]:
    """What ``rhea bench compression`` prints.

    Args:
        file: JSONL of ``{"id", "turns": [{"user", "reply"}]}``.
        model: ``None`` for the embedded default.
        compressor: folder; ``None`` for the one that ships for the embedded model. Without one the forms that need
            one are null.
        tokens: memory tokens a group; ``None`` for the compressor's own.
        limit: measure the first pairs only.
        seen: measure dialogues that the compressor was trained on too.
        probes: also the cloze set, text digests, and with a compressor the replies said again.

    Raises:
        CompressorError: an unreadable file, or a compressor that does not fit the model.
        InputError: nothing left to measure.
    """
    from rhea.compress.format import dialogue_key
    from rhea.compress.memory_tokens import MemoryTokenCompressor
    from rhea.compress.samples import read_dialogues, tokenize
    from rhea.models.transformers import TransformersModel

    dialogues = read_dialogues([file])
    loaded = TransformersModel(model)
    made = None
    if compressor is not None or (model is None and _bundled()):
        made = MemoryTokenCompressor.load(compressor, loaded.network, loaded.prompts, tokens=tokens)
    known = set() if seen or made is None else set(made.spec.trained_on)
    kept = [d for d in dialogues if dialogue_key(d.id) not in known]
    pairs = pairs_of(tokenize(loaded.prompts, kept))[:limit]
    parts = made.parts if made else None
    report = measure(loaded.network, Frame.of(loaded.prompts), pairs, parts, tokens=made.tokens if made else None)
    if made is None:
        report["nll"] |= dict.fromkeys(("raw_with_adapter", "omitted_with_adapter", "memory"))
        report["gain"] = {"memory": None, **report["gain"]}
        report["note"] = "no compressor ships for this model: name one with --compressor"
    if probes:
        report |= _probe(Scorer(loaded.network, Frame.of(loaded.prompts), parts), loaded.prompts, pairs, made, report)
    return {
        **report,
        "tokens": made.tokens if made else None,
        "dialogues": len(kept),
        "left_out_as_trained_on": len(dialogues) - len(kept),
    }


def _bundled() -> bool:
    from rhea.compress.memory_tokens import bundled_compressor

    try:
        bundled_compressor()
    except CompressorError:
        return False
    return True


def _probe(
    scorer: Scorer,
    prompts: PromptEncoder,
    pairs: Sequence[Pair],
    made: MemoryTokenCompressor | None,
    report: dict[str, Any],
) -> dict[str, Any]:
    from rhea.bench.compression_probe import cloze, digests, reconstruction

    found: dict[str, Any] = {"cloze": cloze(scorer, prompts, tokens=made.tokens if made else None)}
    found["digest"] = digests(scorer, prompts, pairs, report["nll"])
    if made:
        replies = [p.first for p in pairs]
        found["reconstruction"] = reconstruction(scorer, prompts, replies, tokens=made.tokens)
    return found
