"""Serves encoded answers over keep-alive HTTP/1.1, as cheaply as Python can, from a process of its own.

It reads the request line and nothing else of a request, so it refuses to be a model of the API (the emulator
is that): bodies, keys and wrong requests mean nothing to it. The first segment of a path is the scene, such
as `/latency=20,rows=10000,clamp=100,faults=20`: milliseconds per answer, rows in every listing, the largest page, and
every how many requests for one execution fail.

Executions are listed as the service has listed them since September 2026: `/v1/executions` by offset, no further than
its first thousand rows, and `/v2/executions` by cursor, both within `from` and `to`. All other filters mean nothing.
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

_Scene = dict[str, int]

_DEPTH = 1000
_WINDOW = timedelta(days=90)
_KEPT = 4096  # answers to listings: a walk that looks ahead does not ask for the same spans of time every time


@cache
def _scene(words: bytes) -> _Scene:
    given = {name: int(value) for name, value in parse_qsl(words.decode().replace(",", "&"))}
    return {"latency": 0, "rows": 10_000, "clamp": samples.PAGE_ROWS, **given}


def _answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


_MARK = samples.identity(0)
_ONE_BEFORE, _ONE_AFTER = _answer(samples.encode(samples.workflow_execution(_MARK))).split(_MARK.encode())
_FAILED = _answer(b'{"error":"try again"}', "503 Service Unavailable")
_LOST = _answer(b'{"error":"not found"}', "404 Not Found")
_TOO_DEEP = _answer(
    b'{"error":"V1 execution pagination is limited to 1000 rows; use GET /v2/executions with cursor pagination"}',
    "400 Bad Request",
)
_DATE = f"Date: {format_datetime(samples.NOW, usegmt=True)}\r\n"


@cache
def _rows(make: Callable[[int], Any], count: int) -> list[bytes]:
    return [samples.encode(make(number)) for number in range(count)]


def _page(
    make: Callable[[int], Any], scene: _Scene, start: int, size: int, stop: int | None = None
) -> tuple[bytes, bool]:
    """Give the encoded rows of a page, and whether more come after them; the listing ends before the row `stop`."""
    stop = scene["rows"] if stop is None else stop
    end = start + min(size, scene["clamp"])
    return b"[" + b",".join(_rows(make, scene["rows"])[start : min(end, stop)]) + b"]", end < stop


def _between(query: dict[str, str], scene: _Scene) -> tuple[int, int]:
    """Give the first execution that was created within `from` and `to`, both inclusive, and the one behind the last."""
    until = datetime.fromisoformat(query["to"]) if "to" in query else samples.NOW
    since = datetime.fromisoformat(query["from"]) if "from" in query else until - _WINDOW
    ages = range(0, scene["rows"] * samples.SPACING_S, samples.SPACING_S)
    youngest, oldest = ((samples.NEWEST - end).total_seconds() for end in (until, since))
    return bisect_left(ages, youngest), bisect_right(ages, oldest)


def _executions(query: dict[str, str], scene: _Scene, *, by_cursor: bool) -> bytes:
    """Give the whole answer of either listing of executions; a cursor is the number of the next row."""
    first, stop = _between(query, scene)
    limit = min(int(query.get("limit", 20)), scene["clamp"])
    if by_cursor:
        start = int(query.get("cursor", first))
        rows, more = _page(samples.execution, scene, start, limit, stop)
        cursor = f'"{start + limit}"' if more else "null"
        tail = f',"limit":{limit},"has_more":{json.dumps(more)},"next_cursor":{cursor}}}'
    else:
        offset = int(query.get("offset", 0))
        if offset > _DEPTH - limit:
            return _TOO_DEEP
        rows, _ = _page(samples.execution, scene, first + offset, limit, stop)
        tail = f',"total_count":{max(stop - first, 0)},"total_capped":false,"offset":{offset},"limit":{limit}}}'
    return _answer(b'{"executions":' + rows + tail.encode(), headers=_DATE)


def _listing(path: str, query: dict[str, str], scene: _Scene, base: str) -> bytes | None:
    total = scene["rows"]
    if path.endswith("/runs"):  # of ours, and of the Noxus SDK, which asks below a workflow
        page, size = int(query.get("page", 1)), min(int(query.get("size", 50)), scene["clamp"])
        rows, _ = _page(samples.run, scene, (page - 1) * size, size)
        tail = f',"total":{total},"page":{page},"size":{size},"pages":{-(-total // size)}}}'
        return b'{"items":' + rows + tail.encode()
    if path.endswith("/predictions"):
        offset = int(query.get("cursor", 0))
        rows, more = _page(samples.prediction, scene, offset, samples.PAGE_ROWS)
        following = f"{base}/v1/predictions?cursor={offset + samples.PAGE_ROWS}" if more else None
        return b'{"results":' + rows + f',"previous":null,"next":{json.dumps(following)}}}'.encode()
    if path.endswith("/files"):
        offset = int(query["after"][-12:], 16) + 1 if "after" in query else 0
        rows, more = _page(samples.file, scene, offset, int(query.get("limit", samples.PAGE_ROWS)))
        return b'{"object":"list","data":' + rows + f',"has_more":{json.dumps(more)}}}'.encode()
    return None


class _Server(asyncio.Protocol):
    port = 0
    requests = 0
    made: dict[bytes, tuple[float, bytes]] = {}  # noqa: RUF012  # answers to listings, shared by all connections

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
            wait_s, answer = self.made.get(target) or self.make(target)
            if wait_s:
                self.later(wait_s, self.write_late, answer)
            else:
                self.write(answer)

    def write_late(self, answer: bytes) -> None:
        if not self.transport.is_closing():  # Who asked may be gone by now.
            self.write(answer)

    def make(self, target: bytes) -> tuple[float, bytes]:
        words = target[1 : target.find(b"/", 1)]
        scene = _scene(words)
        wait_s = scene["latency"] / 1000
        place = target.find(b"/executions/")
        if place >= 0:  # one execution: too many to keep, so its id is put into the encoded answer
            if "faults" in scene and _Server.requests % scene["faults"] == 0:
                return wait_s, _FAILED
            return wait_s, _ONE_BEFORE + target[place + 12 : place + 48] + _ONE_AFTER
        if target.endswith(b"/stats"):
            return 0.0, _answer(samples.encode({"requests": _Server.requests, "cpu_s": time.process_time()}))
        url = urlsplit(target.decode())
        base = f"http://127.0.0.1:{self.port}/{words.decode()}"
        query = dict(parse_qsl(url.query))
        if url.path.endswith(("/v1/executions", "/v2/executions")):
            answer = _executions(query, scene, by_cursor=url.path.endswith("/v2/executions"))
        else:
            body = _listing(url.path, query, scene, base)
            answer = _answer(body) if body is not None else _LOST
        if len(self.made) >= _KEPT:
            self.made.clear()
        self.made[target] = made = wait_s, answer
        return made


async def _serve(said: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0, backlog=1024)
    _Server.port = server.sockets[0].getsockname()[1]
    said.send(_Server.port)
    await server.serve_forever()


def _main(said: Connection, core: int | None) -> None:
    pin(core)
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(_serve(said))


class Server:
    """Where the server is, as the client's process sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def scene(self, **values: int) -> str:
        """Give the base URL of a scene: `latency` (ms), `rows`, `clamp`, `faults`."""
        return f"{self.url}/" + (",".join(f"{name}={value}" for name, value in values.items()) or "plain")

    def spent(self) -> tuple[int, float]:
        """Give how many requests the server answered, and its CPU seconds, so far."""
        with urlopen(f"{self.url}/plain/stats") as answer:
            stats = json.load(answer)
        return stats["requests"], stats["cpu_s"]


@contextmanager
def running(core: int | None) -> Iterator[Server]:
    """Run the server in another process, on a core of its own where there is one."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)  # nobody measured here is to go through a proxy to this machine
    spawn = multiprocessing.get_context("spawn")
    heard, said = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_main, args=(said, core), daemon=True)
    process.start()
    said.close()  # so that a server that cannot start is an error here, and no endless wait
    try:
        yield Server(heard.recv())
    finally:
        process.terminate()
        process.join()
