"""What the middleware costs a turn, beside its peers: read, write, size on disk, memory.

Same machine, same run, same exchanges, same vectors; the embedder's and the language model's time left out.
All memories stand open at once and take turns in small rounds, so that whatever else the machine does meets
them alike. A memory that does not reach a size within its time limit is measured where it stands.
"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rhea.bench.peers import PEERS, RHEA, RHEA_SMALL, Peer, PeerProcess, PeerUnavailable, environment_python
from rhea.bench.vectors import CachedVectors, StandIn, named_vectors
from rhea.bench.workload import exchanges, questions

__all__ = ["machine", "measure_overhead", "sync_milliseconds"]

_ROUNDS = 10
_WRITES = 5
_READS = 5
_CHUNK = (10, 500)
Say = Callable[[str], None]


@dataclass
class _Runner:
    """One memory in the race, and where it stands."""

    peer: Peer
    process: PeerProcess
    stored: int = 0
    filled: float = 0.0
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)
    stopped: str = ""
    grown: int = 0
    """Bytes on disk that the measured writes took."""

    def forget(self) -> None:
        self.grown = 0
        for held in (self.reads, self.writes, self.items, self.characters):
            held.clear()
        self.parts.clear()


def measure_overhead(
    turns: Sequence[int],
    peers: Sequence[Peer] = PEERS,
    *,
    embedders: Sequence[str] = ("stand-in",),
    limit: float = 240.0,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure Rhea and peers at each number of exchanges.

    Args:
        turns: sizes, in exchanges.
        peers: beside Rhea.
        embedders: names of `rhea.bench.vectors.EMBEDDERS`.
        limit: seconds that one memory may take to fill up, over all sizes and for each embedder, without the
            embedder's time.
        say: told what is going on.

    Returns:
        ``rows`` (one a memory, size and embedder), ``skipped`` peers with the reason, ``versions``, ``machine``.
    """
    sizes = sorted(set(turns))
    result: dict[str, Any] = {"machine": machine(), "turns": sizes, "embedders": list(embedders), "rows": []}
    result["skipped"], result["versions"] = {}, {}
    pythons = {r.name: environment_python(r) for r in (RHEA, RHEA_SMALL)}
    for peer in peers:
        say(f"preparing {peer.title}")
        try:
            pythons[peer.name] = environment_python(peer)
        except PeerUnavailable as error:
            result["skipped"][peer.name] = f"not installed: {error}"
    runnable = [p for p in (RHEA, RHEA_SMALL, *peers) if p.name in pythons]
    for name in embedders:
        vectors = named_vectors(name)
        with tempfile.TemporaryDirectory(prefix="rhea-overhead-") as scratch, contextlib.ExitStack() as stack:
            runners = []
            for peer in runnable:
                try:
                    process = PeerProcess(
                        pythons[peer.name],
                        peer.driver,
                        Path(scratch) / peer.name,
                        vectors,
                        vectors.dim,
                        options={"RHEA_BENCH_EMBEDDER": name, **dict(peer.options)},
                    )
                except PeerUnavailable as error:
                    result["skipped"][peer.name] = f"did not start: {error}"
                    continue
                stack.callback(process.stop)
                runners.append(_Runner(peer, process))
                result["versions"].update(process.versions)
            for size in sizes:
                result["rows"] += _at_size(runners, size, vectors, limit, result["skipped"], say)
    return result


def _at_size(
    runners: list[_Runner],
    size: int,
    vectors: StandIn | CachedVectors,
    limit: float,
    skipped: dict[str, str],
    say: Say,
) -> list[dict[str, Any]]:
    asked = questions(_ROUNDS * _READS + 3)
    live = [r for r in runners if not r.stopped]
    for runner in live:
        say(f"{vectors.id}: filling {runner.peer.title} to {size:,} exchanges")
        _guarded(runner, skipped, partial(_fill, runner, size - _ROUNDS * _WRITES, limit, asked[-3:], vectors))
    for turn in range(_ROUNDS):
        for runner in (r for r in live if r.peer.name not in skipped):
            queries = asked[turn * _READS : (turn + 1) * _READS]
            _guarded(runner, skipped, partial(_round, runner, queries, limit))
    rows: list[dict[str, Any]] = []
    for runner in (r for r in live if r.peer.name not in skipped):
        _guarded(runner, skipped, partial(_add_row, rows, runner, size, vectors))
        runner.forget()
    return rows


def _guarded(runner: _Runner, skipped: dict[str, str], work: Callable[[], None]) -> None:
    try:
        work()
    except PeerUnavailable as error:
        runner.stopped = str(error)
        skipped[runner.peer.name] = f"failed at {runner.stored:,} exchanges: {error}"


def _fill(runner: _Runner, wanted: int, limit: float, warm: Sequence[str], vectors: StandIn | CachedVectors) -> None:
    chunk = _CHUNK[0]
    coming = islice(exchanges(max(wanted, 0)), runner.stored, None)
    while runner.stored < wanted:
        if runner.filled > limit:
            runner.stopped = f"reached {runner.stored:,} exchanges in {limit:g} s"
            break
        batch = list(islice(coming, min(chunk, wanted - runner.stored)))
        began, embedded = time.perf_counter(), vectors.seconds
        runner.process.ask(
            "load",
            exchanges=[[{"role": "user", "text": u}, {"role": "assistant", "text": a}] for u, a in batch],
            timeout=limit + 600,
        )
        took = time.perf_counter() - began - (vectors.seconds - embedded)
        runner.filled += took
        runner.stored += len(batch)
        chunk = min(_CHUNK[1], chunk * 2) if took < 2.0 else max(_CHUNK[0], chunk // 2) if took > 10.0 else chunk
    runner.process.ask("read", queries=list(warm), timeout=limit + 120)


def _round(runner: _Runner, queries: Sequence[str], limit: float) -> None:
    batch = list(islice(exchanges(runner.stored + _WRITES), runner.stored, None))
    before = runner.process.ask("state")["disk"]
    written = runner.process.ask("write", exchanges=batch, timeout=limit + 120)
    runner.grown += runner.process.ask("state")["disk"] - before
    runner.stored += len(written["seconds"])
    found = runner.process.ask("read", queries=list(queries), timeout=limit + 120)
    for kind, answer, held in (("write", written, runner.writes), ("read", found, runner.reads)):
        for seconds, parts in zip(answer["seconds"], answer["parts"], strict=True):
            held.append(parts.get("seconds", seconds))
            for part, value in parts.items():
                if part != "seconds":
                    runner.parts.setdefault(f"{kind}_{part}", []).append(value)
    runner.items += found["items"]
    runner.characters += found["characters"]


def _add_row(rows: list[dict[str, Any]], runner: _Runner, size: int, vectors: StandIn | CachedVectors) -> None:
    rows.append(_row(runner, size, vectors))


def _row(runner: _Runner, size: int, vectors: StandIn | CachedVectors) -> dict[str, Any]:
    state = runner.process.ask("state")
    text = sum(len((u + a).encode()) for u, a in exchanges(runner.stored))
    return {
        "peer": runner.peer.name,
        "embedder": vectors.id,
        "turns": size,
        "reached": runner.stored,
        "stopped": runner.stopped,
        "read_ms": _milliseconds(runner.reads),
        "write_ms": _milliseconds(runner.writes),
        "parts_ms": {name: _milliseconds(values)["p50"] for name, values in sorted(runner.parts.items())},
        "disk_per_exchange": round(runner.grown / max(1, len(runner.writes))),
        "disk_mean": round(state["disk"] / max(1, runner.stored)),
        "text_per_exchange": round(text / max(1, runner.stored)),
        "vectors_per_exchange": round(state["facts"].get("vector_bytes", 0) / max(1, runner.stored)),
        "memory_peak_mib": round(state["peak"] / 2**20, 1),
        "memory_grown_mib": round(max(0, state["peak"] - runner.process.resident_at_start) / 2**20, 1),
        "items": round(statistics.median(runner.items)),
        "characters": round(statistics.median(runner.characters)),
        "facts": state["facts"],
    }


def _milliseconds(seconds: Iterable[float]) -> dict[str, float]:
    values = sorted(seconds)
    return {
        "p50": round(1000 * statistics.median(values), 3),
        "p95": round(1000 * values[min(len(values) - 1, int(0.95 * len(values)))], 3),
    }


def machine() -> dict[str, Any]:
    """The machine in general terms, and how long its disk takes to make one small write safe."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "sync_ms": sync_milliseconds(),
    }


def sync_milliseconds(times: int = 40) -> float:
    """Median milliseconds of writing 4 KiB and waiting until the disk has it: the floor of a durable write."""
    seconds = []
    with tempfile.NamedTemporaryFile(prefix="rhea-sync-") as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return round(1000 * statistics.median(seconds), 3)
