"""The plugin that gives each worker of a cluster a client."""

from __future__ import annotations

import asyncio
import pickle
from importlib import import_module
from typing import Any, Final, TypeVar

from distributed import get_worker
from distributed.diagnostics.plugin import WorkerPlugin

from ..errors import ConfigurationError
from ..hosts import Hosts
from ..transport.arguments import checked_count
from ..transport.retry import RetryPolicy, Timeouts
from .client_thread import ClientThread, Job
from .limit_plugin import LIMITS, LimitPlugin
from .messages import LEASE, PAUSE
from .worker_client import WorkerClient

T = TypeVar("T")

NAME: Final = "eachlabs"
"""The name of the plugin in the workers."""
_REGISTER: Final = "client.register_plugin(eachlabs_async.dask.EachLabsPlugin())"


class EachLabsPlugin(WorkerPlugin):
    """Gives each worker of a cluster a client; register it once: `client.register_plugin(EachLabsPlugin())`.

    The arguments are those of `EachLabs`, except that `max_concurrency` bounds the requests in flight of **all**
    workers together: the scheduler divides it among the workers that read, and divides it again when one begins, ends
    or is lost. It should be at least the number of workers; those above it wait. A `Retry-After` that one worker meets
    pauses all of them.

    There is no argument for a key. Dask keeps plugins in the memory of the scheduler and sends them to every worker, so
    the key is taken from the environment of each worker: `EACHLABS_API_KEY`, and `NOXUS_API_KEY` for runs. Without
    `hosts`, `EACHLABS_EDITION` is read there, too.

    The plugin registers a second one in the scheduler, which needs `distributed.scheduler.pickle` (on by default).
    """

    name = NAME
    _worker: Any
    _thread: ClientThread

    def __init__(
        self,
        *,
        hosts: Hosts | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen, so one default is as good as many
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # like the policy
        max_concurrency: int = 64,
        max_answer_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._options: dict[str, Any] = {
            "hosts": hosts,
            "retry": retry,
            "timeouts": timeouts,
            "max_concurrency": checked_count("max_concurrency", max_concurrency, least=1),
            "max_answer_bytes": checked_count("max_answer_bytes", max_answer_bytes, least=1),
        }

    def __repr__(self) -> str:
        return f"<EachLabsPlugin, {self._options['max_concurrency']} requests in flight over all workers>"

    async def setup(self, worker: Any) -> None:
        """Prepare a worker; Dask calls this."""
        self._worker = worker
        self._thread = ClientThread(self._make_client)
        await worker.scheduler.register_scheduler_plugin(
            plugin=pickle.dumps(LimitPlugin()), name=LIMITS, idempotent=True
        )
        worker.stream_handlers.update({LEASE: self._receive_lease, PAUSE: self._receive_pause})

    async def teardown(self, worker: Any) -> None:
        """Cancel the jobs of a worker and close its client; Dask calls this."""
        await asyncio.to_thread(self._thread.stop)

    def run(self, job: Job[T], *, wanted: int) -> T:
        """Run a job with the client of the worker, which can use `wanted` requests at once."""
        return self._thread.run(job, wanted=wanted)

    def _make_client(self) -> WorkerClient:
        return WorkerClient(self._send, **self._options)

    def _send(self, message: dict[str, Any]) -> None:
        self._worker.loop.add_callback(self._worker.batched_send, message)

    def _receive_lease(self, number: int, sequence: int) -> None:
        self._thread.call(lambda client: client.lease.receive(number, sequence))

    def _receive_pause(self, base_url: str, seconds: float, cause: bytes) -> None:
        self._thread.call(lambda client: client.pause(base_url, seconds, cause))


def cluster() -> Any:
    """Return the current `distributed.Client`. Raises `ConfigurationError` if there is none that can be waited for."""
    try:
        found: Any = import_module("distributed").default_client()  # It has no types.
    except ValueError:
        raise ConfigurationError("this needs workers: make a distributed.Client first") from None
    if found.asynchronous:
        raise ConfigurationError("this waits for a worker, so it needs a distributed.Client that is not asynchronous")
    return found


def run_in_worker(job: Job[T], *, wanted: int) -> T:
    """Run a job with the client of the worker that runs this task.

    Raises `ConfigurationError` outside of a worker, or in one without the plugin.
    """
    try:
        plugin = get_worker().plugins.get(NAME)
    except ValueError:
        raise ConfigurationError(
            "this runs on workers of dask.distributed only: make a distributed.Client before computing"
        ) from None
    if not isinstance(plugin, EachLabsPlugin):
        raise ConfigurationError(f"the worker has no EachLabsPlugin: call {_REGISTER}")
    return plugin.run(job, wanted=wanted)
