"""Owns how tasks are waited for and ended together; refuses to know what they do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of it at once and give the results in order; the first failure ends the rest and is raised as it is.

    (A `TaskGroup` would wrap it in a group.)
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end(tasks)


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
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


class Awaited:
    """What one task awaits, in a task of its own, so that another can end it and the first is told."""

    def __init__(self, told: str) -> None:
        self._told = told
        self._task: asyncio.Task[Any] | None = None
        self._ended = False

    async def result(self, task: asyncio.Task[T]) -> T:
        """Wait for `task`, which is cancelled with the caller; a RuntimeError where it was ended instead."""
        caller = asyncio.current_task()
        asked = caller.cancelling() if caller is not None else 0
        self._task = task
        if self._ended:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            await end([task])
            if not self._ended or (caller is not None and caller.cancelling() > asked):
                raise
        raise RuntimeError(self._told)

    async def end(self) -> None:
        """End what is awaited, and whatever would be."""
        self._ended = True
        if self._task is not None:
            await end([self._task])
