"""Tests for how a map watches what runs: an outcome is a finished record, and an execution costs few requests."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from paid_jobs import KINDS, mapped, paid

from eachlabs_async import ExecutionFailedError, WaitTimeoutError

both_kinds = pytest.mark.parametrize("kind", KINDS)


@both_kinds
@pytest.mark.parametrize(("late", "fail"), [("detail_lag_s", False), ("detail_lag_s", True), ("detail_late_s", False)])
async def test_an_outcome_is_a_finished_record_although_the_listing_is_ahead(kind: str, late: str, fail: bool) -> None:
    """An execution that only the listing calls finished, while it runs or is not found, is watched until it is."""
    async with paid(takes_s=[0.02, 0.1], **{late: [0.1, 0.4]}) as service, service.client() as client:
        found = [one async for one in mapped(client, kind, [{"n": number, "fail": fail} for number in range(12)])]
        assert len(found) == 12
        for outcome in found:
            if fail:
                assert isinstance(outcome.error, ExecutionFailedError)
            else:
                assert outcome.unwrap().is_finished
                assert outcome.unwrap().output == {"of": {"n": outcome.index, "fail": False}}
        assert set((await service.verdict())["bills"]["me"].values()) == {1}


@both_kinds
async def test_what_an_earlier_run_created_a_moment_ago_may_not_be_visible_yet(kind: str, tmp_path: Path) -> None:
    """The next run of the job reads it again until it is."""
    async with paid(takes_s=[0.02, 0.02], detail_late_s=[0.6, 0.6]) as service, service.client() as client:
        given = [{"n": number} for number in range(6)]
        job = asyncio.create_task(mapped(client, kind, given, journal=tmp_path / "journal").collect())
        while len(await service.executed()) < 6:
            await asyncio.sleep(0.01)
        job.cancel()
        await asyncio.wait([job])
        result = await mapped(client, kind, given, journal=tmp_path / "journal").collect()
        assert len(result.values) == 6
        assert set((await service.verdict())["bills"]["me"].values()) == {1}


@both_kinds
async def test_an_execution_whose_record_never_finishes_is_an_error_in_the_end(kind: str) -> None:
    """The error has the id and the record, and says that the execution runs."""
    async with paid(detail_lag_s=[60, 60]) as service, service.client() as client:
        result = await mapped(client, kind, [{"n": number} for number in range(6)], timeout_s=0.5).collect()
        for error in result.errors.values():
            assert isinstance(error, WaitTimeoutError)
            assert error.execution_id in await service.executed()
        assert len(result.errors) == 6


@both_kinds
async def test_an_execution_may_run_for_timeout_s(kind: str) -> None:
    """It continues at the service, and the other inputs go on; each timeout counts from the start of its execution."""
    async with paid(takes_s=[0.1, 0.2]) as service, service.client() as client:
        inputs: list[Any] = [{"n": 0, "seconds": 60}, *({"n": number} for number in range(1, 9))]
        run = mapped(client, kind, inputs, timeout_s=1.0, concurrency=2)
        async with asyncio.timeout(10):
            result = await run.collect()
        assert list(result.errors) == ["0"]
        assert isinstance(result.errors["0"], WaitTimeoutError)
        assert result.errors["0"].execution_id in await service.executed()
        assert (await service.verdict())["running"] == 1


@both_kinds
async def test_an_unknown_status_is_logged_once_and_bounded(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution with it is watched on like a running one, but not for ever, even without a `timeout_s`."""
    monkeypatch.setattr("eachlabs_async.jobs.map_watcher.UNKNOWN_STATUS_S", 0.6)
    async with paid(word="thinking\n\x1b") as service, service.client() as client:
        inputs = [{"n": number, "seconds": 60 if number == 3 else 0.2} for number in range(6)]
        result = await mapped(client, kind, inputs).collect()
        assert list(result.errors) == ["3"]
        assert r"'thinking\n\x1b', which this version does not know" in str(result.errors["3"])
        told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        assert len(told) == 1
        assert r"'thinking\n\x1b'" in told[0]


@both_kinds
@pytest.mark.parametrize(("count", "seconds"), [(192, 0.6), (20, 0.6)])
async def test_an_execution_costs_few_requests(kind: str, count: int, seconds: float) -> None:
    """At most five reads each, of any number that run at once (their times are a tenth of usual ones)."""
    async with paid(takes_s=[0.9 * seconds, 1.1 * seconds]) as service, service.client() as client:
        run = mapped(client, kind, [{"n": number} for number in range(count)])
        assert len((await run.collect()).values) == count
        reads = (await service.verdict())["requests"]["reading"]
        assert reads <= 5 * count


@both_kinds
async def test_a_straggler_is_asked_after_ever_more_rarely(kind: str) -> None:
    """How long the others took says nothing about an execution that has already run much longer."""
    async with paid(takes_s=[0.04, 0.06]) as service, service.client() as client:
        inputs = [{"n": number, **({"seconds": 3.0} if number == 0 else {})} for number in range(20)]
        run = mapped(client, kind, inputs)
        assert len((await run.collect()).values) == 20
        reads = (await service.verdict())["requests"]["reading"]
        assert reads <= 75
