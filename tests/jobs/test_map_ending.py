"""Tests for how a map ends: by a break, an exception, a cancellation, a close, or a failure of its own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from event_loop import until
from internals import backend_of
from map_jobs import CREATES, KINDS, mapped, numbered, stage

from eachlabs_async import AuthenticationError, EachLabs, PaymentRequiredError
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.jobs.map_run import MapRun

both_kinds = pytest.mark.parametrize("kind", KINDS)
LONG = 60.0
READS = (
    "workflow_executions.list",
    "workflow_executions.get",
    "predictions.get",
    "executions.list",
    "executions.list_by_cursor",
)


def statuses(emulator: Emulator) -> set[str]:
    return {str(emulator.predictions.get(one.id)["status"]) for one in emulator.submitted}


def started(emulator: Emulator, client: EachLabs, kind: str, **options: Any) -> MapRun[Any]:
    """Return a map of which two inputs end soon and five run long."""
    return mapped(emulator, client, kind, [*numbered(2), *numbered(5, seconds=LONG)], **options)


def tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks of running maps."""
    names = ("MapSender.", "MapWatcher.")
    return {task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__qualname__", "").startswith(names)}


async def seven_run(emulator: Emulator) -> None:
    await until(lambda: len(emulator.submitted) == 7)
    # The answer of the last one is on its way.
    await asyncio.sleep(0.05)


class TestLeaving:
    @pytest.mark.parametrize("how", ["block", "loop", "exception", "aclose"])
    @both_kinds
    async def test_early_leaves_no_task_and_cancels_predictions(self, kind: str, how: str) -> None:
        """However the loop is left, nothing more is sent, and running predictions are cancelled."""
        async with stage() as (emulator, client):
            run = started(emulator, client, kind)
            if how == "block":
                async with run as outcomes:
                    async for _ in outcomes:
                        await seven_run(emulator)
                        break
            elif how == "loop":
                async for _ in run:
                    await seven_run(emulator)
                    break
                gc.collect()
                await until(lambda: run.stats.running == 0)
                await asyncio.sleep(0.01)
            elif how == "exception":
                with pytest.raises(ZeroDivisionError):
                    async with run as outcomes:
                        async for _ in outcomes:
                            await seven_run(emulator)
                            _ = 1 / 0
            else:
                outcomes = aiter(run)
                await anext(outcomes)
                await seven_run(emulator)
                await run.aclose()
                with pytest.raises(StopAsyncIteration):
                    await anext(outcomes)
            assert not tasks()
            assert len(emulator.submitted) == 7
            if kind == "prediction":
                await until(lambda: emulator.running == 0)
                assert statuses(emulator) == {"success", "cancelled"}
            else:
                assert emulator.running == 5
            assert run.stats.running == 0

    @both_kinds
    async def test_by_cancellation_leaves_no_task_and_cancels_predictions(self, kind: str) -> None:
        """The cancellation is raised after all tasks of the map have ended."""
        async with stage() as (emulator, client):
            task = asyncio.create_task(started(emulator, client, kind).collect())
            await seven_run(emulator)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not tasks()
            if kind == "prediction":
                assert statuses(emulator) == {"success", "cancelled"}

    async def test_what_cannot_be_cancelled_does_no_harm(self) -> None:
        """A failed request to cancel is ignored, whether the provider cannot stop or the service is away."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(404), endpoint="predictions.cancel", times=2)
            async with mapped(emulator, client, "prediction", numbered(4, seconds=LONG, uncancellable=True)) as run:
                task = asyncio.create_task(anext(aiter(run)))
                await until(lambda: len(emulator.submitted) == 4)
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert emulator.requests["predictions.cancel"] == 4

    async def test_with_a_journal_what_runs_runs_on(self, tmp_path: Path) -> None:
        """The next run takes up the running executions."""
        async with stage() as (emulator, client):
            async with started(emulator, client, "prediction", journal=tmp_path / "journal") as run:
                async for _ in run:
                    await seven_run(emulator)
                    break
            assert emulator.running == 5
            assert emulator.requests["predictions.cancel"] == 0

    @both_kinds
    async def test_an_abandoned_map_ends_with_the_collector(self, kind: str) -> None:
        """A map that nothing refers to ends with its garbage collection."""
        async with stage() as (emulator, client):
            outcomes: Any = aiter(started(emulator, client, kind))
            await anext(outcomes)
            assert tasks()
            del outcomes
            gc.collect()
            # The loop closes the generator in a task of its own.
            await until(lambda: not tasks() and not any("athrow" in repr(task) for task in asyncio.all_tasks()))

    @both_kinds
    async def test_closing_while_an_outcome_is_awaited_is_told_to_who_waits(self, kind: str) -> None:
        """The waiting task gets an error rather than the end of the outcomes; two concurrent closes both return."""
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, numbered(3, seconds=LONG))
            waiting = asyncio.create_task(run.collect())
            await until(lambda: len(emulator.submitted) == 3)
            await asyncio.gather(run.aclose(), run.aclose())
            with pytest.raises(RuntimeError, match="closed"):
                await waiting

    async def test_a_closed_map_is_not_run(self) -> None:
        """A map cannot be run twice either."""
        async with stage() as (emulator, client):
            run = mapped(emulator, client, "workflow", numbered(2))
            await run.collect()
            with pytest.raises(RuntimeError, match="once"):
                await run.collect()
            other = mapped(emulator, client, "workflow", numbered(2))
            await other.aclose()
            with pytest.raises(RuntimeError, match="once"):
                aiter(other)
            assert len(emulator.submitted) == 2


class TestFailing:
    @both_kinds
    @pytest.mark.parametrize("journaled", [False, True])
    async def test_an_error_of_on_progress_ends_the_map(self, kind: str, journaled: bool, tmp_path: Path) -> None:
        """The error is raised as it is; with a journal the outcome is not lost, since the next run delivers it."""

        def fails(stats: Any) -> None:
            if stats.done == 3:
                raise ZeroDivisionError

        journal = tmp_path / "journal" if journaled else None
        async with stage() as (emulator, client):
            seen = []
            with pytest.raises(ZeroDivisionError):
                async for outcome in mapped(emulator, client, kind, numbered(6), on_progress=fails, journal=journal):
                    seen.append(outcome.index)
            assert not tasks()
            if journaled:
                await until(lambda: emulator.running == 0)
                async for outcome in mapped(emulator, client, kind, numbered(6), journal=journal):
                    seen.append(outcome.index)
                assert sorted(seen) == list(range(6))

    @both_kinds
    async def test_a_key_that_is_revoked_ends_the_watching(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing can be watched any more: the error that is raised after a while has the ids of what runs."""
        monkeypatch.setattr("eachlabs_async.jobs.map_watcher.PATIENCE_S", 0.2)
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(401), endpoint=READS)
            with pytest.raises(AuthenticationError, match="3 executions had not ended") as caught:
                await mapped(emulator, client, kind, numbered(3)).collect()
            ids = {one.id for one in emulator.submitted}
            assert set(caught.value.running) == ids
            assert all(identity in str(caught.value) for identity in ids)
            assert not tasks()

    @both_kinds
    async def test_a_key_that_is_refused_for_a_while_loses_nothing(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What runs is paid for: its outcomes are read once the key works again, with few requests until then."""
        monkeypatch.setattr("eachlabs_async.jobs.map_watcher.PATIENCE_S", 5.0)
        async with stage() as (emulator, client):
            rule = emulator.faults.add(Fault.status(401), endpoint=READS)
            job = asyncio.create_task(mapped(emulator, client, kind, numbered(3)).collect())
            await until(lambda: emulator.answers[401] >= 4)
            await asyncio.sleep(0.3)
            assert emulator.answers[401] <= 60
            emulator.faults.remove(rule)
            assert len((await job).values) == 3

    @pytest.mark.parametrize("where", ["submit", "fetch", "finished"])
    async def test_an_error_of_our_own_does_not_pass_for_the_end(self, where: str) -> None:
        """An unexpected exception in a backend ends the map and is raised as it is."""

        async def breaks(*arguments: Any) -> Any:
            raise ZeroDivisionError

        async with stage() as (emulator, client):
            run = mapped(emulator, client, "workflow", numbered(3))
            setattr(backend_of(run), where, breaks)
            with pytest.raises(ZeroDivisionError):
                async with asyncio.timeout(10):
                    await run.collect()
            assert not tasks()

    async def test_a_task_that_is_cancelled_from_outside_does_not_pass_for_the_end(self) -> None:
        """Its inputs have no outcome, so the map is cancelled rather than ended."""
        async with stage() as (emulator, client):
            waiting = asyncio.create_task(mapped(emulator, client, "workflow", numbered(3, seconds=LONG)).collect())
            await until(lambda: len(emulator.submitted) == 3)
            next(iter(tasks())).cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not tasks()

    async def test_the_first_failure_is_the_one_that_is_raised(self) -> None:
        """A second failure, raised while running executions are awaited, does not replace it."""

        async def source() -> AsyncIterator[dict[str, Any]]:
            yield {"n": 0, "seconds": 0.2}
            yield {"n": 1}
            await asyncio.sleep(0.2)
            raise ZeroDivisionError

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(402), endpoint=CREATES, after=1)
            with pytest.raises(PaymentRequiredError) as caught:
                await mapped(emulator, client, "prediction", source(), concurrency=1).collect()
            assert len(caught.value.partial.values) == 1
