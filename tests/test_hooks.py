"""Tests of the hooks of a client: which events there are, in which order, what they contain, and what a hook can do."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from raw_server import RawServer, answer

from eachlabs_async import EachLabs, RetryPolicy, ServerError, hooks
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.hooks import (
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

T = TypeVar("T")
FAST = RetryPolicy(base_s=0)


def client_of(emulator: Emulator, *hooks: Any, unified: bool = False, **options: Any) -> EachLabs:
    hosts = emulator.unified_hosts if unified else emulator.hosts
    return EachLabs(
        emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key, hooks=hooks, retry=FAST, **options
    )


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def of(kind: type[T], events: list[Any]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


class TestACall:
    async def test_reports_its_attempts_and_its_end_in_order(self) -> None:
        """A call that is refused once has two requests, a planned retry between them, and one end."""
        events: list[Event] = []
        async with Emulator(executions=1) as emulator, client_of(emulator, events.append) as client:
            emulator.faults.add(Fault.status(503), endpoint="billing.balance", times=1)
            await client.billing.balance()
        assert names(events) == [
            "CallStarted", "RequestStarted", "AttemptEnded", "RetryPlanned", "RequestStarted", "AttemptEnded",
            "CallEnded",
        ]  # fmt: skip
        started, first, failed, retry, second, answered, ended = events
        assert isinstance(started, CallStarted)
        assert (started.endpoint, started.service, started.method) == ("billing.balance", "api", "GET")
        assert started.template == "/billing/balance"
        assert started.url.endswith("/v1/billing/balance")
        assert isinstance(failed, AttemptEnded)
        assert isinstance(failed.error, ServerError)
        assert (failed.status, failed.attempt) == (503, 1)
        assert failed.received > 0
        assert isinstance(retry, RetryPlanned)
        assert retry.error is failed.error
        assert isinstance(answered, AttemptEnded)
        assert (answered.status, answered.attempt, answered.error) == (200, 2, None)
        assert answered.received > 10
        assert isinstance(ended, CallEnded)
        assert (ended.attempts, ended.status, ended.error) == (2, 200, None)
        assert ended.seconds >= failed.seconds + answered.seconds
        assert len({event.call for event in (started, first, failed, retry, second, answered, ended)}) == 1  # type: ignore[union-attr]

    async def test_that_fails_ends_with_the_error_that_it_raises(self) -> None:
        """The error of the last event is the object that the caller gets."""
        events: list[Event] = []
        async with Emulator(executions=1) as emulator, client_of(emulator, events.append) as client:
            emulator.faults.add(Fault.status(404), endpoint="billing.balance")
            with pytest.raises(Exception, match="404") as raised:
                await client.billing.balance()
        (ended,) = of(CallEnded, events)
        assert ended.error is raised.value
        assert ended.status == 404

    async def test_that_is_cancelled_says_so(self) -> None:
        """A cancellation is the end of the call, and no attempt ends."""
        events: list[Event] = []
        async with Emulator(executions=1) as emulator, client_of(emulator, events.append) as client:
            emulator.faults.add(Fault.latency(30), endpoint="billing.balance")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.billing.balance(), 0.1)
        assert names(events) == ["CallStarted", "RequestStarted", "CallEnded"]
        assert isinstance(of(CallEnded, events)[0].error, asyncio.CancelledError)

    async def test_whose_body_is_no_json_goes_on_under_the_same_number(self) -> None:
        """The second start has the number of the first, and its attempts count on."""
        events: list[Event] = []
        async with RawServer(answer(body=b"<html>"), answer(body=b"{}")) as server:
            async with EachLabs("key", hosts=server.hosts, hooks=[events.append], retry=FAST) as client:
                assert await client.request("api", "GET", "/odd") == {}
        starts, ends = of(CallStarted, events), of(CallEnded, events)
        assert len({event.call for event in [*starts, *ends]}) == 1
        assert starts[0].endpoint is starts[0].template is None
        assert [event.attempt for event in of(AttemptEnded, events)] == [1, 2]

    async def test_numbers_of_calls_differ(self) -> None:
        """Each call has a number of its own, also over two clients."""
        events: list[Event] = []
        async with Emulator(executions=1) as emulator:
            for _ in range(2):
                async with client_of(emulator, events.append) as client:
                    await asyncio.gather(*(client.billing.balance() for _ in range(5)))
        assert len({event.call for event in of(CallStarted, events)}) == 10

    async def test_a_pause_is_reported_once_with_its_length(self) -> None:
        """A Retry-After holds the service: one event says for how long."""
        events: list[Event] = []
        async with Emulator(executions=1) as emulator, client_of(emulator, events.append) as client:
            emulator.faults.add(Fault.status(429, retry_after=1), endpoint="billing.balance", times=1)
            await client.billing.balance()
        assert of(PauseShared, events) == [PauseShared(service="api", seconds=1, status=429, creating=False)]


class TestWork:
    async def test_a_walk_reports_each_page(self) -> None:
        """The numbers are those of the walk after the page."""
        events: list[Event] = []
        async with Emulator(executions=250) as emulator, client_of(emulator, events.append, unified=True) as client:
            await client.executions.list().collect()
        pages = of(PageTaken, events)
        assert [(page.new_rows, page.rows) for page in pages] == [(100, 100), (100, 200), (50, 250)]
        assert {page.endpoint for page in pages} == {"executions.list"}

    async def test_bulk_fetches_report_each_outcome(self) -> None:
        """An id that is unknown is an outcome with an error, in both kinds of bulk fetches."""
        events: list[Event] = []
        async with Emulator() as emulator, client_of(emulator, events.append) as client:
            workflow_id = emulator.workflow_ids[0]
            known = emulator.workflow_executions[workflow_id].ids()[:3]
            await client.workflow_executions.get_many([*known, "unknown"]).collect()
            flows = emulator.flow_executions[workflow_id].ids()[:3]
            await client.flow_executions.get_many(workflow_id, [*flows, "unknown"]).collect()
        outcomes = of(OutcomeDelivered, events)
        assert Counter((one.source, one.error is None) for one in outcomes) == {
            ("workflow_executions.get_many", True): 3,
            ("workflow_executions.get_many", False): 1,
            ("flow_executions.get_many", True): 3,
            ("flow_executions.get_many", False): 1,
        }

    async def test_a_map_reports_what_it_submits_and_how_it_ends(self) -> None:
        """Each input is submitted once and ends once, with its status; then its outcome is delivered."""
        events: list[Event] = []
        async with Emulator() as emulator, client_of(emulator, events.append) as client:
            result = await client.predictions.map("flux-1-1-pro", [{"number": n} for n in range(5)]).collect()
        assert len(result.values) == 5
        ids = Counter(value.id for value in result.values.values())
        assert Counter(event.id for event in of(ExecutionSubmitted, events)) == ids
        ended = of(ExecutionEnded, events)
        assert Counter(event.id for event in ended) == ids
        assert {event.status for event in ended} == {"success"}
        assert all(event.cost_usd is not None for event in ended)
        outcomes = of(OutcomeDelivered, events)
        assert {one.source for one in outcomes} == {"predictions.map"}
        assert Counter(one.id for one in outcomes) == ids

    async def test_a_single_execution_is_submitted_and_ends_once(self) -> None:
        """`trigger` and `wait` report them too."""
        events: list[Event] = []
        async with Emulator() as emulator, client_of(emulator, events.append) as client:
            triggered = await client.workflows.trigger(emulator.workflow_ids[0], "v1", {"p": 1})
            done = await client.workflow_executions.wait(triggered)
            await client.workflow_executions.get(done.execution_id)
        assert [event.id for event in of(ExecutionSubmitted, events)] == [done.execution_id]
        (ended,) = of(ExecutionEnded, events)
        assert (ended.id, ended.status, ended.cost_usd) == (done.execution_id, done.status, done.total_cost)

    async def test_transfers_are_calls_to_a_storage(self, tmp_path: Path) -> None:
        """An upload and a download report their requests; the failed one is an attempt that ended."""
        events: list[Event] = []
        async with Emulator() as emulator, client_of(emulator, events.append, unified=True) as client:
            emulator.faults.add(Fault.status(503), endpoint="storage.put", times=1)
            file = await client.files.upload(b"bytes" * 100, "image/png")
            await client.files.download(file.public_url, tmp_path / "copy.png")
        storage = [event for event in of(CallStarted, events) if event.service == "storage"]
        assert [(event.endpoint, event.method) for event in storage] == [
            ("files.upload", "PUT"), ("files.download", "GET"),
        ]  # fmt: skip
        put, get = (event.call for event in storage)
        assert [one.status for one in of(AttemptEnded, events) if one.call == put] == [503, 200]
        assert [(one.status, one.received) for one in of(AttemptEnded, events) if one.call == get] == [(200, 500)]
        assert [one.error for one in of(CallEnded, events) if one.service == "storage"] == [None, None]


class TestSecrets:
    async def test_no_event_shows_a_key_or_a_presigned_query(
        self, session: aiohttp.ClientSession | None, tmp_path: Path
    ) -> None:
        """Every field of every event is searched, after failures whose texts repeat the key too."""
        events: list[Event] = []
        async with Emulator(executions=10) as emulator:
            key = emulator.api_key
            echo = Fault.status(500, body=f'{{"error": "bad key {key}"}}'.encode())
            async with client_of(emulator, events.append, unified=True, session=session) as client:
                emulator.faults.add(echo, times=2)
                await client.request("api", "GET", "/executions", params={"key": key})
                file = await client.files.upload(b"bytes", "image/png")
                await client.files.download(file.public_url + "?Signature=0123456789abcdef0123", tmp_path / "copy")
                await client.predictions.map("flux-1-1-pro", [{}]).collect()
        shown = "".join(map(repr, events))
        assert len(events) > 20
        assert key not in shown
        assert "Signature" not in shown
        assert "0123456789abcdef0123" not in shown


class TestAHook:
    async def test_that_raises_is_logged_once_and_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        """A cancellation that a hook raises is none of the call's; other hooks are called all the same."""
        events: list[Event] = []

        def broken(event: Event) -> None:
            raise asyncio.CancelledError if isinstance(event, RequestStarted) else ValueError("mine")

        async with Emulator(executions=250) as emulator, client_of(emulator, broken, events.append) as client:
            with caplog.at_level(logging.WARNING, "eachlabs_async"):
                assert len(await client.executions.list().collect()) == 250
        assert len(events) > 6
        (record,) = caplog.records
        assert "broken" in record.getMessage()
        assert "ValueError" in record.getMessage()

    async def test_can_add_headers_but_not_replace_any(self, session: aiohttp.ClientSession | None) -> None:
        """A trace context goes out with every request; the key and the headers of the connection stay."""

        def trace(event: Event) -> None:
            if isinstance(event, RequestStarted):
                event.headers.update({"traceparent": f"00-{event.call}-{event.attempt}-01", "X-API-Key": "other"})
                event.headers.update({"HOST": "other", "content-length": "7", "X-Request-ID": "mine"})

        async with Emulator() as emulator, client_of(emulator, trace, session=session) as client:
            emulator.faults.add(Fault.status(503), endpoint="predictions.get", times=1)
            created = await client.predictions.create("flux-1-1-pro", {"p": 1})
            await client.predictions.get(created.id)
            requests = list(emulator.log)
        traces = [request.headers["traceparent"] for request in requests]
        assert len(set(traces)) == 3
        assert traces[1].endswith("-1-01")
        assert traces[2].endswith("-2-01")
        assert {request.key for request in requests} == {"right"}
        assert all(request.headers["x-request-id"] != "mine" for request in requests)
        assert not any("other" in request.headers["host"] for request in requests)

    async def test_that_starts_an_eager_task_leaves_each_request_its_id(self) -> None:
        """Request ids belong to their own request, even if a hook sends one before the request goes out."""
        sent: list[str] = []
        tasks: list[asyncio.Task[Any]] = []

        async with Emulator() as emulator:
            plain = client_of(emulator)
            eager = getattr(asyncio, "eager_task_factory", None)
            asyncio.get_running_loop().set_task_factory(eager)

            def hook(event: Event) -> None:
                if isinstance(event, RequestStarted):
                    sent.append(event.request_id)
                    tasks.append(asyncio.get_running_loop().create_task(plain.billing.balance()))

            async with plain, client_of(emulator, hook) as client:
                await client.billing.balance()
                await client.billing.balance()
                await asyncio.gather(*tasks)
            asyncio.get_running_loop().set_task_factory(None)
            ids = [request.headers["x-request-id"] for request in emulator.log]
        assert len(set(ids)) == 4
        assert set(sent) < set(ids)

    @pytest.mark.parametrize("value", [print, "print", 7, None, [7], ["print"]])
    def test_that_cannot_be_called_is_refused(self, value: Any) -> None:
        """`hooks` is a list of functions."""
        with pytest.raises(TypeError, match="hooks"):
            EachLabs("key", hooks=value)

    def test_that_is_a_coroutine_function_is_refused(self) -> None:
        """It would never be awaited."""

        async def hook(event: Event) -> None: ...

        class Hook:
            async def __call__(self, event: Event) -> None: ...

        for each in (hook, Hook()):
            with pytest.raises(TypeError, match="plain functions"):
                EachLabs("key", hooks=[each])

    async def test_belongs_to_all_views_of_a_client(self) -> None:
        """`with_options` keeps the hooks."""
        events: list[Event] = []
        async with Emulator() as emulator, client_of(emulator, events.append) as client:
            await client.with_options(retry=RetryPolicy.none()).billing.balance()
        assert events


def test_every_event_is_public_and_documented() -> None:
    """The union has exactly the classes of `__all__`."""
    kinds = set(Event.__args__)  # type: ignore[attr-defined]
    assert {kind.__name__ for kind in kinds} == set(hooks.__all__) - {"Event", "Hook"}
