"""Tests that single calls, other jobs and the event loop itself go on beside a bulk fetch."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import json
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from bulk_jobs import execution, labs, own_id
from event_loop import until
from internals import assert_idle
from raw_server import RawServer, answer, client_of

from eachlabs_async import WorkflowExecution
from eachlabs_async.codec.strict import decode
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.records import FlowExecutionBatch
from eachlabs_async.transport.decoder import LARGE_BODY

LATENCY_S = 0.02
GET = "workflow_executions.get"


def numbers(name: str) -> Any:
    return (f"{name}-{n}" for n in itertools.count())


async def drain(many: Any) -> None:
    async with many as outcomes:
        async for _ in outcomes:
            pass


class TestFairness:
    async def test_a_single_get_waits_for_one_place(self) -> None:
        """Behind a bulk fetch of eight times the slots, it is one of the next two requests."""
        async with Emulator(executions=20) as emulator, labs(emulator, max_concurrency=4) as client:
            emulator.faults.add(Fault.latency(LATENCY_S))
            many = client.workflow_executions.get_many(numbers("bulk"), concurrency=32)
            bulk = asyncio.ensure_future(drain(many))
            passed = []
            for one in emulator.workflow_executions.ids()[:16]:
                # All places are taken, and nothing is on its way to the server.
                await until(lambda: emulator.in_flight == 4)
                before = emulator.requests[GET]
                await client.workflow_executions.get(one)
                number = next(seen.number for seen in emulator.log if own_id(seen) == one)
                passed.append(number - before)
            bulk.cancel()
            await asyncio.gather(bulk, return_exceptions=True)
            # The next place is his. Where all four fall free at once they are one round, in any order; behind the
            # crowd he would wait for seven more.
            assert max(passed) <= 4
            assert sum(passed) < 3 * len(passed)
            assert_idle(client)

    async def test_many_single_gets_do_not_stop_the_bulk(self) -> None:
        """Background calls keep their share of the slots, one in eight."""
        async with RawServer(then=lambda seen: execution(seen, delay_s=0.001)) as server:
            async with client_of(server, max_concurrency=2) as client:

                async def singles(name: str) -> None:
                    for n in itertools.count():
                        await client.workflow_executions.get(f"{name}-{n}")

                tasks = [asyncio.ensure_future(singles(f"single{n}")) for n in range(6)]
                await server.seen(10)
                before = len(server.requests)
                await client.workflow_executions.get_many([f"bulk-{n}" for n in range(10)], concurrency=10).collect()
                arrivals = [own_id(seen) for seen in server.requests[before:]]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                last = max(n for n, one in enumerate(arrivals) if one.startswith("bulk"))
                assert last <= 10 * 8 + 10
                assert_idle(client)

    async def test_two_bulks_share(self) -> None:
        """Each gets about half of the slots."""
        async with RawServer(then=lambda seen: execution(seen, delay_s=0.001)) as server:
            async with client_of(server, max_concurrency=4) as client:
                one, two = (
                    client.workflow_executions.get_many([f"{name}-{n}" for n in range(150)], concurrency=16)
                    for name in ("one", "two")
                )
                await asyncio.gather(drain(one), drain(two))
        names = [own_id(seen).partition("-")[0] for seen in server.requests]
        for start in range(32, 224, 32):
            assert 8 <= names[start : start + 32].count("one") <= 24

    async def test_the_places_bound_all_jobs_together(self) -> None:
        """`max_concurrency` bounds all jobs and single calls together."""
        async with Emulator(executions=60) as emulator, labs(emulator, max_concurrency=5) as client:
            emulator.faults.add(Fault.latency(0.002))
            ids = emulator.workflow_executions.ids()
            await asyncio.gather(
                drain(client.workflow_executions.get_many(ids, concurrency=20)),
                drain(client.runs.get_many(emulator.runs.ids(), concurrency=20)),
                drain(client.flow_executions.get_many("workflow-1", ids, chunk_size=2)),
                client.workflow_executions.get(ids[0]),
            )
            assert emulator.max_in_flight == 5
            assert_idle(client)


class TestCancellation:
    async def test_of_one_task_leaves_the_others_alone(self) -> None:
        """Cancelling one job does not affect the others: they get everything at the first attempt."""
        async with Emulator(executions=80) as emulator, labs(emulator, max_concurrency=6) as client:
            emulator.faults.add(Fault.latency(0.001, jitter=0.004))
            ids = emulator.workflow_executions.ids()

            async def job(ordered: bool) -> list[Any]:
                many = client.workflow_executions.get_many(ids, concurrency=8, ordered=ordered)
                async with many as outcomes:
                    return [outcome async for outcome in outcomes]

            others = [asyncio.ensure_future(job(ordered)) for ordered in (False, True)]
            for n in range(8):
                victim = asyncio.ensure_future(job(n % 2 == 0))
                await asyncio.sleep(0.004)
                victim.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await victim
            for got in await asyncio.gather(*others):
                assert [outcome.attempts for outcome in got] == [1] * 80
                assert all(outcome.ok for outcome in got)
            assert_idle(client)
            await until(lambda: emulator.in_flight == 0)


def slow_body(size: int) -> bytes:
    """Return an execution that the fast reader refuses, because some times contain escapes."""
    step = {"step_id": "s", "status": "completed", "started_at": "2025-12-04T11:48:10.5Z"}
    count = size // len(json.dumps({"step-00000": step}))
    steps = dict.fromkeys((f"step-{n}" for n in range(count)), step)
    text = json.dumps({"execution_id": "x", "status": "completed", "step_outputs": steps})
    return text.replace("10.5Z", "10\\u002e5Z").encode()


def slow_chunk(size: int) -> bytes:
    """Return a bulk answer that the fast reader refuses, because its empty times have a space before them."""
    row = {"execution_id": "x", "status": "succeeded", "output": "o" * 100, "deleted_at": "", "started_at": ""}
    count = size // len(json.dumps(row))
    return json.dumps({"executions": [row | {"execution_id": f"id-{n}"} for n in range(count)]}).encode()


async def longest_pause_s(busy: Callable[[], Any]) -> float:
    """Run `work` and return the longest time during which the loop did not turn."""
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = loop.time()
            await asyncio.sleep(0.001)
            longest = max(longest, loop.time() - began - 0.001)

    ticker = asyncio.ensure_future(tick())
    try:
        await busy()
        await asyncio.sleep(0.002)  # What it did in its last moment counts too.
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
    return longest


class TestTheLoop:
    """The promise is 20 ms on an idle machine; here the best of several tries has to keep it.

    On a machine that is too busy even for that, the loop at least turns during the reading.
    """

    async def hold_up(self, body: bytes, call: Callable[[Any], Any], read: Callable[[], Any]) -> bool:
        whole_s = min(timeit.repeat(read, number=1, repeat=5))
        async with RawServer(then=answer(body=body)) as server, client_of(server) as client:
            for _ in range(8):
                pause_s = await longest_pause_s(lambda: call(client))
                if pause_s < 0.02 or (whole_s > 0.06 and pause_s < whole_s / 2):
                    return False
        return True

    @pytest.mark.parametrize("size", [LARGE_BODY + 100_000, LARGE_BODY - 10_000])
    async def test_a_large_execution_does_not_hold_it_up(self, size: int) -> None:
        """Reading it the slow way takes ten times as long as the loop may be blocked."""

        async def call(client: Any) -> None:
            assert len((await client.workflow_executions.get("x")).step_outputs) > size // 150

        body = slow_body(size)
        assert not await self.hold_up(body, call, lambda: decode(body, WorkflowExecution))

    @pytest.mark.parametrize("size", [30_000, 600_000])
    async def test_a_large_chunk_does_not_hold_it_up(self, size: int) -> None:
        """Answers with thousands of flow executions are decoded in a thread."""
        ids = [f"id-{n}" for n in range(size // 300)]

        async def call(client: Any) -> None:
            result = await client.flow_executions.get_many("w", ids, chunk_size=len(ids)).collect()
            assert len(result.values) == len(ids)

        body = slow_chunk(size)
        assert not await self.hold_up(body, call, lambda: decode(body, FlowExecutionBatch))


def loops() -> list[Any]:
    """Return the factories of the event loops that are installed."""
    found = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    if importlib.util.find_spec("uvloop") is not None:
        found.append(pytest.param(importlib.import_module("uvloop").new_event_loop, id="uvloop"))
    return found


@pytest.mark.parametrize("factory", loops())
def test_on_every_loop_it_works_alike(factory: Any) -> None:
    """With uvloop too, if it is installed: faults, order, and leaving early."""

    async def main() -> None:
        async with Emulator(executions=50, seed=2) as emulator, labs(emulator) as client:
            emulator.faults.random(0.2)
            ids = emulator.workflow_executions.ids()
            async with client.workflow_executions.get_many(ids, concurrency=8, ordered=True) as outcomes:
                assert [outcome.unwrap().execution_id async for outcome in outcomes] == ids
            result = await client.flow_executions.get_many("workflow-1", emulator.flow_executions.ids()).collect()
            assert len(result.values) == 17
            async with client.workflow_executions.list("workflow-1").hydrate() as outcomes:
                async for _ in outcomes:
                    break
            assert_idle(client)
            assert emulator.requests[GET] > 50

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
