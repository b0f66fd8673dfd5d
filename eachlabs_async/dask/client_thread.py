"""A thread with an event loop, in which the client of a worker runs.

Tasks of Dask are functions in threads, and the loop of the worker itself answers the scheduler: decoding rows in it
would delay that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from ..errors import ConfigurationError
from .worker_client import WorkerClient

T = TypeVar("T")

Job = Callable[[WorkerClient], Awaitable[T]]


class ClientThread:
    """Runs jobs with one client. The thread and the client start with the first job and end with `stop`."""

    def __init__(self, make_client: Callable[[], WorkerClient]) -> None:
        self._make_client = make_client
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._started: Future[tuple[asyncio.AbstractEventLoop, WorkerClient]] = Future()
        self._stop: asyncio.Event | None = None
        self._stopped = False

    def run(self, job: Job[T], *, wanted: int) -> T:
        """Run a job that can use `wanted` requests at once, and return its result. Blocks the calling thread."""
        with self._lock:
            if self._stopped:
                raise ConfigurationError("the worker is closing")
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name="eachlabs-client", daemon=True)
                self._thread.start()
        loop, client = self._started.result()

        async def claimed() -> T:
            async with client.lease.claim(wanted):
                return await job(client)

        return asyncio.run_coroutine_threadsafe(claimed(), loop).result()

    def call(self, function: Callable[[WorkerClient], object]) -> None:
        """Call a function with the client in its loop, if it has started. Returns at once."""
        if self._started.done() and self._started.exception() is None:
            loop, client = self._started.result()
            if not loop.is_closed():
                loop.call_soon_threadsafe(function, client)

    def stop(self) -> None:
        """Cancel the jobs, close the client, and wait until the thread has ended."""
        with self._lock:
            self._stopped, thread = True, self._thread
        if thread is None:
            return
        if self._started.exception() is None:
            loop, _ = self._started.result()
            if self._stop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        async with self._make_client() as client:
            self._started.set_result((asyncio.get_running_loop(), client))
            await self._stop.wait()
            jobs = asyncio.all_tasks() - {asyncio.current_task()}
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
