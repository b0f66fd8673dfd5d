"""Read the body of a response, up to a limit that counts after decompression.

aiohttp decompresses only as much as is read, so a body that expands without end takes no more memory than the limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import aiohttp

from ..errors import ResponseTooLargeError
from .refusal import MAX_ERROR_BODY
from .wire import Body

BYTES_PER_TURN: Final = 1024 * 1024
"""Bytes that are read in one turn of the event loop, at most, if they need not be waited for."""


def is_success(status: int) -> bool:
    """Whether the whole body of a response matters, and not only its start."""
    return 200 <= status < 300


async def read_body(
    response: aiohttp.ClientResponse, max_bytes: int, on_wait: Callable[[], None] | None = None
) -> bytes:
    """Read the rest of a response as it comes. `on_wait` is called before each wait for more.

    Raises `ResponseTooLargeError` if a successful response has more than `max_bytes`. Of any other, only the first
    64 KiB are returned.
    """
    if not is_success(response.status):
        return await read_start(response, on_wait)
    if not response.content.at_eof():  # The response to a HEAD is at its end, whatever length it announces.
        check_size(response.content_length or 0, max_bytes, response)
    body = await _read(response, max_bytes + 1, on_wait)
    check_size(len(body), max_bytes, response)
    return body


async def read_start(response: aiohttp.ClientResponse, on_wait: Callable[[], None] | None = None) -> bytes:
    """Read up to 64 KiB. The connection is closed if there is more."""
    return (await _read(response, MAX_ERROR_BODY + 1, on_wait))[:MAX_ERROR_BODY]


async def _read(response: aiohttp.ClientResponse, size: int, on_wait: Callable[[], None] | None) -> bytes:
    """Read at most `size` bytes. The connection is closed if there may be more."""
    content = response.content
    parts: list[Body] = []
    left, next_turn = size, size - BYTES_PER_TURN
    try:
        while left and not content.at_eof():
            if on_wait is not None:
                on_wait()
            part = Body((await content.readany())[:left])
            left -= len(part)
            parts.append(part)
            if left <= next_turn:  # Decompressing waits for nothing, and other tasks must have their turn.
                next_turn = left - BYTES_PER_TURN
                await asyncio.sleep(0)
        if left:
            await response.read()  # The response is complete, but the request may still be going out.
        else:
            response.close()
    except BaseException:
        response.close()
        del response, content  # The repr of a response shows its headers, and a traceback the locals of this frame.
        raise
    return b"".join(parts)


def check_size(size: int, max_bytes: int, response: aiohttp.ClientResponse) -> None:
    """Close the connection and raise `ResponseTooLargeError` if a body is larger than allowed."""
    if size > max_bytes:
        response.close()
        del response
        raise ResponseTooLargeError(
            f"the response is larger than max_answer_bytes ({max_bytes:,}): ask for less, or pass more to EachLabs"
        )
