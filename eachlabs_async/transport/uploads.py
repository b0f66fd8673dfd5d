"""Owns the bytes of an upload: where they come from, how they go out, and when they go out again.

It refuses any key of ours: the storage is a foreign host, and what it is shown is the presigned URL and the headers
that belong to it. That URL is a secret; it is held masked, and what is told of a failure is told without its query.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import random
import stat
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, TypeGuard, cast

from ..errors import APIConnectionError, APIStatusError, APITimeoutError, EachLabsError
from ..records import PresignedUpload, UploadedFile
from . import transfers as _transfers
from .arguments import checked_callback, checked_count
from .deadline import ended_by_closing
from .keys import Key
from .storage_url import StorageUrl
from .transport import Transport, log
from .wire import Body, status_error

MAX_BYTES: Final = 100_000_000
CHUNK: Final = 256 * 1024
DEFAULT_TYPE: Final = "application/octet-stream"
URL_LIVES_S: Final = 14 * 60.0
"""Seconds for which a presigned URL is trusted to be good: a minute less than it lives."""
MAX_PLACES: Final = 3
"""Places asked for, at most, for one upload."""


def _checked_size(name: str, size: int) -> int:
    if size > MAX_BYTES:
        raise ValueError(f"{name} must be at most {MAX_BYTES:,} bytes, not {size:,}")
    return size


def _is_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview]:
    return isinstance(value, bytes | bytearray | memoryview)


# ---- where the bytes come from


class Source(ABC):
    """The bytes to send. `again` says whether they can be read once more, `started` whether any were read."""

    again = True
    content_type = DEFAULT_TYPE
    size: int | None = None

    def __init__(self) -> None:
        self.started = False

    @abstractmethod
    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Give the bytes from the first on."""

    def close(self) -> None:  # noqa: B027  # most have nothing open
        """Let go of what was opened."""


class _Bytes(Source):
    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        super().__init__()
        self._data = memoryview(data).cast("B")
        self.size = _checked_size("source", self._data.nbytes)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        for start in range(0, len(self._data), CHUNK):
            yield bytes(self._data[start : start + CHUNK])


class _File(Source):
    """A file, read in threads. Each try has a handle of its own: the thread of one given up may still read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._handles: list[BinaryIO] = []
        self._closed = False
        self.content_type = mimetypes.guess_type(path.name)[0] or DEFAULT_TYPE

    def measure(self) -> None:
        """Look at the file, before anything is sent."""
        handle = self._open()
        facts = os.fstat(handle.fileno())
        handle.close()
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(f"source must be a regular file: {str(self._path)!r} is none")
        self.size = _checked_size("source", facts.st_size)

    def _open(self) -> BinaryIO:
        handle = self._path.open("rb")
        self._handles.append(handle)
        if self._closed:  # The upload was given up while this thread opened the file.
            handle.close()
        return handle

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        handle = await asyncio.to_thread(self._open)
        left = self.size or 0
        while left:
            data = await asyncio.to_thread(handle.read, min(CHUNK, left))
            if not data:
                raise ValueError(f"source became shorter while it was sent: {left} bytes are missing")
            left -= len(data)
            yield data

    def close(self) -> None:
        self._closed = True
        for handle in self._handles:
            handle.close()


class _Stream(Source):
    again = False

    def __init__(self, stream: AsyncIterable[bytes], size: int | None) -> None:
        super().__init__()
        self._stream = stream
        self.size = None if size is None else _checked_size("size", checked_count("size", size))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        sent = 0
        most = MAX_BYTES if self.size is None else self.size
        async for given in self._stream:
            if not _is_bytes(given):
                raise TypeError(f"source must give bytes, not {type(given).__name__}")
            data = bytes(given)
            sent += len(data)
            if sent > most:
                raise ValueError(f"source gave more than {most:,} bytes")
            yield data
        if self.size is not None and sent < self.size:
            raise ValueError(f"source gave {sent:,} bytes, not the {self.size:,} of size")


async def opened(source: object, size: int | None) -> Source:
    """Take what a caller wants to send, and check its size; reading a file's facts happens in a thread."""
    its_own = "size is for an async iterable alone: a path and bytes have their own"
    if _is_bytes(source):
        if size is not None:
            raise ValueError(its_own)
        return _Bytes(source)
    if isinstance(source, str | os.PathLike):
        if size is not None:
            raise ValueError(its_own)
        file = _File(Path(cast("str | os.PathLike[str]", source)))
        await asyncio.to_thread(file.measure)
        return file
    if isinstance(source, AsyncIterable):
        return _Stream(cast(AsyncIterable[bytes], source), size)
    raise TypeError(f"source must be a path, bytes or an async iterable of bytes, not {type(source).__name__}")


# ---- how they go out


class Upload:
    """One upload: its places, its tries."""

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
        self._broken: Exception | None = None  # what the source, or who watches, raised

    async def run(self) -> UploadedFile:
        """Send the bytes until they have arrived, the policy gives up or the client is closed."""
        return await ended_by_closing(self._transport.session.uploads, self._run(), "the upload")

    async def _run(self) -> UploadedFile:
        loop = asyncio.get_running_loop()
        began = loop.time()
        place, placed = await self._presign(), loop.time()
        attempts, places = 1, 1
        while (failure := await self._try(place, attempts)) is not None:
            if self._broken is not None or (self._source.started and not self._source.again):
                raise self._broken or failure
            lapsed = has_lapsed(failure) and places < MAX_PLACES
            if not lapsed:
                wait_s = self._transport.retry.delay(
                    attempts, failure, elapsed_s=loop.time() - began, jitter=random.random()
                )
                if wait_s is None:
                    raise failure
                log.info("PUT %s failed on attempt %d: again in %.2f s", failure.url, attempts, wait_s)
                await asyncio.sleep(wait_s)
            if lapsed or loop.time() - placed > URL_LIVES_S:
                place, placed = await self._presign(), loop.time()
                places += 1
            attempts += 1
        return UploadedFile(
            id=place.id,
            public_url=place.public_url,
            content_type=self._content_type,
            size=self._sent,
            expires_at=place.expires_at,
        )

    async def _try(self, place: PresignedUpload, attempt: int) -> EachLabsError | None:
        """Send everything once; gives what went wrong."""
        target = StorageUrl(Key(place.presigned_url))
        self._broken = None
        failure: EachLabsError
        try:
            answer = await self._send(target, place.required_headers or {})
        except EachLabsError as exc:
            failure = exc
        else:
            log.debug("PUT %s attempt %d: HTTP %d", target.shown, attempt, answer.status)
            if 200 <= answer.status < 300:
                return None
            failure = self._refused(answer, target)
        failure.message = target.redact(failure.message)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = "PUT", target.shown, attempt
        failure.__traceback__ = failure.__context__ = None
        return failure

    async def _send(self, target: StorageUrl, required: dict[str, str]) -> _transfers.Answer:
        if not target.is_safe:
            raise APIConnectionError("the presigned URL was refused: it is not https", sent=False, retryable=False)
        transport = self._transport
        session = transport.session
        timers = session.http.timeouts(transport.timeouts.connect_s, transport.timeouts.read_s)
        headers = {name: value for name, value in required.items() if name.lower() != "content-type"}
        headers["Content-Type"] = self._content_type
        if self._source.size is not None:
            headers["Content-Length"] = str(self._source.size)
        stall = asyncio.timeout(None)
        await session.semaphore.acquire(background=False)
        try:
            route = session.route_elsewhere(target.origin)
            async with stall:
                chunks = self._chunks(stall, transport.timeouts.read_s)
                try:
                    return await _transfers.put(route, target.where, headers, chunks, timers)
                finally:
                    await _ended(chunks)
        except TimeoutError:
            if not stall.expired():
                raise  # the connecting, or the source, timed out
            stalled = APITimeoutError(f"the sending stalled for {transport.timeouts.read_s:g} s")
        finally:
            session.semaphore.release()
        raise stalled

    async def _chunks(self, stall: asyncio.Timeout, read_s: float) -> AsyncGenerator[bytes, None]:
        """Hand the bytes on; time runs only while the storage takes them, not while the source gives them."""
        loop = asyncio.get_running_loop()
        self._sent = 0
        try:
            async with aclosing(self._source.chunks()) as chunks:
                async for data in chunks:
                    self._source.started = True
                    if not data:
                        continue
                    _set(stall, loop.time() + read_s)
                    yield data
                    _set(stall, None)
                    self._sent += len(data)
                    if self._on_progress is not None:
                        self._on_progress(self._sent, self._source.size)
        except Exception as exc:  # aiohttp would make a connection error of it
            self._broken = exc
            raise
        _set(stall, loop.time() + read_s)

    def _refused(self, answer: _transfers.Answer, target: StorageUrl) -> EachLabsError:
        if 300 <= answer.status < 400:
            return APIConnectionError(
                f"a redirect was refused (HTTP {answer.status}): the bytes go where the service said", retryable=False
            )
        return status_error(
            answer.status,
            answer.headers,
            Body(answer.body),
            secrets=(*target.secrets, *self._transport.session.secrets),
            now=datetime.now(UTC),
            method="PUT",
            url=target.shown,
            attempts=0,
        )


def _set(stall: asyncio.Timeout, when: float | None) -> None:
    if not stall.expired():
        stall.reschedule(when)


async def _ended(chunks: AsyncGenerator[bytes, None]) -> None:
    """Close what aiohttp read from; its task was cancelled, and may need some turns of the loop to let go."""
    while True:
        try:
            return await chunks.aclose()
        except RuntimeError:
            await asyncio.sleep(0)


def has_lapsed(failure: EachLabsError) -> bool:
    """Say whether a storage refused a presigned URL because its time is over, as far as can be told."""
    if not isinstance(failure, APIStatusError):
        return False
    return failure.status == 403 or (failure.status in (400, 401, 410) and "expired" in failure.body.lower())
