"""Run tasks together, end them together, and end what another task awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently and return their results in order.

    The first exception cancels the others and is raised as it is; a `TaskGroup` would wrap it in a group.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(tasks)


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until all have ended, even if the caller is cancelled meanwhile; that is raised then."""
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
            task.exception()  # Retrieved, so that the event loop does not report it.
    if cancelled is not None:
        raise cancelled


def is_running(generator: AsyncGenerator[Any, None]) -> bool:
    """Whether a task is executing `generator` at this moment, so that no other task can close it."""
    return bool(generator.ag_running)  # type: ignore[attr-defined]  # the abstract class lacks it


class Interruptible:
    """An await of one task that another task can end.

    The first task then raises a `RuntimeError` with the given message.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._is_ended = False
        self._caller: asyncio.Task[Any] | None = None
        self._caller_left: asyncio.Future[None] | None = None

    def check(self) -> None:
        """Raise the `RuntimeError` if the await was ended."""
        if self._is_ended:
            raise RuntimeError(self._message)

    async def result(self, work: Awaitable[T]) -> T:
        """Await `work` and return its result.

        Raises `RuntimeError` if another task calls `end`. A cancellation of the caller passes through.
        """
        caller = self._caller = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelling = caller.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            if self._caller_left is None or caller.cancelling() > cancelling + 1:
                raise
            raise RuntimeError(self._message) from None
        finally:
            self._caller = None
            if self._caller_left is not None:
                caller.uncancel()
                self._caller_left.set_result(None)

    async def end(self) -> None:
        """End the present await, if there is one, and every later one. It has ended when this returns."""
        self._is_ended = True
        if self._caller is not None and self._caller_left is None:
            self._caller_left = asyncio.get_running_loop().create_future()
            self._caller.cancel()
        if self._caller_left is not None:
            await asyncio.wait([self._caller_left])
