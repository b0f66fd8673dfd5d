"""Holds the way of a call when nothing breaks: keys, sessions, redirects, views, certificates, the log."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from raw_server import ONCE, RawServer, answer, client_of, free_port, hosts_at, html, redirect, trust

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ServerError,
)

SERVICES = ("api", "workflows", "flows", "runs")
KEY_HEADERS = ("x-api-key", "authorization")


class TestKeys:
    @pytest.mark.parametrize("passed", [False, True])
    @pytest.mark.parametrize("unified", [False, True])
    async def test_each_service_sees_its_own_key_in_its_own_header(self, unified: bool, passed: bool) -> None:
        """Each Labs never sees the runs key nor Noxus the Each Labs key, in either edition and session."""
        async with RawServer() as server, aiohttp.ClientSession() as session:
            options = {"session": session} if passed else {}
            async with client_of(server, hosts=hosts_at(server.url, unified=unified), **options) as client:
                for method in ("GET", "POST", "PUT"):
                    for service in SERVICES:
                        await client.request(service, method, f"/{service}", json=None if method == "GET" else {})
        labs = {"authorization": "Bearer labs-key"} if unified else {"x-api-key": "labs-key"}
        wanted = {"api": labs, "workflows": labs, "flows": {"x-api-key": "labs-key"}, "runs": {"x-api-key": "runs-key"}}
        assert len(server.requests) == 12
        for seen in server.requests:
            keys = {name: seen.headers[name] for name in KEY_HEADERS if name in seen.headers}
            assert keys == wanted[seen.target.rsplit("/")[-1]]
            other = "labs-key" if seen.target.endswith("/runs") else "runs-key"
            assert other not in repr(seen)

    async def test_the_emulator_finds_every_key_right(self) -> None:
        """All documented calls, in both editions, bring the right key and no foreign one."""
        async with Emulator(executions=3) as emulator:
            for hosts in (emulator.hosts, emulator.unified_hosts):
                async with EachLabs(emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key) as client:
                    assert await client.executions.list().first() is not None
                    assert await client.runs.list().first() is not None
                    with pytest.raises(NotFoundError):
                        await client.flow_executions.get("w", "x")
                    with pytest.raises(NotFoundError):
                        await client.workflow_executions.get("x")
            assert not emulator.wrong_keys
            assert all(seen.key == "right" for seen in emulator.log)

    @pytest.mark.parametrize(("service", "says"), [("api", "EACHLABS_API_KEY"), ("runs", "NOXUS_API_KEY")])
    async def test_a_missing_key_is_an_error_at_the_call(
        self, monkeypatch: pytest.MonkeyPatch, service: Any, says: str
    ) -> None:
        """Making the client is fine, the other vendor's calls work, and nothing is sent without the key."""
        monkeypatch.delenv("EACHLABS_API_KEY", raising=False)
        monkeypatch.delenv("NOXUS_API_KEY", raising=False)
        async with RawServer() as server:
            keys: Any = {"api_key": "k"} if service == "runs" else {"runs_api_key": "k"}
            async with EachLabs(hosts=server.hosts, **keys) as client:
                with pytest.raises(ConfigurationError, match=says):
                    await client.request(service, "GET", "/x")
                assert not server.requests
                await client.request("api" if service == "runs" else "runs", "GET", "/x")

    async def test_keys_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An argument goes first; blank means not given."""
        monkeypatch.setenv("EACHLABS_API_KEY", "env-labs\n")
        monkeypatch.setenv("NOXUS_API_KEY", "env-runs")
        async with RawServer() as server:
            async with EachLabs(" ", hosts=server.hosts, runs_api_key="given") as client:
                await client.request("api", "GET", "/x")
                await client.request("runs", "GET", "/x")
        assert [seen.headers["x-api-key"] for seen in server.requests] == ["env-labs", "given"]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"hosts": "compat"}, TypeError, "hosts must be a Hosts, not str"),
        ({"session": object()}, TypeError, "session must be an aiohttp.ClientSession, not object"),
        ({"retry": 3}, TypeError, "retry must be a RetryPolicy, not int"),
        ({"timeouts": 3.0}, TypeError, "timeouts must be a Timeouts, not float"),
        ({"max_concurrency": 0}, ValueError, "max_concurrency must be at least 1"),
        ({"max_concurrency": 1.5}, TypeError, "max_concurrency must be an int"),
    ],
)
def test_a_senseless_argument_is_refused_by_name(options: Any, error: type[Exception], says: str) -> None:
    """Before a session is opened, and so without a loop."""
    with pytest.raises(error, match=says):
        EachLabs("k", **options)


class TestRequest:
    async def test_what_goes_out_is_what_was_asked_for(self) -> None:
        """Method, path, query and body arrive as they were written; the answer is decoded."""
        async with RawServer(then=answer(json={"a": [1, None]})) as server, client_of(server) as client:
            got = await client.request("api", "GET", "/a%2Fb/é", params={"from": "1+2", "x": None})
            assert got == {"a": [1, None]}
            await client.request("flows", "PUT", "/x", json={"b": [1.5, "é"]})
        first, second = server.requests
        assert (first.method, first.target, first.body) == ("GET", "/api/a%2Fb/%C3%A9?from=1%2B2", b"")
        assert (second.method, second.target) == ("PUT", "/flows/x")
        assert second.body.decode() == r'{"b":[1.5,"\u00e9"]}'
        assert second.headers["content-type"] == "application/json"
        assert first.headers["user-agent"].startswith("eachlabs-async/")

    async def test_an_empty_success_is_none(self) -> None:
        """204, and a 200 without a body, and HEAD."""
        script = (answer(204, body=b""), answer(body=b""), answer(body=b""))
        async with RawServer(*script) as server, client_of(server) as client:
            assert await client.request("api", "DELETE", "/x") is None
            assert await client.request("api", "GET", "/x") is None
            assert await client.request("api", "HEAD", "/x") is None

    @pytest.mark.parametrize(
        ("arguments", "error", "says"),
        [
            (("api", "get", "/x"), ValueError, "method must be one of GET"),
            (("api", "TRACE", "/x"), ValueError, "method must be one of"),
            (("nope", "GET", "/x"), ValueError, "service must be one of"),
            (("api", "GET", "x"), ValueError, "path must begin"),
            (("api", "GET", "/../x"), ValueError, "path must not"),
        ],
    )
    async def test_what_cannot_be_sent_is_refused(self, arguments: Any, error: type[Exception], says: str) -> None:
        """A bad argument is a plain error, and nothing is sent."""
        async with RawServer() as server, client_of(server) as client:
            with pytest.raises(error, match=says):
                await client.request(*arguments)
            with pytest.raises(ValueError, match="limit must be between 1 and 100"):
                client.executions.list(limit=101)
            with pytest.raises(ValueError, match="limit must be between 1 and 100"):
                client.executions.list(limit=0)
        assert not server.requests

    async def test_an_error_says_what_the_service_said(self) -> None:
        """Status, message, request id, method, URL and attempts; no second try where none can help."""
        body = {"error": "Invalid or missing API key", "code": "UNAUTHORIZED"}
        async with RawServer(answer(401, json=body, headers={"X-Request-Id": "r-1"})) as server:
            async with client_of(server) as client:
                with pytest.raises(AuthenticationError) as caught:
                    await client.executions.list(model="m").collect()
        error = caught.value
        assert (error.status, error.message, error.code) == (401, body["error"], "UNAUTHORIZED")
        assert (error.request_id, error.method, error.attempts) == ("r-1", "GET", 1)
        assert error.url is not None
        assert error.url.startswith(f"{server.url}/api/executions?")
        assert len(server.requests) == 1

    async def test_a_page_of_html_is_an_error_of_its_status(self) -> None:
        """A proxy's 502 is a `ServerError` with the page's start as its body."""
        async with RawServer(then=html()) as server, client_of(server, retry=ONCE) as client:
            with pytest.raises(ServerError, match="Bad Gateway") as caught:
                await client.request("api", "GET", "/x")
        assert caught.value.body.startswith("<html>")


class TestSessions:
    async def test_a_passed_session_is_used_and_stays_open(self) -> None:
        """Its own defaults neither break a call nor are they lost."""
        seen: list[str] = []

        async def watch(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            seen.append(request.method)
            return await handler(request)

        async with (
            RawServer(answer(404), redirect("/api/y"), answer(), answer(503), answer()) as server,
            aiohttp.ClientSession(
                headers={"X-Mine": "yes", "X-API-Key": "mine"},
                raise_for_status=True,
                middlewares=(watch,),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=0.001),
            ) as session,
        ):
            async with client_of(server, session=session) as client:
                with pytest.raises(NotFoundError):
                    await client.request("api", "GET", "/x")
                await client.request("api", "GET", "/x")
                await client.request("runs", "GET", "/x")
            assert not session.closed
            assert seen == ["GET"] * 5
            assert {seen.headers["x-mine"] for seen in server.requests} == {"yes"}
            assert [seen.headers["x-api-key"] for seen in server.requests] == ["labs-key"] * 3 + ["runs-key"] * 2
            async with session.get(server.url, timeout=aiohttp.ClientTimeout(total=5)) as response:
                assert response.status == 200

    async def test_an_own_session_is_closed(self) -> None:
        """After the block no connection is left at the server."""
        async with RawServer() as server:
            async with client_of(server) as client:
                for service in SERVICES:
                    await client.request(service, "GET", "/x")
                await client.request("api", "POST", "/x")
                assert server.open_connections >= 1
            async with asyncio.timeout(5):
                while server.open_connections:
                    await asyncio.sleep(0.001)

    async def test_connections_are_reused_over_services(self) -> None:
        """Reads share one connection to one origin."""
        async with RawServer() as server, client_of(server) as client:
            for service in SERVICES * 3:
                await client.request(service, "GET", "/x")
        assert server.connections == 1

    async def test_a_closed_client_refuses_calls(self) -> None:
        """Closing twice is fine; every later call is a `ConfigurationError` that sends nothing."""
        async with RawServer() as server:
            client = client_of(server)
            assert repr(client) == "<EachLabs client, compat edition, open>"
            await client.request("api", "GET", "/x")
            view = client.with_options(retry=ONCE)
            await client.close()
            await client.close()
            assert repr(client) == "<EachLabs client, compat edition, closed>"
            for one in (client, view):
                with pytest.raises(ConfigurationError, match="the client is closed"):
                    await one.request("api", "GET", "/x")
            with pytest.raises(ConfigurationError, match="the client is closed"):
                await client.executions.list().collect()
            assert len(server.requests) == 1

    async def test_a_passed_session_that_its_owner_closed_is_told(self) -> None:
        """The error says whose session it is, and nothing was sent."""
        async with RawServer() as server:
            session = aiohttp.ClientSession()
            async with client_of(server, session=session) as client:
                await session.close()
                for method in ("GET", "POST"):
                    with pytest.raises(ConfigurationError, match="session is closed"):
                        await client.request("api", method, "/x")
        assert not server.requests

    async def test_a_view_shares_everything_but_its_options(self) -> None:
        """It has its own retries and deadline, and closing it closes nothing."""
        async with RawServer(then=answer(503)) as server, client_of(server) as client:
            async with client.with_options(retry=ONCE) as view:
                with pytest.raises(ServerError):
                    await view.request("api", "GET", "/x")
            assert len(server.requests) == 1
            assert view.hosts is client.hosts
            with pytest.raises(ServerError):
                await client.with_options(timeouts=Timeouts(deadline_s=5)).request("api", "GET", "/x")
            assert len(server.requests) == 1 + RetryPolicy().max_attempts
            assert server.connections == 1
            with pytest.raises(TypeError, match="retry must be a RetryPolicy"):
                client.with_options(retry=3)


@pytest.fixture
async def elsewhere() -> AsyncIterator[RawServer]:
    async with RawServer() as server:
        yield server


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("passed", [False, True])
    async def test_within_the_origin_a_get_is_followed(self, status: int, passed: bool) -> None:
        """With its key, and as one attempt."""
        async with (
            RawServer(redirect("../moved?a=1", status), answer(json=7)) as server,
            aiohttp.ClientSession() as own,
        ):
            async with client_of(server, session=own if passed else None, retry=ONCE) as client:
                assert await client.request("api", "GET", "/x/y") == 7
        assert server.targets == ["/api/x/y", "/api/moved?a=1"]
        assert server.requests[1].headers["x-api-key"] == "labs-key"

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
    @pytest.mark.parametrize("form", ["http://127.0.0.1:{port}/x", "//127.0.0.1:{port}/x", "http://localhost:{port}/x"])
    @pytest.mark.parametrize("status", [302, 307])
    async def test_to_another_origin_it_is_refused(
        self, elsewhere: RawServer, method: Any, form: str, status: int
    ) -> None:
        """The other origin sees nothing at all, least of all the key."""
        async with RawServer(then=redirect(form.format(port=elsewhere.port), status)) as server:
            async with client_of(server) as client:
                with pytest.raises(APIConnectionError, match="redirect to another origin was refused") as caught:
                    await client.request("api", method, "/x")
        assert not caught.value.retryable
        assert caught.value.attempts == len(server.requests) == 1
        assert elsewhere.connections == 0

    @pytest.mark.parametrize(
        "location",
        [
            "http://user@{here}/x",
            "http://user:pass@{here}/x",
            "http://:pass@{here}/x",
            "https://{here}/x",
            "http://[::1/x",
            "http://h:99999/x",
            "ftp://{here}/x",
            "mailto:x@y",
        ],
    )
    async def test_a_strange_target_is_refused(self, location: str) -> None:
        """User names, other schemes and what is no URL lead nowhere."""
        async with RawServer() as server:
            server.script = [redirect(location.format(here=server.url[7:]))]
            async with client_of(server) as client:
                with pytest.raises(APIConnectionError, match="was refused") as caught:
                    await client.request("api", "GET", "/x")
        assert len(server.requests) == 1
        assert "pass" not in str(caught.value)

    async def test_a_loop_ends(self) -> None:
        """After five hops, and it is not tried again."""
        async with RawServer(then=redirect("/api/x")) as server, client_of(server) as client:
            with pytest.raises(APIConnectionError, match="more than 5 redirects") as caught:
                await client.request("api", "GET", "/x")
        assert len(server.requests) == 6
        assert caught.value.attempts == 1

    async def test_without_a_location_it_is_refused(self) -> None:
        """It leads nowhere, so it is not asked again and again."""
        async with RawServer(then=redirect(None)) as server, client_of(server) as client:
            with pytest.raises(APIConnectionError, match="a redirect without a location was refused"):
                await client.request("api", "GET", "/x")
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("status", "followed"), [(301, False), (302, False), (303, False), (307, True), (308, True)]
    )
    async def test_a_post_that_reads_follows_what_keeps_it_a_post(self, status: int, followed: bool) -> None:
        """Method and body go along, or the redirect is refused."""
        rows = b'{"executions": [], "total": 0, "status": "ok"}'
        async with RawServer(redirect("/flows/b", status), answer(body=rows)) as server, client_of(server) as client:
            result = await client.flow_executions.get_many("w", ["a"]).collect()
        assert [seen.method for seen in server.requests] == ["POST"] * (1 + followed)
        assert {seen.body for seen in server.requests} == {b'{"execution_ids":["a"]}'}
        kind = NotFoundError if followed else APIConnectionError
        assert isinstance(result.errors["a"], kind)


class TestCertificates:
    async def test_a_certificate_that_does_not_verify_is_not_tried_again(self) -> None:
        """It is a connection error that was never sent, in one attempt, for reads and creations."""
        async with RawServer(tls=True) as server, client_of(server) as client:
            for method in ("GET", "POST"):
                with pytest.raises(APIConnectionError, match="[Cc]ertificate") as caught:
                    await client.request("api", method, "/x")
                error = caught.value
                assert (error.attempts, error.sent, error.retryable) == (1, False, False)
            assert server.connections <= 2
        assert not server.requests

    async def test_a_trusted_certificate_is_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reads and creations work over TLS."""
        trust(monkeypatch)
        async with RawServer(tls=True) as server, client_of(server) as client:
            await client.request("api", "GET", "/x")
            await client.request("api", "POST", "/x")
        assert len(server.requests) == 2


async def test_one_line_an_attempt_and_one_a_retry(caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG tells of each attempt with its outcome, INFO of each further try with its reason and wait."""
    caplog.set_level(logging.DEBUG, "eachlabs_async")
    async with RawServer(answer(503), answer(json=1)) as server, client_of(server) as client:
        await client.request("api", "GET", "/x", params={"a": 1})
    lines = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "eachlabs_async"]
    url = f"GET {server.url}/api/x?a=1"
    assert [level for level, _ in lines] == ["DEBUG", "INFO", "DEBUG"]
    first, second = (f"[request {seen.headers['x-request-id']}]" for seen in server.requests)
    assert lines[0][1] == f"{url} attempt 1: HTTP 503, 2 bytes {first}"
    assert lines[1][1].startswith(f"{url} failed on attempt 1 (ServerError: Service Unavailable): retrying in 0.0")
    assert lines[1][1].endswith(f" s {first}")
    assert lines[2][1] == f"{url} attempt 2: HTTP 200, 1 bytes {second}"
    caplog.clear()
    async with client_of(server, hosts=hosts_at(f"http://127.0.0.1:{free_port()}"), retry=ONCE) as client:
        with pytest.raises(APIConnectionError):
            await client.request("api", "GET", "/x")
    (line,) = (one for one in caplog.records if one.name == "eachlabs_async")
    assert "attempt 1: the connection failed" in line.getMessage()


def test_importing_the_package_alone_does_not_import_aiohttp() -> None:
    """The first use of the client does."""
    code = (
        "import sys, eachlabs_async as e; e.errors, e.RetryPolicy, e.COMPAT;"
        "assert 'aiohttp' not in sys.modules; e.EachLabs; assert 'aiohttp' in sys.modules"
    )
    subprocess.run([sys.executable, "-X", "dev", "-c", code], check=True, timeout=60)
