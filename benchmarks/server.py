"""A server of encoded responses over keep-alive HTTP/1.1, as cheap as Python allows, in a process of its own.

It reads only the request line, so it does not model the API as the emulator does: bodies, keys and wrong requests make
no difference. The first segment of a path configures the responses, for example
`/latency=20,rows=10000,clamp=100,faults=20`: milliseconds per response, rows in every listing, the largest page, and
that every twentieth request for one execution fails. `skip` is the microseconds that a page of executions takes for
each row that its offset skips, and `depth` how many rows offsets reach.

Executions are listed as the service has listed them since September 2026: `/v1/executions` by offset, up to its first
thousand rows (`depth`), and `/v2/executions` by cursor, both within `from` and `to`. Other filters are ignored.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import cache
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from . import samples
from .measure import pin

_Configuration = dict[str, int]

_DEPTH = 1000
_WINDOW = timedelta(days=90)
_CACHED = 4096  # responses to listings; a walk with look-ahead does not request the same spans of time every time


@cache
def _configuration(words: bytes) -> _Configuration:
    given = {name: int(value) for name, value in parse_qsl(words.decode().replace(",", "&"))}
    return {"latency": 0, "rows": 10_000, "clamp": samples.PAGE_ROWS, "skip": 0, "depth": _DEPTH, **given}


def _answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


_MARK = samples.identity(0)
_ONE_BEFORE, _ONE_AFTER = _answer(samples.encode(samples.workflow_execution(_MARK))).split(_MARK.encode())
_FAILED = _answer(b'{"error":"try again"}', "503 Service Unavailable")
_NOT_FOUND = _answer(b'{"error":"not found"}', "404 Not Found")
_TOO_DEEP = _answer(
    b'{"error":"V1 execution pagination is limited to 1000 rows; use GET /v2/executions with cursor pagination"}',
    "400 Bad Request",
)
_DATE = f"Date: {format_datetime(samples.NOW, usegmt=True)}\r\n"


@cache
def _rows(make: Callable[[int], Any], count: int) -> list[bytes]:
    return [samples.encode(make(number)) for number in range(count)]


def _page(
    make: Callable[[int], Any], configuration: _Configuration, start: int, size: int, stop: int | None = None
) -> tuple[bytes, bool]:
    """Return the encoded rows of a page, and whether more follow; the listing ends before the row `stop`."""
    stop = configuration["rows"] if stop is None else stop
    end = start + min(size, configuration["clamp"])
    return b"[" + b",".join(_rows(make, configuration["rows"])[start : min(end, stop)]) + b"]", end < stop


def _between(query: dict[str, str], configuration: _Configuration) -> tuple[int, int]:
    """Return the range of the executions created within `from` and `to`, both inclusive, as a half-open pair."""
    until = datetime.fromisoformat(query["to"]) if "to" in query else samples.NOW
    since = datetime.fromisoformat(query["from"]) if "from" in query else until - _WINDOW
    ages = range(0, configuration["rows"] * samples.SPACING_S, samples.SPACING_S)
    youngest, oldest = ((samples.NEWEST - end).total_seconds() for end in (until, since))
    return bisect_left(ages, youngest), bisect_right(ages, oldest)


def _executions(query: dict[str, str], configuration: _Configuration, *, by_cursor: bool) -> bytes:
    """Return the response of either listing of executions. A cursor is the number of the next row."""
    first, stop = _between(query, configuration)
    limit = min(int(query.get("limit", 20)), configuration["clamp"])
    if by_cursor:
        start = int(query.get("cursor", first))
        rows, more = _page(samples.execution, configuration, start, limit, stop)
        cursor = f'"{start + limit}"' if more else "null"
        tail = f',"limit":{limit},"has_more":{json.dumps(more)},"next_cursor":{cursor}}}'
    else:
        offset = int(query.get("offset", 0))
        if offset > configuration["depth"] - limit:
            return _TOO_DEEP
        rows, _ = _page(samples.execution, configuration, first + offset, limit, stop)
        tail = f',"total_count":{max(stop - first, 0)},"total_capped":false,"offset":{offset},"limit":{limit}}}'
    return _answer(b'{"executions":' + rows + tail.encode(), headers=_DATE)


def _listing(path: str, query: dict[str, str], configuration: _Configuration, base: str) -> bytes | None:
    total = configuration["rows"]
    if path.endswith("/runs"):  # ours, and those of the Noxus SDK, which lists runs below a workflow
        page, size = int(query.get("page", 1)), min(int(query.get("size", 50)), configuration["clamp"])
        rows, _ = _page(samples.run, configuration, (page - 1) * size, size)
        tail = f',"total":{total},"page":{page},"size":{size},"pages":{-(-total // size)}}}'
        return b'{"items":' + rows + tail.encode()
    if path.endswith("/predictions"):
        offset = int(query.get("cursor", 0))
        rows, more = _page(samples.prediction, configuration, offset, samples.PAGE_ROWS)
        following = f"{base}/v1/predictions?cursor={offset + samples.PAGE_ROWS}" if more else None
        return b'{"results":' + rows + f',"previous":null,"next":{json.dumps(following)}}}'.encode()
    if path.endswith("/files"):
        offset = int(query["after"][-12:], 16) + 1 if "after" in query else 0
        rows, more = _page(samples.file, configuration, offset, int(query.get("limit", samples.PAGE_ROWS)))
        return b'{"object":"list","data":' + rows + f',"has_more":{json.dumps(more)}}}'.encode()
    return None


class _Server(asyncio.Protocol):
    port = 0
    requests = 0
    cache: dict[bytes, tuple[float, bytes]] = {}  # noqa: RUF012  # answers to listings, shared by all connections

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.write = transport.write
        self.later = asyncio.get_running_loop().call_later
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data, self.rest = self.rest + data, b""
        *requests, self.rest = data.split(b"\r\n\r\n")
        for request in requests:
            _Server.requests += 1
            target = request[4 : request.index(b" ", 4)]
            wait_s, answer = self.cache.get(target) or self.make(target)
            if wait_s:
                self.later(wait_s, self.write_late, answer)
            else:
                self.write(answer)

    def write_late(self, answer: bytes) -> None:
        if not self.transport.is_closing():  # the client may be gone by now
            self.write(answer)

    def make(self, target: bytes) -> tuple[float, bytes]:
        words = target[1 : target.find(b"/", 1)]
        configuration = _configuration(words)
        wait_s = configuration["latency"] / 1000
        index = target.find(b"/executions/")
        if index >= 0:  # one execution: too many to cache, so the id is inserted into the encoded response
            if "faults" in configuration and _Server.requests % configuration["faults"] == 0:
                return wait_s, _FAILED
            return wait_s, _ONE_BEFORE + target[index + 12 : index + 48] + _ONE_AFTER
        if target.endswith(b"/stats"):
            return 0.0, _answer(samples.encode({"requests": _Server.requests, "cpu_s": time.process_time()}))
        url = urlsplit(target.decode())
        base = f"http://127.0.0.1:{self.port}/{words.decode()}"
        query = dict(parse_qsl(url.query))
        if url.path.endswith(("/v1/executions", "/v2/executions")):
            answer = _executions(query, configuration, by_cursor=url.path.endswith("/v2/executions"))
            wait_s += configuration["skip"] * int(query.get("offset", 0)) / 1e6
        else:
            body = _listing(url.path, query, configuration, base)
            answer = _answer(body) if body is not None else _NOT_FOUND
        if len(self.cache) >= _CACHED:
            self.cache.clear()
        self.cache[target] = response = wait_s, answer
        return response


async def _serve(connection: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0, backlog=1024)
    _Server.port = server.sockets[0].getsockname()[1]
    connection.send(_Server.port)
    await server.serve_forever()


def _main(connection: Connection, core: int | None) -> None:
    pin(core)
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(_serve(connection))


class Server:
    """The server, as seen from the client's process."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def base_url(self, **values: int) -> str:
        """Return the base URL for a configuration: `latency` (ms), `rows`, `clamp`, `faults`."""
        return f"{self.url}/" + (",".join(f"{name}={value}" for name, value in values.items()) or "plain")

    def spent(self) -> tuple[int, float]:
        """Return the number of requests that the server has answered so far, and its CPU seconds."""
        with urlopen(f"{self.url}/plain/stats") as answer:
            stats = json.load(answer)
        return stats["requests"], stats["cpu_s"]


@contextmanager
def running(core: int | None) -> Iterator[Server]:
    """Run the server in another process, pinned to a core if there is one."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)  # no client may go through a proxy to this machine
    spawn = multiprocessing.get_context("spawn")
    receiver, connection = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_main, args=(connection, core), daemon=True)
    process.start()
    connection.close()  # so that recv() fails instead of waiting forever when the server cannot start
    try:
        yield Server(receiver.recv())
    finally:
        process.terminate()
        process.join()
