"""Closer looks at a memory: are its facts still there, can the reply be said again, what does a text digest keep?

The cloze set (``data/cloze.jsonl``, written for this project) names a person, a number or a thing in a reply
and asks for it in the next turn; the model chooses among four answers by likelihood. One in four is chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rhea.bench.compression import Pair, Scorer
from rhea.bench.files import bundled, read_jsonl
from rhea.compress.samples import Exchange
from rhea.compress.text import TextCompressor
from rhea.models.prompts import PromptEncoder

__all__ = ["cloze", "digests", "reconstruction"]

_FIELDS = ("user", "reply", "question", "answer", "others")
_REPEAT = "Repeat your last answer word for word."
_RECONSTRUCTED = 64


def cloze(scorer: Scorer, prompts: PromptEncoder, *, tokens: int | None = None) -> dict[str, float]:
    """Share of the cloze set answered rightly with the reply raw, omitted, cut to 8 tokens, or as memory tokens.

    Args:
        scorer: plain model and, for the memory, a compressor.
        prompts: the model's tokenizer and chat template.
        tokens: memory tokens a group; ``None`` leaves the memory out.
    """
    items = read_jsonl(bundled("cloze.jsonl"), _FIELDS)
    pairs, edges = [], [0]
    for item in items:
        first = _exchange(prompts, item["user"], item["reply"])
        pairs += [Pair(first, _exchange(prompts, item["question"], a)) for a in (item["answer"], *item["others"])]
        edges.append(len(pairs))

    def share(sums: Sequence[float]) -> float:
        means = [value / len(p.second.reply) for value, p in zip(sums, pairs, strict=True)]
        right = [means[a] == min(means[a:b]) for a, b in pairwise(edges)]
        return round(sum(right) / len(right), 3)

    found = {
        "raw": share(scorer.sums([scorer.row(p, p.first.reply) for p in pairs], 0, adapter=False)),
        "omitted": share(scorer.sums([scorer.row(p, ()) for p in pairs], 0, adapter=False)),
        "text_8": share(scorer.sums([scorer.row(p, p.first.reply[:8]) for p in pairs], 0, adapter=False)),
    }
    if tokens is not None:
        found["memory"] = share(scorer.sums([scorer.memory_row(p, tokens) for p in pairs], tokens, adapter=True))
    return found


def reconstruction(
    scorer: Scorer, prompts: PromptEncoder, exchanges: Sequence[Exchange], *, tokens: int
) -> dict[str, Any]:
    """A reply's first 64 tokens, asked for again in words: with its own memory, another's, and none.

    Of each, nats a token and the share of tokens that were the likeliest given those before them. A memory that
    carries the reply makes the first figure the lowest by far; equal figures mean it carries nothing.
    """
    request = tuple(prompts.encode_text(_REPEAT))
    firsts = [Exchange(e.user, e.reply[:_RECONSTRUCTED]) for e in exchanges if e.reply]
    pairs = [Pair(e, Exchange(request, e.reply)) for e in firsts]
    swapped = [Pair(firsts[i - 1], p.second) for i, p in enumerate(pairs)]
    own = [scorer.memory_row(p, tokens) for p in pairs]
    # the user's message stays the reply's own, only what the encoder read is another's
    others = [
        type(a)(a.ids, a.first, b.encoder)
        for a, b in zip(own, (scorer.memory_row(p, tokens) for p in swapped), strict=True)
    ]
    found: dict[str, Any] = {"replies": len(pairs), "accuracy": {}}
    targets = sum(len(p.second.reply) for p in pairs)
    forms = {"own": (own, tokens), "anothers": (others, tokens), "none": ([scorer.row(p, ()) for p in pairs], 0)}
    for name, (rows, size) in forms.items():
        scores = scorer.scores(rows, size, adapter=True)
        found[name] = round(sum(nll for nll, _ in scores) / targets, 4)
        found["accuracy"][name] = round(sum(right for _, right in scores) / targets, 4)
    return found


def digests(
    scorer: Scorer, prompts: PromptEncoder, pairs: Sequence[Pair], nll: Mapping[str, float]
) -> dict[str, float]:
    """The text digest that chats use where there are no memory tokens, in the place of the earlier reply.

    Args:
        scorer: plain model.
        prompts: its tokenizer and chat template.
        pairs: what to score.
        nll: what the same pairs gave with the reply ``raw`` and ``omitted``.

    Returns:
        Mean tokens of a digest, nats a token of the next reply, and the gain as of the other text forms.
    """
    replies = [prompts.tokenizer.decode(p.first.reply, skip_special_tokens=True) for p in pairs]
    made = [prompts.encode_text(d) for d in TextCompressor().compress(replies)]
    value = scorer.mean([scorer.row(p, d) for p, d in zip(pairs, made, strict=True)], 0, adapter=False)
    return {
        "tokens_mean": round(sum(map(len, made)) / len(made), 1),
        "nll": round(value, 4),
        "gain": round((nll["omitted"] - value) / (nll["omitted"] - nll["raw"]), 4),
    }


def _exchange(prompts: PromptEncoder, user: str, reply: str) -> Exchange:
    return Exchange(tuple(prompts.encode_text(user)), tuple(prompts.encode_text(reply)))
