"""The latency of a `get` while a bulk job uses all request slots of the client.

The base is the same `get` with the client to itself. A slot becomes free within the time of one request, so beside the
job a `get` should take at most twice as long. The server responds slowly, and the elapsed time is compared.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import median, quantiles
from typing import Any

from .bulk import client_of
from .measure import Row, Table
from .samples import identity
from .server import Server

LATENCY_MS = 20
SLOTS = 16
GOAL = 2.2


async def _gets(client: Any, count: int) -> list[float]:
    """Make single calls with short pauses, and return the duration of each."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        await client.workflow_executions.get(identity(number))
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.003)
    return took


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    count = 50 if quick else 400
    async with client_of(server.base_url(latency=LATENCY_MS), max_concurrency=SLOTS) as client:
        alone = await _gets(client, count)
        async with client.workflow_executions.get_many(map(identity, itertools.count()), concurrency=4 * SLOTS) as job:
            outcomes = aiter(job)

            async def pour() -> None:
                async for _ in outcomes:
                    pass

            pouring = asyncio.create_task(pour())
            await asyncio.sleep(0.2)
            beside = await _gets(client, count)
            pouring.cancel()
            await asyncio.wait([pouring])
    base = median(alone)
    rows = []
    for name, took in (("get alone", alone), ("get beside a bulk job", beside)):
        cuts = quantiles(took, n=100)
        note = f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"
        rows.append(Row(name, 0.0, median(took) * 1e6, median(took) / base, cuts[24] / base, cuts[74] / base, note))
    title = f"fairness: {SLOTS} slots, {4 * SLOTS} workers of a bulk job, {LATENCY_MS} ms a response"
    met = rows[1].ratio is not None and rows[1].ratio <= GOAL
    return [Table(title, "get", "get alone", rows, by="wall", goal=f"beside <= {GOAL} times alone", met=met)]
