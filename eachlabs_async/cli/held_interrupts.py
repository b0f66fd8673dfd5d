"""Ctrl-C while the modules of a command are imported."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_interrupts"]


@contextmanager
def held_interrupts() -> Generator[None, None, None]:
    """Hold a Ctrl-C back until the block ends, and raise its `KeyboardInterrupt` then.

    An interrupt within an import can get lost, or come out as another error: some modules run code by `eval` or in
    callbacks, and a module that was imported by halves fails later. Imports are short, so nobody waits for long. It
    does nothing where Ctrl-C is handled in another way, or in another thread than the main one.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, hold)
    except ValueError:  # Only the main thread may set a handler, and only it gets the interrupt.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            raise KeyboardInterrupt
