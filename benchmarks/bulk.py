"""Measures fetching many ids at once: `get_many`, typed and with all its care, against hand-written code.

The base only reads bytes: 64 workers over a shared iterator and a bare `aiohttp.ClientSession`, without
retry, deadline, records or outcomes. All send the same request line. It refuses latency: this is about CPU.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from attrs import evolve
from yarl import URL

from eachlabs_async import COMPAT, EachLabs, Service

from .measure import Table, Variant, compare, interleave, missing
from .samples import identity
from .server import Server

OURS = "eachlabs_async get_many"
BASE = "aiohttp worker pool, bytes only"
GOAL = 1.10
WIDTH = 64


def client_of(base: str, **options: Any) -> EachLabs:
    """Make a client, with its defaults, of the scene at `base`."""
    hosts = evolve(COMPAT, api=Service(f"{base}/v1"), workflows=Service(f"{base}/api/v1"), runs=Service(f"{base}/v1"))
    return EachLabs("key", hosts=hosts, runs_api_key="other-key", **options)


class _Ids:
    """Gives ids that never come twice: no variant may live on what another one left in a cache."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0

    def __call__(self) -> list[str]:
        first, self.given = self.given, self.given + self.count
        return [identity(number) for number in range(first, self.given)]


def _ours(client: EachLabs, ids: _Ids) -> Variant:
    async def variant() -> None:
        done = 0
        async with client.workflow_executions.get_many(ids(), concurrency=WIDTH) as outcomes:
            async for outcome in outcomes:
                done += outcome.ok
        assert done == ids.count

    return variant


async def _pool(fetch: Any, ids: list[str]) -> None:
    todo = iter(ids)

    async def work() -> None:
        for one in todo:
            await fetch(one)

    await asyncio.gather(*(work() for _ in range(WIDTH)))


def _bare(session: aiohttp.ClientSession, base: str, ids: _Ids) -> Variant:
    async def fetch(one: str) -> None:
        async with session.get(f"{base}/api/v1/executions/{one}?timeout=1") as answer:
            await answer.read()

    return lambda: _pool(fetch, ids())


def _tuned(session: aiohttp.ClientSession, base: str, ids: _Ids) -> Variant:
    """Do as the base does, with all that is known to make aiohttp faster: what no client on top of it can beat."""
    url, timers = URL(f"{base}/api/v1/executions"), aiohttp.ClientTimeout(total=None)

    async def fetch(one: str) -> None:
        target = URL.build(
            scheme=url.scheme,
            authority=url.raw_authority,
            path=f"{url.raw_path}/{one}",
            query_string="timeout=1",
            encoded=True,
        )
        answer = await session.request("GET", target, timeout=timers, allow_redirects=False)
        await answer.read()

    return lambda: _pool(fetch, ids())


def _naive(session: aiohttp.ClientSession, base: str, ids: _Ids) -> Variant:
    async def variant() -> None:
        turn = asyncio.Semaphore(WIDTH)

        async def fetch(one: str) -> Any:
            async with turn, session.get(f"{base}/api/v1/executions/{one}?timeout=1") as answer:
                answer.raise_for_status()
                return await answer.json()

        await asyncio.gather(*map(fetch, ids()))

    return variant


async def _others(stack: AsyncExitStack, base: str, ids: _Ids, peers: bool) -> tuple[dict[str, Variant], list[str]]:
    found: dict[str, Variant] = {}
    absent: list[str] = []
    url = f"{base}/api/v1/executions/"
    try:
        import httpx

        plain = await stack.enter_async_context(
            httpx.AsyncClient(limits=httpx.Limits(max_connections=WIDTH, max_keepalive_connections=WIDTH))
        )

        async def by_httpx(one: str) -> None:
            (await plain.get(f"{url}{one}?timeout=1")).raise_for_status().json()

        found["httpx, json"] = lambda: _pool(by_httpx, ids())
    except ImportError:
        absent.append("httpx, json")
    if not peers:
        return found, absent
    try:
        import openai
        from openai import BaseModel

        class Answer(BaseModel):
            execution_id: str
            status: str

        sdk = await stack.enter_async_context(openai.AsyncOpenAI(api_key="key", base_url=f"{base}/api/v1"))

        async def by_openai(one: str) -> None:
            await sdk.get(f"/executions/{one}?timeout=1", cast_to=Answer)

        found["openai SDK, typed"] = lambda: _pool(by_openai, ids())
    except ImportError:
        absent.append("openai SDK, typed")
    return found, absent


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    ids = _Ids(500)
    few = _Ids(100 if quick else 300)
    base = server.scene()
    requests, cpu_s = server.spent()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(base))
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-API-Key": "key"}))
        bare = aiohttp.ClientSession(headers={"X-API-Key": "key"}, cookie_jar=aiohttp.DummyCookieJar())
        variants = {
            BASE: _bare(session, base, ids),
            "the same, tuned": _tuned(await stack.enter_async_context(bare), base, ids),
            OURS: _ours(client, ids),
            "aiohttp semaphore + gather, json": _naive(session, base, ids),
        }
        rounds = 4 if quick else 50
        spent = await interleave(variants, rounds=rounds)
        table = Table(f"bulk: {rounds * ids.count:,} ids, {WIDTH} at once", "id", BASE, [])
        table.rows = compare(spent, base=BASE, units=ids.count)
        answered, server_cpu_s = server.spent()
        table.note = f"server CPU a request: {(server_cpu_s - cpu_s) / (answered - requests) * 1e6:.0f} us"
        ratio = table.row(OURS).ratio
        table.goal, table.met = f"{OURS} <= {GOAL:.2f}", ratio is not None and ratio <= GOAL

        others, absent = await _others(stack, base, few, peers)
        slow = {BASE: _bare(session, base, few), OURS: _ours(client, few), **others}
        rows = compare(await interleave(slow, rounds=2 if quick else 7), base=BASE, units=few.count)
        sample = Table(f"bulk: other clients, {few.count} ids a round", "id", BASE, rows + missing(absent))
    return [table, sample]
