"""Owns the ending of tasks, for the rooms that start some; refuses to start any."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


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
