"""An emulator in a thread of its own, and clusters of processes that read from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster

from eachlabs_async.emulator import Emulator

KEY = "sk-emulator-3f9c1d7a5b"  # A text that nothing else contains, to search for.


@contextmanager
def emulator_thread(**options: Any) -> Iterator[Emulator]:
    """Run an emulator in a thread, because the tests of Dask are synchronous."""
    started, stop = threading.Event(), asyncio.Event()
    emulator = Emulator(api_key=KEY, **options)
    loop = asyncio.new_event_loop()

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
def cluster(workers: int, **options: Any) -> Iterator[Client]:
    """Run a cluster of processes, each with one thread for tasks."""
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", **options
        ) as running,
        Client(running, timeout=30) as client,
    ):
        client.wait_for_workers(workers, timeout=60)
        yield client
