"""Tests for a bulk fetch whose workers fail, and of its effect on the caller's scopes: none."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import weakref
from typing import Any

import pytest
from bulk_jobs import Desk, echo, fetch, numbers, pour, workers
from event_loop import turns

from eachlabs_async.bulk import fetch as fetch_module
from eachlabs_async.errors import AuthenticationError


class LeftError(Exception):
    pass


class TestFailures:
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_worker_that_somebody_cancels_ends_the_fetch(self, ordered: bool) -> None:
        """Its id has no outcome, so the loop must not end as if it had one."""
        desk = Desk()
        many = fetch(desk, iter("abcdef"), ordered=ordered)
        task = asyncio.ensure_future(many.collect())
        await turns()
        workers()[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not workers()

    async def test_one_that_waits_for_room_can_be_cancelled_too(self) -> None:
        """Space that becomes free at that moment goes to another worker, and the fetch still ends."""
        outcomes = aiter(fetch(echo, numbers(), concurrency=2, window=2))
        got = [await anext(outcomes)]
        await turns()
        for worker in workers():
            worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pour(outcomes, got)
        assert [outcome.id for outcome in got] == ["0", "1", "2"]
        assert not workers()

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_the_first_failure_is_the_one_that_is_raised(self, ordered: bool) -> None:
        """All other workers are cancelled, and their own errors do not matter."""
        given_up = []

        async def job(batch: Any) -> None:
            name = batch[0].outcome.id
            if name == "c":
                await turns(3)
                raise AuthenticationError("first", status=401)
            if name < "c":
                return await echo(batch)
            try:
                await asyncio.sleep(60)
            finally:
                given_up.append(name)
                raise LookupError("second")

        got: list[Any] = []
        with pytest.raises(AuthenticationError, match="first"):
            await pour(fetch(job, iter("abcdefgh"), ordered=ordered, concurrency=3), got)
        assert [outcome.id for outcome in got] == ["a", "b"]
        assert given_up == ["d", "e"]

    async def test_those_who_wait_for_room_end_with_the_rest(self) -> None:
        """A failure, or the end of the ids, reaches workers that wait for space in the window."""
        for ids, error in ((iter("abcd"), None), (iter("abcdx"), LookupError)):

            async def job(batch: Any) -> None:
                if batch[0].outcome.id == "x":
                    raise LookupError
                await echo(batch)

            outcomes = aiter(fetch(job, ids, concurrency=2, window=2))
            got = [(await anext(outcomes)).id]
            await turns()
            if error is None:
                assert got + [outcome.id async for outcome in outcomes] == list("abcd")
            else:
                with pytest.raises(LookupError):
                    await pour(outcomes, [])
            assert not workers()

    async def test_nothing_of_a_fetch_stays_in_memory(self) -> None:
        """Neither a finished nor a broken fetch leaves a reference cycle."""

        async def broken(batch: Any) -> None:
            await asyncio.sleep(0)
            raise AuthenticationError("no", status=401)

        gc.collect()
        gc.disable()
        try:
            for job in (echo, broken):
                many = fetch(job, iter("abcdefgh"))
                gone: list[Any] = []
                try:
                    async for _ in many:
                        pass
                except AuthenticationError:
                    pass
                weakref.finalize(many, gone.append, True)
                del many
                await turns()
                assert gone == [True]
        finally:
            gc.enable()


class TestScopes:
    """PEP 789: no cancel scope of the fetch is open at a `yield`, so the caller's scopes work as they should."""

    def test_no_yield_stands_inside_a_block(self) -> None:
        """Neither a timeout nor a task group nor a lock is held while the consumer has the floor."""
        tree = ast.parse(inspect.getsource(fetch_module))
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncWith | ast.With)]
        assert blocks
        assert not [node for block in blocks for node in ast.walk(block) if isinstance(node, ast.Yield)]

    async def test_a_time_out_of_the_callers_is_his(self) -> None:
        """Around the loop or in its body, it ends its own block and nothing else."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pour(fetch(Desk(), numbers()), []), 0.01)

        async def late() -> None:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(60)

        got = 0
        async with fetch(echo, numbers()) as outcomes:
            async for _ in outcomes:
                with pytest.raises(TimeoutError):
                    await late()
                got += 1
                if got == 20:
                    break
        await turns()
        assert not workers()

    async def test_a_task_group_of_the_callers_is_his(self) -> None:
        """A sibling that fails ends the loop, and the group raises only the sibling's error."""

        async def sibling() -> None:
            await turns(30)
            raise LeftError

        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(sibling())
                async with fetch(echo, numbers()) as outcomes:
                    async for _ in outcomes:
                        await asyncio.sleep(0)

        with pytest.raises(ExceptionGroup) as caught:
            await both()
        assert [type(one) for one in caught.value.exceptions] == [LeftError]
        assert not workers()

    async def test_each_outcome_may_be_taken_by_another_task(self) -> None:
        """Nothing of the fetch belongs to the task that started it."""
        async with fetch(echo, map(str, range(20)), ordered=True) as many:
            outcomes = aiter(many)
            got = [(await asyncio.create_task(anext(outcomes))).id for _ in range(20)]
            assert got == [str(n) for n in range(20)]
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)
