"""Many processes on one conversation: every turn is stored once, in one order, and nobody fails."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import hammer, started

from rhea.stores import open_store

pytestmark = [pytest.mark.slow]


def run(url: str, workers: int, turns: int) -> dict[str, float]:
    """All at once on one conversation; checks what was stored and returns the figures."""
    with ExitStack() as stack:
        children = [stack.enter_context(started(hammer, url, "one", n, turns)) for n in range(workers)]
        for _, pipe in children:
            assert pipe.recv() == "ready"
        began = time.perf_counter()
        reports = [pipe.recv() for _, pipe in children]
        seconds = time.perf_counter() - began
    errors = [error for _, failed in reports for error in failed]
    assert errors == []
    waits = sorted(wait for waited, _ in reports for wait in waited)
    store = open_store(url)
    owner = store.find_user("ada")
    found = store.turns(owner, store.find_conversation(owner, "one"))
    assert [turn.position for turn in found] == list(range(1, workers * turns + 1))
    assert len({turn.user for turn in found}) == workers * turns
    assert all(turn.reply == f"reply {turn.user}" for turn in found)
    assert all(turn.digest in (None, str(turn.id)) for turn in found)
    assert sum(turn.digest is None for turn in found) == store.pending_work().get("digest", 0)
    store.close()
    return {
        "turns_per_second": workers * turns / seconds,
        "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[int(len(waits) * 0.99)] * 1e3,
        "worst_ms": waits[-1] * 1e3,
    }


def test_six_processes_on_one_conversation(database_url: str) -> None:
    assert run(database_url, 6, 20)["worst_ms"] < 5_000


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_sixteen_processes_of_two_hundred_turns(database_url: str) -> None:
    figures = run(database_url, 16, 200)
    print(f"\n16 × 200 turns on one conversation, {database_url.partition(':')[0]}: errors 0, positions gapless")
    print("  " + ", ".join(f"{name} {value:.1f}" for name, value in figures.items()))


def test_sixteen_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    assert run(f"sqlite:///{tmp_path}/new.db", 16, 1)["worst_ms"] < 5_000
