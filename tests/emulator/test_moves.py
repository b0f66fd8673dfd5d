"""Tests for moving listings at the emulator: which rows, at which moment of which request, and how often."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async.emulator import Emulator, Fault, Move

ROWS = 30


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(ROWS, unfinished=0.3) as running:
        yield running


@pytest.fixture
async def caller(emulator: Emulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(emulator, session)


async def ids(caller: Caller) -> list[str]:
    page = await caller.good("runs", "/runs", size=100)
    return [row["id"] for row in page["items"]]


class TestAMove:
    async def test_inserts_where_it_is_told(self, emulator: Emulator, caller: Caller) -> None:
        """At the top, at a position counted from either end, at the end if the position is beyond it, or anywhere."""
        before = await ids(caller)
        for move in (Move.insert(2), Move.insert(1, -1), Move.insert(1, 1000), Move.insert(1, -1000)):
            emulator.moves.add(move, endpoint="runs.list", times=1)
        after = await ids(caller)
        assert after[3:-3] == before[:-1]
        assert after[-2] == before[-1]
        emulator.moves.add(Move.insert(1, "anywhere", status="queued"), endpoint=["runs.list"], times=1)
        (made,) = set(await ids(caller)) - set(after)
        assert emulator.runs.get(made)["status"] == "queued"
        assert emulator.moves.made == {"insert": 5}

    async def test_removes_what_it_is_told(self, emulator: Emulator, caller: Caller) -> None:
        """It removes the given positions among the selected rows, or as many as are drawn, and skips other rows."""
        before = await ids(caller)
        emulator.moves.add(Move.remove(0, -1, 500), times=1)
        assert await ids(caller) == before[1:-1]
        emulator.moves.add(Move.remove(count=1000, where={"status": "completed"}), times=1)
        await ids(caller)
        assert all(row["status"] != "completed" for row in emulator.runs)
        emulator.moves.add(Move.remove(0, where={"status": "nonsense"}), times=1)
        left = await ids(caller)
        assert left == emulator.runs.ids()

    async def test_changes_what_it_is_told(self, emulator: Emulator, caller: Caller) -> None:
        """A change can take a row out of a filter."""
        query: dict[str, Any] = {"status": "success", "limit": 100}
        first = (await caller.good("api", "/executions", **query))["executions"]
        emulator.moves.add(Move.change(0, where={"status": "success"}, status="error"), endpoint="executions.list")
        second = (await caller.good("api", "/executions", **query))["executions"]
        assert second == first[1:]

    async def test_can_be_anything(self, emulator: Emulator, caller: Caller) -> None:
        """A function may do anything to the listing that is read; for an unknown workflow there is no listing."""
        sizes: list[int] = []
        emulator.moves.add(Move.by(lambda rows, dice: sizes.append(len(rows))))
        await caller.good("workflows", "/workflows/workflow-2/executions")
        await caller.ask("workflows", "/workflows/none/executions")
        assert sizes == [len(emulator.workflow_executions[emulator.workflow_ids[1]])]

    def test_is_checked_when_it_is_made(self, emulator: Emulator) -> None:
        """Counts must be at least 1, fields must be given, and the listing and the moment must exist."""
        for make in (lambda: Move.insert(0), lambda: Move.remove(count=0), lambda: Move.change(0)):
            with pytest.raises(ValueError):
                make()
        wrong: list[dict[str, Any]] = [{"endpoint": "runs.get"}, {"when": "later"}, {"after": -1}]
        for options in wrong:
            with pytest.raises(ValueError):
                emulator.moves.add(Move.insert(), **options)


class TestARule:
    async def test_counts_requests_and_moves(self, emulator: Emulator, caller: Caller) -> None:
        """A rule skips the first requests, moves a number of times, and can then be removed."""
        rule = emulator.moves.add(Move.insert(), endpoint="runs.list", after=1, times=2)
        sizes = [len(await ids(caller)) for _ in range(5)]
        assert sizes == [ROWS, ROWS + 1, ROWS + 2, ROWS + 2, ROWS + 2]
        assert (rule.matched, rule.fired) == (5, 2)
        forever = emulator.moves.add(Move.insert(), endpoint="runs.list")
        await caller.good("api", "/executions")
        assert len(await ids(caller)) == ROWS + 3
        emulator.moves.remove(forever)
        emulator.moves.remove(forever)
        assert len(await ids(caller)) == ROWS + 3
        emulator.moves.add(Move.insert())
        emulator.moves.clear()
        assert len(await ids(caller)) == ROWS + 3

    async def test_chooses_its_moment(self, emulator: Emulator, caller: Caller) -> None:
        """Moves before and during a request show in its answer, moves after it do not; a broken answer has no after."""
        for when, more in (("before", 1), ("during", 2), ("after", 2)):
            emulator.moves.add(Move.insert(), when=when, times=1)
            assert len(await ids(caller)) == ROWS + more
        assert len(emulator.runs) == ROWS + 3
        rule = emulator.moves.add(Move.insert(), when="after")
        emulator.faults.add(Fault.status(503), times=1)
        assert (await caller.ask("runs", "/runs"))[0] == 503
        assert rule.fired == 0


@pytest.mark.parametrize(
    ("service", "path", "rows"),
    [
        ("api", "/executions?offset=2000", 2000),
        ("runs", "/runs?page=41&size=50", 2000),
        ("runs", "/runs?page=x", 0),
        ("api", "/executions", 0),
    ],
)
async def test_a_deep_page_costs_time(emulator: Emulator, caller: Caller, service: str, path: str, rows: int) -> None:
    """The time grows with every thousand rows before the page, in either dialect; a wrong query costs nothing."""
    emulator.faults.add(Fault.deep_offset(0.01))
    start = time.monotonic()
    await caller.ask(service, path)
    assert time.monotonic() - start >= rows / 1000 * 0.01
    assert emulator.faults.plan(emulator.log[-1]).delay_s == pytest.approx(rows / 1000 * 0.01)
