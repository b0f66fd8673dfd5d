"""Tests that only its service sees a key: no text, log line or traceback has it, and no proxy or other host."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from internals import is_test_code
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
    hosts_at,
    malformed,
    redirect,
    reset,
    stall,
    stall_body,
    trust,
    tunnel,
)

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.errors import APIConnectionError, AuthenticationError, ConfigurationError, EachLabsError
from eachlabs_async.hosts import Service

KEY = "sk-Secr3t/+=tail"
RUNS_KEY = "nx-Pr1vate&<x>"
ECHO = f"{KEY} {quote(KEY, safe='')} Bearer {KEY} {RUNS_KEY} {RUNS_KEY.replace('&', chr(92) + 'u0026')}"
GIVEAWAYS = ("Secr3t", "Pr1vate")


def told_by(exc: BaseException | None) -> str:
    """Return all that an error and its chain show: texts, attributes, and the locals of all frames but the tests'."""
    if exc is None:
        return ""
    parts = [str(exc), repr(exc), repr(exc.args), repr(getattr(exc, "__dict__", None))]
    parts += traceback.format_exception(exc)
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        if not is_test_code(frame.f_code.co_filename):
            parts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
            parts += [repr(vars(value)) for value in frame.f_locals.values() if isinstance(value, BaseException)]
    reason = getattr(exc, "reason", None)
    return "\n".join([*parts, told_by(exc.__cause__), told_by(exc.__context__), told_by(reason)])


def given_away(text: str) -> list[str]:
    """Return the lines that have a part of a key."""
    return [line[:300] for line in text.splitlines() if any(giveaway in line for giveaway in GIVEAWAYS)]


def test_the_check_itself_sees_what_is_there() -> None:
    """A key in a local, an attribute or a context is found."""
    try:
        try:
            int(KEY)
        except ValueError as exc:
            raise EachLabsError("no", url=RUNS_KEY) from exc
    except EachLabsError as exc:
        text = told_by(exc)
    assert len(given_away(text)) >= 2
    assert all(giveaway in text for giveaway in GIVEAWAYS)


ECHOES: dict[str, Callable[[], Act]] = {
    "json": lambda: answer(400, json={"error": ECHO, "code": ECHO, "details": {ECHO: [ECHO]}}),
    "validation": lambda: answer(422, json={"detail": [{"loc": [ECHO], "msg": ECHO}]}),
    "text": lambda: answer(500, body=ECHO),
    "not_text": lambda: answer(500, body=b"\xff" + ECHO.encode() + b"\x00"),
    "headers": lambda: answer(429, headers={"X-Request-Id": ECHO, "Retry-After": ECHO, "X-Echo": ECHO}),
    "reason": lambda: answer(503, reason=ECHO),
    "pause": lambda: answer(503, json={"error": ECHO}, headers={"Retry-After": "30"}),
    "location": lambda: redirect(f"https://127.0.0.1:1/{ECHO}".replace(" ", "")),
    "location_here": lambda: redirect(f"/api/x?{quote(ECHO)}"),
    "success": lambda: answer(body='{"status": 3, "api_key": "E"}'.replace("E", ECHO), headers={"X-Echo": ECHO}),
    "not_json": lambda: answer(body="[" + ECHO),
    "bad_header": lambda: Act(f"HTTP/1.1 200 OK\r\nX-{ECHO}\r\n\r\n".encode(), "close"),
    "bad_line": lambda: Act(f"HTTX {ECHO}\r\n\r\n".encode(), "close"),
    "cut_headers": lambda: Act(f"HTTP/1.1 200 OK\r\nX-Echo: {ECHO}\r\nX-Mo".encode(), "close"),
    "cut_body": lambda: answer(body=f'"{ECHO}"', headers={"X-Echo": ECHO}, cut=1, end="close"),
    "stalled_body": lambda: answer(body=f'"{ECHO}"', headers={"X-Echo": ECHO}, cut=1, end="stall"),
    "bad_gzip": lambda: answer(body=ECHO, headers={"Content-Encoding": "gzip", "X-Echo": ECHO}),
    "reset": reset,
    "close": close,
    "cut": cut_headers,
    "cut_short": cut_body,
    "malformed": malformed,
    "stall": stall,
}


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("kind", ECHOES)
async def test_no_key_is_in_an_error_or_a_log_line(caplog: pytest.LogCaptureFixture, kind: str, passed: bool) -> None:
    """Whatever a server echoes, no error, nothing that it refers to, and no log line has a key."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    async with RawServer(then=ECHOES[kind]()) as server, aiohttp.ClientSession() as own:
        for unified in (False, True):
            async with EachLabs(
                KEY,
                runs_api_key=RUNS_KEY,
                hosts=hosts_at(server.url, unified=unified),
                session=own if passed else None,
                retry=RetryPolicy(max_attempts=2, base_s=0.001),
                timeouts=Timeouts(read_s=0.02, deadline_s=5),
            ) as client:
                calls: list[Callable[[], Any]] = [
                    lambda c=client: c.request("runs", "GET", "/x", params={"a": 1}),
                    lambda c=client: c.request("api", "POST", "/x", json={"a": 1}),
                    lambda c=client: c.workflow_executions.get("x"),
                    lambda c=client: c.executions.list(model="m").collect(),
                    lambda c=client: c.runs.list().collect(),
                ]
                for call in calls:
                    try:
                        await call()
                    except EachLabsError as exc:
                        told.append(told_by(exc))
                bulk = client.flow_executions.get_many("w", ["x"])
                told += [told_by(error) for error in (await bulk.collect()).errors.values()]
    assert len(told) >= 6
    for text in [*told, *(f"{one.getMessage()} {one.exc_text} {one.args!r}" for one in caplog.records)]:
        assert not given_away(text)
    assert any(one.name == "eachlabs_async" for one in caplog.records)


async def test_a_key_that_a_caller_puts_into_a_url_is_struck_out(caplog: pytest.LogCaptureFixture) -> None:
    """A key passed as an id or a filter by mistake is redacted in the error's URL and text, and in the log."""
    caplog.set_level(logging.DEBUG, "eachlabs_async")
    told = []
    async with RawServer(then=answer(503)) as server:
        async with EachLabs(KEY, runs_api_key=RUNS_KEY, hosts=server.hosts, retry=QUICK) as client:
            for call in (
                client.workflow_executions.get(KEY),
                client.request("runs", "GET", "/x", params={"k": RUNS_KEY}),
            ):
                with pytest.raises(EachLabsError) as caught:
                    await call
                told += [str(caught.value), repr(vars(caught.value))]
    told += [one.getMessage() for one in caplog.records]
    assert "***" in told[0]
    assert not given_away("\n".join(told))


async def test_a_key_among_ids_is_struck_out_of_what_is_not_found() -> None:
    """For flows in bulk, whose ids are in no URL, the outcome's error is redacted too."""
    async with RawServer(then=answer(json={"executions": []})) as server:
        async with EachLabs(KEY, runs_api_key=RUNS_KEY, hosts=server.hosts) as client:
            result = await client.flow_executions.get_many(KEY, [KEY]).collect()
    error = result.errors[KEY]
    assert "***" in str(error)
    assert not given_away(told_by(error))


@pytest.mark.parametrize("kind", [stall, stall_body, lambda: answer(503)])
async def test_no_key_is_in_a_cancelled_call(kind: Callable[[], Act]) -> None:
    """`CancelledError` has frames of aiohttp, which have the key in masked form only."""
    async with RawServer(then=kind()) as server:
        for session in (None, aiohttp.ClientSession()):
            client = EachLabs(KEY, hosts=server.hosts, session=session, retry=RetryPolicy(base_s=30))
            task = asyncio.ensure_future(client.request("api", "POST" if session else "GET", "/x"))
            await asyncio.wait([task], timeout=0.05)
            task.cancel()
            try:
                await task
            except (asyncio.CancelledError, EachLabsError) as exc:
                told = told_by(exc)
            assert not given_away(told)
            await client.close()
            if session is not None:
                await session.close()


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_no_header_that_echoes_a_key_is_in_a_cancelled_call(method: Any, passed: bool) -> None:
    """After a cancellation during the body, or the closing of the client, no frame has the response."""
    stalled = answer(200, body=f'"{ECHO}"', headers={"X-Echo": ECHO, "Set-Cookie": f"k={KEY}"}, cut=1, end="stall")
    async with RawServer(then=stalled) as server, aiohttp.ClientSession() as own:
        for how in ("cancel", "close"):
            session = own if passed else None
            client = EachLabs(KEY, runs_api_key=RUNS_KEY, hosts=server.hosts, session=session)
            task = asyncio.ensure_future(client.request("api", method, "/x", json={}))
            await asyncio.wait([task], timeout=0.08)
            if how == "cancel":
                task.cancel()
            await client.close()
            with pytest.raises((asyncio.CancelledError, EachLabsError)) as caught:
                await task
            assert isinstance(caught.value, asyncio.CancelledError) == (how == "cancel")
            told = told_by(caught.value)
            assert "send" in told
            assert not given_away(told)
    assert len(server.requests) == 2


@pytest.mark.parametrize("size", [0, 10_000])
async def test_no_answer_of_an_earlier_id_is_in_the_error_that_ends_a_bulk_fetch(size: int) -> None:
    """The frames of a failing worker have locals, and earlier responses may contain a key."""
    echo = answer(json={"execution_id": "a", "status": "completed", "api_key": KEY, "more": "x" * size})
    async with RawServer(echo, answer(401)) as server, EachLabs(KEY, hosts=server.hosts) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.workflow_executions.get_many(["a", "b"], concurrency=1).collect()
    assert not given_away(told_by(caught.value))


async def test_nothing_of_aiohttp_hangs_on_to_an_error() -> None:
    """It has no context, no cause, and only frames of the package."""
    async with RawServer(then=reset()) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.request("api", "GET", "/x")
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert all("eachlabs_async" in file or is_test_code(file) for file in files), files


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def far_hosts(*, unified: bool = False) -> Any:
    return hosts_at("https://api.example.test", unified=unified)


class TestProxies:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("unified", [False, True])
    @pytest.mark.parametrize("login", ["", "us%40er:p%3Aw@", "user@"])
    async def test_the_proxy_gets_its_own_credentials_alone(
        self, environment: pytest.MonkeyPatch, login: str, unified: bool, method: Any
    ) -> None:
        """CONNECT has its login and no key of ours; the service gets the key without the login."""
        trust(environment)
        async with RawServer(then=answer(json=7), tls=True) as service, RawServer(then=tunnel()) as proxy:
            proxy.tunnel_to = service.port
            environment.setenv("HTTPS_PROXY", f"http://{login}127.0.0.1:{proxy.port}")
            hosts = far_hosts(unified=unified)
            async with EachLabs(KEY, runs_api_key=RUNS_KEY, hosts=hosts, retry=ONCE) as client:
                assert await client.request("api", method, "/x") == 7
                assert await client.request("runs", method, "/x") == 7
        for asked in proxy.requests:
            assert (asked.method, asked.target) == ("CONNECT", "api.example.test:443")
            words = {"us%40er:p%3Aw@": "us@er:p:w", "user@": "user:"}.get(login)
            wanted = None if words is None else "Basic " + base64.b64encode(words.encode()).decode()
            assert asked.headers.get("proxy-authorization") == wanted
            assert not given_away(repr(asked))
        first, second = service.requests
        assert first.headers["authorization" if unified else "x-api-key"].endswith(KEY)
        assert second.headers["x-api-key"] == RUNS_KEY
        assert not [seen for seen in service.requests if "proxy-authorization" in seen.headers]
        assert len(proxy.requests) == (1 if method == "GET" else 2)

    async def test_loopback_is_never_proxied(self, environment: pytest.MonkeyPatch) -> None:
        """Whatever the environment says, services on this machine are requested directly."""
        async with RawServer() as proxy, RawServer(then=answer(json=7)) as server:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                environment.setenv(name, f"http://127.0.0.1:{proxy.port}")
            async with client_of(server) as client:
                assert await client.request("api", "GET", "/x") == 7
        assert proxy.connections == 0

    @pytest.mark.parametrize("variables", [{"NO_PROXY": "example.test"}, {"HTTPS_PROXY": ""}])
    async def test_without_a_proxy_the_way_is_direct(
        self, environment: pytest.MonkeyPatch, variables: dict[str, str]
    ) -> None:
        """A host in `NO_PROXY`, or without a proxy, is requested directly (and does not exist here)."""
        async with RawServer() as proxy:
            for name, value in ({"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"} | variables).items():
                environment.setenv(name, value)
            async with EachLabs(KEY, hosts=far_hosts(), retry=ONCE, timeouts=Timeouts(deadline_s=5)) as client:
                with pytest.raises(APIConnectionError):
                    await client.request("api", "GET", "/x")
        assert proxy.connections == 0

    @pytest.mark.parametrize("status", [407, 502])
    async def test_a_proxy_that_refuses_sent_nothing(self, environment: pytest.MonkeyPatch, status: int) -> None:
        """So creating calls are retried too, unless it asks for a login; the proxy's password is in no text."""
        async with RawServer(then=answer(status, body=b"")) as proxy:
            environment.setenv("HTTPS_PROXY", f"http://user:pa55word@127.0.0.1:{proxy.port}")
            async with EachLabs(KEY, hosts=far_hosts(), retry=QUICK) as client:
                for method in ("GET", "POST"):
                    with pytest.raises(APIConnectionError) as caught:
                        await client.request("api", method, "/x")
                    assert (caught.value.sent, caught.value.attempts) == (False, 1 if status == 407 else 5)
                    assert "pa55word" not in told_by(caught.value)
        assert len(proxy.requests) == (2 if status == 407 else 10)

    async def test_a_proxy_that_nobody_runs(self, environment: pytest.MonkeyPatch) -> None:
        """It is a connection error, nothing was sent, and the password is not in its text."""
        environment.setenv("https_proxy", f"http://user:pa55word@127.0.0.1:{free_port()}")
        async with EachLabs(KEY, hosts=far_hosts(), retry=ONCE) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.request("api", "POST", "/x")
        assert not caught.value.sent
        assert "pa55word" not in told_by(caught.value)

    @pytest.mark.parametrize(
        "proxy", ["socks5://user:pa55word@h:1", "http://", "http://[::1", "user:pa55word@", "http://h:99999/pa55word"]
    )
    async def test_a_proxy_that_cannot_be_used_is_told(self, environment: pytest.MonkeyPatch, proxy: str) -> None:
        """It is a `ConfigurationError` with the variable and without the URL; no request bypasses the proxy."""
        environment.setenv("HTTPS_PROXY", proxy)
        async with EachLabs(KEY, hosts=far_hosts()) as client:
            with pytest.raises(ConfigurationError, match=r"HTTPS_PROXY is not an http\(s\) URL") as caught:
                await client.request("api", "GET", "/x")
        assert caught.value.attempts == 0
        assert "pa55word" not in told_by(caught.value)

    async def test_a_passed_session_has_its_own_way(self, environment: pytest.MonkeyPatch) -> None:
        """Its owner decides about the environment's proxies; a trusted proxy still sees no key."""
        trust(environment)
        async with RawServer(then=answer(json=7), tls=True) as service, RawServer(then=tunnel()) as proxy:
            proxy.tunnel_to = service.port
            environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            async with aiohttp.ClientSession(trust_env=True) as session:
                async with EachLabs(KEY, hosts=far_hosts(), session=session) as client:
                    assert await client.request("api", "GET", "/x") == 7
                    assert await client.request("api", "POST", "/x") == 7
        assert len(proxy.requests) >= 1
        assert not given_away(repr(proxy.requests))
        assert [seen.headers["x-api-key"] for seen in service.requests] == [KEY, KEY]


def test_a_key_never_travels_unencrypted() -> None:
    """Plain http beyond loopback is refused when the host is given."""
    with pytest.raises(ConfigurationError, match="the key would be sent unencrypted"):
        Service("http://api.example.test/v1")
