"""Send one request to a storage: PUT bytes to a URL, or GET bytes from one.

The URL is a secret. Errors therefore refer to nothing of aiohttp, whose messages and tracebacks show it. `uploads` and
`downloads` decide about further attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import hdrs
from attrs import define
from yarl import URL

from .adapter import Route, error_from
from .bounded_body import read_body
from .keys import Key
from .wire import Body

T = TypeVar("T")

_OMITTED_HEADERS: Final = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING)


@define(repr=False, eq=False)
class StorageResponse:
    """A response with the first 64 KiB of its body. Its connection has been released."""

    status: int
    headers: Mapping[str, str]
    body: Body


async def put(
    route: Route, url: Key, headers: Mapping[str, str], chunks: AsyncIterable[bytes], timeout: aiohttp.ClientTimeout
) -> StorageResponse:
    """Send a stream of bytes once and return the response, with the start of its body.

    Raises `APIConnectionError` if there is none. `url` is a secret: the locals of no traceback show it, not even those
    of a cancellation.
    """
    response: aiohttp.ClientResponse | None = None
    failure: BaseException
    arguments: dict[str, Any] = {**route.arguments, "headers": {**route.arguments.get("headers", {}), **headers}}
    try:
        response = await route.session.put(
            URL(url, encoded=True), data=chunks, timeout=timeout, skip_auto_headers=_OMITTED_HEADERS, **arguments
        )
        return StorageResponse(response.status, response.headers, Body(await read_body(response, None)))
    except asyncio.CancelledError as exc:
        failure = exc.with_traceback(None)
    except MemoryError:
        raise
    except Exception as exc:
        failure = error_from(exc)
    response = None
    raise failure


class StreamedResponse:
    """A response whose body is read in chunks, as it was sent: an encoded body is not decoded.

    `length` is the number of bytes that the headers announce, or None.
    """

    __slots__ = ("_response", "headers", "length", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.length = response.content_length

    async def chunk(self) -> bytes:
        """Return the next bytes of the body, none at its end. Raises `APIConnectionError` if it breaks off."""
        try:
            return await self._response.content.readany()
        except MemoryError:
            raise
        except Exception as exc:
            failure = error_from(exc)
        raise failure

    def close(self) -> None:
        """Release the connection. The rest of the body is lost."""
        self._response.close()


async def get(
    route: Route,
    url: Key,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,
    read: Callable[[StreamedResponse], Awaitable[T]],
) -> T:
    """Send one request and return what `read` returns for its response.

    Raises `APIConnectionError` if there is no response. `url` is a secret: the locals of no traceback show it, not even
    those of a cancellation.
    """
    failure: BaseException
    arguments: dict[str, Any] = {**route.arguments, "headers": {**route.arguments.get("headers", {}), **headers}}
    arguments["auto_decompress"] = False
    # With an external session, aiohttp bounds neither a look-up nor the wait for a connection of its pool.
    limits = (timeout.connect or timeout.sock_connect, timeout.sock_read)
    try:
        async with asyncio.timeout(sum(limit or 0.0 for limit in limits)):
            response = StreamedResponse(await route.session.get(URL(url, encoded=True), timeout=timeout, **arguments))
    except asyncio.CancelledError as exc:
        failure = exc.with_traceback(None)
    except MemoryError:
        raise
    except Exception as exc:
        failure = error_from(exc)
    else:
        try:
            return await read(response)
        finally:
            response.close()
    raise failure
