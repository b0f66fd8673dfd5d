"""Holds what `close` does to calls that run: each ends at once, as an error of ours, and nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from bulk_jobs import workers
from event_loop import until
from internals import assert_idle
from raw_server import ONCE, Act, RawServer, answer, client_of, full_listener, hosts_at, stall, stall_body

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.errors import ConfigurationError, OutcomeUnknownError
from eachlabs_async.transport.deadline import DeadlineTimer
from eachlabs_async.transport.endpoints import LIST_EXECUTIONS

AT_ONCE_S = 2.0
"""Far below every timeout here, and far above what a slow machine needs."""


async def closed(client: EachLabs, *tasks: asyncio.Task[Any]) -> list[Any]:
    """Close a client, and give what its calls came to; they end at once, and nothing of them is left."""
    began = monotonic()
    await client.close()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert monotonic() - began < AT_ONCE_S
    assert_idle(client)
    assert client._transport._deadline_timer._timer is None
    assert not [task for task in tasks if task.cancelled() or task.cancelling()]
    return results


def assert_closed(results: list[Any]) -> None:
    """Each is the one error that says why, with nothing of the interrupted code on it."""
    for error in results:
        assert type(error) is ConfigurationError, repr(error)
        assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("kind", [stall, stall_body])
async def test_a_call_that_awaits_its_answer_ends(
    session: aiohttp.ClientSession | None, kind: Callable[[], Act]
) -> None:
    """Before the first byte or within the body: a `ConfigurationError` that names the call; the server sees it go."""
    async with RawServer(then=kind()) as server:
        client = client_of(server, session=session)
        task = asyncio.ensure_future(client.request("api", "GET", "/x"))
        await server.seen(1)
        await asyncio.sleep(0.02)
        results = await closed(client, task)
        await asyncio.wait_for(server.gone.wait(), 5)
    assert_closed(results)
    assert str(results[0]) == (
        f"the client was closed while the call was under way (GET {server.url}/api/x, 1 attempt)"
        f" [request {server.requests[0].headers['x-request-id']}]"
    )


@pytest.mark.parametrize("kind", [stall, stall_body])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_creation_that_was_sent_has_an_open_outcome(
    session: aiohttp.ClientSession | None, method: Any, kind: Callable[[], Act]
) -> None:
    """It may have been carried out: an `OutcomeUnknownError` whose reason is the closing."""
    async with RawServer(then=kind()) as server:
        client = client_of(server, session=session)
        task = asyncio.ensure_future(client.request("api", method, "/x", json={"a": 1}))
        await server.seen(1)
        await asyncio.sleep(0.02)
        (error,) = await closed(client, task)
    assert type(error) is OutcomeUnknownError
    assert type(error.reason) is ConfigurationError
    assert (error.method, error.attempts, len(server.requests)) == (method, 1, 1)


async def test_calls_that_queue_at_the_gate_end(session: aiohttp.ClientSession | None) -> None:
    """Those that never got a place were sent by nobody, and a creation among them has no open outcome."""
    async with RawServer(then=stall()) as server:
        client = client_of(server, session=session, max_concurrency=1)
        first = asyncio.ensure_future(client.request("api", "GET", "/first"))
        await server.seen(1)
        methods: tuple[Any, ...] = ("GET", "POST", "GET", "PUT")
        others = [asyncio.ensure_future(client.request("api", method, "/x", json={})) for method in methods]
        await until(lambda: len(client._session.semaphore._foreground) == len(methods))
        results = await closed(client, first, *others)
    assert_closed(results)
    assert [error.attempts for error in results] == [1, 0, 0, 0, 0]
    assert server.targets == ["/api/first"]


@pytest.mark.parametrize("pause_s", [0, 30])
async def test_calls_that_sit_out_a_pause_end(session: aiohttp.ClientSession | None, pause_s: int) -> None:
    """Who waits for a next try ends as those do who wait for the end of a pause."""
    headers = {"Retry-After": str(pause_s)} if pause_s else {}
    async with RawServer(then=answer(429, headers=headers)) as server:
        client = client_of(server, session=session, retry=RetryPolicy(base_s=30, creating_pause_s=0))
        tasks: list[asyncio.Task[Any]] = []
        for count, method in enumerate(("GET", "GET", "POST"), 1):
            tasks.append(asyncio.ensure_future(client.request("api", method, "/x", json={})))
            await until(lambda count=count: client._session.pause("api").waiting == count)
        results = await closed(client, *tasks)
    assert_closed(results)
    assert [error.attempts for error in results] == ([1, 0, 0] if pause_s else [1, 1, 1])


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_call_that_connects_ends(session: aiohttp.ClientSession | None, method: Any) -> None:
    """Nothing of it was sent, so not even a creation has an open outcome."""
    with full_listener() as port:
        client = EachLabs("k", hosts=hosts_at(f"http://127.0.0.1:{port}"), session=session)
        task = asyncio.ensure_future(client.request("api", method, "/x", json={"a": 1}))
        await asyncio.sleep(0.05)
        results = await closed(client, task)
    assert_closed(results)
    assert results[0].attempts == 1


class NoName(AbstractResolver):
    """A name server that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_call_that_looks_a_name_up_ends(method: Any) -> None:
    """As one that connects does; the look-up, which is the connector's, ends with its owner."""
    resolver = NoName()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        client = EachLabs("k", hosts=hosts_at("https://api.example.test"), session=session)
        task = asyncio.ensure_future(client.request("api", method, "/x", json={"a": 1}))
        await asyncio.wait_for(resolver.asked.wait(), 5)
        results = await closed(client, task)
    assert_closed(results)


@pytest.mark.parametrize("held", [0, 20])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_bulk_fetch_ends(session: aiohttp.ClientSession | None, ordered: bool, held: int) -> None:
    """With a `ConfigurationError` for what was under way, and one as a whole for what was not; no task stays."""
    script = [answer(429, headers={"Retry-After": "30"})] if held else []
    async with RawServer(*script, then=stall()) as server:
        client = client_of(server, session=session)
        many = client.workflow_executions.get_many(map(str, range(1000)), concurrency=8, ordered=ordered)
        task = asyncio.ensure_future(many.collect())
        await server.seen(1 if held else 8)
        await asyncio.sleep(0.02)
        (result,) = await closed(client, task)
        await until(lambda: not workers())
    errors = [result] if isinstance(result, BaseException) else list(result.errors.values())
    assert errors
    for error in errors:
        assert type(error) is ConfigurationError
    assert len(server.requests) <= 8


@pytest.mark.parametrize("look_ahead", [0, 4])
async def test_a_walk_ends(session: aiohttp.ClientSession | None, look_ahead: int) -> None:
    """With the rows that had come and a checkpoint, as for any other failure."""
    rows = [{"id": f"e{n}", "status": "success"} for n in range(100)]
    page = answer(json={"executions": rows, "total_count": 1000})
    async with RawServer(page, then=stall()) as server:
        client = client_of(server, session=session)
        task = asyncio.ensure_future(client.executions.list(model="m", look_ahead=look_ahead).collect())
        await server.seen(2)
        await asyncio.sleep(0.02)
        (error,) = await closed(client, task)
    assert type(error) is ConfigurationError
    assert len(error.partial) == 100
    assert error.checkpoint is not None


async def test_a_call_that_was_made_before_and_begins_after_is_refused(session: aiohttp.ClientSession | None) -> None:
    """Nothing is opened for it, whatever was open before; it gives its place back."""
    async with RawServer() as server:
        client = client_of(server, session=session)
        await client.request("api", "GET", "/x")
        transport = client._transport
        calls = [transport.call(LIST_EXECUTIONS, "/y", body=body) for body in (None, b"{}")]
        await client.close()
        for call in calls:
            with pytest.raises(ConfigurationError, match="the client is closed") as caught:
                await transport.send(call)
            assert caught.value.attempts == 0
        with pytest.raises(ConfigurationError, match="the client is closed"):
            client._session.storage_route(server.url)
        assert_idle(client)
        transport._deadline_timer.close()
    assert len(server.requests) == 1


async def test_calls_of_every_view_end() -> None:
    """A view has deadlines of its own, and is closed with the client that it came from."""
    async with RawServer(then=stall()) as server:
        client = client_of(server)
        view = client.with_options(timeouts=Timeouts(deadline_s=50), retry=ONCE)
        tasks = [asyncio.ensure_future(one.request("api", "GET", "/x")) for one in (client, view)]
        await server.seen(2)
        assert_closed(await closed(client, *tasks))
        assert not view._transport._deadline_timer._active


async def test_closing_a_view_interrupts_nobody() -> None:
    """It closes nothing, and so it ends no call either."""
    async with RawServer(answer(json=7, delay_s=0.1)) as server, client_of(server) as client:
        async with client.with_options(retry=ONCE) as view:
            task = asyncio.ensure_future(view.request("api", "GET", "/x"))
            await server.seen(1)
        assert await task == 7


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_a_caller_that_cancels_in_the_same_turn_is_heard(cancel_first: bool) -> None:
    """Its `CancelledError` passes through, whichever came first."""
    async with RawServer(then=stall()) as server:
        client = client_of(server)
        task = asyncio.ensure_future(client.request("api", "GET", "/x"))
        await server.seen(1)
        steps: list[Callable[[], Any]] = [task.cancel, client._transport._deadline_timer.close]
        for step in steps if cancel_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        await client.close()


@pytest.mark.parametrize("bound", ["deadline", "read_timeout"])
async def test_a_bound_that_passes_in_the_same_turn_leaves_no_bare_cancellation(bound: Any) -> None:
    """The task is interrupted once, and the error is the closing's: no further try is waited for."""
    async with RawServer(then=stall()) as server:
        client = client_of(server, retry=RetryPolicy(base_s=30))
        task = asyncio.ensure_future(client.request("api", "GET", "/x"))
        await server.seen(1)
        (deadline,) = client._transport._deadline_timer._active
        deadline.interrupt(bound)
        assert_closed(await closed(client, task))


async def test_a_watch_that_is_closed_interrupts_what_runs() -> None:
    """Each deadline says that it was the closing, once; a mark that nobody asks for is taken away at the end."""
    loop, watch = asyncio.get_running_loop(), DeadlineTimer(30, 30)
    asked: list[bool] = []

    async def call(*, ask: bool) -> None:
        deadline = watch.start(loop, reading=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ask:
                asked.extend([deadline.absorb_cancellation("deadline"), deadline.absorb_cancellation("closed")])
                asked.append(deadline.absorb_cancellation("closed"))
        finally:
            watch.stop(deadline)

    tasks = [asyncio.ensure_future(call(ask=ask)) for ask in (True, False)]
    await asyncio.sleep(0)
    watch.close()
    await asyncio.gather(*tasks)
    assert asked == [False, True, False]
    assert [task.cancelling() for task in tasks] == [0, 0]
    assert (watch._active, watch._timer) == (set(), None)


async def test_a_session_that_its_owner_closes_in_a_look_up_is_an_error_of_ours() -> None:
    """aiohttp cancels the look-up, and the task that waits for it: nobody asked for that, so it is no cancellation."""
    resolver = NoName()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        client = EachLabs("k", hosts=hosts_at("https://api.example.test"), session=session, retry=RetryPolicy(base_s=0))
        task = asyncio.ensure_future(client.request("api", "GET", "/x"))
        await asyncio.wait_for(resolver.asked.wait(), 5)
        await session.close()
        (error,) = await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5)
        assert type(error) is ConfigurationError, repr(error)
        assert_idle(client)


@pytest.mark.parametrize("passed", [False, True])
async def test_an_upload_ends(passed: bool) -> None:
    """Where the storage is silent and where the source is, in our own session and in one that is not ours to close."""

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async with RawServer(then=stall()) as storage:
        place = {"id": "f", "presigned_url": f"{storage.url}/put", "public_url": "https://example.com/f"}
        async with RawServer(then=answer(json=place)) as server, aiohttp.ClientSession() as own:
            hosts = hosts_at(server.url, unified=True)
            client = client_of(server, hosts=hosts, session=own if passed else None)
            tasks = [asyncio.ensure_future(client.files.upload(source, "image/png")) for source in (b"x", slow())]
            await until(lambda: len(server.requests) == 2 and len(storage.requests) >= 1)
            for error in await closed(client, *tasks):
                assert type(error) is ConfigurationError, repr(error)
