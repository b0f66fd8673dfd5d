"""Owns how a storage is sent bytes and asked for them over aiohttp, once; refuses policy, and to show where it lives.

The URL of a storage is a secret: what fails is described without anything of aiohttp, whose texts and tracebacks
show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import hdrs
from attrs import define
from yarl import URL

from .adapter import Route, describe
from .keys import Key
from .wire import Body

T = TypeVar("T")

_SKIPPED: Final = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING)


@define(repr=False, eq=False)
class Answer:
    """A whole answer: the body is read and the connection is free again."""

    status: int
    headers: Mapping[str, str]
    body: Body


async def put(
    route: Route, where: Key, headers: Mapping[str, str], chunks: AsyncIterable[bytes], timeouts: aiohttp.ClientTimeout
) -> Answer:
    """Send a stream once and read the whole answer; an `APIConnectionError` where none came.

    `where` is a URL that is a secret: no traceback's locals may show it, not even those of a cancellation.
    """
    response: aiohttp.ClientResponse | None = None
    failure: BaseException
    arguments: dict[str, Any] = {**route.plain, "headers": {**route.plain.get("headers", {}), **headers}}
    try:
        response = await route.session.put(
            URL(where, encoded=True), data=chunks, timeout=timeouts, skip_auto_headers=_SKIPPED, **arguments
        )
        return Answer(response.status, response.headers, Body(await response.read()))
    except asyncio.CancelledError as exc:
        failure = exc.with_traceback(None)
    except Exception as exc:
        failure = describe(exc)
    response = None
    raise failure


class Incoming:
    """An answer whose body is still to come, as the bytes that are sent: what is encoded stays so.

    Its `length` is what the headers say, in bytes, None where they say nothing.
    """

    __slots__ = ("_response", "headers", "length", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.length = response.content_length

    async def chunk(self) -> bytes:
        """Give some more of the body, nothing at its end; an `APIConnectionError` where it breaks off."""
        try:
            return await self._response.content.readany()
        except Exception as exc:
            failure = describe(exc)
        raise failure

    def close(self) -> None:
        """Let go of the connection; what was not read is lost."""
        self._response.close()


async def get(
    route: Route,
    where: Key,
    headers: Mapping[str, str],
    timeouts: aiohttp.ClientTimeout,
    take: Callable[[Incoming], Awaitable[T]],
) -> T:
    """Ask once for what `take` reads, and give what it gives; an `APIConnectionError` where no answer comes.

    `where` is a URL that is a secret: no traceback's locals may show it, not even those of a cancellation.
    """
    failure: BaseException
    arguments: dict[str, Any] = {**route.plain, "headers": {**route.plain.get("headers", {}), **headers}}
    arguments["auto_decompress"] = False
    try:
        incoming = Incoming(await route.session.get(URL(where, encoded=True), timeout=timeouts, **arguments))
    except asyncio.CancelledError as exc:
        failure = exc.with_traceback(None)
    except Exception as exc:
        failure = describe(exc)
    else:
        try:
            return await take(incoming)
        finally:
            incoming.close()
    raise failure
