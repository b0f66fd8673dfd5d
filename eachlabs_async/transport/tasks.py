"""Tasks that are awaited, cancelled and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once and return their results in order.

    The first failure cancels the rest and is raised as it is; a `TaskGroup` would wrap it in a group.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(tasks)


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended. A cancellation of the caller meanwhile is raised after that."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as exc:
            cancelled = exc
    for task in tasks:
        if not task.cancelled():
            task.exception()  # Retrieved, so that the loop does not report an exception that nobody awaits.
    if cancelled is not None:
        raise cancelled


async def run_to_end(work: Callable[[], T], executor: Executor | None = None) -> T:
    """Run blocking work in a thread, of the loop's executor or another one.

    A cancellation is raised once the work has ended, which nothing can interrupt.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        future.exception()  # Retrieved, so that the loop does not report it.
        raise cancelled
    return future.result()


def is_being_cancelled() -> bool:
    """Return whether the current task was cancelled and has not dealt with it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Interruptible:
    """An await that another task can end; the awaiting task then gets a `RuntimeError`."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._ended = False
        self._caller: asyncio.Task[Any] | None = None
        self._left: asyncio.Future[None] | None = None

    async def result(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`. Raises `RuntimeError` once `end` was called; a cancellation of the caller passes through."""
        if self._ended or self._caller is not None:
            work.close()
            raise RuntimeError(self._message if self._ended else "another task already waits for the next item")
        caller = self._caller = cast("asyncio.Task[Any]", asyncio.current_task())
        requests = caller.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            if self._left is None or caller.cancelling() > requests + 1:
                raise
            raise RuntimeError(self._message) from None
        finally:
            self._caller = None
            if self._left is not None:
                caller.uncancel()
                self._left.set_result(None)

    async def end(self) -> None:
        """Cancel what is awaited and whatever would be; it has ended when this returns."""
        self._ended = True
        if self._caller is not None and self._left is None:
            self._left = asyncio.get_running_loop().create_future()
            self._caller.cancel()
        if self._left is not None:
            await asyncio.wait([self._left])
