"""Tests for the emulator's clock: due callbacks run in order, in real time or when the clock is advanced."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from eachlabs_async.emulator import Clock

START = datetime(2026, 8, 1, tzinfo=UTC)


def test_a_virtual_clock_stands_still_until_it_is_advanced() -> None:
    """Its time is its start plus what it was advanced by, and it never goes back."""
    clock = Clock(START, virtual=True)
    assert clock.now() == START
    clock.advance(90)
    assert (clock.now() - START).total_seconds() == clock.seconds == 90
    with pytest.raises(ValueError, match="seconds must be at least 0"):
        clock.advance(-1)


def test_what_is_due_happens_in_order_and_at_its_time() -> None:
    """This includes callbacks scheduled meanwhile, and excludes those cancelled or due later."""
    clock = Clock(START, virtual=True)
    happened: list[tuple[str, float]] = []

    def note(name: str) -> None:
        happened.append((name, clock.seconds))
        if name == "first":
            clock.after(1, lambda: note("then"))

    clock.after(5, lambda: note("later"))
    clock.after(2, lambda: note("first"))
    clock.after(2, lambda: note("second"))
    clock.after(4, lambda: note("never")).cancel()
    clock.after(11, lambda: note("beyond"))
    clock.advance(10)
    assert happened == [("first", 2), ("second", 2), ("then", 3), ("later", 5)]
    assert clock.seconds == 10


async def test_a_running_clock_does_it_by_itself_and_can_be_hurried() -> None:
    """Real time passes, `advance` brings later callbacks forward, and nothing runs after `stop`."""
    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC)).total_seconds() < 1
    clock.start()
    start = time.monotonic()
    await clock.sleep(0.02)
    assert 0.015 < time.monotonic() - start < 1
    far = asyncio.Event()
    clock.after(1000, far.set)
    clock.advance(1001)
    await asyncio.wait_for(far.wait(), 1)
    stopped = asyncio.Event()
    clock.after(0.01, stopped.set)
    clock.stop()
    await asyncio.sleep(0.03)
    assert not stopped.is_set()
    clock.start()
    await asyncio.wait_for(stopped.wait(), 1)
    clock.stop()


async def test_who_gave_up_sleeping_leaves_no_timer_that_matters() -> None:
    """A cancelled sleep raises `CancelledError`, and its timer has no effect when it is due."""
    clock = Clock(virtual=True)
    clock.start()
    asleep = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    asleep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asleep
    clock.advance(10)
    clock.stop()
