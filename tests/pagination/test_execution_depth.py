"""Tests for walks far beyond the first thousand rows, against the emulator with the limits of September 2026.

`EACHLABS_DEPTH=200000` sets the number of rows; the default is small.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.emulator import Emulator, Move

ROWS = int(os.environ.get("EACHLABS_DEPTH", "6000"))
TIES = 3000
PATIENT = RetryPolicy(max_attempts=12, base_s=0.001)


@asynccontextmanager
async def emulated(ties: int) -> AsyncIterator[Emulator]:
    """Many rows share one time, a row is inserted at the top with each request, and 5 % of the requests fail."""
    async with Emulator(ROWS, seed=3, workflow_executions=3, flow_executions=3, runs=3) as emulator:
        middle = len(emulator.executions) // 2
        if ties:
            created = emulator.executions.get(emulator.executions.ids()[middle])["created_at"]
            emulator.executions.insert(ties, middle, created_at=created)
        emulator.moves.add(Move.insert(1), endpoint=("executions.list", "executions.list_by_cursor"))
        emulator.faults.random(0.05)
        yield emulator


@pytest.mark.parametrize("look_ahead", [0, 8])
@pytest.mark.parametrize(("edition", "ties"), [("compat", 0), ("compat", TIES), ("unified", TIES)])
async def test_every_row_comes_once(edition: str, ties: int, look_ahead: int) -> None:
    """By seeking, by cursor, and by seeking with the cursor where too many rows share a second."""
    async with emulated(ties) as emulator:
        old = emulator.executions.ids()
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        async with EachLabs(emulator.api_key, hosts=hosts, retry=PATIENT) as client:
            rows = [row.id async for row in client.executions.list(look_ahead=look_ahead)]
        known = set(old)
        assert [row for row in rows if row in known] == old
        assert len(rows) == len(set(rows))
        pages = len(old) / 100
        extra = 0 if edition == "unified" or not ties else 25  # the second is read by offset before it is by cursor
        assert sum(emulator.requests.values()) <= 1.3 * pages + 3 * look_ahead + extra + 5
        assert emulator.max_in_flight <= look_ahead + 1


@pytest.mark.parametrize("look_ahead", [0, 8])
@pytest.mark.parametrize("ways", [["compat"], ["unified"], ["compat", "unified"]], ids=" to ".join)
async def test_killed_at_every_fiftieth_request_it_goes_on(ways: list[str], look_ahead: int) -> None:
    """Each time with a new client, of the same or the other edition."""
    async with emulated(0 if ways == ["compat"] else TIES) as emulator:
        old = emulator.executions.ids()
        rows: list[str] = []
        checkpoint, lives, done = None, 0, False
        while not done:
            hosts = emulator.hosts if ways[lives % len(ways)] == "compat" else emulator.unified_hosts
            async with EachLabs(emulator.api_key, hosts=hosts, retry=PATIENT) as client:
                pager = client.executions.list(look_ahead=look_ahead, resume=checkpoint)
                done = True
                async with pager:
                    async for row in pager:
                        rows.append(row.id)
                        if pager.stats.requests >= 50:
                            done = False
                            break
                checkpoint = pager.checkpoint
            lives += 1
            assert lives <= len(old) / 1000 + 10
        known = set(old)
        assert [row for row in rows if row in known] == old
        assert len(rows) == len(set(rows))
