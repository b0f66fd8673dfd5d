"""Tests of the OpenTelemetry hook with the SDK's in-memory exporters, against the emulator."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from eachlabs_async import EachLabs, NotFoundError, RetryPolicy
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.otel import OpenTelemetry


class Telemetry:
    """A hook, and what it exported."""

    def __init__(self, *, propagate: bool = False) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.hook = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, propagate=propagate)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def sum(self, name: str) -> float:
        return sum(getattr(point, "value", None) or getattr(point, "count", 0) for point in self.points(name))

    def client(self, emulator: Emulator, *, unified: bool = False) -> EachLabs:
        hosts = emulator.unified_hosts if unified else emulator.hosts
        return EachLabs(emulator.api_key, hosts=hosts, hooks=[self.hook], retry=RetryPolicy(base_s=0))


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


class TestSpans:
    async def test_a_call_is_a_client_span_with_the_conventions_names(self, telemetry: Telemetry) -> None:
        """The name has the template instead of an id; attempts and retries are events of the span."""
        async with Emulator() as emulator, telemetry.client(emulator) as client:
            identity = next(iter(emulator.workflow_executions[emulator.workflow_ids[0]].ids()))
            emulator.faults.add(Fault.status(503), endpoint="workflow_executions.get", times=2)
            await client.workflow_executions.get(identity)
        (span,) = telemetry.spans
        assert span.name == "GET /executions/{execution_id}"
        assert span.kind is trace.SpanKind.CLIENT
        found = dict(span.attributes or {})
        assert found["url.full"].endswith(f"/executions/{identity}")  # type: ignore[union-attr]
        assert found["http.request.method"] == "GET"
        assert found["server.address"] == "127.0.0.1"
        assert found["server.port"] == int(str(found["url.full"]).split(":")[2].split("/")[0])
        assert found["http.response.status_code"] == 200
        assert found["http.request.resend_count"] == 2
        assert found["eachlabs.endpoint"] == "workflow_executions.get"
        assert "error.type" not in found
        assert [event.name for event in span.events] == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert [dict(e.attributes or {}).get("error.type") for e in span.events if e.name == "attempt"] == [
            "503", "503", None,
        ]  # fmt: skip
        assert span.status.status_code is trace.StatusCode.UNSET

    async def test_a_failed_call_is_a_failed_span(self, telemetry: Telemetry) -> None:
        """The error type is the status, and the description is the text of the error, without the key."""
        async with Emulator() as emulator, telemetry.client(emulator) as client:
            with pytest.raises(NotFoundError):
                await client.workflow_executions.get("unknown")
            key = emulator.api_key
        (span,) = telemetry.spans
        assert span.status.status_code is trace.StatusCode.ERROR
        assert dict(span.attributes or {})["error.type"] == "404"
        assert "404" in (span.status.description or "")
        assert key not in span.to_json()

    async def test_a_cancelled_call_ends_its_span_and_is_active_no_more(self, telemetry: Telemetry) -> None:
        """No span and no active request is left open."""
        async with Emulator() as emulator, telemetry.client(emulator) as client:
            emulator.faults.add(Fault.latency(30), endpoint="billing.balance")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.billing.balance(), 0.1)
        (span,) = telemetry.spans
        assert dict(span.attributes or {})["error.type"] == "CancelledError"
        assert telemetry.sum("http.client.active_requests") == 0
        assert "0 calls" in repr(telemetry.hook)

    async def test_a_span_is_a_child_of_the_current_one(self, telemetry: Telemetry) -> None:
        """The calls of a walk with look-ahead, which run in tasks, have the caller's span as their parent too."""
        async with Emulator(executions=300) as emulator, telemetry.client(emulator) as client:
            with telemetry.tracers.get_tracer("test").start_as_current_span("job") as job:
                await client.executions.list(look_ahead=2).collect()
        spans = [span for span in telemetry.spans if span.name != "job"]
        assert len(spans) >= 3
        assert {span.parent.span_id for span in spans if span.parent} == {job.get_span_context().span_id}

    @pytest.mark.parametrize("propagate", [True, False])
    async def test_the_trace_context_goes_to_the_service_only_where_asked(self, propagate: bool) -> None:
        """`propagate=True` sends `traceparent` with the id of the call's span to the services, never to a storage."""
        telemetry = Telemetry(propagate=propagate)
        async with Emulator() as emulator, telemetry.client(emulator, unified=True) as client:
            await client.files.upload(b"bytes", "image/png")
            sent = {request.endpoint: request.headers.get("traceparent") for request in emulator.log}
        presign = next(span for span in telemetry.spans if "presign" in span.name)
        assert sent["storage.put"] is None
        found = sent["files.presign"]
        assert (found is not None) == propagate
        assert found is None or f"{presign.get_span_context().span_id:016x}" in found


class TestMetrics:
    async def test_they_add_up(self, telemetry: Telemetry) -> None:
        """Requests, retries, pauses, rows, outcomes, executions and spend are those that the emulator counted."""
        async with Emulator(executions=250, fail_rate=0.0) as emulator:
            async with telemetry.client(emulator) as client:
                emulator.faults.add(Fault.status(503, retry_after=1), endpoint="executions.list", times=1)
                await client.executions.list().collect()
                assert telemetry.sum("eachlabs.client.rows") == 250
                result = await client.predictions.map("flux-1-1-pro", [{"n": n} for n in range(5)]).collect()
            requests = sum(emulator.requests.values())
        assert telemetry.sum("http.client.request.duration") == requests
        assert telemetry.sum("http.client.active_requests") == 0
        assert telemetry.sum("eachlabs.client.retries") == 1
        assert telemetry.sum("eachlabs.client.pauses") == 1
        assert telemetry.sum("eachlabs.client.pause.seconds") == 1
        assert telemetry.sum("eachlabs.client.outcomes") == 5
        assert telemetry.sum("eachlabs.client.executions") == 10
        costs = [value.metrics.cost for value in result.values.values() if value.metrics is not None]
        assert telemetry.sum("eachlabs.client.spend") == pytest.approx(sum(cost or 0 for cost in costs))
        assert telemetry.sum("eachlabs.client.spend") > 0

    async def test_the_duration_has_the_advised_buckets_and_no_ids(self, telemetry: Telemetry) -> None:
        """Attributes of metrics have few values: no id and no query."""
        async with Emulator(executions=250) as emulator, telemetry.client(emulator) as client:
            await client.executions.list().collect()
        points = telemetry.points("http.client.request.duration")
        assert {tuple(point.explicit_bounds)[:2] for point in points} == {(0.005, 0.01)}
        assert len(points) == 1
        assert set(points[0].attributes) == {
            "http.request.method", "server.address", "server.port", "url.template", "http.response.status_code",
        }  # fmt: skip


def test_without_the_package_the_import_says_how_to_get_it() -> None:
    """`import eachlabs_async` needs nothing of it."""
    code = """
import sys
sys.modules["opentelemetry"] = None
import eachlabs_async
eachlabs_async.EachLabs("key", hooks=[print])
try:
    import eachlabs_async.otel
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 'pip install "eachlabs-async[otel]"' in done.stdout
