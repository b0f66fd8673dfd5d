"""Download a file: check its URL, read the bytes, and request the missing ones if the response breaks off.

The storage is another host and receives no key. The URL may be a secret, which errors and log lines show without its
query. The bytes of a failed attempt are kept for the next one only if the storage shows that the file is the same.
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
from . import storage_requests
from .arguments import checked_callback, checked_count
from .deadline import until_closed
from .keys import Key
from .partial_file import PartialFile, checked_path
from .redaction import line
from .redirects import MAX_REDIRECTS
from .refusal import MAX_ERROR_BODY, status_error
from .storage_url import StorageUrl
from .transfer_events import TransferEvents
from .transport import Transport, log
from .wire import Body, Headers, http_date

MAX_BYTES: Final = 2 * 2**30
CHUNK_SIZE: Final = 256 * 1024
"""Bytes that are collected before a thread writes them."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_UNESCAPED: Final = "%!#$&'()*+,/:;=?@[]~-._"
"""The characters of a URL that are sent as they are, besides letters and digits. All others are escaped."""


# ---- URLs


def checked_url(url: Key) -> StorageUrl:
    """Return the URL to download from. No error shows it, as it may be a secret."""
    target = StorageUrl(_escaped(url))
    if target.is_safe and target.is_plain:
        return target
    if target.scheme == "http" and target.is_plain:
        raise ValueError("url is plain http, which is only allowed for loopback addresses: use https")
    raise ValueError("url must be an absolute http(s) URL without a user or a password")


def _escaped(url: str) -> Key:
    """Escape what an HTTP request cannot carry. Escapes stay as they are, because a signature covers them."""
    if not url.isprintable():
        raise ValueError("url must not contain a line break, another control character or a lone surrogate")
    return Key(quote(url.strip(), safe=_UNESCAPED))


# ---- downloading


class Download:
    """One download, with its attempts and the bytes received so far."""

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
        self._file = PartialFile(self._path)
        self._secrets: tuple[str, ...] = ()
        self._size = 0  # bytes in the partial file
        self._total: int | None = None
        self._origin_url = ""  # the URL that they came from, without its query
        self._validator: tuple[str, str] | None = None  # a header that identifies the file that they belong to
        self._content_type: str | None = None
        self._content_encoding: str | None = None
        self._last_byte_at = 0.0  # in loop time
        self._callback_failed = False
        self._status: int | None = None  # that of the response to the current attempt

    async def run(self) -> DownloadedFile:
        """Receive bytes until the file is complete, the retry policy gives up or the client is closed."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._file.open)
            return await until_closed(self._transport.session.transfer_timer, self._run(), "the download")
        finally:
            # The shield ensures that the file is removed even if this wait is cancelled.
            await asyncio.shield(loop.run_in_executor(None, self._file.discard))

    async def _run(self) -> DownloadedFile:
        session, target = self._transport.session, self._target
        url = line(target.without_query, (*target.secrets, *session.secrets))
        with TransferEvents(session.hooks, "files.download", "GET", url) as events:
            return await self._receive(events)

    async def _receive(self, events: TransferEvents) -> DownloadedFile:
        loop = asyncio.get_running_loop()
        self._last_byte_at = loop.time()
        attempts = 1
        while (failure := await self._observed_attempt(attempts, events)) is not None:
            # Only the time since the last byte counts, so that a long download may break off late and go on.
            wait_s = self._transport.retry.delay(
                attempts, failure, elapsed_s=loop.time() - self._last_byte_at, jitter=random.random()
            )
            if wait_s is None:
                raise failure
            events.retry_planned(wait_s, failure)
            facts = {"event": "retry", "method": "GET", "url": failure.url, "attempt": attempts, "wait_s": wait_s}
            log.info("GET %s failed on attempt %d: retrying in %.2f s", failure.url, attempts, wait_s, extra=facts)
            await asyncio.sleep(wait_s)
            attempts += 1
        await asyncio.to_thread(self._file.finish, self._size)
        return DownloadedFile(
            path=str(self._path),
            size=self._size,
            content_type=self._content_type,
            content_encoding=self._content_encoding,
            attempts=attempts,
        )

    async def _observed_attempt(self, attempt: int, events: TransferEvents) -> EachLabsError | None:
        events.request_started(attempt)
        before, self._status = self._size, None
        failure = await self._attempt(attempt)
        events.attempt_ended(self._status, max(0, self._size - before), failure)
        return failure

    async def _attempt(self, attempt: int) -> EachLabsError | None:
        """Request the missing bytes once, following redirects. Return the error if that fails."""
        session, target = self._transport.session, self._target
        self._secrets = (*target.secrets, *session.secrets)
        failure: EachLabsError
        await session.semaphore.acquire(background=False)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                location = await self._request(target, attempt)
                if location is None:
                    return None
                target = _redirected(target, location)
                self._secrets = (*target.secrets, *self._secrets)
            raise APIConnectionError(f"more than {MAX_REDIRECTS} redirects", retryable=False)
        except EachLabsError as exc:
            if self._callback_failed:
                raise
            failure = exc
        finally:
            session.semaphore.release()
        failure.message = self._redact(failure.message)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = "GET", self._redact(target.without_query), attempt
        failure.__traceback__ = failure.__context__ = None
        return failure

    async def _request(self, target: StorageUrl, attempt: int) -> Key | None:
        """Send one request and read the response. Return the location of a redirect, or None if the file came."""
        transport = self._transport
        session = transport.session
        timeout = session.http.timeouts(transport.timeouts.connect_s, transport.timeouts.read_s)
        headers = {"Accept-Encoding": "identity"}
        # A redirect may lead to another host than before, which has its own tags.
        resuming = self._size > 0 and self._validator is not None and target.without_query == self._origin_url
        if resuming and self._validator is not None:
            headers |= {"Range": f"bytes={self._size}-", "If-Range": self._validator[1]}
        route = session.storage_route(target.origin)
        return await storage_requests.get(
            route, target.url, headers, timeout, partial(self._read_response, target, attempt, resuming)
        )

    async def _read_response(
        self, target: StorageUrl, attempt: int, resuming: bool, response: storage_requests.StreamedResponse
    ) -> Key | None:
        status = self._status = response.status
        url = self._redact(target.without_query)
        facts = {"event": "attempt", "method": "GET", "url": url, "attempt": attempt, "status": status}
        log.debug("GET %s attempt %d: HTTP %d", url, attempt, status, extra=facts)
        if status in _REDIRECTS:
            return Key(response.headers.get("Location") or "")
        if status == 200:
            end = self._start(target, response)
        elif status == 206 and resuming:
            end = self._resume(response)
        else:
            raise await self._status_failure(target, resuming, response)
        await self._read_body(response, end)
        return None

    # ---- one response

    def _start(self, target: StorageUrl, response: storage_requests.StreamedResponse) -> int | None:
        """Prepare to read the whole file. Return the offset at which the response ends, or None if it is unknown."""
        self._check_size(response.length)
        headers = response.headers
        self._size = 0
        self._total, self._origin_url, self._validator = response.length, target.without_query, _validator(headers)
        self._content_type, self._content_encoding = headers.get("Content-Type"), headers.get("Content-Encoding")
        return response.length

    def _resume(self, response: storage_requests.StreamedResponse) -> int:
        """Check that the response continues after the last byte received. Return the offset at which it ends."""
        headers = response.headers
        found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        first, last, size = found.groups() if found is not None else ("0", "0", "*")
        end, total = int(last) + 1, None if size == "*" else int(size)
        name, value = self._validator or ("", "")
        if (
            found is None
            or int(first) != self._size
            or not self._size < end <= (end if total is None else total)
            or (total is not None and self._total not in (None, total))
            or headers.get(name, value) != value
        ):
            self._validator = None
            raise APIConnectionError("the response is not the range that was requested (HTTP 206)")
        self._check_size(total)
        self._total = total if self._total is None else self._total
        return end

    async def _read_body(self, response: storage_requests.StreamedResponse, end: int | None) -> None:
        """Read a response to its `end`. The bytes of one that breaks off before are kept."""
        loop = asyncio.get_running_loop()
        pending: list[bytes] = []
        pending_size = 0
        failure: APIConnectionError | None = None
        while True:
            try:
                data = await response.chunk()
            except APIConnectionError as exc:
                failure = exc
                break
            if not data:
                break
            self._last_byte_at = loop.time()
            pending_size += len(data)
            self._check_size(self._size + pending_size)
            if end is not None and self._size + pending_size > end:
                self._validator = None
                raise APIConnectionError("the response is longer than it announced")
            pending.append(data)
            if pending_size >= CHUNK_SIZE:
                await self._write(pending, pending_size)
                pending, pending_size = [], 0
        if pending_size:
            await self._write(pending, pending_size)
        if failure is not None and self._size != self._total:
            raise failure
        if self._total is not None and self._size < self._total:
            raise APIConnectionError(f"the response ended after {self._size:,} of {self._total:,} bytes")

    async def _write(self, chunks: list[bytes], size: int) -> None:
        await asyncio.to_thread(self._file.write, self._size, chunks)
        self._size += size
        if self._on_progress is not None:
            try:
                self._on_progress(self._size, self._total)
            except EachLabsError:  # It is the caller's own, so there must be no further attempt.
                self._callback_failed = True
                raise

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._max_bytes:
            raise APIConnectionError(
                f"the file is larger than max_bytes ({self._max_bytes:,}): pass a larger value to download it",
                retryable=False,
            )

    async def _status_failure(
        self, target: StorageUrl, resuming: bool, response: storage_requests.StreamedResponse
    ) -> EachLabsError:
        """Return the error of a response that is not the file."""
        status = response.status
        if status == 416 and resuming:
            self._validator = None
            return APIConnectionError("the file has become shorter (HTTP 416)")
        if status < 400:
            return APIConnectionError(f"the response is not the file (HTTP {status})", retryable=False)
        body = b""
        with suppress(APIConnectionError):  # The status is enough.
            while len(body) < MAX_ERROR_BODY and (data := await response.chunk()):
                body += data
        return status_error(
            status,
            response.headers,
            Body(body[:MAX_ERROR_BODY]),
            secrets=self._secrets,
            now=datetime.now(UTC),
            method="GET",
            url=target.without_query,
            attempts=0,
        )

    def _redact(self, text: str) -> str:
        return line(text, self._secrets)


def _redirected(target: StorageUrl, location: Key) -> StorageUrl:
    """Return the target of a redirect. It may be on another host, which receives no key, but not from https to http,
    and not from another machine to this one.
    """
    try:
        redirected = StorageUrl(_escaped(urljoin(target.url, location))) if location else None
    except ValueError:
        redirected = None
    if redirected is None or not redirected.is_plain:
        raise APIConnectionError("a redirect without an http(s) URL was refused", retryable=False)
    if not redirected.is_safe or (target.scheme == "https" and redirected.scheme != "https"):
        raise APIConnectionError("a redirect to plain http was refused", retryable=False)
    if redirected.is_loopback and not target.is_loopback:
        raise APIConnectionError("a redirect to this machine was refused", retryable=False)
    return redirected


def _validator(headers: Headers) -> tuple[str, str] | None:
    """Return the header that tells this file from any other at its URL: a strong `ETag`, or else `Last-Modified`.

    A `Last-Modified` has a resolution of one second. If it is no older than the response, two files could share it.
    """
    tag = headers.get("ETag")
    if tag is not None and tag.startswith('"'):
        return "ETag", tag
    modified = headers.get("Last-Modified")
    at, now = http_date(modified), http_date(headers.get("Date"))
    if modified is not None and at is not None and now is not None and now - at >= timedelta(seconds=1):
        return "Last-Modified", modified
    return None
