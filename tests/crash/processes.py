"""Child processes for the crash tests: forked from one clean, preloaded server process, killed like any other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["converse", "die_at_statement", "die_at_step", "hammer", "open_memory", "started"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "rhea.memory",
        "rhea.parts",
        "rhea.stores.sql",
        "rhea.testing",
        "rhea.recall.plan",
        "rhea.instructions.detect",
        "faiss",
    ]
)


@contextmanager
def started(target: Any, *arguments: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    """A running child and the pipe that it reports through; killed at the end if it still runs."""
    mine, theirs = _context.Pipe(duplex=False)
    child = _context.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        yield child, mine
    finally:
        child.kill()
        child.join(30)
        mine.close()


def open_memory(url: str, **options: Any) -> Any:
    """A `Rhea` on fakes: the store is real, the model and the embedder are not."""
    from rhea import Rhea
    from rhea.settings import Settings
    from rhea.testing import EchoModel, HashEmbedder

    options.setdefault("model", EchoModel(reply=lambda messages: "reply to " + messages[-1]["content"][-60:]))
    return Rhea(url, embedder=HashEmbedder(16), settings=Settings(background=False, budget=400), **options)


def converse(report: Connection, url: str, name: str, turns: int) -> None:
    """Turn after turn; each begun and each acknowledged one is reported at once."""
    memory = open_memory(url)
    chat = memory.conversation(name, user="ada")
    for n in range(turns):
        turn = chat.begin(f"From now on, remember number {n} of {name}.")
        report.send(("begun", turn.position, n))
        reply = f"Number {n} of {name} noted. It will be remembered."
        turn.commit(reply)
        report.send(("acknowledged", turn.position, reply))
    memory.settle()
    memory.close()
    report.send(("done", turns, ""))


def die_at_step(report: Connection, url: str, name: str, step: str, moment: str) -> None:
    """One acknowledged turn, then one that dies by SIGKILL at the start or the end of a named step."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    armed = False
    seen: list[str] = []

    class Killer(SpanProcessor):
        """The steps of a turn show themselves as spans: that is where the process dies."""

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            seen.append(span.name)
            if armed and moment == "start" and span.name == f"rhea.{step}":
                os.kill(os.getpid(), signal.SIGKILL)

        def on_end(self, span: Any) -> None:
            if armed and moment == "end" and span.name == f"rhea.{step}":
                os.kill(os.getpid(), signal.SIGKILL)

    provider = TracerProvider()
    provider.add_span_processor(Killer())
    trace.set_tracer_provider(provider)
    memory = open_memory(url)
    chat = memory.conversation(name, user="ada")
    reply = chat.send("From now on, answer briefly. Number 0.")
    report.send(("acknowledged", 1, reply))
    armed = True
    chat.send("Number 1, and no step may lose this.")
    memory.settle()
    report.send(("survived", 2, ",".join(seen)))


def die_at_statement(report: Connection, url: str, name: str, number: int) -> None:
    """One acknowledged turn, then one that dies just before the given SQL statement, or ``COMMIT``, is run."""
    from sqlalchemy import event

    memory = open_memory(url)
    chat = memory.conversation(name, user="ada")
    report.send(("acknowledged", 1, chat.send("From now on, answer briefly. Number 0.")))
    engine = memory._services.store.database.engine
    count = 0

    def die_in_time() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "before_cursor_execute", lambda *_: die_in_time())
    event.listen(engine, "commit", lambda _: die_in_time())
    chat.send("From now on, end with a full stop. Number 1.")
    memory.settle()
    report.send(("survived", count, ""))


def hammer(report: Connection, url: str, name: str, worker: int, turns: int) -> None:
    """Begin and commit on a conversation that others use too; reports the waits and the errors."""
    from rhea.errors import RheaError
    from rhea.stores import open_store
    from rhea.types import Message

    store = open_store(url)
    owner = store.ensure_user("ada")
    here = store.ensure_conversation(owner, name)
    waits: list[float] = []
    errors: list[str] = []
    report.send("ready")
    for n in range(turns):
        try:
            began = time.perf_counter()
            turn = store.begin_turn(owner, here, Message("user", f"w{worker} t{n}"), [])
            waits.append(time.perf_counter() - began)
            began = time.perf_counter()
            store.commit_turn(owner, turn.id, f"reply w{worker} t{n}", trace={"n": n})
            waits.append(time.perf_counter() - began)
            for item in store.claim_work(["digest"], limit=2):
                store.finish_digests([(item, f"{item.turn_id}", "t")])
        except RheaError as error:
            errors.append(f"{type(error).__name__}: {error}")
    store.close()
    report.send((waits, errors))
