"""Holds how one task ends what another awaits: the other is told, and keeps no trace of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from eachlabs_async.transport.tasks import Interruptible


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_the_awaiting_task_gets_an_error_and_can_go_on() -> None:
    """The end is a RuntimeError, not a cancellation; complete when `end` returns; it holds for later awaits too."""
    awaited = Interruptible("it was closed")
    over = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            over.append("work")

    async def consume() -> int:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="it was closed"):
                await awaited.result(work())
            await asyncio.sleep(0)
        return cancelling()

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    await asyncio.gather(awaited.end(), awaited.end())
    assert over == ["work"]
    await awaited.end()
    assert await consumer == 0


async def test_two_tasks_cannot_wait_at_once() -> None:
    """The second one gets an error that says so, and the first one waits on."""
    awaited = Interruptible("it was closed")
    consumer = asyncio.create_task(awaited.result(asyncio.sleep(0.01, "first")))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task already waits"):
        await awaited.result(asyncio.sleep(60))
    assert await consumer == "first"


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_a_cancellation_at_the_same_moment_passes(cancelled_first: bool) -> None:
    """Who was cancelled as well ends as cancelled."""
    awaited = Interruptible("it was closed")
    consumer = asyncio.create_task(awaited.result(asyncio.sleep(60)))
    await asyncio.sleep(0)
    if cancelled_first:
        consumer.cancel()
    ending = asyncio.create_task(awaited.end())
    if not cancelled_first:
        await asyncio.sleep(0)
        consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await ending
    assert consumer.cancelled()


async def test_what_does_not_let_itself_be_ended_is_given() -> None:
    """Work that ends all the same gives its result, and its caller is not marked as cancelled."""
    awaited = Interruptible("it was closed")

    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "done"

    async def consume() -> tuple[str, int]:
        return await awaited.result(stubborn()), cancelling()

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    await awaited.end()
    assert await consumer == ("done", 0)


async def test_an_end_that_is_cancelled_ends_it_all_the_same() -> None:
    """Only the waiting for it is given up."""
    awaited = Interruptible("it was closed")
    consumer = asyncio.create_task(awaited.result(asyncio.sleep(60)))
    await asyncio.sleep(0)
    ending = asyncio.create_task(awaited.end())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(RuntimeError, match="it was closed"):
        await consumer
    await asyncio.gather(ending, return_exceptions=True)
