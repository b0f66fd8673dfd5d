"""The client of one worker: its bound is the worker's lease, and it shares pauses with the other workers."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..client import EachLabs
from ..errors import APIStatusError
from ..hosts import SERVICE_NAMES
from ..transport.service import Pause
from .messages import CONFIRM, PAUSE, WANT
from .worker_lease import WorkerLease

_NEWS_S: Final = 0.1
"""By how many seconds a pause must be extended to be sent: many calls meet the same `Retry-After`."""

Send = Callable[[dict[str, Any]], None]
"""Sends a message to the scheduler, from any thread."""


class WorkerClient(EachLabs):
    """A client that shares the account's bound and the pauses of its services with those of other workers.

    Its keys come from the environment of the worker. It must be made in the event loop in which it is used.
    """

    def __init__(self, send: Send, *, max_concurrency: int, **options: Any) -> None:
        super().__init__(max_concurrency=max_concurrency, **options)
        self._send = send
        self._loop = asyncio.get_running_loop()
        self.lease = WorkerLease(
            self._session.semaphore,
            want=lambda number: send({"op": WANT, "wanted": number, "total": max_concurrency}),
            confirm=lambda sequence: send({"op": CONFIRM, "sequence": sequence}),
        )
        self._shared: dict[str, float] = {}  # until when the pause of each base URL is known to all, in loop time
        self._pauses: dict[str, Pause] = {}
        for name in SERVICE_NAMES:
            base_url, pause = self.hosts.service(name).base_url, self._session.pause(name)
            self._pauses[base_url] = pause
            pause.on_extended = partial(self._share, base_url)

    def _share(self, base_url: str, until: float, cause: APIStatusError) -> None:
        if until < self._shared.get(base_url, 0.0) + _NEWS_S:
            return
        self._shared[base_url] = until
        seconds = until - self._loop.time()
        self._send({"op": PAUSE, "base_url": base_url, "seconds": seconds, "cause": pickle.dumps(cause)})

    def pause(self, base_url: str, seconds: float, cause: bytes) -> None:
        """Keep the pause that another worker's response asked for."""
        until = self._loop.time() + seconds
        self._shared[base_url] = max(until, self._shared.get(base_url, 0.0))
        if (pause := self._pauses.get(base_url)) is not None:
            pause.extend(until, pickle.loads(cause), creating=False)

    async def close(self) -> None:
        """Close the client and end its lease."""
        await self.lease.close()
        await super().close()
