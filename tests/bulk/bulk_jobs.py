"""Helpers of the tests of bulk fetches: jobs without a network, sources that count, and the tasks of a fetch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from raw_server import QUICK, answer

from eachlabs_async import EachLabs
from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.id_window import PendingId
from eachlabs_async.bulk.workers import in_batches
from eachlabs_async.emulator import Emulator

Batch = list[PendingId[Any]]


async def echo(batch: Batch) -> None:
    """Answer each id with itself, after one turn of the loop."""
    await asyncio.sleep(0)
    for slot in batch:
        slot.outcome.value, slot.outcome.attempts = slot.outcome.id, 1


class Desk:
    """A job that answers on demand: `open` has the waiting batches, by their ids."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Future[None]] = {}
        self.asked: list[str] = []

    async def __call__(self, batch: Batch) -> None:
        name = ",".join(slot.outcome.id for slot in batch)
        self.asked.append(name)
        self.open[name] = asyncio.get_running_loop().create_future()
        try:
            await self.open[name]
        finally:
            del self.open[name]
        await echo(batch)

    def answer(self, *names: str) -> None:
        for name in names:
            self.open[name].set_result(None)


def fetch(job: Any, ids: Any, *, concurrency: int = 4, ordered: bool = False, **options: Any) -> BulkFetch[Any]:
    """Return a fetch of ids by a job."""
    return BulkFetch(in_batches(job), ids, concurrency=concurrency, ordered=ordered, **options)


class Reader:
    """A source of ids, sync or async, that counts how many were read from it."""

    def __init__(self, ids: Iterable[Any]) -> None:
        self.ids = ids
        self.taken = 0
        self.closed = False

    def given(self, kind: str) -> Any:
        return {"sync": self.sync, "async": self.anew, "slow": lambda: self.anew(slow=True)}[kind]()

    def sync(self) -> Iterator[Any]:
        for one in self.ids:
            self.taken += 1
            yield one

    async def anew(self, *, slow: bool = False) -> AsyncIterator[Any]:
        try:
            for one in self.ids:
                if slow:
                    await asyncio.sleep(0)
                self.taken += 1
                yield one
        finally:
            self.closed = True


async def pour(many: Any, into: list[Any]) -> None:
    """Run a fetch and append each outcome to a list as it comes."""
    async for outcome in many:
        into.append(outcome)


def labs(emulator: Emulator, **options: Any) -> EachLabs:
    """Return a client of an emulator that retries without pauses."""
    options = {"hosts": emulator.hosts, "runs_api_key": emulator.runs_api_key, "retry": QUICK} | options
    return EachLabs(emulator.api_key, **options)


def own_id(seen: Any) -> str:
    """Return the id that a request for one execution or run contains."""
    found: str = seen.target.partition("?")[0].rsplit("/", 1)[1]
    return found


def execution(seen: Any, **options: Any) -> Any:
    """Answer a get with an execution of the requested id."""
    return answer(json={"execution_id": own_id(seen), "status": "completed", "workflow_id": "w"}, **options)


def numbers() -> Any:
    """Return ids without end."""
    return map(str, itertools.count())


def workers() -> list[Any]:
    """Return the tasks of running bulk fetches."""
    return [task for task in asyncio.all_tasks() if ".work" in repr(task.get_coro())]
