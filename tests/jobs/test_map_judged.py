"""Tests for maps against a judge in another process, which shares no code with them and counts a bill per input."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from internals import is_sending

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import Hosts, Service
from eachlabs_async.jobs.map_run import MapRun

KINDS = ("workflow", "prediction")
both_kinds = pytest.mark.parametrize("kind", KINDS)
PAUSE_S = 0.25
SILENCE_S = 0.2
RULES: dict[str, Any] = {
    "cost": 0.02,
    "estimate": 0.05,
    "takes_s": [0.05, 0.2],
    "burst": 1000,
    "burst_s": 0.1,
    "silence": SILENCE_S,
    "words": "too many executions were started at once",
}
SENDERS = {"workflow": 1, "prediction": 4}


@asynccontextmanager
async def judged(**rules: Any) -> AsyncIterator[tuple[EachLabs, str]]:
    """Run a judge with these rules; yield a client of it and the URL of its verdict."""
    judge = str(Path(__file__).with_name("judge.py"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, judge, json.dumps({**RULES, **rules}), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(await process.stdout.readline())}/v1"
        bearer = Service(url, "bearer")
        hosts = Hosts(api=bearer, workflows=bearer, flows=bearer, runs=Service(url), edition="unified")
        policy = RetryPolicy(base_s=0.01, creating_pause_s=PAUSE_S)
        async with EachLabs("key", hosts=hosts, retry=policy) as client:
            yield client, f"{url}/verdict"
    finally:
        process.kill()
        await process.wait()


async def verdict(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: dict[str, Any] = await answer.json()
        return found


def mapped(client: EachLabs, kind: str, inputs: list[dict[str, Any]], **options: Any) -> MapRun[Any]:
    if kind == "workflow":
        return client.workflows.map("w", "v", inputs, **options)
    return client.predictions.map("m", inputs, **options)


def once(count: int) -> dict[str, int]:
    """Return the bills of `count` inputs that were executed once each."""
    return {json.dumps({"n": number}): 1 for number in range(count)}


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in range(count)]


@both_kinds
@pytest.mark.parametrize("covers", [1, 7, 12])
async def test_a_reserved_balance_costs_time_and_no_input(kind: str, covers: int) -> None:
    """Every input is billed once, and fewer requests are refused than inputs are executed."""
    count = 20 if covers == 1 else 60
    balance = covers * 0.05 + count * 0.02
    async with judged(balance=balance) as (client, url):
        result = await mapped(client, kind, numbered(count), concurrency=50).collect()
        said = await verdict(url)
    assert sorted(map(int, result.values)) == list(range(count))
    assert said["bills"] == once(count)
    assert said["running"] == 0
    assert said["answers"]["402"] <= 25
    assert said["creating"] <= count + 25


@both_kinds
async def test_a_block_is_left_alone(kind: str) -> None:
    """After a refusal nothing that creates is sent until the pause is over, except requests already under way."""
    async with judged(burst=15) as (client, url):
        result = await mapped(client, kind, numbered(50), concurrency=50).collect()
        said = await verdict(url)
    assert len(result.values) == 50
    assert said["bills"] == once(50)
    refused = said["answers"]["429"]
    blocks = sum(gap >= PAUSE_S - 0.02 for gap in said["gaps"])
    assert 0 < blocks <= refused <= blocks * SENDERS[kind]
    assert len(said["during_block"]) == refused - blocks
    assert all(after < 0.1 for after in said["during_block"]), "something was sent during the block"
    assert said["creating"] <= 50 + refused


@both_kinds
async def test_a_block_that_says_nothing_is_left_alone_when_nothing_runs(kind: str) -> None:
    """While something runs it may be the limit, so each try waits for an execution to end."""
    async with judged(burst=15, words="Too Many Requests", takes_s=[0.03, 0.05]) as (client, url):
        result = await mapped(client, kind, numbered(50), concurrency=50).collect()
        said = await verdict(url)
    assert len(result.values) == 50
    assert said["bills"] == once(50)
    assert said["creating"] <= 2 * 50 + 10


@both_kinds
async def test_both_at_once_and_a_job_that_is_ended_and_started_again(kind: str, tmp_path: Path) -> None:
    """Over all runs of the job each input is billed once and has one outcome."""
    seen: list[int] = []
    async with judged(burst=15, balance=10 * 0.05 + 60 * 0.02) as (client, url):

        async def go(run: MapRun[Any]) -> None:
            async with run as outcomes:
                async for outcome in outcomes:
                    assert outcome.ok
                    seen.append(outcome.index)

        for seconds in (0.15, 0.45, 0.8, None):
            run = mapped(client, kind, numbered(60), journal=tmp_path / "journal", concurrency=30)
            job = asyncio.create_task(go(run))
            await asyncio.wait([job], timeout=seconds)
            while is_sending(run):  # Between two requests, so that no outcome is in doubt.
                await asyncio.sleep(0)
            job.cancel()
            await asyncio.gather(job, return_exceptions=seconds is not None)
        said = await verdict(url)
    assert sorted(seen) == list(range(60))
    assert said["bills"] == once(60)
    assert said["running"] == 0
    assert said["creating"] <= 60 + 50


@both_kinds
async def test_single_calls_and_a_map_keep_the_same_silence(kind: str) -> None:
    """Whichever of them meets the block, the other sends nothing either."""
    async with judged(burst=10) as (client, url):
        single = [client.predictions.create("m", {"n": number}) for number in range(10)]
        await asyncio.gather(*single)
        run = mapped(client, kind, [{"n": number} for number in range(10, 20)], concurrency=10)
        task = asyncio.create_task(run.collect())
        await asyncio.sleep(0.1)
        later = [client.predictions.create("m", {"n": number}) for number in range(20, 23)]
        await asyncio.gather(*later)
        assert len((await task).values) == 10
        said = await verdict(url)
    assert said["bills"] == once(23)
    assert all(after < 0.1 for after in said["during_block"])
