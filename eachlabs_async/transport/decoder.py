"""Decode the bodies of successful responses, with errors that name the call, and without blocking the event loop.

`codec` knows how bytes become records. This module decides whether that happens in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, cast

from ..codec.strict import decode_fast, decode_json, decode_page, decode_rows, decode_strict, start_of
from ..codec.undecoded_row import UndecodedRow
from ..errors import EachLabsError, ResponseDecodeError
from .call import Call
from .redaction import line
from .session import Session
from .wire import Body

T = TypeVar("T")

MAX_PATH: Final = 300
"""Characters of the path of an unreadable value that an error keeps."""
MAX_SHOWN: Final = 80
"""Characters of a body that is no JSON which the message shows."""
LARGE_BODY: Final = 64 * 1024
"""Bytes from which on a body that msgspec rejects is decoded in a thread."""
MAX_EXCERPT: Final = 4096
"""Bytes of a body that are searched for keys before an error keeps the start of them."""


class ResponseDecoder:
    """Decodes the responses of one client. All methods raise `ResponseDecodeError` with the details of the call."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def decode(self, call: Call, kind: type[T], body: bytes) -> T:
        """Decode the body of a successful response as `kind`."""
        found = decode_fast(body, kind)
        if found is not None:
            return found
        return await self._in_thread_if_large(body, partial(self.decode_strictly, call, Body(body), kind))

    async def decode_page(
        self, call: Call, kind: type[T], body: bytes, *, rows: str, identity: str
    ) -> tuple[T, list[Any] | None, bool]:
        """Decode a page of rows: return the page, its rows (None if they are null), and whether all were decoded.

        A row that cannot be decoded is an `UndecodedRow`. The arguments are those of `codec.strict.decode_page`.
        """
        found = decode_fast(body, kind)
        if found is not None:
            return found, getattr(found, rows) if rows else cast(list[Any], found), True
        decode = partial(self._decode_page_strictly, call, Body(body), kind, rows=rows, identity=identity)
        return await self._in_thread_if_large(body, decode)

    async def _in_thread_if_large(self, body: bytes, decode: Callable[[], T]) -> T:
        """Decode a body without msgspec, in a thread if it is large, so that the event loop is not blocked.

        msgspec keeps the interpreter lock, for 2 to 11 ms a MiB: a thread would not help. The other reader is written
        in Python and takes at least ten times as long. A thread lets the event loop run meanwhile; there is only one at
        a time, because several would only take turns at the interpreter.
        """
        if len(body) < LARGE_BODY:
            return decode()
        async with self._session.strict_decode_lock:
            return await asyncio.to_thread(decode)

    def decode_strictly(self, call: Call, body: bytes, kind: type[T]) -> T:
        """Decode a body without msgspec."""
        try:
            return decode_strict(body, kind)
        except ResponseDecodeError as exc:
            failure = exc
        raise self.error_of(call, body, failure)

    def _decode_page_strictly(
        self, call: Call, body: bytes, kind: type[T], *, rows: str, identity: str
    ) -> tuple[T, list[Any] | None, bool]:
        try:
            page, found = decode_page(body, kind, rows=rows, identity=identity)
        except ResponseDecodeError as exc:
            failure = exc
        else:
            undecoded = [row for row in found or () if isinstance(row, UndecodedRow)]
            for row in undecoded:
                self.error_of(call, body, row.error)
            return page, found, not undecoded
        raise self.error_of(call, body, failure)

    def decode_rows(
        self,
        call: Call,
        body: bytes,
        kind: type[Any],
        *,
        rows: str,
        row_kind: type[T],
        identity: str,
        strict: bool = False,
    ) -> list[tuple[str | None, T | ResponseDecodeError]]:
        """Decode a body row by row: return each row's id, with the row or its own error.

        The arguments are those of `codec.strict.decode_rows`.
        """
        try:
            found = decode_rows(body, kind, rows=rows, row_kind=row_kind, identity=identity, strict=strict)
        except ResponseDecodeError as exc:
            failure = exc
        else:
            for _, row in found:
                if isinstance(row, ResponseDecodeError):
                    self.error_of(call, body, row)
            return found
        raise self.error_of(call, body, failure)

    async def decode_json(self, call: Call, body: bytes) -> Any:
        """Decode a body as plain JSON, in a thread if it is large, or return None if it is empty."""
        return await self._in_thread_if_large(body, partial(self._decode_json, call, body))

    def _decode_json(self, call: Call, body: bytes) -> Any:
        try:
            return decode_json(body)
        except ResponseDecodeError as exc:
            failure = exc
        raise self.error_of(call, body, failure)

    def error_of(self, call: Call, body: bytes, failure: ResponseDecodeError) -> EachLabsError:
        """Return an error about a body, with the start of the body and the details of the call, as it may be raised."""
        failure.body = start_of(body, MAX_EXCERPT)  # Keys are redacted before less is kept, so no part of one remains.
        secrets, path = self._session.secrets, failure.path
        failure.path = line(path, secrets, MAX_PATH)  # It has names of the service's own.
        failure.message = failure.message.replace(path, failure.path, 1)
        if failure.retryable and body:
            failure.message += f": it begins with {line(failure.body, secrets, MAX_SHOWN)!r}"
        return self._session.with_call_details(call, failure)
