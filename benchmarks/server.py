"""Serves encoded answers over keep-alive HTTP/1.1, as cheaply as Python can, from a process of its own.

It reads the request line and nothing else of a request, so it refuses to be a model of the API (the emulator
is that): bodies, keys and wrong requests mean nothing to it. The first segment of a path is the scene, such
as `/latency=20,rows=10000,clamp=100,faults=20`: milliseconds per answer, rows in every listing, the largest page, and
every how many requests for one execution fail.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from . import samples
from .measure import pin

_Scene = dict[str, int]


@cache
def _scene(words: bytes) -> _Scene:
    given = {name: int(value) for name, value in parse_qsl(words.decode().replace(",", "&"))}
    return {"latency": 0, "rows": 10_000, "clamp": samples.PAGE_ROWS, **given}


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_MARK = samples.identity(0)
_ONE_BEFORE, _ONE_AFTER = _answer(samples.encode(samples.workflow_execution(_MARK))).split(_MARK.encode())
_FAILED = _answer(b'{"error":"try again"}', "503 Service Unavailable")
_LOST = _answer(b'{"error":"not found"}', "404 Not Found")


@cache
def _rows(make: Callable[[int], Any], count: int) -> list[bytes]:
    return [samples.encode(make(number)) for number in range(count)]


def _page(make: Callable[[int], Any], scene: _Scene, start: int, size: int) -> tuple[bytes, bool]:
    """Give the encoded rows of a page, and whether more come after them."""
    end = start + min(size, scene["clamp"])
    return b"[" + b",".join(_rows(make, scene["rows"])[start:end]) + b"]", end < scene["rows"]


def _listing(path: str, query: dict[str, str], scene: _Scene, base: str) -> bytes | None:
    total = scene["rows"]
    if path.endswith("/v1/executions"):
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 20))
        rows, _ = _page(samples.execution, scene, offset, limit)
        tail = f',"total_count":{total},"total_capped":false,"offset":{offset},"limit":{limit}}}'
        return b'{"executions":' + rows + tail.encode()
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
        body = _listing(url.path, dict(parse_qsl(url.query)), scene, base)
        made = wait_s, _answer(body) if body is not None else _LOST
        self.made[target] = made
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
