"""The part in the scheduler: divides the account's bound among the workers, and passes pauses on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen
from distributed.diagnostics.plugin import SchedulerPlugin

from .leases import Lease, Leases
from .messages import CONFIRM, LEASE, PAUSE, WANT

LIMITS: Final = "eachlabs-limits"
"""The name of the plugin in the scheduler."""


@frozen
class _KnownPause:
    until: float
    cause: bytes


class LimitPlugin(SchedulerPlugin):
    """Keeps the leases of the workers and the pauses of the services. `EachLabsPlugin` registers it."""

    def __init__(self) -> None:
        self._leases = Leases()
        self._pauses: dict[str, _KnownPause] = {}  # by base URL

    async def start(self, scheduler: Any) -> None:
        """Receive the messages of the workers."""
        self._scheduler = scheduler
        scheduler.stream_handlers.update({WANT: self._want, CONFIRM: self._confirm, PAUSE: self._pause})

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Divide what a worker held that is gone."""
        self._tell(self._leases.leave(worker))

    def _want(self, worker: str, wanted: int, total: int) -> None:
        now = time.monotonic()
        for base_url, pause in self._pauses.items():
            if pause.until > now and wanted:  # Before the lease, so that nothing is sent meanwhile.
                self._tell_pause(worker, base_url, pause.until - now, pause.cause)
        self._tell(self._leases.want(worker, wanted, total))

    def _confirm(self, worker: str, sequence: int) -> None:
        self._tell(self._leases.confirm(worker, sequence))

    def _pause(self, worker: str, base_url: str, seconds: float, cause: bytes) -> None:
        until = time.monotonic() + seconds
        if (known := self._pauses.get(base_url)) is not None and known.until >= until:
            return
        self._pauses[base_url] = _KnownPause(until, cause)
        for other in self._leases.workers:
            if other != worker:
                self._tell_pause(other, base_url, seconds, cause)

    def _tell_pause(self, worker: str, base_url: str, seconds: float, cause: bytes) -> None:
        message = {"op": PAUSE, "base_url": base_url, "seconds": seconds, "cause": cause}
        self._send(worker, message)

    def _tell(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._send(lease.worker, {"op": LEASE, "number": lease.number, "sequence": lease.sequence})

    def _send(self, worker: str, message: dict[str, Any]) -> None:
        if worker in self._scheduler.stream_comms:
            self._scheduler.worker_send(worker, message)
