"""Tests for leaving a map early: it is prompt, whatever the service does, and what runs on is named."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from paid_jobs import KINDS, Paid, mapped, paid

from eachlabs_async.jobs.map_run import MapRun

both_kinds = pytest.mark.parametrize("kind", KINDS)
LEAVE_S = 0.3


def inputs(count: int) -> list[dict[str, Any]]:
    """Return inputs of which the first ends soon and the others run long."""
    return [{"n": number, "seconds": 60 if number else 0.05} for number in range(count)]


async def left_at_first(run: MapRun[Any], service: Paid, count: int) -> float:
    """Leave a map once its first outcome is there and `count` inputs were sent, while the service hangs.

    Return how long leaving took.
    """
    async with run as outcomes:
        async for _ in outcomes:
            while run.stats.submitted < count:
                await asyncio.sleep(0.01)
            await service.control(rules={"hang": True})
            await asyncio.sleep(0.1)
            began = time.monotonic()
            break
    return time.monotonic() - began


def warning(caplog: pytest.LogCaptureFixture) -> str:
    (found,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    return found


@both_kinds
@pytest.mark.parametrize("journaled", [False, True])
async def test_a_service_that_hangs_does_not_hold_the_exit(
    kind: str, journaled: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names what was left running."""
    async with paid() as service, service.client() as client:
        journal = tmp_path / "journal" if journaled else None
        run = mapped(client, kind, inputs(8), journal=journal, leave_s=LEAVE_S)
        assert await left_at_first(run, service, 8) <= 2.0 + LEAVE_S
        running = set(await service.executed())
        said = warning(caplog)
        assert "7 executions may still run" in said
        assert sum(identity in said for identity in running) == 7
        assert ("same journal" in said) is journaled


@both_kinds
async def test_many_names_are_a_short_warning(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first ten are named, the others counted."""
    async with paid() as service, service.client() as client:
        await left_at_first(mapped(client, kind, inputs(40), leave_s=LEAVE_S), service, 40)
        assert "39 executions may still run" in warning(caplog)
        assert "and 29 more" in warning(caplog)
        assert len(warning(caplog)) < 1000


@pytest.mark.parametrize("how", ["break", "cancellation"])
async def test_what_is_being_created_is_cancelled_too(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Leaving waits for the answers of creating requests, because they are what has the ids."""
    async with paid(faults=[{"act": "delay", "s": 0.4, "when": '"seconds"', "skip": 3, "times": 9}]) as service:
        async with service.client() as client:
            run = mapped(client, "prediction", inputs(6))

            async def go() -> None:
                async with run as outcomes:
                    async for _ in outcomes:
                        if how == "break":
                            break
                        await asyncio.sleep(60)

            job = asyncio.create_task(go())
            async with asyncio.timeout(5):
                while len(await service.executed()) < 6 or not run.stats.done:
                    await asyncio.sleep(0.01)
            if how == "cancellation":
                job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await job
            said = await service.verdict()
            assert said["running"] == 0
            assert said["requests"]["creating"] == len(said["executions"]) == 6
            assert not caplog.records


@both_kinds
async def test_what_is_being_created_is_in_the_journal(kind: str, tmp_path: Path) -> None:
    """The next run takes it up, without a look-up."""
    journal = tmp_path / "journal"
    async with paid(answer_s=[0.4, 0.4]) as service, service.client() as client:
        run = mapped(client, kind, [{"n": number} for number in range(4)], journal=journal)
        job = asyncio.create_task(run.collect())
        while len(await service.executed()) < 4:
            await asyncio.sleep(0.01)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        with contextlib.closing(sqlite3.connect(journal)) as db:
            assert db.execute("SELECT DISTINCT state FROM inputs").fetchall() == [("running",)]
        again = mapped(client, kind, [{"n": number} for number in range(4)], journal=journal)
        assert len((await again.collect()).values) == 4
        assert again.stats.recovered == 0
        assert set((await service.verdict())["bills"]["me"].values()) == {1}


@both_kinds
async def test_an_answer_that_does_not_come_is_waited_for_leave_s_at_most(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning says that its inputs may have been carried out; with 0 nothing is waited for."""
    async with paid(answer_s=[30, 30]) as service, service.client() as client:
        for leave_s in (0.0, LEAVE_S):
            caplog.clear()
            job = asyncio.create_task(mapped(client, kind, [{"n": leave_s}], leave_s=leave_s).collect())
            while not any(given["n"] == leave_s for given in (await service.executed()).values()):
                await asyncio.sleep(0.01)
            began = time.monotonic()
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            assert leave_s - 0.05 <= time.monotonic() - began <= leave_s + 1.0
            assert "1 inputs were being sent and may have been carried out" in warning(caplog)
