"""A scriptable raw server: it answers or fails as told, and records each request with its time of arrival."""

from __future__ import annotations

import asyncio
import contextlib
import json as jsonlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self

import attrs
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import COMPAT, UNIFIED, Hosts, Service

TLS_FILE = Path(__file__).parent / "data" / "tls.pem"
"""A self-signed certificate for 127.0.0.1 and api.example.test, with its key; valid for a hundred years."""

End = Literal["keep", "close", "reset", "stall", "tunnel"]


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float


@dataclass(frozen=True)
class Act:
    """The reaction to one request: these bytes are sent after `delay_s`, followed by this end."""

    sent: bytes = b""
    end: End = "keep"
    delay_s: float = 0.0


Script = Act | Callable[[RecordedRequest], Act]


def answer(
    status: int = 200,
    *,
    body: bytes | str | None = None,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    reason: str = "Reason",
    cut: int = 0,
    end: End = "keep",
    delay_s: float = 0.0,
) -> Act:
    """Send an answer; the last `cut` bytes of the declared body are not sent."""
    if body is None:
        body = jsonlib.dumps({} if json is None else json)
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} {reason}"]
    if status != 204:
        lines.append(f"Content-Length: {len(raw)}")
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **(headers or {})}.items()]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    return Act(head + raw[: len(raw) - cut], end, delay_s)


def redirect(location: str | None, status: int = 302) -> Act:
    """Redirect the client."""
    return answer(status, body=b"", headers={} if location is None else {"Location": location})


def html(status: int = 502) -> Act:
    """Send a page of HTML, as a proxy does."""
    return answer(status, body=b"<html><h1>Bad Gateway</h1></html>", headers={"Content-Type": "text/html"})


def reset() -> Act:
    """Reset the connection before any byte of an answer."""
    return Act(end="reset")


def close() -> Act:
    """Close the connection before any byte of an answer."""
    return Act(end="close")


def cut_headers() -> Act:
    """Close the connection in the middle of the answer's headers."""
    return Act(b"HTTP/1.1 200 OK\r\nContent-Le", "close")


def cut_body(body: bytes = b'{"id": "x", "status": "done"}') -> Act:
    """Declare the whole body, send half of it, and close."""
    return answer(body=body, cut=len(body) // 2, end="close")


def reset_body(body: bytes = b'{"id": "x", "status": "done"}') -> Act:
    """Declare the whole body, send half of it, and reset."""
    return answer(body=body, cut=len(body) // 2, end="reset")


def stall() -> Act:
    """Send nothing until the client leaves."""
    return Act(end="stall")


def stall_body(body: bytes = b'{"id": "x", "status": "done"}') -> Act:
    """Declare the whole body, send half of it, and wait until the client leaves."""
    return answer(body=body, cut=len(body) // 2, end="stall")


def malformed() -> Act:
    """Send an answer that is not HTTP."""
    return Act(b"HTP/1.1 what is this\r\n\r\n", "close")


def huge_header() -> Act:
    """Send a header that is larger than any client accepts."""
    return answer(headers={"X-Large": "x" * 100_000}, end="close")


def tunnel() -> Act:
    """Accept a CONNECT, and connect the client to the server's `tunnel_to`."""
    return Act(b"HTTP/1.1 200 Connection established\r\n\r\n", "tunnel")


class RawServer:
    """Reacts to each request with the next entry of the script, and with `then` after the last.

    `came` is set whenever a request arrives, `gone` whenever a client leaves a stalled one.
    """

    def __init__(self, *script: Script, then: Script | None = None, tls: bool = False) -> None:
        self.script = list(script)
        self.then = answer() if then is None else then
        self.tls = tls
        self.tunnel_to = 0
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self.open_connections = 0
        self.came, self.gone = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS_FILE)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The origin."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> Hosts:
        """All services of the compat edition at this server, each with a path of its own."""
        return hosts_at(self.url)

    @property
    def targets(self) -> list[str]:
        """The raw targets of the requests."""
        return [seen.target for seen in self.requests]

    async def seen(self, count: int) -> None:
        """Wait until `count` requests have arrived."""
        async with asyncio.timeout(5):
            while len(self.requests) < count:
                self.came.clear()
                await self.came.wait()

    async def send_to_idle(self, data: bytes) -> None:
        """Send bytes on every open connection, asked or not."""
        for writer in self._writers:
            writer.write(data)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        self.open_connections += 1
        number = self.connections
        try:
            while (seen := await self._read(reader, number)) is not None:
                script = self.script.pop(0) if self.script else self.then
                act = script if isinstance(script, Act) else script(seen)
                self.requests.append(seen)
                self.came.set()
                await asyncio.sleep(act.delay_s)
                writer.write(act.sent)
                await writer.drain()
                if act.end == "reset":
                    _abort(writer)
                if act.end == "stall":
                    await reader.read()
                    self.gone.set()
                if act.end == "tunnel":
                    await self._join(reader, writer)
                if act.end != "keep":
                    break
        except (OSError, asyncio.IncompleteReadError):
            self.gone.set()
        except asyncio.CancelledError:
            pass  # The server ends: a task that ended cancelled is what asyncio's streams log as an error.
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            self._writers.remove(writer)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError, ssl.SSLError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> RecordedRequest | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return RecordedRequest(method, target, headers, body, connection, monotonic())

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.tunnel_to)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

        pumps = [
            asyncio.ensure_future(pump(reader, far_writer)),
            asyncio.ensure_future(pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in pumps:
                one.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            far_writer.close()


def _abort(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class ThisMachine(AbstractResolver):
    """Resolves each name to this machine, except one that ends in `.never`: that look-up never ends."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host.endswith(".never"):
            await asyncio.Event().wait()
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Do nothing: nothing is open."""


def hosts_at(url: str, *, runs: str | None = None, unified: bool = False) -> Hosts:
    """Return the hosts of an edition with `url` as their origin; each service has a path of its own."""
    preset = UNIFIED if unified else COMPAT
    one = "bearer" if unified else "x-api-key"
    workflows = f"{url}/api" if unified else f"{url}/workflows"
    return attrs.evolve(
        preset,
        api=Service(f"{url}/api", one),
        workflows=Service(workflows, one),
        flows=Service(f"{url}/flows"),
        runs=Service(f"{runs or url}/runs"),
    )


def free_port() -> int:
    """Return a loopback port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """Yield the port of a listener whose queue is full, so that connecting to it hangs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        port: int = listener.getsockname()[1]
        yield port


@contextlib.contextmanager
def deaf_listener() -> Iterator[int]:
    """Yield the port of a listener that accepts connections and never reads from them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        port: int = listener.getsockname()[1]
        yield port


QUICK = RetryPolicy(base_s=0.002, cap_s=0.01, creating_pause_s=0.002)
"""Tries as often as the default policy, without its pauses."""
ONCE = RetryPolicy.none()


def client_of(server: RawServer, **options: Any) -> EachLabs:
    """Return a client of this server with both keys."""
    options = {"runs_api_key": "runs-key", "hosts": server.hosts, "retry": QUICK} | options
    return EachLabs("labs-key", **options)


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make aiohttp trust the certificate of the TLS servers."""
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=TLS_FILE))
