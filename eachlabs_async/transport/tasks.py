"""Owns how tasks are waited for and ended together; refuses to know what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")


async def gather_or_cancel(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once and give the results in order; the first failure ends the rest and is raised as it is.

    (A `TaskGroup` would wrap it in a group.)
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(tasks)


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and see them gone, also where the caller is cancelled meanwhile (which is then raised)."""
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
            task.exception()  # Looked at, so that the loop does not report it: nobody waits for it now.
    if cancelled is not None:
        raise cancelled


def is_running(generator: AsyncGenerator[Any, None]) -> bool:
    """Say whether some task is within `generator` at this moment, so that no other can close it."""
    return bool(generator.ag_running)  # type: ignore[attr-defined]  # the abstract class lacks it


class Interruptible:
    """What one task awaits, so that another can end it and the first is told."""

    def __init__(self, told: str) -> None:
        self._told = told
        self._ended = False
        self._caller: asyncio.Task[Any] | None = None
        self._left: asyncio.Future[None] | None = None

    def check(self) -> None:
        """Raise the RuntimeError that tells of the end, where it came."""
        if self._ended:
            raise RuntimeError(self._told)

    async def result(self, work: Awaitable[T]) -> T:
        """Wait for `work`; a RuntimeError where another task ended that. A cancellation of the caller passes."""
        caller = self._caller = cast("asyncio.Task[Any]", asyncio.current_task())
        asked = caller.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            if self._left is None or caller.cancelling() > asked + 1:
                raise
            raise RuntimeError(self._told) from None
        finally:
            self._caller = None
            if self._left is not None:
                caller.uncancel()
                self._left.set_result(None)

    async def end(self) -> None:
        """End what is awaited, and whatever would be; it is gone when this returns."""
        self._ended = True
        if self._caller is not None and self._left is None:
            self._left = asyncio.get_running_loop().create_future()
            self._caller.cancel()
        if self._left is not None:
            await asyncio.wait([self._left])
