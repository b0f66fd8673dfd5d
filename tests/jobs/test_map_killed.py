"""Tests for jobs that are killed at any moment and started again: nothing is billed twice, and no outcome is lost.

`EACHLABS_KILLS` is the number of kills for each kind of map; the default is small.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paid_jobs import KINDS, Paid, paid

KILLS = int(os.environ.get("EACHLABS_KILLS", "5"))
COUNT = 30
JOB = """
import asyncio, json, sys
from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import Hosts, Service
from eachlabs_async.jobs import map_recovery, reconcile

# The service's listing lags by a tenth of a second at most, and a job that looks for long is killed while it looks.
map_recovery.LOOKUP_DELAYS_S, reconcile.LISTING_LAG_S = (0.0, 0.1, 0.3), 0.2

async def main(origin, kind, journal, seen, inputs):
    bearer = Service(f"{origin}/v1", "bearer")
    hosts = Hosts(api=bearer, workflows=bearer, flows=bearer, runs=Service(origin), edition="unified")
    async with EachLabs("me", hosts=hosts, retry=RetryPolicy(base_s=0.02)) as client:
        options = {"journal": journal, "acknowledge": True, "concurrency": 12}
        if kind == "workflow":
            run = client.workflows.map("w", "v", inputs, **options)
        else:
            run = client.predictions.map("m", inputs, **options)
        with open(seen, "a") as file:
            async for outcome in run:
                print(json.dumps([outcome.index, outcome.id, type(outcome.error).__name__]), file=file, flush=True)
                await outcome.acknowledge()

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def killed_after(service: Paid, arguments: list[Any], seconds: float | None) -> bool:
    """Run a job, kill it some time after its first request, and return whether it was killed."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", JOB, json.dumps(arguments))
    waiting = asyncio.create_task(process.wait())
    try:
        if seconds is None:
            await waiting
        else:
            before = (await service.verdict())["requests"]
            while not waiting.done() and (await service.verdict())["requests"] == before:
                await asyncio.sleep(0.005)
            await asyncio.wait([waiting], timeout=seconds)
    finally:
        if process.returncode is None:
            process.kill()
        code = await waiting
    assert code in (0, -9)
    return code != 0


@pytest.mark.parametrize("kind", KINDS)
async def test_under_acknowledge_a_kill_loses_nothing_and_bills_nothing_twice(kind: str, tmp_path: Path) -> None:
    """Only an outcome that was recorded by the caller and not yet acknowledged comes again: one for each kill."""
    chance = random.Random(f"{kind}{KILLS}")
    kills, job, unknown, executed = 0, 0, 0, 0
    began = time.monotonic()
    async with paid(takes_s=[0.02, 0.2], answer_s=[0.0, 0.05], listing_lag_s=[0.0, 0.1], cap=10) as service:
        while kills < KILLS:
            inputs = [{"job": job, "n": number} for number in range(COUNT)]
            journal, seen = tmp_path / f"journal{job}", tmp_path / f"seen{job}"
            killed = 0
            while await killed_after(
                service,
                [service.origin, kind, str(journal), str(seen), inputs],
                chance.uniform(0.0, chance.choice((0.3, 1.0))) if kills + killed < KILLS else None,
            ):
                killed += 1
            told = [json.loads(line) for line in seen.read_text().splitlines()]
            came = Counter(index for index, _, _ in told)
            assert set(came) == set(range(COUNT)), "an outcome was lost"
            assert came.total() - COUNT <= killed, "more came twice than was in the caller's hands"
            ids = {index: identity for index, identity, error in told if error == "NoneType"}
            assert len(set(ids.values())) == len(ids), "two inputs were given the same execution"
            given = await service.executed()
            assert all(given[identity] == inputs[index] for index, identity in ids.items())
            lost = {index for index, _, error in told if error == "OutcomeUnknownError"}
            unknown += len(lost)
            executed += sum(inputs[index] in given.values() for index in lost)
            assert all(error in ("NoneType", "OutcomeUnknownError") for _, _, error in told)
            kills, job = kills + killed, job + 1
        bills = (await service.verdict())["bills"]["me"]
        assert set(bills.values()) == {1}, "an input was executed twice"
        assert len(bills) >= job * COUNT - unknown
        assert job > KILLS / 20, "the kills hit the same moment of few jobs"
    unclear = f"{unknown} unknown ({executed} of them executed)"
    print(f"{kind}: {kills} kills of {job} jobs, {unclear}, {time.monotonic() - began:.0f} s")
