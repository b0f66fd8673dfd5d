"""The CPU time of fetching many ids at once: `get_many` against hand-written code.

The base only reads bytes: 64 workers over a shared iterator and a bare `aiohttp.ClientSession`, without deadline,
records or outcomes, and, where one request in twenty fails, with a loop that retries. All variants send the same
request line. The server responds without latency.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import aiohttp
from attrs import evolve
from yarl import URL

from eachlabs_async import COMPAT, EachLabs, RetryPolicy, Service
from eachlabs_async.hosts import ExecutionsBy

from .measure import Table, Variant, compare, interleave, missing, timed
from .samples import identity
from .server import Server

OURS = "eachlabs_async get_many"
BASE = "aiohttp worker pool, bytes only"
GOAL = 1.00
WIDTH = 64
AT_ONCE = RetryPolicy(base_s=0)
"""Retries without a pause, like the hand-written loops."""
ONE_IN = 20


def client_of(base: str, executions_by: ExecutionsBy = "auto", **options: Any) -> EachLabs:
    """Return a client of the server at `base`, with the default options."""
    api = Service(f"{base}/v1")
    hosts = evolve(COMPAT, api=api, workflows=Service(f"{base}/api/v1"), runs=api, executions_by=executions_by)
    return EachLabs("key", hosts=hosts, runs_api_key="other-key", **options)


class _Ids:
    """Ids that never repeat, so that no variant profits from the caches of another."""

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
        while True:
            async with session.get(f"{base}/api/v1/executions/{one}?timeout=1") as answer:
                await answer.read()
                if answer.status == 200:
                    return

    return lambda: _pool(fetch, ids())


def _tuned(session: aiohttp.ClientSession, base: str, ids: _Ids) -> Variant:
    """The base with every known optimization of aiohttp, which no client on top of aiohttp can beat."""
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
            while True:
                async with turn, session.get(f"{base}/api/v1/executions/{one}?timeout=1") as answer:
                    if answer.status == 200:
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
            while (answer := await plain.get(f"{url}{one}?timeout=1")).status_code != 200:
                pass
            answer.json()

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

        sdk = await stack.enter_async_context(
            openai.AsyncOpenAI(api_key="key", base_url=f"{base}/api/v1", max_retries=9)
        )

        async def by_openai(one: str) -> None:
            await sdk.get(f"/executions/{one}?timeout=1", cast_to=Answer)

        found["openai SDK, typed"] = lambda: _pool(by_openai, ids())
    except ImportError:
        absent.append("openai SDK, typed")
    return found, absent


async def _all(server: Server, base: str, title: str, *, rounds: int, peers: bool) -> list[Table]:
    """Measure with one server configuration: fast variants in many rounds, slow ones in few and with fewer ids."""
    ids, few = _Ids(500), _Ids(100 if rounds < 10 else 300)
    requests, cpu_s = server.spent()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(base, retry=AT_ONCE))
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-API-Key": "key"}))
        bare = aiohttp.ClientSession(headers={"X-API-Key": "key"}, cookie_jar=aiohttp.DummyCookieJar())
        variants = {
            BASE: _bare(session, base, ids),
            "the same, tuned": _tuned(await stack.enter_async_context(bare), base, ids),
            OURS: _ours(client, ids),
            "aiohttp semaphore + gather, json": _naive(session, base, ids),
        }
        if "faults" in base:
            del variants["the same, tuned"]  # It does not check the status.
        spent = await interleave(variants, rounds=rounds)
        table = Table(f"bulk{title}: {rounds * ids.count:,} ids, {WIDTH} at once", "id", BASE, [])
        table.rows = compare(spent, base=BASE, units=ids.count)
        answered, server_cpu_s = server.spent()
        table.note = f"server CPU a request: {(server_cpu_s - cpu_s) / (answered - requests) * 1e6:.0f} us"
        if not title:
            ratio = table.row(OURS).ratio
            table.goal, table.met = f"{OURS} <= {GOAL:.2f}", ratio is not None and round(ratio, 2) <= GOAL

        others, absent = await _others(stack, base, few, peers)
        slow = {BASE: _bare(session, base, few), OURS: _ours(client, few), **others}
        rows = compare(await interleave(slow, rounds=2 if rounds < 10 else 7), base=BASE, units=few.count)
        sample = Table(f"bulk{title}: other clients, {few.count} ids a round", "id", BASE, rows + missing(absent))
    return [table, sample]


def _by_uvloop(base: str, rounds: int) -> Table:
    """Measure the same fetch on asyncio's own loop and on uvloop, alternating within one process."""
    names = ("asyncio", "uvloop")
    table = Table(f"bulk: {OURS} by event loop", "id", names[0], [])
    try:
        import uvloop
    except ImportError:
        table.rows = missing(names[1:])
        return table
    ids = _Ids(500)
    factories = {names[0]: asyncio.new_event_loop, names[1]: uvloop.new_event_loop}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        runners, runs, clients = {}, {}, {}
        for name, factory in factories.items():
            runners[name] = stack.enter_context(asyncio.Runner(loop_factory=factory))
            clients[name] = client_of(base)
            runs[name] = _ours(clients[name], ids)
        for number in range(-1, rounds):
            for name in names if number % 2 else reversed(names):
                cost = runners[name].run(timed(runs[name]))
                if number >= 0:
                    spent[name].append(cost)
        for name, client in clients.items():
            runners[name].run(client.close())
    table.rows = compare(spent, base=names[0], units=ids.count)
    return table


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    rounds = 4 if quick else 50
    tables = await _all(server, server.base_url(), "", rounds=rounds, peers=peers)
    with_faults = f", one request in {ONE_IN} fails"
    tables += await _all(server, server.base_url(faults=ONE_IN), with_faults, rounds=rounds, peers=peers)
    return [*tables, await asyncio.to_thread(_by_uvloop, server.base_url(), rounds)]
