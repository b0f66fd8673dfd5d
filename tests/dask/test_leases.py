"""Tests for the division of requests among workers: by a model of the messages, and on a real semaphore."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.dask.leases import Lease, Leases
from eachlabs_async.dask.worker_lease import WorkerLease
from eachlabs_async.transport.semaphore import PrioritySemaphore

TOTAL = 6


class Worker:
    """A worker as the scheduler sees it: messages both ways in order, and at most as many requests as its lease."""

    def __init__(self) -> None:
        self.inbox: deque[Lease] = deque()
        self.outbox: deque[tuple[str, int]] = deque()
        self.lease = 0
        self.sequence = 0
        self.in_flight = 0
        self.confirmed = True

    def receive(self) -> None:
        lease = self.inbox.popleft()
        self.lease, self.sequence, self.confirmed = lease.number, lease.sequence, False

    def work(self, wanted: int) -> None:
        self.in_flight = max(self.in_flight, min(wanted, self.lease))
        self.confirm()

    def finish(self, left: int) -> None:
        self.in_flight = min(left, self.in_flight)
        self.confirm()

    def confirm(self) -> None:
        if not self.confirmed and self.in_flight <= self.lease:
            self.confirmed = True
            self.outbox.append(("confirm", self.sequence))


ACTIONS = ["send", "receive", "work", "want", "finish", "die"]
STEP = st.tuples(st.sampled_from([*ACTIONS[:4], *ACTIONS[:3], *ACTIONS]), st.integers(0, 2), st.integers(0, 9))


@given(st.lists(STEP, min_size=60, max_size=120))
def test_the_leases_in_use_never_exceed_the_total(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is under way between scheduler and workers, and at rest the requests are divided evenly."""
    leases, workers, wanted = Leases(), [Worker() for _ in range(3)], [0] * 3

    def told(found: list[Lease]) -> None:
        for lease in found:
            workers[int(lease.worker)].inbox.append(lease)

    def deliver(number: int) -> None:
        kind, value = workers[number].outbox.popleft()
        told(leases.confirm(str(number), value) if kind == "confirm" else leases.want(str(number), value, TOTAL))

    for number in range(3):
        wanted[number] = 9
        workers[number].outbox.append(("want", 9))
    for action, number, value in steps:
        worker = workers[number]
        if action == "want":
            wanted[number] = value
            worker.outbox.append(("want", value))
        elif action == "receive" and worker.inbox:
            worker.receive()
        elif action == "send" and worker.outbox:
            deliver(number)
        elif action == "work":
            worker.work(value)
        elif action == "finish":
            worker.finish(value)
        elif action == "die":
            workers[number], wanted[number] = Worker(), 0
            told(leases.leave(str(number)))
        assert sum(worker.in_flight for worker in workers) <= TOTAL

    for worker in workers:
        worker.finish(0)
    while any(worker.inbox or worker.outbox for worker in workers):
        for number, worker in enumerate(workers):
            while worker.inbox:
                worker.receive()
                worker.confirm()
            while worker.outbox:
                deliver(number)
    found = [worker.lease for worker in workers]
    assert sum(found) == min(TOTAL, sum(wanted))
    for mine, want in zip(found, wanted, strict=True):
        assert mine <= want
        # Who has less than it wants has no less than any other, but for what cannot be divided.
        assert mine == want or mine >= max(found) - 1


def test_who_wants_less_leaves_the_rest_to_others() -> None:
    leases = Leases()
    assert leases.want("a", 2, 10) == [Lease("a", 2, 1)]
    assert leases.want("b", 20, 10) == [Lease("b", 8, 1)]
    assert leases.want("c", 20, 10) == [Lease("b", 4, 2)]  # `c` gets some once `b` has confirmed.
    assert leases.confirm("b", 1) == []
    assert leases.confirm("b", 2) == [Lease("c", 4, 1)]
    assert leases.leave("b") == [Lease("c", 8, 2)]


def test_with_fewer_requests_than_workers_each_has_its_turn() -> None:
    """Who ends and wants again goes behind those who wait."""
    leases = Leases()
    assert leases.want("a", 4, 1) == [Lease("a", 1, 1)]
    assert leases.want("b", 4, 1) == leases.want("c", 4, 1) == []
    assert leases.want("a", 0, 1) == [Lease("a", 0, 2)]
    assert leases.want("a", 4, 1) == []
    assert leases.confirm("a", 2) == [Lease("b", 1, 1)]


def lease_of(size: int) -> tuple[PrioritySemaphore, WorkerLease, list[Any]]:
    semaphore, sent = PrioritySemaphore(size), list[Any]()
    lease = WorkerLease(
        semaphore, want=lambda number: sent.append(("want", number)), confirm=lambda at: sent.append(("confirm", at))
    )
    return semaphore, lease, sent


async def test_a_smaller_lease_is_confirmed_when_requests_have_ended() -> None:
    """Until then the scheduler must not give the rest to others."""
    semaphore, lease, sent = lease_of(8)
    assert not semaphore.available
    lease.receive(5, 1)
    assert (semaphore.available, sent) == (5, [("confirm", 1)])
    for _ in range(5):
        await semaphore.acquire(background=True)
    lease.receive(3, 2)
    for _ in range(2):
        await asyncio.sleep(0)
        assert sent == [("confirm", 1)]
        semaphore.release()
    await asyncio.sleep(0.001)
    assert sent == [("confirm", 1), ("confirm", 2)]
    assert not semaphore.available
    lease.receive(1, 3)
    lease.receive(6, 4)  # It grows while it waits to shrink.
    await asyncio.sleep(0.001)
    assert semaphore.available == 3
    for _ in range(3):
        semaphore.release()
    await asyncio.sleep(0.001)
    assert semaphore.available == 6
    await lease.close()


async def test_a_claim_waits_for_a_lease() -> None:
    """The block is entered once there is a request to make, and what it wanted is given back at its end."""
    _, lease, sent = lease_of(8)

    async def claim() -> None:
        async with lease.claim(3):
            sent.append("inside")

    task = asyncio.create_task(claim())
    await asyncio.sleep(0.001)
    assert sent == [("want", 3)]
    lease.receive(2, 1)
    await task
    assert sent == [("want", 3), ("confirm", 1), "inside", ("want", 0)]
    task = asyncio.create_task(claim())
    await asyncio.sleep(0.001)
    assert sent[-1] == ("want", 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent[-1] == ("want", 0)
