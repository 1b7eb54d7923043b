"""`rhea bench recall`: is the evidence in the context, at a budget?

Each conversation is imported through the public API, each question is asked with `begin` and given up.
The budget is what background and recent take together, counted by the default model's tokenizer. An
evidence message counts as verbatim when its whole text stands in the context, and as recalled when it
stands there verbatim or as a digest that holds at least half of its words.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rhea.compress.text import content_words
from rhea.errors import ImportFormatError, MissingExtra
from rhea.importing import ImportedConversation, import_conversation, read_file
from rhea.recall.calibrate import LabelledConversation
from rhea.recall.render import raw_part, render_part
from rhea.settings import Settings
from rhea.types import RecallMode, TurnRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rhea.embed import Embedder
    from rhea.memory import Conversation, Rhea
    from rhea.models.base import TokenCounter

__all__ = ["bundled_file", "labelled_conversations", "measure_recall", "plot_recall"]

_QUESTION_ROOM = 4096
"""Tokens beside the measured budget, for question, rules and template."""
_USER = "bench"


@dataclass(slots=True)
class _Tally:
    recall: list[float] = field(default_factory=list)
    verbatim: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Question:
    text: str
    evidence: tuple[str, ...]
    """Ids of the messages that hold the answer."""


def bundled_file() -> Path:
    """The small set that ships with the package: chats and questions written for this project."""
    return Path(__file__).parent / "data" / "recall.jsonl"


def labelled_conversations(path: Path) -> Iterator[LabelledConversation]:
    """The conversations of a file with the places of their evidence, for `calibrate`.

    Raises:
        ImportFormatError: as for :func:`measure_recall`.
    """
    for found, _ in read_file(path):
        places = {m.source_id: place for place, m in enumerate(found.messages)}
        questions = [(q.text, [places[e] for e in q.evidence]) for q in _questions(found, path)]
        yield LabelledConversation(found.messages, questions)


def measure_recall(
    path: Path,
    budgets: Sequence[int],
    *,
    embedder: Embedder | None = None,
    counter: TokenCounter | None = None,
    mode: RecallMode = "budget",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure recall at each budget, and three baselines on the same questions.

    Args:
        path: a file in the recall format.
        budgets: tokens for background and recent together.
        embedder: ``None`` for the default.
        counter: ``None`` for the default model's tokenizer.
        mode: recall mode, "budget" or "paper".
        progress: called with (questions done, questions in all).

    Returns:
        ``{"queries", "messages", "budgets": {"500": {"recall", "verbatim", "tokens_max", "tokens_p50"}},
        "ms_per_query": {"p50", "p95"}, "baselines": {name: {"500": recall}}}``.

    Raises:
        ImportFormatError: the file cannot be read, or a question names a message that is not there.
    """
    from rhea.embed import SentenceTransformerEmbedder
    from rhea.models.counting import TokenizerCounter

    embedder = embedder or SentenceTransformerEmbedder()
    counter = counter or TokenizerCounter()
    conversations = [(found, _questions(found, path)) for found, _ in read_file(path)]
    total = len(budgets) * sum(len(questions) for _, questions in conversations)
    tallies = {budget: _Tally() for budget in budgets}
    baselines: dict[str, dict[int, list[float]]] = {
        name: {budget: [] for budget in budgets} for name in ("recency", "dense", "words")
    }
    done = 0
    for found, questions in conversations:
        with tempfile.TemporaryDirectory() as folder:
            for budget in budgets:
                settings = Settings(
                    budget=budget + _QUESTION_ROOM,
                    recall_budget=budget,
                    recall_mode=mode,
                    background=False,
                )
                with _opened(Path(folder), embedder, counter, settings) as memory:
                    chat = _imported(memory, found, path)
                    turns = chat.history()
                    for question in questions:
                        _ask(chat, turns, question, tallies[budget])
                        done += 1
                        if progress is not None:
                            progress(done, total)
                    _baselines(memory, chat, turns, questions, budget, counter, baselines)
    milliseconds = [ms for tally in tallies.values() for ms in tally.milliseconds]
    return {
        "queries": sum(len(questions) for _, questions in conversations),
        "messages": sum(len(found.messages) for found, _ in conversations),
        "budgets": {str(budget): _summary(tally) for budget, tally in tallies.items()},
        "ms_per_query": {"p50": _percentile(milliseconds, 50), "p95": _percentile(milliseconds, 95)},
        "baselines": {
            name: {str(budget): _mean(values) for budget, values in by_budget.items()}
            for name, by_budget in baselines.items()
        },
    }


def plot_recall(report: dict[str, Any], path: Path) -> None:
    """Draw recall over budget, for Rhea and each baseline, as a PNG.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtra("bench", "drawing a plot") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    budgets = sorted(int(b) for b in report["budgets"])
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=110)
    for name, style in (("recall", "-o"), ("verbatim", "--o")):
        axes.plot(budgets, [report["budgets"][str(b)][name] for b in budgets], style, label=f"Rhea, {name}")
    for name, values in report["baselines"].items():
        axes.plot(budgets, [values[str(b)] for b in budgets], ":s", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [f"{b:,}" for b in budgets])
    axes.set_ylim(0, 1)
    axes.set_xlabel("tokens for background and recent")
    axes.set_ylabel("evidence in the context")
    axes.set_title(f"{report['queries']} questions, {report['messages']:,} messages")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _opened(folder: Path, embedder: Embedder, counter: TokenCounter, settings: Settings) -> Rhea:
    from rhea.memory import Rhea

    return Rhea(f"sqlite:///{folder / 'bench.db'}", embedder=embedder, counter=counter, settings=settings)


def _imported(memory: Rhea, found: ImportedConversation, path: Path) -> Conversation:
    name = found.name or f"line-{found.line}"
    import_conversation(memory, found.messages, user=_USER, name=name, where=f"{path}, line {found.line}")
    chat = memory.conversation(name, user=_USER)
    chat.settle()
    return chat


def _questions(found: ImportedConversation, path: Path) -> list[_Question]:
    known = {m.source_id for m in found.messages}
    where = f"{path}, line {found.line}"
    queries = found.extra.get("queries")
    if not isinstance(queries, list):
        raise ImportFormatError(f"{where}: no list of 'queries'; the recall format is needed")
    questions = []
    for i, query in enumerate(queries, 1):
        try:
            question = _Question(str(query["question"]), tuple(str(e) for e in query["evidence"]))
        except (TypeError, KeyError):
            raise ImportFormatError(f"{where}, query {i}: 'question' and 'evidence' are needed") from None
        missing = [e for e in question.evidence if e not in known]
        if missing or not question.evidence:
            raise ImportFormatError(f"{where}, query {i}: no message {', '.join(missing) or 'is named as evidence'}")
        questions.append(question)
    return questions


def _ask(chat: Conversation, turns: Sequence[TurnRecord], question: _Question, tally: _Tally) -> None:
    began = time.perf_counter()
    turn = chat.begin(question.text)
    tally.milliseconds.append((time.perf_counter() - began) * 1000)
    seen = "\n".join(m["content"] for m in turn.messages)
    tally.tokens.append(turn.context.sections["background"] + turn.context.sections["recent"])
    turn.abandon()
    verbatim, recalled = [], []
    for record in turns:
        for message in record.messages:
            if message.source_id in question.evidence:
                whole = message.text in seen
                verbatim.append(whole)
                recalled.append(whole or (message.role == "assistant" and _digested(record, message.text, seen)))
    tally.verbatim.append(_mean(verbatim))
    tally.recall.append(_mean(recalled))


def _digested(record: TurnRecord, text: str, seen: str) -> bool:
    """Whether the reply's digest stands in the context and holds at least half of the message's words."""
    if not record.digest or record.digest not in seen:
        return False
    words = set(content_words(text))
    return len(words & set(content_words(record.digest))) * 2 >= len(words)


def _baselines(
    memory: Rhea,
    chat: Conversation,
    turns: Sequence[TurnRecord],
    questions: Sequence[_Question],
    budget: int,
    counter: TokenCounter,
    tallies: dict[str, dict[int, list[float]]],
) -> None:
    """The newest messages, the nearest vectors, the best BM25: whole messages, best first, while they fit."""
    from rhea.recall.score import raw_channels

    recall = memory._services.recall
    index = recall.cache.get(chat._owner, chat._id)
    messages = [m for record in turns for m in record.messages]
    costs = [counter.count_text(render_part(raw_part(m)) + "\n") for m in messages]
    for question in questions:
        channels = raw_channels(index, recall.ask(question.text, index.speakers))
        rankings: dict[str, NDArray[Any]] = {
            "recency": np.arange(len(messages), dtype=np.float32),
            "dense": np.nan_to_num(channels["message"]),
            "words": channels["words"],
        }
        for name, score in rankings.items():
            taken: set[str | None] = set()
            left = budget
            for place in np.argsort(-score, kind="stable").tolist():
                if costs[place] <= left:
                    left -= costs[place]
                    taken.add(messages[place].source_id)
            tallies[name][budget].append(_mean([e in taken for e in question.evidence]))


def _summary(tally: _Tally) -> dict[str, float]:
    return {
        "recall": _mean(tally.recall),
        "verbatim": _mean(tally.verbatim),
        "tokens_max": max(tally.tokens, default=0),
        "tokens_p50": _percentile(tally.tokens, 50),
    }


def _mean(values: Sequence[float | bool]) -> float:
    return round(float(np.mean(values)), 4) if len(values) else 0.0


def _percentile(values: Sequence[float], share: int) -> float:
    return round(float(np.percentile(values, share)), 2) if len(values) else 0.0
