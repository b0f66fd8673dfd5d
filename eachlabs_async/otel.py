"""Report what a client does to OpenTelemetry: a span for each call, and metrics. Needs the extra `otel`.

    from eachlabs_async.otel import OpenTelemetry

    EachLabs(hooks=[OpenTelemetry()])

Only the API of OpenTelemetry is used. Your application sets up the SDK and its exporters. The names are those of the
semantic conventions for HTTP clients, and begin with `eachlabs.client` where there are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ._version import __version__
from .hooks import (
    AttemptEnded,
    CallEnded,
    CallStarted,
    Event,
    ExecutionEnded,
    ExecutionSubmitted,
    OutcomeDelivered,
    PageTaken,
    PauseShared,
    RequestStarted,
    RetryPlanned,
)

try:
    from opentelemetry import metrics, propagate, trace
except ImportError as exc:
    raise ImportError(
        'this needs the API of OpenTelemetry: pip install "eachlabs-async[otel]", and the SDK for your application'
    ) from exc

__all__ = ["OpenTelemetry"]

SCOPE: Final = "eachlabs_async"
DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds, as the semantic conventions advise for `http.client.request.duration`."""

_Attributes = dict[str, str | int | float | bool]


class OpenTelemetry:
    """A hook that makes spans and metrics of the events of one client, or of several.

    The span of a call is a child of the span that is current where the call is made. Its name is the method and the
    path of the endpoint, without ids. Attempts, retries and their waits are events of the span.

    Metrics: `http.client.request.duration` (of each attempt), `http.client.active_requests`, and the counters
    `eachlabs.client.retries`, `.pauses`, `.pause.seconds`, `.rows`, `.outcomes`, `.executions` and `.spend` (USD).

    `tracer_provider` and `meter_provider` default to the global ones. With `propagate` the trace context is sent to the
    services in headers such as `traceparent`; it never goes to a storage.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        propagate: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        meter = metrics.get_meter(SCOPE, __version__, meter_provider)
        self._propagate = propagate
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        self._active = meter.create_up_down_counter(
            "http.client.active_requests", unit="{request}", description="Number of active HTTP requests."
        )
        self._retries = meter.create_counter(
            "eachlabs.client.retries", unit="{retry}", description="Attempts after a failed one."
        )
        self._pauses = meter.create_counter(
            "eachlabs.client.pauses", unit="{pause}", description="Pauses of all requests to a service."
        )
        self._paused_s = meter.create_counter(
            "eachlabs.client.pause.seconds", unit="s", description="Length of the pauses of a service."
        )
        self._rows = meter.create_counter("eachlabs.client.rows", unit="{row}", description="Rows of listings.")
        self._outcomes = meter.create_counter(
            "eachlabs.client.outcomes", unit="{outcome}", description="Outcomes of bulk fetches and maps."
        )
        self._executions = meter.create_counter(
            "eachlabs.client.executions", unit="{execution}", description="Executions submitted, and those that ended."
        )
        self._spend = meter.create_counter(
            "eachlabs.client.spend", unit="USD", description="Stated costs of the client's executions that ended."
        )
        self._calls: dict[int, _CallSpan] = {}

    def __repr__(self) -> str:
        return f"<OpenTelemetry hook, {len(self._calls)} calls under way>"

    def __call__(self, event: Event) -> None:
        """Record an event."""
        match event:
            case CallStarted():
                self._start(event)
            case RequestStarted() | AttemptEnded() | RetryPlanned() | CallEnded():
                self._record(event)
            case PauseShared():
                attributes: _Attributes = {"eachlabs.service": event.service, "eachlabs.creating": event.creating}
                self._pauses.add(1, attributes)
                self._paused_s.add(event.seconds, attributes)
            case PageTaken():
                self._rows.add(event.new_rows, {"eachlabs.endpoint": event.endpoint})
            case OutcomeDelivered():
                self._outcomes.add(1, {"eachlabs.source": event.source, **_error(event.error)})
            case ExecutionSubmitted():
                self._executions.add(1, {"eachlabs.execution.state": "submitted"})
            case ExecutionEnded():
                self._executions.add(1, {"eachlabs.execution.state": event.status or "ended"})
                if event.cost_usd is not None and event.cost_usd > 0:
                    self._spend.add(event.cost_usd)

    # ---- calls

    def _start(self, event: CallStarted) -> None:
        url = urlsplit(event.url)
        common: _Attributes = {"http.request.method": event.method, "server.address": url.hostname or ""}
        common["server.port"] = url.port or (443 if url.scheme == "https" else 80)
        if event.template is not None:
            common["url.template"] = event.template
        attributes: _Attributes = {**common, "url.full": event.url, "eachlabs.service": event.service}
        if event.endpoint is not None:
            attributes["eachlabs.endpoint"] = event.endpoint
        name = f"{event.method} {event.template}" if event.template is not None else event.method
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        self._calls[event.call] = _CallSpan(span, common, event.service)

    def _record(self, event: RequestStarted | AttemptEnded | RetryPlanned | CallEnded) -> None:
        call = self._calls.get(event.call)
        if call is None:
            return  # It began before this hook was there.
        match event:
            case RequestStarted():
                self._active.add(1, call.common)
                call.active = True
                if self._propagate and call.service != "storage":
                    propagate.inject(event.headers, trace.set_span_in_context(call.span))
            case AttemptEnded():
                self._end_request(call)
                attributes = {**_status(event.status), **_error(event.error)}
                self._duration.record(event.seconds, {**call.common, **attributes})
                call.span.add_event("attempt", {**attributes, "eachlabs.attempt": event.attempt, **_id(event)})
            case RetryPlanned():
                self._retries.add(1, {**call.common, **_error(event.error)})
                call.span.add_event("retry", {"eachlabs.attempt": event.attempt, "eachlabs.wait_s": event.wait_s})
            case CallEnded():
                self._end_request(call)
                del self._calls[event.call]
                call.end(event)

    def _end_request(self, call: _CallSpan) -> None:
        if call.active:  # A cancelled request has no end of its own.
            self._active.add(-1, call.common)
            call.active = False


class _CallSpan:
    """The span of a call under way, with the attributes that its metrics share."""

    __slots__ = ("active", "common", "service", "span")

    def __init__(self, span: trace.Span, common: _Attributes, service: str) -> None:
        self.span, self.common, self.service, self.active = span, common, service, False

    def end(self, event: CallEnded) -> None:
        """End the span as the call ended."""
        attributes: _Attributes = {**_status(event.status), **_error(event.error)}
        if event.attempts > 1:
            attributes["http.request.resend_count"] = event.attempts - 1
        self.span.set_attributes(attributes)
        if event.error is not None:
            self.span.set_status(trace.Status(trace.StatusCode.ERROR, _description(event.error)))
        self.span.end()


def _status(status: int | None) -> _Attributes:
    return {} if status is None else {"http.response.status_code": status}


def _error(error: BaseException | None) -> _Attributes:
    """Return the attribute for an error: the status of a response as text, or the class."""
    if error is None:
        return {}
    status: Any = getattr(error, "status", None)
    return {"error.type": str(status) if isinstance(status, int) else type(error).__qualname__}


def _id(event: AttemptEnded) -> Mapping[str, str]:
    return {} if event.request_id is None else {"eachlabs.request_id": event.request_id}


def _description(error: BaseException) -> str | None:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else str(error)
