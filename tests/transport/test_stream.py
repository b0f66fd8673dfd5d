"""Tests for the iteration of streams: what a wait that is cancelled at the worst moment leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from eachlabs_async.transport.stream import NOTHING, Stream


class Failing(Stream):
    """A stream that fails at once, and whose tasks take a while to end."""

    def __init__(self) -> None:
        super().__init__(reused="reused", closed="closed")
        self.stopping = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[int]:
        return self._iterate(lambda: NOTHING)

    async def _advance(self) -> None:
        raise ValueError("the failure")

    async def _stop(self) -> None:
        self.stopping.set()
        await asyncio.sleep(0.01)


async def test_the_error_of_a_wait_that_is_cancelled_while_tasks_end_is_raised_by_the_next() -> None:
    """The cancelled wait cannot raise it; the next one does instead of ending quietly, and only that one."""
    stream = Failing()
    async with stream:
        rows = aiter(stream)
        wait = asyncio.ensure_future(anext(rows))
        await stream.stopping.wait()
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        with pytest.raises(ValueError, match="the failure"):
            await anext(rows)
        with pytest.raises(StopAsyncIteration):
            await anext(rows)


async def test_an_error_that_was_raised_is_not_raised_again() -> None:
    """After it the stream has ended."""
    rows = aiter(Failing())
    with pytest.raises(ValueError, match="the failure"):
        await anext(rows)
    with pytest.raises(StopAsyncIteration):
        await anext(rows)
