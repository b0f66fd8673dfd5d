"""Tests for calls when things break: every attempt is counted, bounded in time, and ends as one error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import http_exceptions
from raw_server import (
    ONCE,
    QUICK,
    Act,
    RawServer,
    answer,
    client_of,
    close,
    cut_body,
    cut_headers,
    free_port,
    full_listener,
    hosts_at,
    malformed,
    reset,
    reset_body,
    stall,
    stall_body,
)

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    ServerError,
)
from eachlabs_async.transport.adapter import ConnectionLostError, error_from

BREAKS: dict[str, Callable[[], Act]] = {
    "reset": reset,
    "close": close,
    "cut_headers": cut_headers,
    "cut_body": cut_body,
    "reset_body": reset_body,
    "malformed": malformed,
    "bad_length": lambda: Act(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "close"),
    "bad_chunk": lambda: Act(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close"),
    "bad_gzip": lambda: answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
}
SHORT = Timeouts(connect_s=5, read_s=0.05, deadline_s=10)


Options = dict[str, Any]


class TestAttempts:
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    @pytest.mark.parametrize("kind", BREAKS)
    async def test_whatever_breaks_is_tried_again_and_counted(
        self, session: aiohttp.ClientSession | None, kind: str, method: Any
    ) -> None:
        """The requests on the wire are the attempts of the call: aiohttp sends none by itself."""
        async with RawServer(answer(), *[BREAKS[kind]() for _ in range(7)]) as server:
            async with client_of(server, session=session) as client:
                await client.request("api", method, "/warm", json={} if method == "PUT" else None)
                with pytest.raises(APIConnectionError, match="the connection failed") as caught:
                    await client.request("api", method, "/x", json={} if method == "PUT" else None)
                assert caught.value.attempts == len(server.requests) - 1 == 5
                assert caught.value.sent
                server.script = [BREAKS[kind](), BREAKS[kind](), answer(json=1)]
                assert await client.request("api", method, "/x") == 1
                assert len(server.requests) == 9

    @pytest.mark.parametrize("kind", BREAKS)
    async def test_one_try_is_one_request(self, session: aiohttp.ClientSession | None, kind: str) -> None:
        """This holds on a reused connection that was dropped, where aiohttp would send again."""
        async with RawServer(answer(), BREAKS[kind]()) as server:
            async with client_of(server, session=session, retry=ONCE) as client:
                await client.request("api", "GET", "/warm")
                with pytest.raises(APIConnectionError) as caught:
                    await client.request("api", "GET", "/x")
        assert caught.value.attempts == 1
        assert server.targets == ["/api/warm", "/api/x"]
        assert server.connections == 1

    async def test_the_body_goes_along_with_every_try(self, session: aiohttp.ClientSession | None) -> None:
        """A POST that only reads is sent in full each time."""
        rows = answer(body=b'{"executions": [], "total": 0, "status": "ok"}')
        async with RawServer(reset(), answer(503), rows) as server, client_of(server, session=session) as client:
            result = await client.flow_executions.get_many("w", ["a", "b"]).collect()
        assert [seen.body for seen in server.requests] == [b'{"execution_ids":["a","b"]}'] * 3
        assert set(result.errors) == {"a", "b"}

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    async def test_statuses_that_may_pass_are_tried_again(self, status: int) -> None:
        """They are retried as often as the policy allows, and the last response is the error."""
        script = [answer(status, json={"error": f"no {n}"}) for n in range(3)]
        async with RawServer(*script) as server:
            async with client_of(server, retry=RetryPolicy(max_attempts=3, base_s=0.001)) as client:
                with pytest.raises(APIStatusError, match="no 2") as caught:
                    await client.request("api", "GET", "/x")
                assert (caught.value.status, caught.value.attempts, len(server.requests)) == (status, 3, 3)
                server.script = [*script, answer(json=1)][1:]
                assert await client.request("api", "GET", "/x") == 1

    @pytest.mark.parametrize("status", [300, 304, 400, 402, 403, 404, 409, 413, 422, 501, 505, 599])
    async def test_other_statuses_are_final(self, status: int) -> None:
        """There is one request and one error."""
        async with RawServer(then=answer(status, body=b"")) as server, client_of(server) as client:
            with pytest.raises(APIStatusError) as caught:
                await client.request("api", "GET", "/x")
        assert (caught.value.status, len(server.requests)) == (status, 1)

    async def test_an_html_page_with_status_200_is_not_taken_for_an_answer(self) -> None:
        """It is tried again like any broken answer, and is a decode error in the end."""
        async with Emulator(executions=3) as emulator:
            from eachlabs_async.emulator import Fault
            from eachlabs_async.errors import ResponseDecodeError

            emulator.faults.add(Fault.html(200))
            async with EachLabs(emulator.api_key, hosts=emulator.hosts, retry=QUICK) as client:
                with pytest.raises(ResponseDecodeError, match="not JSON"):
                    await client.executions.list().collect()
            assert emulator.requests["executions.list"] == 5

    async def test_it_gives_up_in_time(self) -> None:
        """No wait ends later than `max_elapsed_s`, however many attempts are left."""
        policy = RetryPolicy(max_attempts=1000, max_elapsed_s=0.1, base_s=0.02, cap_s=0.02)
        async with RawServer(then=answer(503)) as server, client_of(server, retry=policy) as client:
            began = monotonic()
            with pytest.raises(ServerError) as caught:
                await client.request("api", "GET", "/x")
        assert monotonic() - began < 2
        assert 2 <= caught.value.attempts == len(server.requests) <= 11

    async def test_a_service_that_nobody_runs(self, session: aiohttp.ClientSession | None) -> None:
        """A refused connect is retried, sends nothing, and is an `APIConnectionError`."""
        async with EachLabs("k", hosts=hosts_at(f"http://127.0.0.1:{free_port()}"), retry=QUICK, session=session) as c:
            for method in ("GET", "POST"):
                with pytest.raises(APIConnectionError, match="the connection failed") as caught:
                    await c.request("api", method, "/x")
                assert (caught.value.attempts, caught.value.sent, type(caught.value)) == (5, False, APIConnectionError)

    async def test_a_host_that_does_not_exist(self) -> None:
        """A name that cannot be resolved is a connection error, and nothing was sent."""
        async with EachLabs("k", hosts=hosts_at("https://nobody.invalid:1"), retry=ONCE) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.request("api", "GET", "/x")
        assert not caught.value.sent


class TestTimeouts:
    @pytest.mark.parametrize("kind", [stall, stall_body])
    async def test_silence_is_a_timeout(self, session: aiohttp.ClientSession | None, kind: Callable[[], Act]) -> None:
        """Before the response or within its body it is retried, then an `APITimeoutError`; no connection stays open."""
        async with RawServer(then=kind()) as server:
            async with client_of(
                server, session=session, timeouts=SHORT, retry=RetryPolicy(max_attempts=2, base_s=0.001)
            ) as client:
                with pytest.raises(APITimeoutError, match="no response within the read timeout") as caught:
                    await client.request("api", "GET", "/x")
                await asyncio.wait_for(server.gone.wait(), 5)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.sent
        assert caught.value.attempts == len(server.requests) == 2

    async def test_a_slow_answer_that_never_falls_silent_is_fine(self) -> None:
        """The read timeout limits the time without a byte, not the whole."""
        parts = answer(body=b"[1, 2, 3]", delay_s=0.04)
        async with RawServer(parts, parts) as server, client_of(server, timeouts=Timeouts(read_s=1)) as client:
            assert await client.request("api", "GET", "/x") == [1, 2, 3]

    @pytest.mark.parametrize("kind", [stall, stall_body, lambda: answer(503), reset])
    async def test_the_deadline_bounds_the_whole_call(
        self, session: aiohttp.ClientSession | None, kind: Callable[[], Act]
    ) -> None:
        """A stalled response, a stalled body and endless retries all end at the deadline."""
        policy = RetryPolicy(max_attempts=10_000, base_s=0.01, cap_s=0.01)
        async with RawServer(then=kind()) as server:
            async with client_of(server, session=session, timeouts=Timeouts(deadline_s=0.15), retry=policy) as client:
                began = monotonic()
                with pytest.raises((APITimeoutError, ServerError, APIConnectionError)) as caught:
                    await client.request("api", "GET", "/x")
                assert monotonic() - began < 3
                if kind in (stall, stall_body):
                    assert type(caught.value) is APITimeoutError
                    assert "the deadline of 0.15 s passed" in str(caught.value)
                    assert caught.value.__context__ is None
                    await asyncio.wait_for(server.gone.wait(), 5)
                # The last try may have been interrupted before it arrived.
                assert caught.value.attempts - len(server.requests) in (0, 1)
                server.script, server.then = [], answer(json=1)
                assert await client.with_options(timeouts=Timeouts()).request("api", "GET", "/x") == 1

    async def test_a_deadline_shorter_than_the_read_timeout_is_exact(
        self, session: aiohttp.ClientSession | None
    ) -> None:
        """A call that starts after others were interrupted also ends at its own deadline."""
        times = Timeouts(connect_s=1, read_s=6, deadline_s=0.2)
        async with RawServer(then=stall()) as server, client_of(server, session=session, timeouts=times) as client:
            for _ in range(3):
                began = monotonic()
                with pytest.raises(APITimeoutError, match="the deadline of 0.2 s passed"):
                    await client.request("api", "GET", "/x")
                assert 0.199 < monotonic() - began < 1

    async def test_a_wait_that_would_outlast_the_deadline_is_not_begun(self) -> None:
        """The call fails at once, with the failure instead of a timeout."""
        policy = RetryPolicy(base_s=20)
        async with RawServer(then=answer(503)) as server:
            async with client_of(server, retry=policy, timeouts=Timeouts(deadline_s=8)) as client:
                began = monotonic()
                with pytest.raises(ServerError) as caught:
                    await client.request("api", "GET", "/x")
        assert monotonic() - began < 4
        assert caught.value.attempts == 1

    async def test_the_deadline_bounds_the_wait_for_a_place(self) -> None:
        """Calls without a slot fail like the others, and every slot is free again."""
        async with RawServer(then=stall()) as server:
            async with client_of(server, max_concurrency=2, timeouts=Timeouts(deadline_s=0.1)) as client:
                calls = [client.request("api", "GET", "/x") for _ in range(12)]
                errors = await asyncio.gather(*calls, return_exceptions=True)
                assert [type(error) for error in errors] == [APITimeoutError] * 12
                for error in errors:
                    assert isinstance(error, APITimeoutError)
                    assert error.sent == bool(error.attempts)
                assert 2 <= len(server.requests) <= sum(error.attempts for error in errors)
                server.then, patient = answer(json=1), client.with_options(timeouts=Timeouts())
                assert await asyncio.gather(*(patient.request("api", "GET", "/x") for _ in range(12))) == [1] * 12

    async def test_the_wait_for_the_pool_of_a_passed_session_is_no_connect_timeout(self) -> None:
        """A small pool makes a burst slow; it does not make it fail."""
        async with (
            RawServer(then=answer(json=1, delay_s=0.03)) as server,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        ):
            async with client_of(server, session=session, retry=ONCE, timeouts=Timeouts(connect_s=0.05)) as client:
                assert await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(6))) == [1] * 6
        assert server.connections == 1

    async def test_a_connect_that_hangs_is_a_timeout(self, session: aiohttp.ClientSession | None) -> None:
        """Nothing was sent, so a creating call is retried too."""
        with full_listener() as port:
            hosts = hosts_at(f"http://127.0.0.1:{port}")
            timeouts, policy = Timeouts(connect_s=0.05), RetryPolicy(max_attempts=2, base_s=0.001)
            async with EachLabs("k", hosts=hosts, session=session, timeouts=timeouts, retry=policy) as client:
                for method in ("GET", "POST"):
                    with pytest.raises(APITimeoutError, match="within the connect timeout") as caught:
                        await client.request("api", method, "/x")
                    assert (caught.value.attempts, caught.value.sent) == (2, False)


class TestCancellation:
    @pytest.mark.parametrize("kind", [stall, stall_body, lambda: answer(503)])
    async def test_it_passes_at_once_and_frees_the_place(
        self, session: aiohttp.ClientSession | None, kind: Callable[[], Act]
    ) -> None:
        """While a response, a body or a retry is awaited, it is a `CancelledError`, and nothing is left over."""
        policy = RetryPolicy(base_s=30)
        async with RawServer(kind(), then=answer(json=1)) as server:
            async with client_of(server, session=session, max_concurrency=1, retry=policy) as client:
                task = asyncio.ensure_future(client.request("api", "GET", "/x"))
                await server.seen(1)
                await asyncio.sleep(0.02)
                began = monotonic()
                task.cancel("by me")
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert monotonic() - began < 1
                if kind in (stall, stall_body):
                    await asyncio.wait_for(server.gone.wait(), 5)
                assert await client.request("api", "GET", "/x") == 1

    async def test_while_waiting_for_a_place(self) -> None:
        """The call sends nothing, and the slot goes to the next one."""
        async with RawServer(stall(), then=answer(json=1)) as server, client_of(server, max_concurrency=1) as client:
            tasks = [asyncio.ensure_future(client.request("api", "GET", f"/{n}")) for n in range(3)]
            await server.seen(1)
            tasks[1].cancel()
            tasks[0].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in results[:2]] == [asyncio.CancelledError] * 2
        assert results[2] == 1
        assert server.targets == ["/api/0", "/api/2"]

    async def test_a_callers_timeout_is_the_callers(self) -> None:
        """`asyncio.timeout` around a call raises a plain `TimeoutError`, not one of the library."""
        async with RawServer(then=stall()) as server, client_of(server) as client:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.03):
                    await client.request("api", "GET", "/x")
            assert not isinstance(caught.value, APITimeoutError)

    async def test_closing_ends_what_is_in_flight(self, session: aiohttp.ClientSession | None) -> None:
        """Calls of a client that is closed end soon with an error, and so do waiting ones."""
        async with RawServer(then=stall()) as server:
            client = client_of(server, max_concurrency=1, session=session, timeouts=Timeouts(read_s=0.2))
            tasks = [asyncio.ensure_future(client.request("api", "GET", "/x")) for _ in range(3)]
            await server.seen(1)
            await client.close()
            async with asyncio.timeout(5):
                errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(error, ConfigurationError | APIConnectionError) for error in errors), errors
        assert len(server.requests) == 1


def kinds_of(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(one for child in root.__subclasses__() for one in kinds_of(child))]


ALL_KINDS = {*kinds_of(aiohttp.ClientError), *kinds_of(http_exceptions.HttpProcessingError)} - {ConnectionLostError}
NEVER_AGAIN = {
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    *kinds_of(aiohttp.InvalidURL),
    *kinds_of(aiohttp.NonHttpUrlClientError),
}
UNSENT = NEVER_AGAIN | {
    *kinds_of(aiohttp.ClientConnectorError),
    *kinds_of(aiohttp.ConnectionTimeoutError),
    *kinds_of(aiohttp.ClientHttpProxyError),
}


@pytest.mark.parametrize("kind", sorted(ALL_KINDS, key=lambda kind: kind.__name__))
def test_every_exception_of_aiohttp_has_its_error(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown exceptions may pass and may have been sent, unless they are known not to."""
    monkeypatch.setattr(kind, "__str__", lambda self: "what")  # Each wants other arguments, and none matters.
    error = error_from(kind.__new__(kind))
    assert isinstance(error, APIConnectionError)
    assert isinstance(error, APITimeoutError) == issubclass(kind, TimeoutError)
    assert (error.sent, error.retryable) == (kind not in UNSENT, kind not in NEVER_AGAIN)
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize(
    ("exc", "kind", "retryable"),
    [
        (OSError(5, "io"), APIConnectionError, True),
        (ConnectionResetError(), APIConnectionError, True),
        (TimeoutError(), APITimeoutError, True),
        (ValueError("no"), APIConnectionError, False),
        (RuntimeError("something"), APIConnectionError, False),
        (RuntimeError("Session is closed"), ConfigurationError, None),
    ],
)
def test_other_exceptions_have_theirs(exc: Exception, kind: type[Exception], retryable: bool | None) -> None:
    """Errors of the system may pass; a programming error does not."""
    error = error_from(exc)
    assert type(error) is kind
    assert getattr(error, "retryable", None) == retryable
