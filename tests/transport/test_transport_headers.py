"""Tests for the headers of requests: the same for all requests of a kind, and those of each service."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import attrs
import pytest
from raw_server import ONCE, RawServer, answer, client_of, hosts_at

from eachlabs_async import EachLabs
from eachlabs_async.hosts import Service
from eachlabs_async.transport.aiohttp_sessions import USER_AGENT

ROWS = answer(body=b'{"executions": [], "total": 0, "status": "ok"}')
JSON = "application/json"


def wanted(server: RawServer, key: dict[str, str], body: bytes = b"") -> dict[str, str]:
    """Return all headers that a request of the client's own session has."""
    headers = {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": USER_AGENT,
        "accept": "*/*",
        **key,
    }
    return headers | ({"content-length": str(len(body)), "content-type": JSON} if body else {})


def without(headers: dict[str, str], *names: str) -> dict[str, str]:
    """Leave some headers out, and the id, which differs for each request."""
    return {name: value for name, value in headers.items() if name not in (*names, "x-request-id")}


@pytest.mark.parametrize("unified", [False, True])
async def test_every_request_alike_has_the_same_headers(unified: bool) -> None:
    """The first request, whose headers are built, and later ones, which reuse them, are alike; a body adds its own."""
    key = {"authorization": "Bearer labs-key"} if unified else {"x-api-key": "labs-key"}
    async with RawServer(then=ROWS) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=unified)) as client:
            for method in ("GET", "GET", "PUT", "GET", "PUT", "PUT", "GET", "DELETE", "GET"):
                body = {"a": 1} if method == "PUT" else None
                await client.request("api", method, "/x", json=body)
    encodings = {seen.headers["accept-encoding"] for seen in server.requests}
    assert len(encodings) == 1
    assert "gzip" in encodings.pop()
    for seen in server.requests:
        assert seen.body == (b'{"a":1}' if seen.method == "PUT" else b"")
        found = without(seen.headers, "accept-encoding")
        if seen.method == "DELETE":  # aiohttp tells the length of its empty body
            found = without(found, "content-length", "content-type")
        assert found == wanted(server, key, seen.body), seen.method
    assert server.connections == 1


async def test_a_post_that_reads_has_the_same_headers_every_time() -> None:
    """So have the gets before, between and after it."""
    async with RawServer(then=ROWS) as server, client_of(server) as client:
        for ids in (["a"], ["b"], ["c"]):
            await client.flow_executions.get_many("w", ids).collect()
            await client.request("flows", "GET", "/x")
    posts = [seen for seen in server.requests if seen.method == "POST"]
    assert len(posts) == 3
    for seen in server.requests:
        found = without(seen.headers, "accept-encoding")
        assert found == wanted(server, {"x-api-key": "labs-key"}, seen.body)


async def test_the_first_requests_may_all_go_out_at_once() -> None:
    """Any of them may build the headers for the others."""
    async with RawServer(then=answer(json=1, delay_s=0.01)) as server, client_of(server) as client:
        calls = [client.request("api", "PUT" if n % 2 else "GET", "/x", json=[1] if n % 2 else None) for n in range(20)]
        await asyncio.gather(*calls)
    assert len({seen.headers["x-request-id"] for seen in server.requests}) == 20
    for seen in server.requests:
        found = without(seen.headers, "accept-encoding")
        assert found == wanted(server, {"x-api-key": "labs-key"}, seen.body)


@pytest.mark.parametrize("passed", [False, True])
async def test_services_on_other_ports_get_their_own_host_and_key(passed: bool) -> None:
    """Alternating requests never get the other service's headers."""
    async with (
        RawServer() as one,
        RawServer() as two,
        RawServer() as three,
        aiohttp.ClientSession(headers={"User-Agent": USER_AGENT}) as session,
    ):
        hosts = attrs.evolve(hosts_at(one.url, runs=two.url, unified=True), flows=Service(three.url))
        options: dict[str, Any] = {"session": session} if passed else {}
        async with EachLabs("labs-key", runs_api_key="runs-key", hosts=hosts, retry=ONCE, **options) as client:
            for method in ("GET", "PUT", "GET", "PUT"):
                for service in ("api", "runs", "flows"):
                    body = {} if method == "PUT" else None
                    await client.request(service, method, "/x", json=body)
    keys = {
        one.port: {"authorization": "Bearer labs-key"},
        two.port: {"x-api-key": "runs-key"},
        three.port: {"x-api-key": "labs-key"},
    }
    for server in (one, two, three):
        assert len(server.requests) == 4
        assert server.connections == 1
        for seen in server.requests:
            assert without(seen.headers, "accept-encoding") == wanted(server, keys[server.port], seen.body)


async def test_creations_have_headers_of_their_own() -> None:
    """They close the connection, and have the type of their body and the key."""
    async with RawServer() as server, client_of(server) as client:
        for _ in range(3):
            await client.request("api", "POST", "/x", json={})
            await client.request("api", "GET", "/x")
    for seen in server.requests:
        found = without(seen.headers, "accept-encoding")
        extra = {"connection": "close"} if seen.method == "POST" else {}
        assert found == wanted(server, {"x-api-key": "labs-key"}, seen.body) | extra
