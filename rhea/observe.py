"""Watching: spans, durations and the queue of pending work through OpenTelemetry's API, and structured logs.

All of it is a no-op until the user sets up an OpenTelemetry SDK or a log handler. Names and numbers only;
never message text, never a user's name: what is logged may leave the machine that the chats must not leave.

Spans are named ``rhea.STEP`` (detect, begin, embed, recall, assemble, model, commit, digest). Metrics:
``rhea.step.duration`` (seconds, by step) and ``rhea.work.pending`` (by kind, of every open `Rhea`).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from time import perf_counter
from types import MethodType
from typing import Any
from weakref import WeakMethod

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation

__all__ = ["JsonFormatter", "Stopwatch", "event", "step", "watch_queue"]

_tracer = trace.get_tracer("rhea")
_meter = metrics.get_meter("rhea")
_durations = _meter.create_histogram("rhea.step.duration", unit="s", description="Time spent in one step of a turn")
_log = logging.getLogger("rhea.steps")


@contextmanager
def step(name: str, **numbers: int | float | str) -> Iterator[None]:
    """Time one named step of a turn.

    Args:
        name: detect, begin, embed, recall, assemble, model, commit or digest.
        numbers: attributes of the span: identifiers and counts, no text of a user.
    """
    began = perf_counter()
    outcome = "ok"
    # Without an SDK a span is nothing, and making it the current one still costs more than the rest of a short step.
    idle = isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    span: AbstractContextManager[object] = (
        nullcontext() if idle else _tracer.start_as_current_span(f"rhea.{name}", attributes=numbers)
    )
    with span:
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            _ended(name, perf_counter() - began, outcome, numbers)


class Stopwatch:
    """Times a step whose start and end lie in different calls or threads, such as a streamed reply.

    Args:
        name: the step.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = perf_counter()
        self._span = _tracer.start_span(f"rhea.{name}")
        self._running = True

    def stop(self) -> None:
        """End the step; a second call does nothing."""
        if self._running:
            self._running = False
            self._span.end()
            _ended(self._name, perf_counter() - self._began, "ok", {})


def _ended(name: str, seconds: float, outcome: str, numbers: Mapping[str, Any]) -> None:
    _durations.record(seconds, {"step": name})
    if _log.isEnabledFor(logging.DEBUG):
        event(_log, logging.DEBUG, "step", step=name, ms=round(seconds * 1e3, 3), outcome=outcome, **numbers)


Pending = Callable[[], Mapping[str, int]]
_watched: list[Callable[[], Pending | None]] = []
"""References to what is asked; weak where they are methods, so that a gauge keeps no store alive."""


def watch_queue(pending: Pending) -> Callable[[], None]:
    """Report a queue of pending work in the gauge ``rhea.work.pending``; `Rhea` does it for its own store.

    What several queues have pending of one kind is added up; the same queue counts once.

    Args:
        pending: number of pieces by kind, such as `Store.pending_work`; asked at each collection.

    Returns:
        Called to report it no longer.
    """
    held: Callable[[], Pending | None] = WeakMethod(pending) if isinstance(pending, MethodType) else lambda: pending
    _queue_gauge()
    _watched.append(held)

    def stop() -> None:
        if held in _watched:
            _watched.remove(held)

    return stop


@cache
def _queue_gauge() -> object:
    return _meter.create_observable_gauge(
        "rhea.work.pending", callbacks=[_observe_queues], description="Pieces of pending work"
    )


def _observe_queues(_options: CallbackOptions) -> Iterator[Observation]:
    total: Counter[str] = Counter()
    asked: list[Pending] = []
    for held in list(_watched):
        pending = held()
        if pending is None:
            _watched.remove(held)
        elif pending not in asked:
            asked.append(pending)
            try:
                total.update(pending())
            except Exception:  # a gauge must not bring down the collection of all others
                _log.debug("queue not read")
    for kind, count in sorted(total.items()):
        yield Observation(count, {"kind": kind})


def event(log: logging.Logger, level: int, name: str, **fields: int | float | str | None) -> None:
    """Log one structured event: a name and fields, which `JsonFormatter` writes as JSON.

    Args:
        log: the logger.
        level: the logging level.
        name: what happened.
        fields: identifiers, counts, durations, names of errors; no text of a user.
    """
    shown = " ".join(f"{key}={value}" for key, value in fields.items())
    log.log(level, "%s %s", name, shown, extra={"rhea": {"event": name, **fields}})


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event and its fields.

    Set it on your own handler: ``handler.setFormatter(JsonFormatter())`` and
    ``logging.getLogger("rhea").addHandler(handler)``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = {"time": at, "level": record.levelname.lower(), "logger": record.name}
        fields = getattr(record, "rhea", None) or {"event": record.getMessage()}
        failed = {"error": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        return json.dumps(head | fields | failed, ensure_ascii=False, default=str)
