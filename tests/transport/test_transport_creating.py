"""Holds that what creates is never carried out twice: one send, a fresh connection, and honesty about the outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import aiohttp
import pytest
from raw_server import (
    QUICK,
    Act,
    RawServer,
    answer,
    client_of,
    close,
    cut_body,
    cut_headers,
    deaf_listener,
    free_port,
    full_listener,
    hosts_at,
    html,
    huge_header,
    malformed,
    redirect,
    reset,
    reset_body,
    stall,
    stall_body,
)

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    OutcomeUnknownError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)

Failure = TypeVar("Failure", bound=Exception)

SHORT = Timeouts(read_s=0.05)
BY_DEADLINE = Timeouts(deadline_s=0.1)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("kind", "reason", "timeouts"),
    [
        (lambda: answer(408), APIStatusError, SHORT),
        (lambda: answer(500), ServerError, SHORT),
        (lambda: answer(503, headers={"Retry-After": "0"}), ServerError, SHORT),
        (html, ServerError, SHORT),
        (reset, APIConnectionError, SHORT),
        (close, APIConnectionError, SHORT),
        (cut_headers, APIConnectionError, SHORT),
        (cut_body, APIConnectionError, SHORT),
        (reset_body, APIConnectionError, SHORT),
        (malformed, APIConnectionError, SHORT),
        (huge_header, APIConnectionError, SHORT),
        (stall, APITimeoutError, SHORT),
        (stall_body, APITimeoutError, SHORT),
        (stall, APITimeoutError, BY_DEADLINE),
        (stall_body, APITimeoutError, BY_DEADLINE),
        (lambda: answer(201, body=b"{"), ResponseDecodeError, SHORT),
        (lambda: html(200), ResponseDecodeError, SHORT),
        (lambda: redirect("/api/y", 303), APIConnectionError, SHORT),
    ],
)
async def test_an_unclear_outcome_is_said_to_be_so(
    session: aiohttp.ClientSession | None,
    method: Any,
    kind: Callable[[], Act],
    reason: type[Exception],
    timeouts: Timeouts,
) -> None:
    """Exactly one request, and an `OutcomeUnknownError` that gives the reason."""
    async with RawServer(then=kind()) as server:
        async with client_of(server, session=session, timeouts=timeouts) as client:
            with pytest.raises(OutcomeUnknownError, match="may have been carried out") as caught:
                await client.request("api", method, "/x", json={"a": 1})
            await asyncio.sleep(0.02)
    error = caught.value
    assert len(server.requests) == error.attempts == 1
    assert isinstance(error.reason, reason)
    assert (error.method, error.url) == (method, f"{server.url}/api/x")
    assert error.reason.attempts == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 425])
async def test_a_refusal_is_a_refusal(session: aiohttp.ClientSession | None, status: int) -> None:
    """The service did nothing and says why: its error as it is, after one send."""
    async with RawServer(then=answer(status)) as server, client_of(server, session=session) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.request("api", "POST", "/x")
    assert (caught.value.status, caught.value.attempts, len(server.requests)) == (status, 1, 1)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(session: aiohttp.ClientSession | None, status: int) -> None:
    """Not even within the origin: one request, and no further one anywhere."""
    async with RawServer(then=redirect("/api/y", status)) as server, client_of(server, session=session) as client:
        with pytest.raises((APIConnectionError, OutcomeUnknownError), match="redirect within the origin was refused"):
            await client.request("api", "POST", "/x")
    assert server.targets == ["/api/x"]


async def test_a_429_is_tried_again(session: aiohttp.ClientSession | None) -> None:
    """A cap that was met created nothing; the body goes along each time."""
    async with RawServer(answer(429), answer(429), then=answer(json=7)) as server:
        async with client_of(server, session=session) as client:
            assert await client.request("api", "POST", "/x", json={"a": 1}) == 7
            server.then = answer(429)
            with pytest.raises(RateLimitError) as caught:
                await client.request("api", "POST", "/x", json={"a": 1})
    assert caught.value.attempts == 5
    assert [seen.body for seen in server.requests] == [b'{"a":1}'] * 8


async def test_a_failed_connect_is_tried_again(session: aiohttp.ClientSession | None) -> None:
    """Nothing was sent; once somebody listens the call goes through, having been sent once."""
    port = free_port()
    async with EachLabs("k", hosts=hosts_at(f"http://127.0.0.1:{port}"), session=session, retry=QUICK) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.request("api", "POST", "/x")
        assert (caught.value.sent, caught.value.attempts) == (False, 5)


async def test_a_first_refusal_then_a_drop_is_unclear(session: aiohttp.ClientSession | None) -> None:
    """What counts is the last send: it may have been carried out."""
    async with RawServer(answer(429), reset()) as server, client_of(server, session=session) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.request("api", "POST", "/x")
    assert caught.value.attempts == len(server.requests) == 2


async def test_every_creation_has_a_connection_of_its_own(session: aiohttp.ClientSession | None) -> None:
    """Never one that was used before, and none that is used again; reads keep theirs."""
    async with RawServer(then=answer(json=1)) as server, client_of(server, session=session) as client:
        for method in ("GET", "POST", "GET", "POST", "GET", "PATCH", "GET"):
            await client.request("api", method, "/x")
        by_method: dict[str, list[int]] = {}
        for seen in server.requests:
            by_method.setdefault(seen.method, []).append(seen.connection)
        assert len(set(by_method["GET"])) == 1
        assert len({*by_method["POST"], *by_method["PATCH"], by_method["GET"][0]}) == 4
        assert [seen.headers.get("connection") for seen in server.requests if seen.method != "GET"] == ["close"] * 3


async def test_a_stale_connection_is_never_used_to_create(session: aiohttp.ClientSession | None) -> None:
    """The server drops what comes second on any connection; no creation notices."""
    answered: set[int] = set()

    def script(seen: Any) -> Act:
        if seen.connection in answered:
            return close()
        answered.add(seen.connection)
        return answer(json=1)

    async with RawServer(then=script) as server, client_of(server, session=session) as client:
        await client.request("api", "GET", "/x")
        for _ in range(5):
            assert await client.request("api", "POST", "/x") == 1
    assert len(server.requests) == 6


async def test_a_call_that_was_never_sent_has_no_open_outcome() -> None:
    """A deadline that passes while it waits for a place is a plain timeout."""
    async with RawServer(stall()) as server:
        async with client_of(server, max_concurrency=1) as client:
            blocking = asyncio.ensure_future(client.request("api", "GET", "/x"))
            await server.seen(1)
            with pytest.raises(APITimeoutError) as caught:
                await client.with_options(timeouts=BY_DEADLINE).request("api", "POST", "/x")
            blocking.cancel()
            await asyncio.gather(blocking, return_exceptions=True)
    assert (caught.value.attempts, caught.value.sent) == (0, False)
    assert len(server.requests) == 1


async def test_what_repeats_harmlessly_has_no_open_outcome() -> None:
    """GET, PUT and DELETE fail with the failure itself."""
    async with RawServer(then=answer(500)) as server, client_of(server) as client:
        for method in ("GET", "PUT", "DELETE"):
            with pytest.raises(ServerError):
                await client.request("api", method, "/x")
        server.then = answer(400)
        with pytest.raises(BadRequestError):
            await client.request("api", "PUT", "/x")
    assert len(server.requests) == 16


async def failure_of_creating(
    url: str,
    wanted: type[Failure],
    session: aiohttp.ClientSession | None,
    *,
    method: Any = "POST",
    size: int = 1,
    **options: Any,
) -> Failure:
    """Create something at `url`, which must fail so, with a body of that size."""
    async with EachLabs("k", hosts=hosts_at(url), session=session, **options) as client:
        with pytest.raises(wanted) as caught:
            await client.request("api", method, "/x", json={"a": "x" * size})
    return caught.value


CONNECTING = [Timeouts(connect_s=5, read_s=0.05, deadline_s=0.15), Timeouts(connect_s=5, read_s=5, deadline_s=0.15)]


@pytest.mark.parametrize("timeouts", CONNECTING, ids=["read first", "as one"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_deadline_while_it_connects_leaves_no_outcome_open(
    session: aiohttp.ClientSession | None, method: Any, timeouts: Timeouts
) -> None:
    """Nothing of it left: a plain timeout that says so, however short the read timeout is."""
    with full_listener() as port:
        url = f"http://127.0.0.1:{port}"
        error = await failure_of_creating(url, APITimeoutError, session, method=method, timeouts=timeouts)
    assert "the deadline of 0.15 s passed" in str(error)
    assert (error.sent, error.attempts) == (False, 1)


async def test_a_deadline_between_failed_connects_leaves_no_outcome_open(session: aiohttp.ClientSession | None) -> None:
    """Where nobody listens at all: the error of the connects, none of which sent anything."""
    times, policy = Timeouts(connect_s=5, read_s=0.05, deadline_s=0.15), RetryPolicy(max_attempts=1000, base_s=0.02)
    url = f"http://127.0.0.1:{free_port()}"
    error = await failure_of_creating(url, APIConnectionError, session, timeouts=times, retry=policy)
    assert not error.sent
    assert error.attempts > 1


@pytest.mark.parametrize("size", [10, 30_000_000])
@pytest.mark.parametrize("times", [Timeouts(deadline_s=0.15), Timeouts(read_s=0.1, deadline_s=0.3)])
async def test_a_body_that_began_to_leave_leaves_the_outcome_open(
    session: aiohttp.ClientSession | None, size: int, times: Timeouts
) -> None:
    """Nobody reads it, so that a large one is stuck half-way: what did leave may be enough for the server."""
    with deaf_listener() as port:
        url = f"http://127.0.0.1:{port}"
        error = await failure_of_creating(url, OutcomeUnknownError, session, size=size, timeouts=times)
    assert isinstance(error.reason, APITimeoutError)
    assert error.reason.sent
    assert error.attempts == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_of_any_size_goes_out_whole(session: aiohttp.ClientSession | None, method: Any) -> None:
    """An input with a picture in it is soon over the MiB at which aiohttp warns of a body, which is an error here."""
    async with RawServer(answer(503), then=answer()) as server:
        async with client_of(server, session=session, retry=RetryPolicy(base_s=0.01)) as client:
            body = {"picture": "x" * 3_000_000}
            if method == "PUT":
                await client.request("api", method, "/x", json=body)
            else:
                with pytest.raises(OutcomeUnknownError):
                    await client.request("api", method, "/x", json=body)
    assert [json.loads(seen.body) for seen in server.requests] == [body] * (2 if method == "PUT" else 1)
