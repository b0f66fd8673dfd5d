"""Tests that a bulk fetch ends when it is left, in whatever way, and leaves nothing running."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bulk_jobs import Reader, echo, fetch, labs, numbers, workers
from event_loop import other_tasks, turns, until
from internals import assert_idle

from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.outcomes import BulkStats
from eachlabs_async.emulator import Emulator, Fault

KINDS = ("sync", "async", "slow")
FACTORIES = [None, *([asyncio.eager_task_factory] if hasattr(asyncio, "eager_task_factory") else [])]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=300, seed=4) as emulator:
        emulator.faults.add(Fault.latency(0.0005, jitter=0.003))
        yield emulator


class LeftError(Exception):
    pass


class TestLeaving:
    @pytest.mark.parametrize("how", ["break", "raise", "cancel", "progress"])
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_at_any_point_leaves_nothing(self, emulator: Emulator, how: str, ordered: bool) -> None:
        """There is no task, no used slot and no request that the server still answers; other calls go on as before."""
        chance = random.Random(f"{how}{ordered}")
        ids = emulator.workflow_executions.ids()
        async with labs(emulator, max_concurrency=5) as client:
            for _ in range(15):
                count = chance.choice([1, 1, 2, 5, 30])
                wait_s = chance.uniform(0, 0.02)

                def on_progress(stats: BulkStats, count: int = count) -> None:
                    if how == "progress" and stats.done == count:
                        raise LeftError

                async def consume(count: int = count, progress: Any = on_progress) -> None:
                    kind = chance.choice(KINDS)
                    source = Reader(ids).given(kind)
                    many = client.workflow_executions.get_many(
                        source, concurrency=8, ordered=ordered, on_progress=progress
                    )
                    got = 0
                    async with many as outcomes:
                        async for outcome in outcomes:
                            assert outcome.ok
                            got += 1
                            if chance.random() < 0.1:
                                await asyncio.sleep(0.001)
                            if how == "raise" and got == count:
                                raise LeftError
                            if how == "break" and got == count:
                                break
                    assert not workers()
                    assert_idle(client)

                task = asyncio.ensure_future(consume())
                if how == "cancel":
                    await asyncio.sleep(wait_s)
                    task.cancel()
                result = (await asyncio.gather(task, return_exceptions=True))[0]
                wanted = {"break": type(None), "cancel": asyncio.CancelledError}.get(how, LeftError)
                assert isinstance(result, wanted)
                assert not workers()
                assert_idle(client)
                assert (await client.workflow_executions.get(ids[0])).execution_id == ids[0]
            await until(lambda: emulator.in_flight == 0)

    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_plain_loop_left_by_break_ends_too(self, emulator: Emulator, kind: str) -> None:
        """Python drops the iterator, and the loop ends the fetch in its next iterations."""
        ids = emulator.workflow_executions.ids()
        async with labs(emulator) as client:
            async for outcome in client.workflow_executions.get_many(Reader(ids).given(kind), concurrency=8):
                assert outcome.ok
                break
            await until(lambda: not workers())
            assert_idle(client)
            await until(lambda: emulator.in_flight == 0)

    async def test_an_iterator_that_is_dropped_ends(self) -> None:
        """This holds even if the fetch itself is kept."""
        many = fetch(echo, numbers())
        outcomes = aiter(many)
        await anext(outcomes)
        assert workers()
        del outcomes
        await turns()
        assert not workers()

    @pytest.mark.parametrize("factory", FACTORIES)
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_with_eager_tasks_nothing_changes(self, factory: Any, ordered: bool) -> None:
        """A loop that starts tasks eagerly yields the same outcomes and the same end."""

        async def at_once(batch: Any) -> None:
            for slot in batch:
                slot.outcome.value = slot.outcome.id

        asyncio.get_running_loop().set_task_factory(factory)
        try:
            for job in (echo, at_once):
                result = await fetch(job, map(str, range(100)), ordered=ordered).collect()
                assert len(result.values) == 100
                async with fetch(job, numbers(), ordered=ordered) as outcomes:
                    async for _ in outcomes:
                        break
                assert not workers()
        finally:
            asyncio.get_running_loop().set_task_factory(None)


class TestItsSource:
    @pytest.mark.parametrize("chunk_size", [1, 3])
    async def test_one_that_nobody_else_holds_is_ended(self, chunk_size: int) -> None:
        """An async generator, over a walk for example, is closed unless the caller holds a reference to it."""
        reader = Reader(numbers())
        async with fetch(echo, reader.given("async"), chunk_size=chunk_size) as outcomes:
            async for _ in outcomes:
                break
        await turns()
        assert reader.closed

    async def test_one_of_the_callers_is_left_to_him(self) -> None:
        """The caller may read on from where the fetch stopped."""
        reader = Reader(numbers())
        source = reader.given("async")
        async with fetch(echo, source) as outcomes:
            async for _ in outcomes:
                break
        await turns()
        assert not reader.closed
        assert await anext(source) == str(reader.taken - 1)
        await source.aclose()

    @pytest.mark.parametrize("ordered", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_cancellation_out_of_it_is_not_the_end_of_the_ids(self, kind: str, ordered: bool) -> None:
        """Something that the source awaited was cancelled; that must not pass for a short list."""

        def ids() -> Any:
            yield from "abcdef"
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await fetch(echo, Reader(ids()).given(kind), ordered=ordered).collect()
        assert not workers()

    async def test_one_that_holds_on_to_its_clean_up_is_waited_for(self) -> None:
        """When the block is left, the clean-up of the cancelled source is done."""
        done = []

        async def ids() -> AsyncIterator[str]:
            yield "a"
            try:
                await asyncio.sleep(60)
            finally:
                await turns(10)
                done.append(True)

        async with fetch(echo, ids()) as outcomes:
            async for _ in outcomes:
                break
        assert done == [True]


class TestClose:
    """`close=`, which ends the origin of the ids, is called once, and only when no worker reads any more."""

    async def run(self, leave: Any) -> None:
        closed = []
        reading = asyncio.Event()

        async def ids() -> AsyncIterator[str]:
            yield "a"
            try:
                reading.set()
                await asyncio.sleep(60)
            finally:
                await turns(10)

        source: Any = ids()

        async def close() -> None:
            await source.aclose()  # A RuntimeError while a worker is in it.
            assert not workers()
            closed.append(True)

        many = fetch(echo, source, close=close)
        await leave(many, reading)
        assert closed == [True]
        await turns()
        assert not workers()
        assert not other_tasks()

    async def test_after_a_break_and_a_pause_in_the_block(self) -> None:
        """The clean-up by the loop and the one by the block overlap."""

        async def leave(many: BulkFetch[Any], reading: asyncio.Event) -> None:
            async with many as outcomes:
                async for _ in outcomes:
                    await reading.wait()
                    break
                await turns(3)

        await self.run(leave)

    @pytest.mark.parametrize("pause", range(6))
    async def test_after_a_break_and_an_aclose(self, pause: int) -> None:
        """Outside a block, the iterator's end and `aclose` run at the same time: the second waits for the first."""

        async def leave(many: BulkFetch[Any], reading: asyncio.Event) -> None:
            async for _ in many:
                await reading.wait()
                break
            await turns(pause)
            await many.aclose()
            assert not workers()
            await many.aclose()

        await self.run(leave)

    @pytest.mark.parametrize("pause", range(1, 8))
    async def test_when_cancelled_twice(self, pause: int) -> None:
        """A second cancellation during the clean-up does not cut it short."""

        async def leave(many: BulkFetch[Any], reading: asyncio.Event) -> None:
            async def consume() -> None:
                async with many as outcomes:
                    async for _ in outcomes:
                        pass

            task = asyncio.ensure_future(consume())
            await reading.wait()
            task.cancel()
            await turns(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        await self.run(leave)

    async def test_by_another_task(self) -> None:
        """A task that awaits an outcome gets an error rather than the end of the ids."""

        async def leave(many: BulkFetch[Any], reading: asyncio.Event) -> None:
            task = asyncio.ensure_future(many.collect())
            await reading.wait()
            await turns()
            await many.aclose()
            assert not workers()
            with pytest.raises(RuntimeError, match="the fetch was closed while an outcome was awaited"):
                await task

        await self.run(leave)

    async def test_when_all_is_done(self) -> None:
        """A fetch that came to its end closes the origin of its ids."""
        closed = []

        async def close() -> None:
            closed.append(True)

        async with fetch(echo, iter("abc"), close=close) as outcomes:
            assert [outcome.id async for outcome in outcomes] == ["a", "b", "c"]
            assert closed == [True]
        assert closed == [True]
