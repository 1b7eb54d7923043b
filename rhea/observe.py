"""Watching: one span and one duration per step of a turn, through OpenTelemetry's API.

A no-op until the user sets up an OpenTelemetry SDK. Names and numbers only; never message text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from opentelemetry import metrics, trace

__all__ = ["Stopwatch", "step"]

_tracer = trace.get_tracer("rhea")
_durations = metrics.get_meter("rhea").create_histogram(
    "rhea.step.duration", unit="s", description="Time spent in one step of a turn"
)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Time one named step: detect, begin, recall, assemble, model, commit, digest."""
    began = perf_counter()
    with _tracer.start_as_current_span(f"rhea.{name}"):
        try:
            yield
        finally:
            _durations.record(perf_counter() - began, {"step": name})


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
            _durations.record(perf_counter() - self._began, {"step": self._name})
