"""Ctrl-C: the first one cancels the command, which then says how to go on; a second one ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from .failures import INTERRUPTED

_SHOW_CURSOR = "\x1b[?25h"


class InterruptedByUserError(Exception):
    """The command was ended by Ctrl-C, and has cleaned up."""


def run_until_interrupted(command: Coroutine[Any, Any, int | None]) -> int | None:
    """Run a command to its end and return its exit code. Raises `InterruptedByUserError` if Ctrl-C ended it."""
    seen = 0
    cancel: Callable[[], object] | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            _end_at_once()
        if cancel is None:
            raise KeyboardInterrupt
        cancel()

    async def supervised() -> int | None:
        nonlocal cancel
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def cancel_soon() -> object:
            return loop.call_soon_threadsafe(task.cancel)

        cancel = cancel_soon
        return await command

    # The handler stays until the loop is closed: Ctrl-C while connections are closed is a second one too.
    with _Handler(handle):
        try:
            return asyncio.run(supervised())
        except asyncio.CancelledError:
            if not seen:
                raise
        except Exception:
            if not seen:  # What fails while a command stops is no news.
                raise
    raise InterruptedByUserError


class _Handler:
    """Handles SIGINT within a block, where a program may: in the main thread."""

    def __init__(self, handle: Callable[[int, FrameType | None], None]) -> None:
        self._handle = handle
        self._before: Any = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)

    def __exit__(self, *details: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


def _end_at_once() -> None:
    if sys.stderr.isatty():
        os.write(2, f"{_SHOW_CURSOR}\n".encode())
    os._exit(INTERRUPTED)
