"""Which peers are measured, what they need, and what a read of each gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rhea.errors import SettingsError

__all__ = ["PEERS", "RHEA", "RHEA_SMALL", "Order", "Peer", "chosen_peers"]

Order = Literal["rank", "time"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One memory under measurement.

    ``order`` says how a read orders what it gives back: best first, or oldest first. ``by_meaning`` says
    whether it searches with vectors, ``takes_budget`` whether its API takes a number of tokens.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    returns: str
    stores: str
    order: Order
    by_meaning: bool
    takes_budget: bool = False
    options: tuple[tuple[str, str], ...] = ()
    """Environment variables that the driver reads."""

    @property
    def driver(self) -> str:
        """File name of its driver in this package."""
        return f"driver_{self.name.partition('-')[0]}.py"


RHEA = Peer(
    name="rhea",
    title="Rhea",
    requirements=(),
    returns="the messages for the model inside the token budget: rules in force, chosen turns, question",
    stores="messages, digest, vectors of sentences, messages and pairs, words, the trace of every turn",
    order="rank",
    by_meaning=True,
    takes_budget=True,
)

RHEA_SMALL = replace(
    RHEA,
    name="rhea-512",
    title="Rhea, budget of 512 tokens",
    returns="the same inside 512 tokens, as much text as five messages or a little more",
    options=(("RHEA_BENCH_BUDGET", "512"),),
)
"""The default budget of 4,096 tokens gives back far more than five messages; this one is nearer to like with like."""

PEERS: tuple[Peer, ...] = (
    Peer(
        name="mem0",
        title="mem0 (infer=False, FAISS)",
        requirements=("mem0ai", "faiss-cpu"),
        returns="the 5 nearest messages",
        stores="messages, one vector each (files rewritten whole), a history row each",
        order="rank",
        by_meaning=True,
    ),
    Peer(
        name="llamaindex",
        title="LlamaIndex Memory + VectorMemoryBlock",
        requirements=("llama-index-core", "sqlalchemy[asyncio]", "aiosqlite"),
        returns="the newest messages up to 70 % of its token limit, and the 5 nearest flushed batches",
        stores="messages; one vector a flushed batch, in memory only",
        order="time",
        by_meaning=True,
        takes_budget=True,
    ),
    Peer(
        name="langgraph",
        title="LangGraph SqliteStore",
        requirements=("langgraph-checkpoint-sqlite", "pysqlite3-binary"),
        returns="the 5 nearest messages",
        stores="messages, one vector each",
        order="rank",
        by_meaning=True,
    ),
    Peer(
        name="agents",
        title="openai-agents SQLAlchemySession",
        requirements=("openai-agents[sqlalchemy]", "sqlalchemy[asyncio]", "aiosqlite"),
        returns="the whole history",
        stores="messages",
        order="time",
        by_meaning=False,
    ),
    Peer(
        name="langchain",
        title="LangChain SQLChatMessageHistory",
        requirements=("langchain-community", "sqlalchemy[asyncio]"),
        returns="the whole history",
        stores="messages",
        order="time",
        by_meaning=False,
    ),
)


def chosen_peers(names: str) -> Sequence[Peer]:
    """Peers by a comma separated list; ``all`` for all, ``none`` for none.

    Raises:
        SettingsError: a name that is not a peer's.
    """
    wanted = [n.strip() for n in names.split(",") if n.strip()]
    if wanted == ["all"]:
        return PEERS
    if wanted == ["none"]:
        return ()
    known = {p.name: p for p in PEERS}
    for name in wanted:
        if name not in known:
            raise SettingsError(f"no peer is called {name!r}; choose from {', '.join(known)}, all, none")
    return tuple(known[n] for n in dict.fromkeys(wanted))
