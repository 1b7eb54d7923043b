"""What Rhea and its peers give back: the evidence for a question, and a rule stated long ago, at equal budgets.

No language model is asked: an evidence message counts when its whole text stands in what a read gave back.
A memory whose API takes a number of tokens is given the budget. From one that takes none, its caller cuts:
the best ranked first, or the newest first where the order is that of time. What it gave back by itself is
reported beside it.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhea.bench.files import read_jsonl
from rhea.bench.overhead import machine
from rhea.bench.peers import PEERS, RHEA, Peer, PeerProcess, PeerUnavailable, environment_python
from rhea.bench.vectors import CachedVectors, StandIn, named_vectors
from rhea.bench.workload import exchanges
from rhea.importing import group_turns, read_file
from rhea.models.base import TokenCounter
from rhea.types import Message

__all__ = ["Case", "cut", "measure_quality", "recall_cases", "retention_cases"]

_FILLER = 40
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation, and what is asked of it: question, and the texts that should come back."""

    measure: str
    """``recall`` or ``retention``."""
    name: str
    turns: Sequence[Sequence[Message]]
    questions: Sequence[tuple[str, tuple[str, ...]]]
    live: bool
    """Whether the turns go through the chat loop one by one, so that rules in them are found."""


def recall_cases(path: Path, *, most: int | None = None) -> list[Case]:
    """Conversations with questions and their evidence, from a file in the recall format.

    Args:
        path: the file.
        most: questions of one conversation, evenly spread; ``None`` for all.
    """
    cases = []
    for found, _ in read_file(path):
        text_of = {m.source_id: m.text for m in found.messages}
        asked = [
            (str(q["question"]), tuple(text_of[e] for e in q["evidence"] if e in text_of))
            for q in found.extra.get("queries", ())
        ]
        asked = [(question, wanted) for question, wanted in asked if wanted]
        if most is not None and len(asked) > most:
            asked = [asked[i * len(asked) // most] for i in range(most)]
        cases.append(Case("recall", found.name or path.stem, group_turns(found.messages), asked, live=False))
    return cases


def retention_cases(path: Path, *, most: int | None = None, filler: int = _FILLER) -> list[Case]:
    """Rules stated at the start, then filler, then a question.

    Args:
        path: lines of ``{"id", "rule", "question"}``, to which filler is added, or of the instructions format
            (``turns`` with ``rule``), which bring their own.
        most: conversations to take; ``None`` for all.
        filler: exchanges between rule and question, for lines that bring none.
    """
    cases: list[Case] = []
    for number, data in enumerate(read_jsonl(path, fields=("id",))):
        if "rule" in data:
            said = [(data["rule"], "Understood."), *exchanges(filler, seed=100 + number)]
            rules, question = [data["rule"]], data["question"]
        else:
            said = [(t["user"], t["reply"]) for t in data["turns"] if t["user"].strip() and t["reply"].strip()]
            rules = [t["user"] for t in data["turns"] if t.get("rule") is True]
            question = data.get("question")
            if question is None:
                question, said = said[-1][0], said[:-1]
        wanted = tuple(s for rule in rules for s in _SENTENCE_END.split(rule.strip()) if s)
        if wanted:
            turns = [[Message("user", u), Message("assistant", a)] for u, a in said]
            cases.append(Case("retention", str(data["id"]), turns, [(question, wanted)], live=True))
    return cases if most is None else [cases[i * len(cases) // most] for i in range(min(most, len(cases)))]


def cut(texts: Sequence[str], budget: int, order: str, count: Callable[[str], int]) -> list[str]:
    """What a caller keeps of a read that took no budget: whole texts, best ranked or newest first, until full."""
    kept: list[str] = []
    room = budget
    for text in texts if order == "rank" else reversed(texts):
        room -= count(text)
        if room < 0:
            break
        kept.append(text)
    return kept


def measure_quality(
    cases: Sequence[Case],
    budgets: Sequence[int],
    peers: Sequence[Peer] = PEERS,
    *,
    embedder: str = CachedVectors.id,
    counter: TokenCounter,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Share of what was wanted that came back, for each memory and budget.

    Args:
        cases: conversations and questions.
        budgets: tokens.
        peers: beside Rhea.
        embedder: a name of `rhea.bench.vectors.EMBEDDERS`.
        counter: counts tokens.
        say: told what is going on.

    Returns:
        ``rows``: a memory, a measure, a budget (``None``: as given by itself), the share found and the tokens.
    """
    vectors = named_vectors(embedder)
    result: dict[str, Any] = {"machine": machine(), "embedder": embedder, "budgets": list(budgets), "rows": []}
    result["skipped"], result["versions"] = {}, {}
    result["cases"] = {m: len([c for c in cases if c.measure == m]) for m in ("recall", "retention")}
    for peer in (RHEA, *peers):
        say(f"asking {peer.title}")
        held = _Held(counter)
        try:
            python = environment_python(peer)
            for case in cases:
                result["versions"].update(_one_case(peer, python, case, budgets, vectors, held))
        except PeerUnavailable as error:
            result["skipped"][peer.name] = str(error)
        result["rows"] += held.rows(peer, budgets)
    return result


class _Held:
    """What one memory gave back so far."""

    def __init__(self, counter: TokenCounter) -> None:
        self._count = counter.count_text
        self._counted: dict[str, int] = {}
        self._found: dict[tuple[str, int | None], list[tuple[float, int]]] = {}

    def count(self, text: str) -> int:
        """Tokens of a text; each text is counted once."""
        if text not in self._counted:
            self._counted[text] = self._count(text)
        return self._counted[text]

    def add(self, measure: str, budget: int | None, texts: Sequence[str], wanted: Sequence[str]) -> None:
        """Note one answer."""
        given = _plain("\n".join(texts))
        share = sum(_plain(w) in given for w in wanted) / len(wanted)
        self._found.setdefault((measure, budget), []).append((share, sum(self.count(t) for t in texts)))

    def rows(self, peer: Peer, budgets: Iterable[int]) -> list[dict[str, Any]]:
        """One row for each measure and budget."""
        made = []
        for (measure, budget), answers in self._found.items():
            tokens = [t for _, t in answers]
            how = (
                "its own default" if budget is None else "its own budget" if peer.takes_budget else "cut by the caller"
            )
            made.append(
                {
                    "peer": peer.name,
                    "measure": measure,
                    "budget": budget,
                    "how": how,
                    "share": round(statistics.fmean(s for s, _ in answers), 4),
                    "questions": len(answers),
                    "tokens_p50": round(statistics.median(tokens)),
                    "tokens_max": max(tokens),
                }
            )
        known = list(budgets)
        return sorted(made, key=lambda r: (r["measure"], known.index(r["budget"]) if r["budget"] else len(known)))


def _one_case(
    peer: Peer,
    python: Path,
    case: Case,
    budgets: Sequence[int],
    vectors: StandIn | CachedVectors,
    held: _Held,
) -> Mapping[str, str]:
    """Store one conversation and ask its questions; returns the peer's versions."""
    own = peer.takes_budget and peer is not RHEA  # its budget is fixed when it is made: one store for each
    for setting in [None, *budgets] if own else [None]:
        options = {"RHEA_BENCH_EMBEDDER": vectors.id, "RHEA_BENCH_COUNTER": "model"}
        if setting is not None:
            options["RHEA_BENCH_BUDGET"] = str(setting)
        with (
            tempfile.TemporaryDirectory(prefix="rhea-quality-") as scratch,
            PeerProcess(
                python, peer.driver, Path(scratch) / peer.name, vectors, vectors.dim, options=options
            ) as process,
        ):
            _store(peer, process, case)
            for question, wanted in case.questions:
                if own:
                    held.add(case.measure, setting, _ask(process, question, None), wanted)
                elif peer is RHEA:
                    for budget in (None, *budgets):
                        held.add(case.measure, budget, _ask(process, question, budget), wanted)
                else:
                    held.add(case.measure, None, _ask(process, question, None), wanted)
                    found = _ask(process, question, max(budgets))
                    for budget in budgets:
                        held.add(case.measure, budget, cut(found, budget, peer.order, held.count), wanted)
            versions = process.versions
            process.close()
    return versions


def _store(peer: Peer, process: PeerProcess, case: Case) -> None:
    if case.live:
        process.ask("write", exchanges=[[t[0].text, t[1].text] for t in case.turns], timeout=900.0)
        return
    rows = [[_sent(peer, m) for m in turn] for turn in case.turns]
    process.ask("load", exchanges=rows, timeout=900.0)


def _sent(peer: Peer, message: Message) -> dict[str, str | None]:
    """Rhea keeps a speaker's name beside the text; the peers have no place for it but the text."""
    text = message.text if peer is RHEA or not message.name else f"{message.name}: {message.text}"
    return {"role": message.role, "text": text, "name": message.name, "time": message.time}


def _ask(process: PeerProcess, question: str, budget: int | None) -> list[str]:
    answer = process.ask("read", queries=[question], budget=budget, texts=True)
    texts: list[str] = answer["texts"][0]
    return texts


def _plain(text: str) -> str:
    return " ".join(text.split())
