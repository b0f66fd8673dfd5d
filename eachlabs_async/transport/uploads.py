"""Upload a file to a presigned URL: read the source, send the bytes, and send them again after a failure.

The storage is another host and receives no key, only the presigned URL and the headers that belong to it. That URL is a
secret, which errors and log lines show without its query.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import random
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeGuard, cast

from ..errors import APIConnectionError, APIStatusError, APITimeoutError, EachLabsError
from ..records import PresignedUpload, UploadedFile
from . import storage_requests
from .arguments import checked_callback, checked_count
from .deadline import until_closed
from .keys import Key
from .refusal import status_error
from .storage_url import StorageUrl
from .transfer_events import TransferEvents
from .transport import Transport, log
from .wire import Body

MAX_BYTES: Final = 100_000_000
CHUNK_SIZE: Final = 256 * 1024
DEFAULT_TYPE: Final = "application/octet-stream"
URL_LIFETIME_S: Final = 14 * 60.0
"""Seconds for which a presigned URL is used: a minute less than it is valid."""
MAX_PRESIGNED_URLS: Final = 3
"""Presigned URLs that one upload requests, at most."""
_REQUEST_TIMEOUT: Final = re.compile(rb"<Code>\s*RequestTimeout\s*</Code>")
_EXPIRED: Final = re.compile("expired|expiry", re.IGNORECASE)
"""How storages call a presigned URL that is too old."""
_CONNECTION_HEADERS: Final = frozenset({
    "connection", "content-length", "content-type", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Required headers that are not sent, as they rule the connection; those called `Proxy-...` are not sent either."""


def _checked_size(name: str, size: int) -> int:
    if size > MAX_BYTES:
        raise ValueError(f"{name} must be at most {MAX_BYTES:,} bytes, not {size:,}")
    return size


def _is_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview]:
    return isinstance(value, bytes | bytearray | memoryview)


# ---- sources


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class Source(ABC):
    """The bytes to send. `repeatable` is True if they can be read again, `started` if any have been read."""

    repeatable = True
    content_type = DEFAULT_TYPE
    size: int | None = None

    def __init__(self) -> None:
        self.started = False

    @abstractmethod
    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield all bytes, from the first."""

    def close(self) -> None:  # noqa: B027  # most have nothing open
        """Close what is open."""


class _Bytes(Source):
    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        super().__init__()
        self._data = memoryview(data).cast("B")
        self.size = _checked_size("source", self._data.nbytes)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(self._data), CHUNK_SIZE):
            yield bytes(self._data[start : start + CHUNK_SIZE])


class _File(Source):
    """A file, read in threads. Each attempt has its own handle, as the thread of an earlier one may still read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._handles: list[BinaryIO] = []
        self._closed = False
        self.content_type = mimetypes.guess_type(path.name)[0] or DEFAULT_TYPE

    def measure(self) -> None:
        """Check the file and its size, before anything is sent."""
        with self._open() as handle:
            self.size = _checked_size("source", os.fstat(handle.fileno()).st_size)
            if not self.size and handle.read(1):
                raise ValueError(
                    f"source must state its size: {str(self._path)!r} states 0 bytes and has more, as files in /proc "
                    "do; read it and pass its bytes"
                )

    def _open(self) -> BinaryIO:
        # Opening a FIFO waits for whoever writes to it, in a thread that nothing can end; a device may react to it.
        self._require_regular_file(self._path.stat().st_mode)
        handle = open(self._path, "rb", opener=_open_without_waiting)  # noqa: SIM115  # `close` does
        self._handles.append(handle)
        if self._closed:  # The upload has ended while this thread opened the file.
            handle.close()
            return handle
        try:
            self._require_regular_file(os.fstat(handle.fileno()).st_mode)  # It may have been replaced meanwhile.
        except ValueError:
            handle.close()
            raise
        return handle

    def _require_regular_file(self, mode: int) -> None:
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # Opening a directory is an error that says so.
            raise ValueError(f"source must be a regular file: {str(self._path)!r} is not one")

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        handle = await asyncio.to_thread(self._open)
        left = self.size or 0
        while left:
            data = await asyncio.to_thread(handle.read, min(CHUNK_SIZE, left))
            if not data:
                raise ValueError(f"source became shorter while it was sent: {left:,} bytes are missing")
            left -= len(data)
            yield data

    def close(self) -> None:
        self._closed = True
        for handle in self._handles:
            handle.close()


class _Stream(Source):
    repeatable = False

    def __init__(self, stream: AsyncIterable[bytes], size: int | None) -> None:
        super().__init__()
        self._stream = stream
        self.size = None if size is None else _checked_size("size", checked_count("size", size))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        sent = 0
        max_bytes = MAX_BYTES if self.size is None else self.size
        async for chunk in self._stream:
            if not _is_bytes(chunk):
                raise TypeError(f"source must yield bytes, not {type(chunk).__name__}")
            data = bytes(chunk)
            sent += len(data)
            if sent > max_bytes:
                raise ValueError(f"source yielded more than {max_bytes:,} bytes")
            yield data
        if self.size is not None and sent < self.size:
            raise ValueError(f"source yielded {sent:,} bytes, not the {self.size:,} of size")


async def opened(source: object, size: int | None) -> Source:
    """Return the source for an argument of `upload`, after checking its size. A file is opened in a thread."""
    size_error = "size is only for an async iterable: a path and bytes have their own"
    if _is_bytes(source):
        if size is not None:
            raise ValueError(size_error)
        return _Bytes(source)
    if isinstance(source, str | os.PathLike):
        if size is not None:
            raise ValueError(size_error)
        file = _File(Path(cast("str | os.PathLike[str]", source)))
        await asyncio.to_thread(file.measure)
        return file
    if isinstance(source, AsyncIterable):
        return _Stream(cast(AsyncIterable[bytes], source), size)
    raise TypeError(f"source must be a path, bytes or an async iterable of bytes, not {type(source).__name__}")


# ---- sending


class Upload:
    """One upload, with its attempts and presigned URLs."""

    def __init__(
        self,
        transport: Transport,
        source: Source,
        content_type: str,
        presign: Callable[[], Awaitable[PresignedUpload]],
        on_progress: Callable[[int, int | None], object] | None,
    ) -> None:
        self._transport = transport
        self._source = source
        self._content_type = content_type
        self._presign = presign
        self._on_progress = checked_callback("on_progress", on_progress)
        self._sent = 0
        self._status: int | None = None  # that of the response to the current attempt
        self._broken: Exception | None = None  # what the source or `on_progress` raised

    async def run(self) -> UploadedFile:
        """Send the bytes until they have arrived, the retry policy gives up or the client is closed."""
        return await until_closed(self._transport.session.transfer_timer, self._run(), "the upload")

    async def _run(self) -> UploadedFile:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        presigned, presigned_at = await self._presign(), loop.time()
        url = StorageUrl(Key(presigned.presigned_url)).without_query
        with TransferEvents(self._transport.session.hooks, "files.upload", "PUT", url) as events:
            attempts, presigned_urls = 1, 1
            while (failure := await self._observed_attempt(presigned, attempts, events)) is not None:
                if self._broken is not None or (self._source.started and not self._source.repeatable):
                    raise self._broken or failure
                is_old = loop.time() - presigned_at > URL_LIFETIME_S
                expired = url_has_expired(failure, is_old=is_old) and presigned_urls < MAX_PRESIGNED_URLS
                if not expired:
                    wait_s = self._transport.retry.delay(
                        attempts, failure, elapsed_s=loop.time() - started_at, jitter=random.random()
                    )
                    if wait_s is None:
                        raise failure
                    events.retry_planned(wait_s, failure)
                    facts = {"event": "retry", "method": "PUT", "url": url, "attempt": attempts, "wait_s": wait_s}
                    log.info("PUT %s failed on attempt %d: retrying in %.2f s", url, attempts, wait_s, extra=facts)
                    await asyncio.sleep(wait_s)
                if expired or loop.time() - presigned_at > URL_LIFETIME_S:
                    presigned, presigned_at = await self._presign(), loop.time()
                    presigned_urls += 1
                attempts += 1
        return UploadedFile(
            id=presigned.id,
            public_url=presigned.public_url,
            content_type=self._content_type,
            size=self._sent,
            expires_at=presigned.expires_at,
        )

    async def _observed_attempt(
        self, presigned: PresignedUpload, attempt: int, events: TransferEvents
    ) -> EachLabsError | None:
        events.request_started(attempt)
        self._status = None
        failure = await self._attempt(presigned, attempt)
        events.attempt_ended(self._status, 0, failure)
        return failure

    async def _attempt(self, presigned: PresignedUpload, attempt: int) -> EachLabsError | None:
        """Send everything once. Return the error if that fails."""
        target = StorageUrl(Key(presigned.presigned_url))
        self._broken = None
        failure: EachLabsError
        try:
            response = await self._send(target, presigned.required_headers or {})
        except EachLabsError as exc:
            failure = exc
        else:
            self._status = response.status
            url = target.without_query
            facts = {"event": "attempt", "method": "PUT", "url": url, "attempt": attempt, "status": response.status}
            log.debug("PUT %s attempt %d: HTTP %d", url, attempt, response.status, extra=facts)
            if 200 <= response.status < 300:
                return None
            failure = self._status_failure(response, target)
        failure.message = target.redact(failure.message)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = "PUT", target.without_query, attempt
        failure.__traceback__ = failure.__context__ = None
        return failure

    async def _send(self, target: StorageUrl, required: dict[str, str]) -> storage_requests.StorageResponse:
        transport = self._transport
        session, connect_s, read_s = transport.session, transport.timeouts.connect_s, transport.timeouts.read_s
        reason = _refusal(target, session.hosts.api.base_url)
        if reason is not None:
            raise APIConnectionError(f"the presigned URL was refused: {reason}", sent=False, retryable=False)
        timeout = session.http.timeouts(connect_s, read_s)
        headers = {
            name: value
            for name, value in required.items()
            if (word := name.strip().lower()) not in _CONNECTION_HEADERS and not word.startswith("proxy-")
        }
        headers["Content-Type"] = self._content_type
        if self._source.size is not None:
            headers["Content-Length"] = str(self._source.size)
        stall = asyncio.timeout(None)
        await session.semaphore.acquire(background=False)
        try:
            route = session.storage_route(target.origin)
            async with stall:
                # Until the storage wants the first bytes, whatever the connection waits for.
                _reschedule(stall, asyncio.get_running_loop().time() + connect_s + read_s)
                chunks = self._chunks(stall, read_s)
                try:
                    return await storage_requests.put(route, target.url, headers, chunks, timeout)
                finally:
                    await _close(chunks)
        except TimeoutError:
            if not stall.expired():
                raise  # connecting or the source timed out
            failure = APITimeoutError(f"the upload stalled for {read_s:g} s")
        finally:
            session.semaphore.release()
        raise failure

    async def _chunks(self, stall: asyncio.Timeout, read_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of the source. `stall` runs only while the storage receives them."""
        loop = asyncio.get_running_loop()
        self._sent = 0
        _reschedule(stall, None)
        try:
            async with aclosing(self._source.chunks()) as chunks:
                async for data in chunks:
                    self._source.started = True
                    if not data:
                        continue
                    _reschedule(stall, loop.time() + read_s)
                    yield data
                    _reschedule(stall, None)
                    self._sent += len(data)
                    if self._on_progress is not None:
                        self._on_progress(self._sent, self._source.size)
        except Exception as exc:  # aiohttp would turn it into a connection error
            self._broken = exc
            raise
        _reschedule(stall, loop.time() + read_s)

    def _status_failure(self, response: storage_requests.StorageResponse, target: StorageUrl) -> EachLabsError:
        if 300 <= response.status < 400:
            return APIConnectionError(
                f"a redirect was refused (HTTP {response.status}): the bytes go only to the presigned URL",
                retryable=False,
            )
        if response.status == 400 and _REQUEST_TIMEOUT.search(response.body):
            return APITimeoutError("the storage waited too long for the next bytes (HTTP 400, RequestTimeout)")
        return status_error(
            response.status,
            response.headers,
            Body(response.body),
            secrets=(*target.secrets, *self._transport.session.secrets),
            now=datetime.now(UTC),
            method="PUT",
            url=target.without_query,
            attempts=0,
        )


def _reschedule(stall: asyncio.Timeout, when: float | None) -> None:
    if not stall.expired():
        stall.reschedule(when)


async def _close(chunks: AsyncGenerator[bytes, None]) -> None:
    """Close a generator that aiohttp has read from. Its cancelled task may hold it for a few turns of the loop."""
    while True:
        try:
            return await chunks.aclose()
        except RuntimeError:
            await asyncio.sleep(0)


def _refusal(target: StorageUrl, api_url: str) -> str | None:
    """Return why nothing is sent to a presigned URL, or None if it may be used."""
    if target.has_odd_characters:
        return "it contains a space or a control character"
    if not target.is_safe:
        return "it is not https"
    if not target.is_plain:
        return "it contains a user or a password"
    if target.is_loopback and not StorageUrl(Key(api_url)).is_loopback:
        return "it leads to this machine, and the API is elsewhere"
    return None


def url_has_expired(failure: EachLabsError, *, is_old: bool) -> bool:
    """Whether a storage refused a presigned URL because it has expired, as far as the response or its age shows."""
    if not isinstance(failure, APIStatusError) or failure.status not in (400, 401, 403, 410):
        return False
    return is_old or _EXPIRED.search(failure.body) is not None
