"""Watching: every step is a span and a duration, the queue is a gauge, and no text of a user gets out."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rhea.errors import InputError
from rhea.observe import JsonFormatter, event, watch_queue
from rhea.settings import Settings
from rhea.testing import EchoModel, memory_database


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    found = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[found]))
    return found


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("rhea")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield stream
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def pending(reader: InMemoryMetricReader) -> dict[str, int]:
    """What the gauge shows now."""
    collected = reader.get_metrics_data()
    assert collected is not None
    metrics = json.loads(collected.to_json())["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    points = [p for m in metrics if m["name"] == "rhea.work.pending" for p in m["data"]["data_points"]]
    return {point["attributes"]["kind"]: point["value"] for point in points}


def test_a_turn_is_watched_step_by_step_and_says_nothing_of_what_was_said(
    spans: InMemorySpanExporter, reader: InMemoryMetricReader, lines: io.StringIO
) -> None:
    memory = memory_database(model=EchoModel("pelicanish reply"), settings=Settings(background=False))
    watch_queue(memory._services.store.pending_work)  # the memory does so itself: a queue counts once
    chat = memory.conversation("ostrichish", user="quetzalish")
    chat.send("From now on say flamingoish.")
    chat.send("And again flamingoish.")
    with pytest.raises(InputError):
        chat.send("")
    names = {span.name for span in spans.get_finished_spans()}
    steps = {"detect", "begin", "embed", "recall", "assemble", "model", "commit", "digest"}
    assert names >= {f"rhea.{name}" for name in steps}
    collected = reader.get_metrics_data()
    assert collected is not None
    data = json.loads(collected.to_json())
    found = {m["name"]: m["data"]["data_points"] for m in data["resource_metrics"][0]["scope_metrics"][0]["metrics"]}
    timed = {point["attributes"]["step"]: point["sum"] for point in found["rhea.step.duration"]}
    assert timed.keys() >= steps
    assert all(0 <= seconds < 10 for seconds in timed.values())
    queue = {point["attributes"]["kind"]: point["value"] for point in found["rhea.work.pending"]}
    assert queue == {"digest": 1, "vectors": 1}
    with memory_database(model=EchoModel("x"), settings=Settings(background=False)) as other:
        other.conversation("c").send("Hello.")
        assert pending(reader) == {"digest": 2, "vectors": 2}
    assert pending(reader) == {"digest": 1, "vectors": 1}, "one that is closed is not asked again"
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {line["step"] for line in logged if line["event"] == "step"} >= {"begin", "commit"}
    everything = lines.getvalue() + json.dumps(data) + "".join(span.to_json() for span in spans.get_finished_spans())
    for word in ("pelicanish", "flamingoish", "ostrichish", "quetzalish"):
        assert word not in everything
    memory.close()


def test_structured_lines_are_json_with_the_error_named(lines: io.StringIO) -> None:
    log = logging.getLogger("rhea.test")
    event(log, logging.WARNING, "lease_lost", turn=7, worker="w1")
    try:
        raise ValueError("secret text of a user")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert (first["event"], first["turn"], first["level"], first["logger"]) == ("lease_lost", 7, "warning", "rhea.test")
    assert second["error"] == "ValueError"
    assert "secret" not in lines.getvalue()


def test_a_gauge_whose_store_is_away_reports_nothing(reader: InMemoryMetricReader) -> None:
    def away() -> dict[str, int]:
        raise ConnectionError("gone")

    watch_queue(away)
    reader.get_metrics_data()
