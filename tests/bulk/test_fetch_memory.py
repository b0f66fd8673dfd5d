"""Tests that a bulk fetch needs memory for its window only, however many ids it reads."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from typing import Any

import pytest
from bulk_jobs import fetch

MIB = 2**20


async def quick(batch: Any) -> None:
    """Answer at once; one in eight after an iteration of the loop, and one in a thousand after a hundred."""
    for slot in batch:
        outcome = slot.outcome
        if outcome.index % 8 == 0:
            await asyncio.sleep(0.002 if outcome.index % 1000 == 0 else 0)
        outcome.value, outcome.attempts = bytearray(100), 1


async def stream(count: int, *, ordered: bool, window: int | None) -> int:
    """Fetch `count` ids and return by how many memory blocks the process grew at most."""
    many = fetch(quick, (f"id-{n}" for n in range(count)), concurrency=32, ordered=ordered, window=window)
    came = most = 0
    gc.collect()
    before = sys.getallocatedblocks()
    async with many as outcomes:
        async for outcome in outcomes:
            if ordered:
                assert outcome.index == came
            came += 1
            if came % 500 == 0:
                most = max(most, sys.getallocatedblocks())
    assert came == count
    return most - before


FORMS = [(False, None), (True, None), (True, 400)]


# Without asyncio's debug mode, which the suite runs in: it remembers a stack for every callback.
@pytest.mark.parametrize(("ordered", "window"), FORMS)
def test_two_hundred_thousand_ids_take_no_more_than_a_window(ordered: bool, window: int | None) -> None:
    """This holds for an ordered fetch too, whose slow ids hold back later ones, and for a wide window.

    A block has at most half a KiB; tracing every one of them would take minutes.
    """
    assert asyncio.run(stream(200_000, ordered=ordered, window=window), debug=False) < 5 * MIB // 512


@pytest.mark.parametrize(("ordered", "window"), FORMS)
def test_every_byte_of_some_thousands_counted(ordered: bool, window: int | None) -> None:
    """The traced peak of a shorter fetch is a fraction of a MiB: about 0.1 KB per id in the window."""
    tracemalloc.start()
    try:
        asyncio.run(stream(8_000, ordered=ordered, window=window), debug=False)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
