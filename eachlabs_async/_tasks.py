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
