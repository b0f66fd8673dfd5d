"""The growth of memory while very many ids stream through `get_many`.

Each case runs in a new process, and growth counts from the end of a warm-up, so that neither imports nor other
benchmarks distort it. Outcomes are dropped as they come.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.workers import in_batches

from .bulk import WIDTH, client_of
from .measure import Row, Table
from .samples import identity
from .server import Server

GOAL_MIB = 5.0
WARM_UP = 20_000
_STATM = Path("/proc/self/statm")


def resident_mib() -> float:
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _ids(count: int) -> Iterator[str]:
    return (identity(number) for number in range(count))


async def _watched(fetch: BulkFetch[Any], count: int) -> tuple[float, float, float]:
    """Run a fetch, and return the growth in MiB after the warm-up, and the CPU and wall seconds."""
    done, least, most = 0, 0.0, 0.0
    cpu, wall = time.process_time(), time.perf_counter()
    async with fetch as outcomes:
        async for outcome in outcomes:
            assert outcome.ok
            done += 1
            if done % 2_000 == 0 and done >= WARM_UP:
                now = resident_mib()
                least, most = least or now, max(most, now)
    assert done == count
    return most - least, time.process_time() - cpu, time.perf_counter() - wall


async def _over_http(base: str, count: int, ordered: bool) -> tuple[float, float, float]:
    async with client_of(base) as client:
        fetch = client.workflow_executions.get_many(_ids(count), concurrency=WIDTH, ordered=ordered)
        return await _watched(fetch, count)


async def _without_network(_base: str, count: int, ordered: bool) -> tuple[float, float, float]:
    async def job(batch: list[Any]) -> None:
        await asyncio.sleep(0)
        for slot in batch:
            slot.outcome.value = slot.outcome.id

    return await _watched(BulkFetch(in_batches(job), _ids(count), concurrency=WIDTH, ordered=ordered), count)


def _child(connection: Any, network: bool, base: str, count: int, ordered: bool) -> None:
    run = _over_http if network else _without_network
    connection.send(asyncio.run(run(base, count, ordered)))


def _case(network: bool, base: str, count: int, ordered: bool) -> Row:
    spawn = multiprocessing.get_context("spawn")
    receiver, connection = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(connection, network, base, count, ordered), daemon=True)
    process.start()
    connection.close()  # so that recv() below fails when the child does
    growth, cpu, wall = receiver.recv()
    process.join()
    name = f"{count:,} ids, {'HTTP' if network else 'no network'}, {'ordered' if ordered else 'as they come'}"
    return Row(name, cpu / count * 1e6, wall / count * 1e6, growth / GOAL_MIB, note=f"{growth:.1f} MiB")


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    share = 5 if quick else 1
    rows = [
        _case(network, server.base_url(), count // share, ordered)
        for network, count in ((True, 200_000), (False, 1_000_000))
        for ordered in (False, True)
    ]
    goal = f"growth after {WARM_UP:,} ids < {GOAL_MIB:.0f} MiB"
    met = all(row.ratio is not None and row.ratio < 1 for row in rows)
    return [Table("memory", "id", f"{GOAL_MIB:.0f} MiB", rows, by="growth", goal=goal, met=met)]
