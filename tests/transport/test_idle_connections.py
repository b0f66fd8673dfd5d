"""Tests for answers that nobody asked for: they are never handed out as the answer to another call."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import attrs
import pytest
from raw_server import ONCE, QUICK, Act, RawServer, RecordedRequest, answer, client_of

from eachlabs_async import EachLabs
from eachlabs_async.errors import ResponseDecodeError


def identity_in(seen: RecordedRequest) -> str:
    return seen.target.partition("?")[0].rsplit("/", 1)[1]


def record(identity: str) -> Any:
    return {"execution_id": identity, "id": identity, "workflow_id": identity, "status": "success", "output": None}


STRAY = answer(json=record("stray")).sent


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_what_arrives_on_an_idle_connection_answers_nothing(
    session: aiohttp.ClientSession | None, method: Any
) -> None:
    """The connection is dropped before its next use, without a failed attempt."""
    async with RawServer(answer(json=1), then=answer(json=2)) as server:
        async with client_of(server, session=session, retry=ONCE) as client:
            assert await client.request("api", "GET", "/x") == 1
            await server.send_to_idle(STRAY)
            await asyncio.sleep(0.02)
            assert await client.request("api", method, "/x") == 2
            assert await client.request("api", "GET", "/x") == 2
    assert server.connections == 2


async def test_what_follows_an_answer_at_once_answers_nothing(session: aiohttp.ClientSession | None) -> None:
    """Bytes behind an answer, in the same packet, do not wait for the next call either."""
    async with RawServer(Act(answer(json=1).sent + STRAY), then=answer(json=2)) as server:
        async with client_of(server, session=session, retry=ONCE) as client:
            assert [await client.request("api", "GET", "/x") for _ in range(3)] == [1, 2, 2]


SINGLE: list[Callable[[EachLabs], Any]] = [
    lambda client: client.workflow_executions.get("mine"),
    lambda client: client.flow_executions.get("w", "mine"),
    lambda client: client.predictions.get("mine"),
    lambda client: client.runs.get("mine"),
    lambda client: client.webhook_deliveries.get("mine"),
    lambda client: client.workflow_executions.wait("mine"),
    lambda client: client.predictions.wait("mine"),
    lambda client: client.workflows.get("6a8e8b3c-33ab-4c11-a563-7d2f0d1e5a00"),
    lambda client: one_of(client.workflow_executions.get_many(["mine"])),
    lambda client: one_of(client.predictions.get_many(["mine"])),
    lambda client: one_of(client.flow_executions.get_many("w", ["mine"])),
]


async def one_of(many: Any) -> Any:
    (outcome,) = [outcome async for outcome in many]
    return outcome.unwrap()


def mixed_up(times: int) -> Callable[[RecordedRequest], Act]:
    """Answer with another's record so many times, then with the right one."""
    left = times

    def react(seen: RecordedRequest) -> Act:
        nonlocal left
        left -= 1
        identity = "other" if left >= 0 else identity_in(seen)
        if seen.method == "POST":
            identity = "other" if left >= 0 else json.loads(seen.body)["execution_ids"][0]
            return answer(json={"executions": [record(identity)]})
        return answer(json=record(identity))

    return react


@pytest.mark.parametrize("call", SINGLE)
async def test_the_record_of_another_id_is_asked_for_again(
    session: aiohttp.ClientSession | None, call: Callable[[EachLabs], Any]
) -> None:
    """The second request goes over a new connection and brings the right record."""
    async with RawServer(then=mixed_up(1)) as server, client_of(server, session=session, retry=QUICK) as client:
        found = await call(client)
    assert "other" not in repr(found)
    assert len(server.requests) == server.connections == 2


@pytest.mark.parametrize("call", SINGLE)
async def test_two_records_of_another_id_are_an_error(
    session: aiohttp.ClientSession | None, call: Callable[[EachLabs], Any]
) -> None:
    """No call returns them."""
    async with RawServer(then=mixed_up(9)) as server, client_of(server, session=session, retry=QUICK) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await call(client)
    assert caught.value.attempts == len(server.requests) == 2
    assert caught.value.path in ("$.id", "$.execution_id", "$.workflow_id", "$.executions")


async def test_a_policy_of_one_attempt_holds_here_too() -> None:
    """The first answer of another id is the error then."""
    async with RawServer(then=mixed_up(1)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(ResponseDecodeError, match="the record of 'other', not of 'mine'"):
            await client.predictions.get("mine")
    assert len(server.requests) == 1


async def test_a_bulk_fetch_gives_each_id_its_own_record(session: aiohttp.ClientSession | None) -> None:
    """A stray answer that shifts all the others of a connection does not shift the outcomes."""

    def react(seen: RecordedRequest) -> Act:
        sent = answer(json=record(identity_in(seen))).sent
        return Act(STRAY + sent if len(server.requests) == 3 else sent)

    ids = [f"id{number}" for number in range(20)]
    async with RawServer(then=react) as server, client_of(server, session=session, retry=QUICK) as client:
        result = await client.workflow_executions.get_many(ids, concurrency=1).collect()
    assert {one: found.execution_id for one, found in result.values.items()} == {one: one for one in ids}


async def test_a_body_that_mentions_the_id_is_no_proof() -> None:
    """The id of another record's field does not make it the right one."""
    async with RawServer(then=answer(json=record("other") | {"output": "mine"})) as server, client_of(server) as client:
        result = await client.workflow_executions.get_many(["mine"]).collect()
    assert isinstance(result.errors["mine"], ResponseDecodeError)


@pytest.mark.parametrize("asked", ["my-slug", "6A8E8B3C-33AB-4C11-A563-7D2F0D1E5A00"])
async def test_a_slug_and_capitals_are_the_same_workflow(asked: str) -> None:
    """A workflow that is asked for by slug answers with its id, and ids differ by more than case."""
    found = {"workflow_id": "6a8e8b3c-33ab-4c11-a563-7d2f0d1e5a00"}
    async with RawServer(then=answer(json=found)) as server, client_of(server, retry=ONCE) as client:
        assert (await client.workflows.get(asked)).workflow_id == found["workflow_id"]


async def test_the_pool_keeps_no_more_than_may_be_in_flight() -> None:
    """Idle connections to one origin make room for new ones to another."""
    async with RawServer(then=answer(json=1, delay_s=0.02)) as one, RawServer(then=answer(json=1, delay_s=0.02)) as two:
        async with client_of(one, max_concurrency=4) as client:
            await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(8)))
            assert one.open_connections == 4
        mixed = attrs.evolve(one.hosts, runs=two.hosts.runs)
        async with client_of(one, hosts=mixed, max_concurrency=4) as client:
            await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(8)))
            await asyncio.gather(*(client.request("runs", "GET", "/x") for _ in range(8)))
            await asyncio.sleep(0.02)
            assert one.open_connections + two.open_connections == 4


FEW_DESCRIPTORS = """
import asyncio, json, os, resource, sys
import aiohttp
from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import COMPAT, Service
import attrs

async def main(port, passed):
    hosts = attrs.evolve(COMPAT, api=Service(f"http://127.0.0.1:{port}"))
    session = aiohttp.ClientSession() if passed else None
    async with EachLabs("k", hosts=hosts, session=session, retry=RetryPolicy.none()) as client:
        await client.request("api", "GET", "/x")
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16, used + 16))
        await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(60)), return_exceptions=True)
        held = []
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        done = [await client.request("api", "POST", "/x") for _ in range(20)]
        for one in held:
            os.close(one)
    if session is not None:
        await session.close()
    print(json.dumps(done))

asyncio.run(main(int(sys.argv[1]), sys.argv[2] == "passed"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
@pytest.mark.parametrize("kind", ["own", "passed"])
async def test_idle_connections_make_room_for_new_ones(kind: str) -> None:
    """Without descriptors left, the idle pool of a bulk is closed before a creation fails."""
    async with RawServer(then=answer(json=1, delay_s=0.05)) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FEW_DESCRIPTORS, str(server.port), kind, stdout=subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(child.communicate(), 30)
    assert json.loads(out) == [1] * 20
