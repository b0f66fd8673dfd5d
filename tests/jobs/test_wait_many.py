"""Tests for waiting for many executions of one workflow: a check takes few requests, and each is read once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from event_loop import until
from internals import slots_held, transport_of
from map_jobs import EDITIONS, stage

from eachlabs_async import ExecutionFailedError, NotFoundError, WaitTimeoutError
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.jobs.listing_watcher import REQUESTS_PER_CHECK, ListingWatcher
from eachlabs_async.jobs.map_run import MapRun
from eachlabs_async.jobs.wait_backend import WaitBackend

LISTING, GET = "workflow_executions.list", "workflow_executions.get"


class Hosted:
    """The part of a transport that a watcher needs before its first request."""

    edition = "compat"

    @property
    def session(self) -> Any:
        return self

    secrets = ()


def started(emulator: Emulator, count: int, **inputs: Any) -> list[str]:
    """Start executions of the first workflow without a request; a fifth of them ends after each second."""
    workflow = emulator.workflows.get(emulator.workflow_ids[0])
    version = workflow["versions"][0]
    return [
        emulator.start_workflow(workflow, version, {"n": number, "seconds": number % 5 + 1, **inputs})
        for number in range(count)
    ]


async def passing(emulator: Emulator, run: MapRun[Any], seconds: int = 5) -> None:
    """Let a second pass for each check of a run."""
    for second in range(seconds):
        await until(lambda: run.stats.polls > second)  # noqa: B023  # it is called in this turn
        emulator.clock.advance(1.0)


async def checked(watcher: ListingWatcher, emulator: Emulator, left: set[str]) -> Counter[str]:
    """Check once, take the finished ids out of `left`, and return the requests that this took."""
    before = Counter(emulator.requests)
    left -= set(await watcher.finished(left))
    return Counter(emulator.requests) - before


@pytest.mark.parametrize("edition", EDITIONS)
async def test_a_thousand_executions_cost_fifteen_requests_a_check(edition: str) -> None:
    """Each finished execution is read in full once, while the others are still watched."""
    async with stage(edition, virtual_time=True) as (emulator, client):
        ids = started(emulator, 1000)
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ids)
        time = asyncio.create_task(passing(emulator, run))
        found = {outcome.index: outcome async for outcome in run}
        await time
        assert [found[index].unwrap().execution_id for index in range(1000)] == ids
        assert [found[index].id for index in range(1000)] == ids
        assert run.stats.polls > 3
        assert emulator.requests[GET] >= 1000
        assert emulator.requests.total() - 1000 <= REQUESTS_PER_CHECK * run.stats.polls
        assert slots_held(run) == 0
        assert set(emulator.requests) == {LISTING, GET}


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(("below", "size"), [(0, 1000), (2000, 300), (1000, 3)])
async def test_no_check_sends_more_than_fifteen_requests(edition: str, below: int, size: int) -> None:
    """This holds wherever the executions are in the listing, and however many of them still run."""
    async with stage(edition, virtual_time=True) as (emulator, client):
        left = set(started(emulator, size))
        started(emulator, below)
        watcher = ListingWatcher(transport_of(client), emulator.workflow_ids[0])
        checks = 0
        while left:
            sent = await checked(watcher, emulator, left)
            assert 0 < sent.total() <= REQUESTS_PER_CHECK
            emulator.clock.advance(0.5)
            checks += 1
        assert 3 < checks <= 20


async def test_those_far_down_the_listing_are_reached_by_going_on_there() -> None:
    """With two thousand others above them, the next check begins where the last one ended."""
    async with stage(virtual_time=True) as (emulator, client):
        ids = started(emulator, 300)
        emulator.clock.advance(10)
        started(emulator, 2000)
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ids)
        async with asyncio.timeout(30):
            outcomes = [outcome async for outcome in run]
        assert all(outcome.ok for outcome in outcomes)
        assert len(outcomes) == 300
        assert run.stats.polls <= 6
        assert emulator.requests.total() - 300 <= REQUESTS_PER_CHECK * run.stats.polls


async def test_a_few_far_down_are_asked_for_by_their_ids() -> None:
    """No check then reads far down the listing."""
    async with stage(virtual_time=True) as (emulator, client):
        ids = started(emulator, 3)
        started(emulator, 1000)
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ids)
        time = asyncio.create_task(passing(emulator, run, 3))
        assert len([outcome async for outcome in run]) == 3
        await time
        assert run.stats.polls <= emulator.requests[GET] - 3 <= 3 * run.stats.polls
        assert all(int(seen.query["offset"]) < 120 for seen in emulator.log if seen.endpoint == LISTING)


async def test_a_failed_one_and_an_unknown_one_are_outcomes() -> None:
    """Each is an outcome at its own index, and so is a value that is not an id."""
    async with stage() as (emulator, client):
        (good,) = started(emulator, 1, seconds=0.01)
        (bad,) = started(emulator, 1, seconds=0.01, fail=2)
        ids = cast("list[str]", [good, "no-such-id", bad, 5, ""])
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ids, ordered=True)
        first, second, third, fourth, fifth = [outcome async for outcome in run]
        assert first.unwrap().inputs == {"n": 0, "seconds": 0.01}
        assert isinstance(second.error, NotFoundError)
        assert isinstance(third.error, ExecutionFailedError)
        assert third.error.step == "step2"
        assert isinstance(fourth.error, TypeError)
        assert isinstance(fifth.error, ValueError)
        assert run.stats.failed == 4
        assert slots_held(run) == 0


async def test_an_id_that_is_given_twice_has_two_outcomes_and_is_read_once() -> None:
    """There is an outcome for each index."""
    async with stage() as (emulator, client):
        first, second = started(emulator, 2, seconds=0.05)
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], [first, second, first])
        found = {outcome.index: outcome.unwrap().execution_id async for outcome in run}
        assert found == {0: first, 1: second, 2: first}
        assert emulator.requests[GET] == 2
        assert slots_held(run) == 0


async def test_what_does_not_end_in_time_is_an_error_after_the_outcomes() -> None:
    """The executions run on; none is cancelled."""
    async with stage() as (emulator, client):
        ids = [*started(emulator, 2, seconds=0.01), *started(emulator, 1, seconds=60)]
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ids, timeout_s=0.5)
        with pytest.raises(WaitTimeoutError, match=r"1 executions did not end within 0\.5 s") as caught:
            await run.collect()
        assert sorted(caught.value.partial.values) == ["0", "1"]
        assert emulator.running == 1


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), "5"])
async def test_a_time_that_is_none_is_told_at_once(timeout_s: Any) -> None:
    """A wrong workflow id is an error at once too."""
    async with stage() as (emulator, client):
        with pytest.raises((TypeError, ValueError), match="timeout_s"):
            client.workflow_executions.wait_many(emulator.workflow_ids[0], [], timeout_s=timeout_s)
        with pytest.raises(ValueError, match="workflow_id"):
            client.workflow_executions.wait_many("", [])


async def test_ids_may_come_while_others_are_waited_for() -> None:
    """The source is read lazily, and may wait for outcomes of earlier ids."""
    ended = asyncio.Semaphore(1)
    told: list[int] = []
    async with stage() as (emulator, client):
        ids = started(emulator, 5, seconds=0.01)

        async def source() -> AsyncIterator[str]:
            for identity in ids:
                await ended.acquire()
                yield identity

        run = client.workflow_executions.wait_many(
            emulator.workflow_ids[0], source(), on_progress=lambda stats: told.append(stats.done)
        )
        async with asyncio.timeout(10):
            async for _ in run:
                ended.release()
        assert told == [1, 2, 3, 4, 5]


async def test_a_service_that_fails_for_a_while_ends_no_wait() -> None:
    """Every check is another try, so a lost answer costs nothing."""
    async with stage() as (emulator, client):
        ids = started(emulator, 40, seconds=0.05)
        emulator.faults.random(0.3, (Fault.status(503), Fault.reset(), Fault.cut_body()))
        result = await client.workflow_executions.wait_many(emulator.workflow_ids[0], ids).collect()
        assert len(result.values) == 40


async def test_an_unknown_workflow_ends_the_wait() -> None:
    """Nothing can be waited for, so the error is raised."""
    async with stage() as (_, client):
        with pytest.raises(NotFoundError):
            await client.workflow_executions.wait_many("no-such-workflow", ["a"]).collect()


async def test_a_key_that_is_revoked_ends_the_wait() -> None:
    """This holds for requests of single ids too."""
    async with stage() as (emulator, client):
        emulator.faults.add(Fault.status(403), endpoint=GET)
        run = client.workflow_executions.wait_many(emulator.workflow_ids[0], ["no-such-id"])
        with pytest.raises(Exception, match="403"):
            await run.collect()
        await until(lambda: not emulator.in_flight)


async def test_who_waits_sends_nothing_that_could_be_lost() -> None:
    """So there is nothing to look up."""
    backend = WaitBackend(cast("Any", Hosted()), "w")
    assert not backend.creates
    with pytest.raises(NotImplementedError):
        backend.search([], set())
    assert backend.lookup(0.0) == {}


async def test_the_ids_that_waited_longest_are_asked_for_first() -> None:
    """Ids that the listing does not show are requested in turn, new ones last; those that are gone are forgotten."""
    async with stage() as (emulator, client):
        emulator.faults.add(
            Fault.edit(lambda answer, seen: {**answer, "executions": [], "total_count": 0}), endpoint=LISTING
        )
        watcher = ListingWatcher(transport_of(client), emulator.workflow_ids[0])
        ids = started(emulator, 20, seconds=60)

        async def asked(ids: list[str]) -> list[str]:
            before = len(emulator.log)
            assert await watcher.finished(ids) == []
            return [seen.path.rsplit("/", 1)[1] for seen in list(emulator.log)[before:] if seen.endpoint == GET]

        first = await asked(ids)
        assert len(set(first)) == len(first) == REQUESTS_PER_CHECK - 1
        second = await asked(ids)
        missed = set(ids) - set(first)
        assert set(second[:6]) == missed
        assert second[6:] == first[:8]
        (new,) = started(emulator, 1, seconds=60)
        third = await asked([new, *ids])
        assert third == [*first[8:], *second[:8]]
        fourth = await asked([new, *ids])
        assert fourth == [*second[8:], new, *third[:7]]
        left = [fourth[-1], new]
        assert set(await asked(left)) == set(left)
        assert set((await asked([*ids, new]))[:2]) == set(left)
        assert await asked([]) == []
