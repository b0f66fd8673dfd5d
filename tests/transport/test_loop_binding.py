"""Tests for clients that meet another event loop, another thread or another process."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from raw_server import ONCE, TLS_FILE, RawServer, answer, client_of

from eachlabs_async import EachLabs
from eachlabs_async.errors import ConfigurationError


class ServerThread:
    """A server in a loop of its own, which outlives the loops of a test."""

    def __init__(self, *, tls: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server = RawServer(then=answer(json=7), tls=tls)
        self.run(self.server.__aenter__())

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self.run(self.server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def thread(request: pytest.FixtureRequest) -> Iterator[ServerThread]:
    made = ServerThread(tls=request.param)
    yield made
    made.close()


def client_for(thread: ServerThread, **options: Any) -> EachLabs:
    context = ssl.create_default_context(cafile=TLS_FILE) if thread.server.tls else None
    return client_of(thread.server, retry=ONCE, **{"ssl": context} | options)


async def ask(client: EachLabs) -> list[Any]:
    done = await asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(5)))
    return [*done, await client.request("api", "POST", "/x")]


@pytest.mark.parametrize("way", ["run", "bare"])
def test_a_closed_loop_is_left_behind_without_a_word(thread: ServerThread, way: str) -> None:
    """The client works in loop after loop, and no warning tells of the connections of the former ones."""
    client = client_for(thread)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            if way == "run":
                assert asyncio.run(ask(client)) == [7] * 6
            else:
                loop = asyncio.new_event_loop()
                assert loop.run_until_complete(ask(client)) == [7] * 6
                loop.close()
            gc.collect()
        asyncio.run(client.close())
        gc.collect()


def test_an_open_loop_is_not_touched_by_another() -> None:
    """Calls from a second thread fail at once with the remedy; those of the first loop go on."""
    thread = ServerThread()
    thread.server.then = answer(json=7, delay_s=0.02)
    failures: list[Exception] = []

    async def intrude(client: EachLabs) -> None:
        for work in (client.request("api", "GET", "/x"), client.close()):
            try:
                await work
            except ConfigurationError as exc:
                failures.append(exc)

    async def main() -> list[Any]:
        async with client_for(thread) as client:
            first = await client.request("api", "GET", "/x")
            calls = asyncio.gather(*(client.request("api", "GET", "/x") for _ in range(40)))
            await asyncio.gather(*(asyncio.to_thread(asyncio.run, intrude(client)) for _ in range(8)))
            return [first, *await calls]

    assert asyncio.run(main()) == [7] * 41
    assert len(failures) == 16
    assert all("make one client per loop" in str(one) for one in failures)
    thread.close()


def test_a_passed_session_of_another_loop_is_refused() -> None:
    """Its owner has to open one in the running loop; closing the client is possible."""
    thread = ServerThread()

    async def open_and_ask() -> EachLabs:
        async with aiohttp.ClientSession() as session:
            client = client_for(thread, session=session)
            assert await client.request("api", "GET", "/x") == 7
            return client

    client = asyncio.run(open_and_ask())
    with pytest.raises(ConfigurationError, match="belongs to a closed event loop: make one client per loop"):
        asyncio.run(ask(client))
    asyncio.run(client.close())
    thread.close()


FORK = """
import asyncio, json, os, ssl, sys
from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import COMPAT, Service
import attrs

port, tls = int(sys.argv[1]), sys.argv[2]
url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
context = ssl.create_default_context(cafile=tls) if tls else None
client = EachLabs("k", hosts=attrs.evolve(COMPAT, api=Service(url)), ssl=context, retry=RetryPolicy.none())

async def ask():
    return await client.request("api", "GET", "/x")

loop = asyncio.new_event_loop()
before = loop.run_until_complete(ask())
if os.fork() == 0:
    ok = asyncio.run(ask()) == before
    asyncio.run(client.close())
    import gc; gc.collect()
    os._exit(0 if ok else 1)
_, status = os.wait()
after = [loop.run_until_complete(ask()) for _ in range(3)]
loop.run_until_complete(client.close())
loop.close()
print(json.dumps([before, os.waitstatus_to_exitcode(status), after]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_parents_connections_alone(thread: ServerThread) -> None:
    """The child opens its own connection, and the parent goes on with the one that it had."""
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            FORK,
            str(thread.server.port),
            str(TLS_FILE) * thread.server.tls,
        ],
        capture_output=True,
        timeout=30,
    )
    assert done.stderr == b""
    assert json.loads(done.stdout) == [7, 0, [7, 7, 7]]
    assert [seen.connection for seen in thread.server.requests] == [1, 2, 1, 1, 1]


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_made_in_each_process(take: Any) -> None:
    """Pickling says what to do instead."""
    with pytest.raises(TypeError, match="cannot be pickled or copied: make one in each process"):
        take(EachLabs("labs-key"))
