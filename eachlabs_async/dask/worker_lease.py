"""The lease of one worker: holds back those slots of a client's semaphore that are other workers'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from ..transport.semaphore import PrioritySemaphore
from ..transport.tasks import cancel_and_wait


class WorkerLease:
    """Bounds the requests in flight of a client by its lease, which is 0 until the scheduler grants more.

    `want` and `confirm` send to the scheduler.
    """

    def __init__(
        self, semaphore: PrioritySemaphore, *, want: Callable[[int], None], confirm: Callable[[int], None]
    ) -> None:
        self._semaphore = semaphore
        self._want = want
        self._confirm = confirm
        semaphore.available = 0  # All slots are taken here, and given back as the lease grows.
        self._usable = 0  # slots that the client may use
        self._lease = 0
        self._sequence = 0
        self._wanted = 0
        self._granted = asyncio.Event()
        self._shrinking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def claim(self, wanted: int) -> AsyncGenerator[None]:
        """Claim a share of the account's requests for a block, `wanted` at most; enter once there is at least one.

        The wait is here and not in the calls, whose deadlines would pass.
        """
        self._wanted += wanted
        self._want(self._wanted)
        try:
            await self._granted.wait()
            yield
        finally:
            self._wanted -= wanted
            if not self._wanted:
                self._granted.clear()
            self._want(self._wanted)

    def receive(self, number: int, sequence: int) -> None:
        """Apply a lease from the scheduler, and confirm it once no more requests than that are in flight."""
        self._lease, self._sequence = number, sequence
        while self._usable < number:
            self._usable += 1
            self._semaphore.release()
        if number and self._wanted:
            self._granted.set()
        elif not number:
            self._granted.clear()
        if self._usable == number:
            self._confirm(sequence)
        elif self._shrinking is None:
            self._shrinking = asyncio.create_task(self._shrink())

    async def _shrink(self) -> None:
        while self._usable > self._lease:
            await self._semaphore.acquire(background=False)
            if self._usable > self._lease:
                self._usable -= 1
            else:
                self._semaphore.release()  # The lease has grown meanwhile.
        self._shrinking = None
        self._confirm(self._sequence)

    async def close(self) -> None:
        """End the task that waits for slots."""
        if self._shrinking is not None:
            await cancel_and_wait([self._shrinking])
