"""An emulator in a thread of its own, and clusters of processes that read from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from distributed import Client, LocalCluster

from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator

KEY = "sk-emulator-3f9c1d7a5b"
"""The key of the emulator: a text that nothing else contains, to search for."""
RUNS_KEY = "sk-emulator-runs-81b6e04f2c"
SPAN = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
"""A span that holds all rows."""
IGNORED = [
    # Dask leaves sockets and loops of its own to the garbage collector when a process of a cluster is killed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def emulator_thread(**options: Any) -> Iterator[Emulator]:
    """Run an emulator in a thread, because the tests of Dask are synchronous."""
    started = threading.Event()
    emulator, loop, stop = (
        Emulator(api_key=KEY, runs_api_key=RUNS_KEY, **options),
        asyncio.new_event_loop(),
        asyncio.Event(),
    )

    async def serve() -> None:
        async with emulator:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield emulator
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """Run a cluster of processes, each with one thread for tasks and with the emulator's key in its environment."""
    # Not in the environment of this process, which tests of other packages share.
    environment = {"EACHLABS_API_KEY": KEY, "NOXUS_API_KEY": RUNS_KEY}
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            host="127.0.0.1",
            env=environment,
        ) as running,
        Client(running, timeout=30) as client,
    ):
        client.wait_for_workers(workers, timeout=60)
        yield client


def with_client(emulator: Emulator, run: Any) -> Any:
    """Return what `run` returns for a client in this process."""

    async def main() -> Any:
        async with EachLabs(KEY, hosts=emulator.hosts, runs_api_key=RUNS_KEY) as client:
            found: Coroutine[Any, Any, Any] = run(client)
            return await found

    return asyncio.run(main())
