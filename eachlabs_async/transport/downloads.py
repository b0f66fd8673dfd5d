"""Owns the bytes of a download: where they may come from, and which of them are asked for again when they broke off.

It refuses any key of ours, as `uploads` does: a result lies at a foreign host, and its URL may be a secret, so that it
is held masked. What came in a try is kept for the next one only if the storage says that it is still the same file.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from urllib.parse import quote, urljoin

from ..errors import APIConnectionError, EachLabsError
from ..records import DownloadedFile
from . import transfers as _transfers
from .arguments import checked_callback, checked_count
from .deadline import ended_by_closing
from .keys import Key
from .part_file import PartFile, checked_path
from .storage_url import StorageUrl
from .transport import MAX_REDIRECTS, Transport, log
from .wire import Body, Headers, http_date, redact, status_error

MAX_BYTES: Final = 2 * 2**30
CHUNK: Final = 256 * 1024
"""Bytes that are gathered before a thread writes them."""
MAX_REFUSAL: Final = 64 * 1024
"""Bytes that are read of an answer that is not the file."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_AS_IT_IS: Final = "%!#$&'()*+,/:;=?@[]~-._"
"""What a URL may be written with; anything else in it is escaped, and an escape stays as it came."""


# ---- what a caller gives


def checked_url(url: Key) -> StorageUrl:
    """Check where to download from; no message shows the URL, which may be a secret."""
    target = StorageUrl(_written(url))
    if target.is_safe and target.is_plain:
        return target
    if target.scheme == "http" and target.is_plain:
        raise ValueError("url is plain http, which is for loopback alone: use https")
    raise ValueError("url must be an absolute http(s) URL without a user or a password")


def _written(url: str) -> Key:
    """Escape what an HTTP request cannot carry, and nothing else: a signature covers the escapes as they are."""
    if not url.isprintable():
        raise ValueError("url must not hold a line break, another control character or a lone surrogate")
    return Key(quote(url.strip(), safe=_AS_IT_IS))


# ---- how they come


class Download:
    """One download: its tries, and how far it has come."""

    def __init__(
        self,
        transport: Transport,
        url: Key,
        path: str | os.PathLike[str],
        max_bytes: int,
        on_progress: Callable[[int, int | None], object] | None,
    ) -> None:
        self._transport = transport
        self._target = checked_url(url)
        self._path = checked_path(path)
        self._max_bytes = checked_count("max_bytes", max_bytes, least=1)
        self._on_progress = checked_callback("on_progress", on_progress)
        self._part = PartFile(self._path)
        self._secrets: tuple[str, ...] = ()
        self._size = 0  # bytes in the part
        self._total: int | None = None
        self._place = ""  # where they came from, without its query
        self._mark: tuple[str, str] | None = None  # the header, and its value, that tells the very file they are of
        self._about: tuple[str | None, str | None] = (None, None)  # its type and its encoding
        self._moved = 0.0  # the loop time at which the last byte came
        self._broken = False  # whoever watches raised an error

    async def run(self) -> DownloadedFile:
        """Get the bytes until they are all there, the policy gives up or the client is closed."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._part.open)
            return await ended_by_closing(self._transport.session.uploads, self._run(), "the download")
        finally:
            # Also where this very wait is cancelled, nothing is left behind.
            await asyncio.shield(loop.run_in_executor(None, self._part.drop))

    async def _run(self) -> DownloadedFile:
        loop = asyncio.get_running_loop()
        self._moved = loop.time()
        attempts = 1
        while (failure := await self._try(attempts)) is not None:
            # The time in which bytes came is no time of failing: a long download may break off late, and go on.
            wait_s = self._transport.retry.delay(
                attempts, failure, elapsed_s=loop.time() - self._moved, jitter=random.random()
            )
            if wait_s is None:
                raise failure
            log.info("GET %s failed on attempt %d: again in %.2f s", failure.url, attempts, wait_s)
            await asyncio.sleep(wait_s)
            attempts += 1
        await asyncio.to_thread(self._part.finish, self._size)
        content_type, content_encoding = self._about
        return DownloadedFile(
            path=str(self._path),
            size=self._size,
            content_type=content_type,
            content_encoding=content_encoding,
            attempts=attempts,
        )

    async def _try(self, attempt: int) -> EachLabsError | None:
        """Ask for what is missing once, following redirects; gives what went wrong."""
        session, target = self._transport.session, self._target
        self._secrets = (*target.secrets, *session.secrets)
        failure: EachLabsError
        await session.semaphore.acquire(background=False)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                location = await self._ask(target, attempt)
                if location is None:
                    return None
                target = _redirected(target, location)
                self._secrets = (*target.secrets, *self._secrets)
            raise APIConnectionError(f"more than {MAX_REDIRECTS} redirects", retryable=False)
        except EachLabsError as exc:
            if self._broken:
                raise
            failure = exc
        finally:
            session.semaphore.release()
        failure.message = self._struck(failure.message)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = "GET", self._struck(target.shown), attempt
        failure.__traceback__ = failure.__context__ = None
        return failure

    async def _ask(self, target: StorageUrl, attempt: int) -> Key | None:
        """Send one request and take its answer; gives where a redirect leads, None where the file came."""
        transport = self._transport
        session = transport.session
        timers = session.http.timeouts(transport.timeouts.connect_s, transport.timeouts.read_s)
        headers = {"Accept-Encoding": "identity"}
        # A redirect may lead to another host than before, whose tags are its own.
        resuming = self._size > 0 and self._mark is not None and target.shown == self._place
        if resuming and self._mark is not None:
            headers |= {"Range": f"bytes={self._size}-", "If-Range": self._mark[1]}
        route = session.route_elsewhere(target.origin)
        return await _transfers.get(
            route, target.where, headers, timers, partial(self._take, target, attempt, resuming)
        )

    async def _take(
        self, target: StorageUrl, attempt: int, resuming: bool, incoming: _transfers.Incoming
    ) -> Key | None:
        status = incoming.status
        log.debug("GET %s attempt %d: HTTP %d", self._struck(target.shown), attempt, status)
        if status in _REDIRECTS:
            return Key(incoming.headers.get("Location") or "")
        if status == 200:
            end = self._begin(target, incoming)
        elif status == 206 and resuming:
            end = self._go_on(incoming)
        else:
            raise await self._refused(target, resuming, incoming)
        await self._read(incoming, end)
        return None

    # ---- one answer

    def _begin(self, target: StorageUrl, incoming: _transfers.Incoming) -> int | None:
        """Begin with the first byte; gives where the answer ends, None where that is not said."""
        self._bound(incoming.length)
        headers = incoming.headers
        self._size = 0
        self._total, self._place, self._mark = incoming.length, target.shown, _mark(headers)
        self._about = headers.get("Content-Type"), headers.get("Content-Encoding")
        return incoming.length

    def _go_on(self, incoming: _transfers.Incoming) -> int:
        """Go on after the last byte that is there, if that is what the answer does; gives where it ends."""
        headers = incoming.headers
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        begin, last, total = found.groups() if found is not None else ("0", "0", "*")
        end, known = int(last) + 1, None if total == "*" else int(total)
        name, value = self._mark or ("", "")
        if (
            found is None
            or int(begin) != self._size
            or not self._size < end <= (end if known is None else known)
            or (known is not None and self._total not in (None, known))
            or headers.get(name, value) != value
        ):
            self._mark = None
            raise APIConnectionError("another part of the file came than was asked for (HTTP 206): it was refused")
        self._bound(known)
        self._total = known if self._total is None else self._total
        return end

    async def _read(self, incoming: _transfers.Incoming, end: int | None) -> None:
        """Read an answer to its `end`, and keep what came also where it breaks off before."""
        loop = asyncio.get_running_loop()
        waiting: list[bytes] = []
        held = 0
        failure: APIConnectionError | None = None
        while True:
            try:
                data = await incoming.chunk()
            except APIConnectionError as exc:
                failure = exc
                break
            if not data:
                break
            self._moved = loop.time()
            held += len(data)
            self._bound(self._size + held)
            if end is not None and self._size + held > end:
                self._mark = None
                raise APIConnectionError("more bytes came than the answer said")
            waiting.append(data)
            if held >= CHUNK:
                await self._keep(waiting, held)
                waiting, held = [], 0
        if held:
            await self._keep(waiting, held)
        if failure is not None and self._size != self._total:
            raise failure
        if self._total is not None and self._size < self._total:
            raise APIConnectionError(f"the answer ended after {self._size:,} of {self._total:,} bytes")

    async def _keep(self, chunks: list[bytes], size: int) -> None:
        await asyncio.to_thread(self._part.write, self._size, chunks)
        self._size += size
        if self._on_progress is not None:
            try:
                self._on_progress(self._size, self._total)
            except EachLabsError:  # the caller's own, which no further try overcomes
                self._broken = True
                raise

    def _bound(self, size: int | None) -> None:
        if size is not None and size > self._max_bytes:
            raise APIConnectionError(
                f"the file is larger than max_bytes ({self._max_bytes:,}): give a larger bound if you want it",
                retryable=False,
            )

    async def _refused(self, target: StorageUrl, resuming: bool, incoming: _transfers.Incoming) -> EachLabsError:
        """Give the error of an answer that is not the file."""
        status = incoming.status
        if status == 416 and resuming:
            self._mark = None
            return APIConnectionError("the file has become shorter (HTTP 416)")
        if status < 400:
            return APIConnectionError(f"the answer is not the file (HTTP {status})", retryable=False)
        body = b""
        with suppress(APIConnectionError):  # The status says enough.
            while len(body) < MAX_REFUSAL and (data := await incoming.chunk()):
                body += data
        return status_error(
            status,
            incoming.headers,
            Body(body[:MAX_REFUSAL]),
            secrets=self._secrets,
            now=datetime.now(UTC),
            method="GET",
            url=target.shown,
            attempts=0,
        )

    def _struck(self, text: str) -> str:
        return redact(text, self._secrets)


def _redirected(target: StorageUrl, location: Key) -> StorageUrl:
    """Give where a redirect leads; it may go to another host, which is shown nothing, but not from https to http."""
    try:
        there = StorageUrl(_written(urljoin(target.where, location))) if location else None
    except ValueError:
        there = None
    if there is None or not there.is_plain:
        raise APIConnectionError("a redirect that leads to no http(s) URL was refused", retryable=False)
    if not there.is_safe or (target.scheme == "https" and there.scheme != "https"):
        raise APIConnectionError("a redirect to plain http was refused", retryable=False)
    return there


def _mark(headers: Headers) -> tuple[str, str] | None:
    """Find what tells the file of this answer from every other under its URL: a strong tag, or else its time.

    A time counts to the second, so one that is no older than the answer could be that of two files.
    """
    tag = headers.get("ETag")
    if tag is not None and tag.startswith('"'):
        return "ETag", tag
    modified = headers.get("Last-Modified")
    at, now = http_date(modified), http_date(headers.get("Date"))
    if modified is not None and at is not None and now is not None and now - at >= timedelta(seconds=1):
        return "Last-Modified", modified
    return None
