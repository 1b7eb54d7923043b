"""`rhea bench recall-scale`: what a turn costs as a conversation grows, from 200 to 20,000 messages.

A made-up chat of two people is imported, then turns are begun, answered and committed on top of it. The
embedder is a stand-in whose time is measured and taken off, and no model runs: what remains is Rhea's own.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rhea.errors import MissingExtra
from rhea.importing import group_turns
from rhea.settings import Settings
from rhea.types import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEFAULT_SIZES", "StandInEmbedder", "made_up_messages", "measure_scale", "plot_scale"]

DEFAULT_SIZES = (200, 1_000, 5_000, 20_000)
_WARM_UP = 2
_USER = "bench"

_SYLLABLES = [consonant + vowel for consonant in "bdfghklmnprstvz" for vowel in "aeiou"]
_FRAMES = (
    "I went to {a} with {b} last {c}. It was more {d} than I thought.",
    "Did you ever finish the {a} that you began in {b}? I keep thinking about the {c}.",
    "My {a} says the {b} costs {n} now. We might go to {c} instead and take the {d}.",
    "The {a} broke again. {b} fixed it with a {c}, which took {n} hours.",
    "That sounds lovely! What did {a} say about the {b}?",
    "We moved the {a} to {b}. Next week I meet {c} about the {d}; wish me luck.",
)


class StandInEmbedder:
    """Unit vectors from hashed words, and the seconds that making them took.

    Args:
        dim: length of a vector; 384 as the default embedder's.
    """

    max_tokens = 256

    def __init__(self, dim: int = 384) -> None:
        self.dim = dim
        self.id = f"stand-in-{dim}"
        self.seconds = 0.0
        self.processor_seconds = 0.0
        self._words: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Normalised sums of one random vector a word: float32 of shape (len(texts), dim)."""
        began, processor = time.perf_counter(), time.process_time()
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.lower().split():
                if word not in self._words:
                    seed = int.from_bytes(word.encode("utf-8")[:8].ljust(8, b"."), "little")
                    self._words[word] = np.random.default_rng(seed).standard_normal(self.dim).astype(np.float32)
                row += self._words[word]
            row /= max(float(np.linalg.norm(row)), 1e-6)
        self.seconds += time.perf_counter() - began
        self.processor_seconds += time.process_time() - processor
        return out

    def count(self, text: str) -> int:
        """Words of the text, a third more."""
        return len(text.split()) * 4 // 3


def made_up_messages(count: int, seed: int = 7) -> Iterator[Message]:
    """Messages of a made-up chat of two people, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable workload, not a secret
    vocabulary = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(4000)]
    weights = [1.0 / (rank + 10) for rank in range(len(vocabulary))]
    for number in range(count):
        text = " ".join(
            frame.format(
                n=chance.randint(2, 90), **dict(zip("abcd", chance.choices(vocabulary, weights, k=4), strict=True))
            )
            for frame in chance.choices(_FRAMES, k=chance.randint(1, 3))
        )
        day = 1 + number // 40
        yield Message(
            "user" if number % 2 == 0 else "assistant",
            text,
            "Ada" if number % 2 == 0 else "Bo",
            f"{2020 + day // 336}-{1 + day % 336 // 28:02d}-{1 + day % 28:02d}",
        )


def measure_scale(
    sizes: Sequence[int] = DEFAULT_SIZES, *, turns: int = 40, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Time `begin` and `commit`, and weigh the index, at each size.

    Args:
        sizes: messages in the conversation before the timed turns.
        turns: timed turns at each size.
        progress: called with a line about what is being done.

    Returns:
        ``{"sizes": [{"messages", "begin_ms": {"p50", "p95"}, "begin_cpu_ms", "commit_ms", "first_begin_ms",
        "index_mb", "database_mb"}]}``, times without the embedder's. The processor's time tells what a busy
        machine hides.
    """
    rows = []
    for size in sizes:
        if progress is not None:
            progress(f"{size:,} messages")
        rows.append(_at_size(size, turns))
    return {"sizes": rows}


def plot_scale(report: dict[str, Any], path: Path) -> None:
    """Draw times and memory over the number of messages, as a PNG.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtra("bench", "drawing a plot") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = report["sizes"]
    sizes = [r["messages"] for r in rows]
    figure, (times, memory) = plt.subplots(1, 2, figsize=(9.0, 3.6), dpi=110)
    for what, label in (("begin_ms", "begin"), ("commit_ms", "commit")):
        for share, style in (("p50", "-o"), ("p95", "--o")):
            times.plot(sizes, [r[what][share] for r in rows], style, label=f"{label} {share}")
    times.set_ylabel("milliseconds, without the embedder")
    memory.plot(sizes, [r["index_mb"] for r in rows], "-o", label="index in memory")
    memory.plot(sizes, [r["database_mb"] for r in rows], "--o", label="database file")
    memory.set_ylabel("MB")
    for axes in (times, memory):
        axes.set_xscale("log")
        axes.set_xlabel("messages in the conversation")
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _at_size(size: int, turns: int) -> dict[str, Any]:
    from rhea.memory import Rhea

    embedder = StandInEmbedder()
    begins: list[float] = []
    processor: list[float] = []
    commits: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scale.db"
        with Rhea(f"sqlite:///{file}", embedder=embedder, settings=Settings(background=False)) as memory:
            chat = memory.conversation("scale", user=_USER)
            store = memory._services.store
            store.append_turns(chat._owner, chat._id, group_turns(made_up_messages(size)), source="scale")
            chat.settle()
            for message in made_up_messages(2 * (turns + _WARM_UP), seed=11):
                if message.role == "assistant":
                    continue
                chat.settle()
                clock, used, turn = _timed(embedder, partial(chat.begin, message.text))
                begins.append(clock)
                processor.append(used)
                commits.append(_timed(embedder, partial(turn.commit, f"Noted. {message.text}"))[0])
            services = memory._services
            index = services.recall.cache.get(chat._owner, chat._id)
            return {
                "messages": size,
                "first_begin_ms": round(begins[0], 2),
                "begin_ms": _shares(begins[_WARM_UP:]),
                "begin_cpu_ms": _shares(processor[_WARM_UP:]),
                "commit_ms": _shares(commits[_WARM_UP:]),
                "index_mb": round(index.nbytes / 2**20, 1),
                "database_mb": round(file.stat().st_size / 2**20, 1),
            }


def _timed(embedder: StandInEmbedder, call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Milliseconds on the clock and of the processor, the embedder's own taken off, and what the call returned."""
    inside, inside_processor = embedder.seconds, embedder.processor_seconds
    began, processor = time.perf_counter(), time.process_time()
    result = call()
    clock = time.perf_counter() - began - (embedder.seconds - inside)
    used = time.process_time() - processor - (embedder.processor_seconds - inside_processor)
    return clock * 1000, used * 1000, result


def _shares(values: Sequence[float]) -> dict[str, float]:
    return {"p50": round(float(np.percentile(values, 50)), 2), "p95": round(float(np.percentile(values, 95)), 2)}
