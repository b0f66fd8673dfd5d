"""Tests for a passed session: the semaphore is as small as its pool, and its headers are checked."""

from __future__ import annotations

import asyncio
import socket
import warnings
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from internals import session_of
from raw_server import ONCE, RawServer, answer, client_of, hosts_at, redirect

from eachlabs_async import EachLabs, RetryPolicy, Service, Timeouts
from eachlabs_async.errors import ConfigurationError, ResponseDecodeError

LIMITS: list[Any] = [{"limit": 2}, {"limit": 0, "limit_per_host": 2}, {"limit": 5, "limit_per_host": 2}]
PAUSE_S = 0.25
SLACK_S = 0.002

small_pools = pytest.mark.parametrize("limits", LIMITS, ids=str)


@small_pools
async def test_no_more_is_in_flight_than_the_pool_holds(limits: Any) -> None:
    """The semaphore is as small as the smallest limit, so no call waits a second time in the pool."""
    async with (
        RawServer(then=answer(json=1, delay_s=0.01)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session,
    ):
        async with client_of(server, session=session) as client:
            assert session_of(client).semaphore.size == 2
            assert await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(9))) == [1] * 9
    assert server.connections == 2


@pytest.mark.parametrize(("limits", "places"), [({"limit": 0}, 64), ({"limit": 7}, 7), ({"limit": 1000}, 64)])
async def test_a_large_pool_changes_nothing(limits: Any, places: int) -> None:
    """0 means no limit, and a limit above `max_concurrency` does not raise that."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session:
        async with EachLabs("k", session=session) as client:
            assert session_of(client).semaphore.size == places


@small_pools
async def test_the_wait_for_the_pool_is_no_silence(limits: Any) -> None:
    """A burst that takes far longer than the read timeout does not fail because of that."""
    times = Timeouts(connect_s=0.15, read_s=0.15)
    async with (
        RawServer(then=answer(json=1, delay_s=0.06)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session,
    ):
        async with client_of(server, session=session, retry=ONCE, timeouts=times) as client:
            assert await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(10))) == [1] * 10


async def test_the_wait_for_its_owners_own_requests_is_no_silence() -> None:
    """The semaphore does not see the owner's requests: a call waits for them up to its deadline."""
    times = Timeouts(connect_s=0.05, read_s=0.05)
    async with (
        RawServer(answer(json=0, delay_s=0.3), then=answer(json=1)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        async with client_of(server, session=session, retry=ONCE, timeouts=times) as client:
            owners = asyncio.ensure_future(session.get(f"{server.url}/owner"))
            await server.seen(1)
            assert await client.request("api", "GET", "/x") == 1
            async with await owners as response:
                assert response.status == 200
    assert server.targets == ["/owner", "/api/x"]


@small_pools
@pytest.mark.parametrize("status", [429, 503])
async def test_nothing_goes_out_in_a_pause(limits: Any, status: int) -> None:
    """Calls wait in the semaphore rather than in the pool, and see the pause before they are sent."""
    held = answer(status, headers={"Retry-After": str(PAUSE_S)}, delay_s=0.03)
    async with (
        RawServer(held, answer(json=1, delay_s=0.06), then=answer(json=1, delay_s=0.01)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session,
    ):
        async with client_of(server, session=session, retry=RetryPolicy(base_s=0.01)) as client:
            assert await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(12))) == [1] * 12
    first, second, *later = [seen.at for seen in server.requests]
    assert second - first < PAUSE_S
    assert len(later) == 11
    assert min(later) - first >= 0.03 + PAUSE_S - SLACK_S


class TestHeaders:
    @pytest.mark.parametrize(
        ("default", "service", "unified"),
        [
            ({"Authorization": "Bearer labs-key"}, "runs", False),
            ({"Authorization": "Bearer labs-key"}, "runs", True),
            ({"X-Note": "made with labs-key."}, "runs", True),
            ({"X-API-Key": "runs-key"}, "api", True),
            ({"X-API-Key": "runs-key"}, "workflows", True),
            ({"Authorization": "Bearer runs-key"}, "flows", True),
            ({"Authorization": "Bearer runs-key"}, "api", False),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_no_default_shows_one_vendor_the_others_key(
        self, default: dict[str, str], service: Any, unified: bool, method: Any
    ) -> None:
        """A header with the other vendor's key is left out; the others are sent."""
        defaults = {"X-Mine": "yes", "User-Agent": "mine/1", **default}
        async with RawServer() as server, aiohttp.ClientSession(headers=defaults) as session:
            async with client_of(server, session=session, hosts=hosts_at(server.url, unified=unified)) as client:
                for _ in range(2):
                    await client.request(service, method, "/x")
        own, other = ("runs-key", "labs-key") if service == "runs" else ("labs-key", "runs-key")
        assert len(server.requests) == 2
        for seen in server.requests:
            assert other not in repr(seen)
            assert own in seen.headers["authorization" if unified and service in ("api", "workflows") else "x-api-key"]
            assert (seen.headers["x-mine"], seen.headers["user-agent"]) == ("yes", "mine/1")

    @pytest.mark.parametrize("service", ["api", "runs"])
    async def test_a_default_with_the_vendors_own_key_goes_along(self, service: Any) -> None:
        """The service knows that key anyway."""
        default = {"X-Note": f"for {'runs' if service == 'runs' else 'labs'}-key"}
        async with RawServer() as server, aiohttp.ClientSession(headers=default) as session:
            async with client_of(server, session=session) as client:
                await client.request(service, "GET", "/x")
        assert server.requests[0].headers["x-note"] == default["X-Note"]

    async def test_the_session_itself_stays_as_it_was(self) -> None:
        """Headers are left out of our requests only: the owner's have all of them, over the same pool."""
        default = {"Authorization": "Bearer labs-key"}
        async with RawServer() as server, aiohttp.ClientSession(headers=default) as session:
            async with client_of(server, session=session) as client:
                await client.request("runs", "GET", "/x")
            assert dict(session.headers) == default
            async with session.get(server.url) as response:
                assert response.status == 200
        assert "authorization" not in server.requests[0].headers
        assert server.requests[1].headers["authorization"] == "Bearer labs-key"
        assert server.connections == 1


class OnePort(AbstractResolver):
    """Resolves every host to one port of this machine, whatever port is requested."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("base", "target"), [("", ":80"), (":80", "")])
async def test_the_usual_port_is_the_same_origin_written_out_or_not(base: str, target: str) -> None:
    """A redirect that adds the default port to the base URL, or omits it, is followed."""
    async with (
        RawServer(redirect(f"http://localhost{target}/y"), answer(json=7)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=OnePort(server.port))) as session,
    ):
        hosts = attrs.evolve(server.hosts, api=Service(f"http://localhost{base}"))
        async with client_of(server, hosts=hosts, session=session, retry=ONCE) as client:
            assert await client.request("api", "GET", "/x") == 7
    assert server.targets == ["/x", "/y"]


class TestLogins:
    @staticmethod
    def sent(server: RawServer) -> list[tuple[bool, bool]]:
        """Whether each request had a login and a cookie of the session."""
        found = [seen.headers for seen in server.requests]
        return [("basic" in headers.get("authorization", "").lower(), "cookie" in headers) for headers in found]

    @staticmethod
    def session_with(kind: str) -> aiohttp.ClientSession:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer versions of aiohttp prefer a header
            login = aiohttp.BasicAuth("me", "pa55word") if kind == "auth" else None
            jar = aiohttp.CookieJar(unsafe=True)
            cookies = {"login": "pa55word"} if kind == "cookies" else None
            return aiohttp.ClientSession(auth=login, cookies=cookies, cookie_jar=jar, trust_env=kind == "netrc")

    @pytest.fixture(autouse=True)
    def _netrc(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "netrc").write_text("default login me password pa55word\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setenv("NO_PROXY", "*")

    @pytest.mark.parametrize("kind", ["auth", "cookies", "netrc"])
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_they_go_to_one_vendor(self, kind: str, method: Any) -> None:
        """Each Labs gets them, the runs service of the other vendor does not."""
        async with RawServer() as server, self.session_with(kind) as session:
            async with client_of(server, session=session, retry=ONCE) as client:
                await client.request("api", method, "/x")
                await client.request("runs", method, "/x")
        assert self.sent(server) == [(kind != "cookies", kind == "cookies"), (False, False)]

    @pytest.mark.parametrize("kind", ["auth", "cookies", "netrc"])
    async def test_a_client_of_the_other_vendor_alone_sends_them_there(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a key for the runs service only, the session is that vendor's."""
        monkeypatch.delenv("EACHLABS_API_KEY", raising=False)
        async with RawServer() as server, self.session_with(kind) as session:
            async with EachLabs(runs_api_key="k", hosts=server.hosts, session=session, retry=ONCE) as client:
                await client.request("runs", "GET", "/x")
        assert self.sent(server) == [(kind != "cookies", kind == "cookies")]

    @pytest.mark.parametrize("kind", ["auth", "netrc"])
    async def test_a_clash_with_our_header_is_named(self, kind: str) -> None:
        """The unified edition needs the Authorization header itself; nothing is sent."""
        async with RawServer() as server, self.session_with(kind) as session:
            hosts = hosts_at(server.url, unified=True)
            async with client_of(server, hosts=hosts, session=session, retry=ONCE) as client:
                with pytest.raises(ConfigurationError, match=r"Authorization header of its own \(auth= or a netrc"):
                    await client.request("api", "GET", "/x")
        assert server.requests == []

    @pytest.mark.parametrize("kind", ["auth", "cookies", "netrc"])
    async def test_a_storage_gets_none(self, kind: str, tmp_path: Path) -> None:
        """A presigned URL carries all that a storage needs."""
        async with RawServer() as server, self.session_with(kind) as session:
            async with client_of(server, session=session, retry=ONCE) as client:
                await client.files.download(f"{server.url}/file", tmp_path / "file")
        assert self.sent(server) == [(False, False)]


async def test_a_keyless_call_keeps_the_limits_of_the_session() -> None:
    """Headers as large as the session allows are read, and its trace configs see the request."""
    started: list[str] = []

    async def note(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        started.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    large = answer(json={}, headers={"X-Large": "x" * 20_000})
    async with (
        RawServer(then=large) as server,
        aiohttp.ClientSession(max_field_size=32_768, max_line_size=32_768, trace_configs=[trace]) as session,
    ):
        hosts = hosts_at(server.url, unified=True)
        async with client_of(server, hosts=hosts, session=session, retry=ONCE) as client:
            with pytest.raises(ResponseDecodeError):  # The answer is read, and holds no workflow.
                await client.public_workflows.get("me", "flow", "1")
    assert len(started) == 1
