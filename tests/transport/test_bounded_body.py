"""Tests for the limit of a response: it counts after decompression, and neither memory nor the loop suffers."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import aiohttp
import brotli
import pytest
from raw_server import ONCE, Act, RawServer, answer, client_of, hosts_at, redirect

try:
    from compression import zstd  # from Python 3.14 on
except ImportError:
    from backports import zstd

from eachlabs_async import EachLabs
from eachlabs_async.errors import (
    APIConnectionError,
    EachLabsError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ResponseTooLargeError,
    ServerError,
)

MIB = 1024 * 1024
DECOMPRESSES_IN_STEPS = tuple(map(int, aiohttp.__version__.split(".")[:2])) >= (3, 14)
MOST_MEMORY = (24 if DECOMPRESSES_IN_STEPS else 150) * MIB
"""For a bomb of 300 MiB. Before 3.14, aiohttp decompresses what arrives at once, but at most 32 MiB."""


def _brotli(data: bytes) -> bytes:
    return brotli.compress(data, quality=1)


def _zstd(data: bytes) -> bytes:
    return zstd.compress(data)


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": _brotli,
    "zstd": _zstd,
}


@asynccontextmanager
async def longest_gap() -> AsyncIterator[list[float]]:
    """Measure for how long the event loop was blocked, at the longest, in seconds."""
    found = [0.0]

    async def tick() -> None:
        last = perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = perf_counter()
            found[0], last = max(found[0], now - last), now

    ticking = asyncio.create_task(tick())
    try:
        yield found
        await asyncio.sleep(0.005)  # If the loop was blocked until now, this is when it shows.
    finally:
        ticking.cancel()


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_bomb_takes_no_memory(encoding: str, status: int) -> None:
    """Of 300 MiB no more than a few times the limit is decompressed, in steps that let other tasks run."""
    bomb = ENCODINGS[encoding](bytes(300 * MIB))
    act = answer(status, body=bomb, headers={"Content-Encoding": encoding})
    async with RawServer(then=act) as server, client_of(server, max_answer_bytes=4 * MIB, retry=ONCE) as client:
        tracemalloc.start()
        try:
            async with longest_gap() as gap:
                with pytest.raises(ResponseTooLargeError if status == 200 else ServerError):
                    await client.runs.get("r")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < MOST_MEMORY
    assert gap[0] < 0.25
    assert len(server.requests) == 1


@pytest.mark.skipif(not DECOMPRESSES_IN_STEPS, reason="aiohttp decompresses 32 MiB at once")
async def test_decompressing_does_not_block_the_loop() -> None:
    """Other tasks have their turn although nothing has to be waited for."""
    bomb = gzip.compress(bytes(300 * MIB))
    act = answer(body=bomb, headers={"Content-Encoding": "gzip"})
    began = perf_counter()
    gzip.decompress(bomb)
    blocking_s = perf_counter() - began
    async with RawServer(then=act) as server, client_of(server, max_answer_bytes=250 * MIB) as client:
        async with longest_gap() as gap:
            with pytest.raises(ResponseTooLargeError):
                await client.runs.get("r")
    assert gap[0] < 0.3 * blocking_s


def large(size: int, *, chunked: bool = False) -> Act:
    """Send a run of `size` bytes."""
    body = b'{"id": "r", "status": "COMPLETED", "output": "%s"}'
    body = body.replace(b"%s", b"x" * (size - len(body) + 2))
    assert len(body) == size
    if not chunked:
        return answer(body=body)
    return Act(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (size, body))


@pytest.mark.parametrize("passed", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("limit", [100, 1000, 300_000])
async def test_the_limit_is_exact(limit: int, chunked: bool, passed: bool) -> None:
    """A response of as many bytes is read; one byte more is an error that says what to do, and is asked for once."""
    async with (
        RawServer(large(limit, chunked=chunked), then=large(limit + 1, chunked=chunked)) as server,
        aiohttp.ClientSession() as session,
        client_of(server, max_answer_bytes=limit, session=session if passed else None) as client,
    ):
        assert (await client.runs.get("r")).id == "r"
        with pytest.raises(ResponseTooLargeError, match=f"larger than max_answer_bytes \\({limit:,}\\)") as caught:
            await client.runs.get("r")
        assert caught.value.attempts == 1
        assert "GET" in str(caught.value)
        with pytest.raises(ResponseTooLargeError):
            await client.request("runs", "GET", "/x")
        assert len(server.requests) == 3


async def test_a_length_that_is_too_large_is_not_waited_for() -> None:
    """`Content-Length` alone decides, before the body comes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    async with RawServer(then=Act(head, "stall")) as server, client_of(server) as client:
        async with asyncio.timeout(2):
            with pytest.raises(ResponseTooLargeError):
                await client.runs.get("r")


async def test_a_head_may_announce_any_length() -> None:
    """The response to a HEAD has no body, so nothing is too large."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    async with RawServer(then=Act(head)) as server, client_of(server) as client:
        assert await client.request("runs", "HEAD", "/x") is None


async def test_what_was_created_by_a_too_large_answer_is_unknown() -> None:
    """The request was carried out, but the response does not say what it created."""
    async with RawServer(then=large(2000)) as server, client_of(server, max_answer_bytes=1000) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.predictions.create("m", {})
    assert isinstance(caught.value.reason, ResponseTooLargeError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("limit", [10, 64 * MIB])
@pytest.mark.parametrize(
    "act", [answer(500, body=b"no" * 50 * MIB), answer(302, body=b"no" * 50 * MIB)], ids=[500, 302]
)
async def test_only_the_start_of_other_bodies_is_read(act: Act, limit: int) -> None:
    """64 KiB of an error or a redirect are enough, whatever `max_answer_bytes` is."""
    async with RawServer(then=act) as server, client_of(server, retry=ONCE, max_answer_bytes=limit) as client:
        began = perf_counter()
        with pytest.raises(EachLabsError) as caught:
            await client.runs.get("r")
        assert perf_counter() - began < 1
    assert isinstance(caught.value, ServerError | APIConnectionError)
    assert not isinstance(caught.value, ResponseTooLargeError)


async def test_redirects_are_followed_despite_a_long_body() -> None:
    """The body of a redirect is of no interest."""
    away = redirect("/runs/runs/r")
    away = Act(away.sent.replace(b"Content-Length: 0", b"Content-Length: 200000") + b"x" * 200_000)
    async with RawServer(away, then=large(100)) as server, client_of(server, max_answer_bytes=100) as client:
        assert (await client.runs.get("r")).id == "r"


async def test_too_large_a_batch_is_halved() -> None:
    """Executions that fit one by one are all fetched."""
    wanted = [f"e{n}" for n in range(8)]

    def serve(request: Any) -> Act:
        ids = json.loads(request.body)["execution_ids"]
        return answer(
            json={"executions": [{"execution_id": one, "status": "done", "output": "x" * 500} for one in ids]}
        )

    async with RawServer(then=serve) as server, client_of(server, max_answer_bytes=1500) as client:
        result = await client.flow_executions.get_many("w", wanted).collect()
    assert sorted(result.values) == wanted
    assert not result.errors


async def test_a_large_body_of_request_does_not_block_the_loop() -> None:
    """It is parsed in a thread, where other tasks get their turn."""
    body = json.dumps([{"id": n, "words": ["some", "words"] * 5} for n in range(200_000)]).encode()
    async with RawServer(then=answer(body=body)) as server, client_of(server) as client:
        began = perf_counter()
        json.loads(body, parse_int=lambda digits: int(digits))
        blocking_s = perf_counter() - began
        async with longest_gap() as gap:
            assert len(await client.request("runs", "GET", "/x")) == 200_000
    assert gap[0] < 0.7 * blocking_s


async def test_a_memory_error_passes_through() -> None:
    """It is no failure of the connection, so it is not hidden in an error of ours, and nothing is sent again."""
    trace = aiohttp.TraceConfig()

    async def fail(*_: Any) -> None:
        raise MemoryError

    trace.on_request_end.append(fail)
    async with (
        RawServer(then=large(100)) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        client_of(server, session=session) as client,
    ):
        with pytest.raises(MemoryError):
            await client.runs.get("r")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError)]
)
def test_the_limit_is_checked(value: Any, error: type[Exception]) -> None:
    """What cannot be a limit is refused by name."""
    with pytest.raises(error, match="max_answer_bytes must be"):
        EachLabs("k", max_answer_bytes=value)


@pytest.mark.parametrize("status", [200, 403])
async def test_only_the_start_of_the_storages_answer_is_read(status: int) -> None:
    """The answer to an upload is of no interest beyond its first 64 KiB."""
    bomb = gzip.compress(bytes(300 * MIB))
    async with RawServer(then=answer(status, body=bomb, headers={"Content-Encoding": "gzip"})) as storage:
        presigned = answer(json={"id": "f", "presigned_url": f"{storage.url}/f?s=1", "public_url": "https://h/f"})
        async with (
            RawServer(then=presigned) as server,
            client_of(server, retry=ONCE, hosts=hosts_at(server.url, unified=True)) as client,
        ):
            tracemalloc.start()
            try:
                if status == 200:
                    assert (await client.files.upload(b"data")).size == 4
                else:
                    with pytest.raises(PermissionDeniedError) as caught:
                        await client.files.upload(b"data")
                    assert len(caught.value.body) <= 20_000
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert peak < MOST_MEMORY
