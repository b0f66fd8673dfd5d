"""Tests for bulk fetches over bad networks and dying servers, with real sockets.

Each asserts that every id has one outcome, that no foreign exception is raised, that every attempt is counted, that the
deadline holds, and that no task, socket, slot or object is left over.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import aiohttp
import pytest
import raw_server as raw
from aiohttp.abc import AbstractResolver, ResolveResult
from bulk_jobs import execution, own_id, workers
from event_loop import until
from hypothesis import given, settings
from hypothesis import strategies as st
from internals import assert_idle
from raw_server import Act, RawServer, answer, client_of, hosts_at

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.bulk.id_window import PendingId
from eachlabs_async.errors import APIConnectionError, APITimeoutError, EachLabsError

KINDS = ("gets", "runs", "flows")
TIMES = Timeouts(connect_s=1, read_s=0.04, deadline_s=5)
BREAKS: dict[str, Act] = {
    "reset": raw.reset(),
    "close": raw.close(),
    "cut headers": raw.cut_headers(),
    "cut body": raw.cut_body(),
    "reset in the body": raw.reset_body(),
    "stall": raw.stall(),
    "stall in the body": raw.stall_body(),
    "html": raw.html(),
    "not HTTP": raw.malformed(),
    "503": answer(503),
    "429": answer(429, headers={"Retry-After": "0.001"}),
}


def ids_of(seen: Any) -> list[str]:
    """Return the ids that a request contains."""
    return json.loads(seen.body)["execution_ids"] if seen.body else [own_id(seen)]


def good(seen: Any, **options: Any) -> Act:
    """Answer correctly."""
    if seen.body:
        rows = [{"execution_id": one, "status": "succeeded"} for one in ids_of(seen)]
        return answer(json={"executions": rows}, **options)
    if "/runs/" in seen.target:
        return answer(json={"id": own_id(seen), "status": "completed"}, **options)
    return execution(seen, **options)


def bulk_of(client: EachLabs, kind: str, ids: Any, *, ordered: bool = False, concurrency: int = 8) -> Any:
    if kind == "gets":
        return client.workflow_executions.get_many(ids, concurrency=concurrency, ordered=ordered)
    if kind == "runs":
        return client.runs.get_many(ids, concurrency=concurrency, ordered=ordered)
    return client.flow_executions.get_many("w", ids, chunk_size=3, concurrency=concurrency, ordered=ordered)


def assert_whole(got: list[Any], ids: list[str], *, ordered: bool = False, within_s: float = TIMES.deadline_s) -> None:
    """Every id has one outcome of its own, within the deadline, with an error of the library at worst."""
    indexes = [outcome.index for outcome in got]
    assert sorted(indexes) == list(range(len(ids)))
    assert not ordered or indexes == sorted(indexes)
    for outcome in got:
        assert outcome.id == ids[outcome.index]
        assert outcome.elapsed_s < within_s + 1
        if outcome.ok:
            assert outcome.id in (getattr(outcome.value, "execution_id", None), getattr(outcome.value, "id", None))
        else:
            assert isinstance(outcome.error, EachLabsError)
            assert outcome.value is None


async def assert_counted(got: list[Any], server: RawServer) -> None:
    """The attempts of each outcome are the requests that the server saw for it."""
    attempts = {outcome.id: outcome.attempts for outcome in got}
    await until(lambda: Counter(one for seen in server.requests for one in ids_of(seen)) == attempts)


async def assert_gone(client: EachLabs, server: RawServer) -> None:
    """No task is left, and once the client is closed no connection is open."""
    assert not workers()
    assert_idle(client)
    await client.close()
    await until(lambda: server.open_connections == 0)


@pytest.fixture(autouse=True)
async def _no_word_from_the_loop() -> AsyncIterator[None]:
    """Fail a test if the loop's exception handler is called."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    yield
    assert not told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", BREAKS)
async def test_what_breaks_once_is_made_good(name: str, kind: str, ordered: bool) -> None:
    """The first attempt of each request meets the fault, the second one succeeds."""
    met: Counter[bytes] = Counter()

    def act(seen: Any) -> Act:
        line = f"{seen.target} {seen.body!r}".encode()
        met[line] += 1
        return BREAKS[name] if met[line] == 1 else good(seen)

    ids = [f"id-{n}" for n in range(12)]
    async with RawServer(then=act) as server:
        client = client_of(server, timeouts=TIMES)
        got = [outcome async for outcome in bulk_of(client, kind, ids, ordered=ordered)]
        await assert_counted(got, server)
        await assert_gone(client, server)
    assert_whole(got, ids, ordered=ordered)
    assert all(outcome.ok for outcome in got)
    # A machine that is busy may add a timeout of its own to those of the stalls.
    assert all(outcome.attempts == 2 or (name.startswith("stall") and outcome.attempts > 2) for outcome in got)


@settings(max_examples=settings().max_examples // 5)
@given(
    seed=st.integers(0, 2**32 - 1),
    rate=st.floats(0, 1),
    kind=st.sampled_from(KINDS),
    ordered=st.booleans(),
    concurrency=st.integers(1, 12),
    places=st.integers(1, 12),
    passed=st.booleans(),
)
def test_mixtures(
    seed: int, rate: float, kind: str, ordered: bool, concurrency: int, places: int, passed: bool
) -> None:
    """Whatever breaks and however often, an id that fails has an error and as many attempts as requests were sent."""
    chance = random.Random(seed)
    ids = [f"id-{n}" for n in range(12)]

    def act(seen: Any) -> Act:
        return chance.choice(list(BREAKS.values())) if chance.random() < rate else good(seen)

    async def run() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        async with RawServer(then=act) as server, aiohttp.ClientSession() as session:
            client = client_of(server, timeouts=TIMES, max_concurrency=places, session=session if passed else None)
            many = bulk_of(client, kind, ids, ordered=ordered, concurrency=concurrency)
            got = [outcome async for outcome in many]
            await assert_counted(got, server)
            await session.close()
            await assert_gone(client, server)
        assert_whole(got, ids, ordered=ordered)
        assert max(outcome.attempts for outcome in got) <= RetryPolicy().max_attempts
        assert many.stats.failed == sum(many.stats.errors.values()) == sum(not outcome.ok for outcome in got)
        assert not told

    asyncio.run(run())
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, PendingId | aiohttp.ClientResponse)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_never_answers_costs_the_deadline_and_no_more(kind: str) -> None:
    """Each id times out when the deadline of its call passes, whatever attempts are left."""
    ids = [f"id-{n}" for n in range(12)]
    async with RawServer(then=raw.stall()) as server:
        client = client_of(server, timeouts=Timeouts(read_s=0.06, deadline_s=0.2), retry=RetryPolicy(base_s=0.01))
        began = monotonic()
        got = [outcome async for outcome in bulk_of(client, kind, ids, concurrency=4)]
        rounds = 1 if kind == "flows" else 3
        assert rounds * 0.15 < monotonic() - began < rounds * 0.2 + 1
        await assert_gone(client, server)
    assert_whole(got, ids, within_s=0.2)
    assert {type(outcome.error) for outcome in got} == {APITimeoutError}
    assert all(2 <= outcome.attempts <= 4 for outcome in got)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_request_arrives_in_a_pause(kind: str) -> None:
    """During many 429s, no request reaches the service until each `Retry-After` has passed."""
    chance = random.Random(kind)
    pause_s, wire_s = 0.15, 0.06
    storms: list[float] = []

    def act(seen: Any) -> Act:
        if len(storms) < 12 and chance.random() < 0.5:
            storms.append(monotonic())
            return answer(429, headers={"Retry-After": str(pause_s)})
        return good(seen)

    ids = [f"id-{n}" for n in range(60)]
    async with RawServer(then=act) as server:
        client = client_of(server, retry=RetryPolicy(base_s=0.002, max_attempts=30))
        got = [outcome async for outcome in bulk_of(client, kind, ids)]
        await assert_gone(client, server)
    assert_whole(got, ids)
    assert all(outcome.ok for outcome in got)
    assert len(storms) == 12 or kind == "flows"
    for at in storms:
        # What was on the wire when the 429 went out may still come in.
        early = [seen.at - at for seen in server.requests if wire_s < seen.at - at < pause_s]
        assert not early


class Mortal(RawServer):
    """A server that can stop, dropping all connections, and start again at the same address."""

    async def die(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await until(lambda: not self._tasks)

    async def rise(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_dies_for_a_while(kind: str) -> None:
    """Refused and dropped connections are retried until the server is back, and every id succeeds."""
    ids = [f"id-{n}" for n in range(150)]
    patient = RetryPolicy(base_s=0.02, cap_s=0.1, max_attempts=50)
    got = []
    async with Mortal(then=lambda seen: good(seen, delay_s=0.001)) as server:
        client = client_of(server, retry=patient)

        async def fate() -> None:
            await server.seen(10)
            await server.die()
            await asyncio.sleep(0.4)
            await server.rise()

        dying = asyncio.ensure_future(fate())
        got = [outcome async for outcome in bulk_of(client, kind, iter(ids))]
        await dying
        await assert_gone(client, server)
    assert_whole(got, ids)
    assert all(outcome.ok for outcome in got)
    assert max(outcome.attempts for outcome in got) > 2


@pytest.mark.parametrize("kind", KINDS)
async def test_kept_connections_that_are_closed_between_requests(kind: str) -> None:
    """A server that closes the connection after each answer costs attempts and never an id."""
    ids = [f"id-{n}" for n in range(60)]
    async with RawServer(then=lambda seen: good(seen, end="close")) as server:
        client = client_of(server)
        got = []
        async for outcome in bulk_of(client, kind, ids):
            got.append(outcome)
            if len(got) % 7 == 0:
                await asyncio.sleep(0.002)
        await assert_gone(client, server)
    assert_whole(got, ids)
    assert all(outcome.ok for outcome in got)
    sent = Counter(one for seen in server.requests for one in ids_of(seen))
    assert all(sent[outcome.id] <= outcome.attempts for outcome in got)


class Flaky(AbstractResolver):
    """A resolver that fails while `broken` is true."""

    def __init__(self) -> None:
        self.broken = True
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("Temporary failure in name resolution")
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [found]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("for_ever", [False, True])
async def test_names_that_cannot_be_resolved_for_a_while(kind: str, for_ever: bool) -> None:
    """They are retried; if it lasts, each id's error says that nothing was sent."""
    ids = [f"id-{n}" for n in range(20)]
    resolver = Flaky()
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
    async with RawServer(then=good) as server, aiohttp.ClientSession(connector=connector) as session:
        policy = RetryPolicy(base_s=0.01, cap_s=0.05, max_attempts=3 if for_ever else 50)
        client = client_of(server, session=session, retry=policy, hosts=hosts_at(f"http://localhost:{server.port}"))
        if not for_ever:
            asyncio.get_running_loop().call_later(0.2, setattr, resolver, "broken", False)
        got = [outcome async for outcome in bulk_of(client, kind, ids)]
        await session.close()
        await assert_gone(client, server)
    assert_whole(got, ids)
    if for_ever:
        assert not server.requests
        for outcome in got:
            assert isinstance(outcome.error, APIConnectionError)
            assert not outcome.error.sent
            assert outcome.attempts == outcome.error.attempts == 3
    else:
        assert all(outcome.ok for outcome in got)
        assert max(outcome.attempts for outcome in got) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raises", [False, True])
async def test_leaving_in_the_middle_of_it_all(kind: str, raises: bool) -> None:
    """Whether the fetch is cancelled or its consumer raises, nothing is left over and no foreign error is raised."""
    chance = random.Random(f"{kind}{raises}")

    def act(seen: Any) -> Act:
        return chance.choice(list(BREAKS.values())) if chance.random() < 0.4 else good(seen)

    async def consume(client: EachLabs, count: int, ordered: bool) -> int:
        came: set[int] = set()
        async with bulk_of(client, kind, (f"id-{n}" for n in range(500)), ordered=ordered) as outcomes:
            async for outcome in outcomes:
                assert outcome.index not in came
                assert outcome.ok or isinstance(outcome.error, EachLabsError)
                came.add(outcome.index)
                if raises and len(came) == count:
                    raise LookupError("the consumer's own")
        return len(came)

    async with RawServer(then=act) as server:
        client = client_of(server, timeouts=TIMES)
        for _ in range(15):
            task = asyncio.ensure_future(consume(client, chance.randrange(1, 20), chance.random() < 0.5))
            if not raises:
                await asyncio.sleep(chance.uniform(0, 0.04))
                task.cancel()
            with pytest.raises(LookupError if raises else asyncio.CancelledError):
                await task
            assert not workers()
            assert_idle(client)
        await assert_gone(client, server)
