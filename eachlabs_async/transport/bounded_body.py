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

EXPANDS_TOO_FAR: Final = "Decompressed data exceeds the configured limit"
"""What aiohttp before 3.14 says of a part that it would have to decompress to more than 32 MiB."""
BYTES_PER_TURN: Final = 1024 * 1024
"""Bytes that are read in one turn of the event loop, at most, if they need not be waited for."""


def is_success(status: int) -> bool:
    """Whether the whole body of a response matters, and not only its start."""
    return 200 <= status < 300


async def read_body(
    response: aiohttp.ClientResponse, max_bytes: int | None, on_wait: Callable[[], None] | None = None
) -> bytes:
    """Read the rest of a response as it comes. `on_wait` is called before each wait for more.

    Raises `ResponseTooLargeError` if a successful response has more than `max_bytes`. Of any other, or without
    `max_bytes`, only the first 64 KiB are returned. In both cases the connection is closed.
    """
    content = response.content
    whole = max_bytes is not None and is_success(response.status)
    limit = MAX_ERROR_BODY if max_bytes is None or not whole else max_bytes
    parts: list[Body] = []
    size, next_turn = 0, BYTES_PER_TURN
    try:
        if whole and not content.at_eof():  # The response to a HEAD is at its end, whatever length it announces.
            check_size(response.content_length or 0, limit)
        while size <= limit and not content.at_eof():
            if on_wait is not None:
                on_wait()
            try:
                parts.append(Body(await content.readany()))
                size += len(parts[-1])
            except aiohttp.ClientPayloadError as exc:
                if EXPANDS_TOO_FAR not in str(exc):
                    raise
                size = limit + 1
            if size >= next_turn:  # Decompressing waits for nothing, and other tasks must have their turn.
                next_turn = size + BYTES_PER_TURN
                await asyncio.sleep(0)
        if whole:
            check_size(size, limit)
        if size <= limit:
            await response.read()  # The response is complete, but the request may still be going out.
        else:
            response.close()
    except BaseException:
        response.close()
        del response, content  # The repr of a response shows its headers, and a traceback the locals of this frame.
        raise
    return b"".join(parts)[:limit]


def check_size(size: int, max_bytes: int) -> None:
    """Raise `ResponseTooLargeError` if a body is larger than allowed."""
    if size > max_bytes:
        raise ResponseTooLargeError(
            f"the response is larger than max_answer_bytes ({max_bytes:,}): ask for less, or pass more to EachLabs"
        )
