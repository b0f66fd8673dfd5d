"""Watch the running executions of a map, at an interval that fits how long they take, and read the finished ones."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, Generic, TypeVar

from ..errors import EachLabsError, ExecutionFailedError, OutcomeUnknownError
from ..transport.tasks import cancel_and_wait
from .map_recovery import MapRecovery
from .map_state import Item, MapState, Read
from .placement import Stray
from .refusals import FATAL_FOR_MAP
from .wait import GRACE_S

T = TypeVar("T")

_MIN_INTERVAL_S: Final = 0.02
_MAX_INTERVAL_S: Final = 5.0
_INTERVAL_SHARE: Final = 0.04
"""The interval between two checks, as a share of the time that an execution takes."""


class MapWatcher(Generic[T]):
    """The watcher task of one map."""

    def __init__(self, state: MapState[T], recovery: MapRecovery[T]) -> None:
        self.state = state
        self._recovery = recovery
        self._duration_s = 0.0  # moving average of how long an execution takes
        self._failures = 0  # consecutive failed checks
        self._reading: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Watch until nothing runs, nothing more will be sent, and every finished execution has been read."""
        state, reading = self.state, self._reading
        try:
            while state.running or state.senders_left or reading:
                if not state.running:
                    await state.wait_for_change()
                    continue
                await asyncio.sleep(self._interval_s())
                # Executions are read in tasks of their own, so that the next checks and sends do not wait for them.
                for items in await self._check():
                    reading.add(task := asyncio.create_task(self._read(items)))
                    task.add_done_callback(self._read_done)
        finally:
            await cancel_and_wait(list(reading))

    async def _check(self) -> list[list[Item[T]]]:
        """Check once and return the inputs of each finished execution."""
        state, now = self.state, time.monotonic()
        state.stats.polls += 1
        fresh = {identity for identity, items in state.running.items() if now - items[0].began < GRACE_S}
        try:
            finished = await state.backend.finished(list(state.running), fresh)
        except FATAL_FOR_MAP:
            raise
        except EachLabsError:
            self._failures += 1
            return []  # The transport has retried already; the next check is another attempt.
        self._failures = 0
        now = time.monotonic()
        done = [state.running.pop(identity) for identity in finished]
        for identity in finished:
            state.ledger.executions.end(identity)
        for items in done:
            took = now - items[0].began
            self._duration_s = took if not self._duration_s else 0.8 * self._duration_s + 0.2 * took
            state.limit.end(len(items))
        state.signal()
        return done

    def _interval_s(self) -> float:
        duration_s = self._duration_s
        if not duration_s:
            duration_s = time.monotonic() - min(items[0].began for items in self.state.running.values())
        backoff_s = _MIN_INTERVAL_S * 2.0 ** min(self._failures, 10) if self._failures else 0.0
        interval_s = min(_MAX_INTERVAL_S, max(_MIN_INTERVAL_S, duration_s * _INTERVAL_SHARE, backoff_s))
        return interval_s * (0.9 + 0.2 * random.random())

    async def _read(self, items: list[Item[T]]) -> None:
        """Read a finished execution in full, once, for all inputs that wait for it."""
        value, error = None, None
        try:
            value = await self.state.backend.fetch(items[0].outcome.id)
        except EachLabsError as exc:
            error = exc.with_traceback(None)
        for item in items:
            item.outcome.elapsed_s = time.monotonic() - item.began
            await self._place(item, Read(value, error))

    async def _place(self, item: Item[T], read: Read[T]) -> None:
        """Finish an input if the execution is its own, and those whose executions are known thereby."""
        state, placement = self.state, item.placement
        record = read.error.record if isinstance(read.error, ExecutionFailedError) else read.value
        inputs = None if record is None else state.backend.inputs_of(record)
        if placement is None:
            self._finish(item, read)
            return
        if inputs is None or placement.is_placed(item, inputs):
            placement.keep(item)
            if inputs is not None:
                state.ledger.claims.learn(state.backend.scope, inputs, item.value)
            self._finish(item, read)
        else:
            placement.set_aside(item, Stray(item.outcome.id, inputs, read))
        placed, left = placement.settled()
        if placed and state.journal is not None:
            await state.journal.answered([(item.outcome.index, stray.id) for item, stray in placed])
        for other, stray in placed:
            other.outcome.id = stray.id
            self._finish(other, stray.read)
        for other in left:
            other.placement = None
        if left:
            names = ", ".join(dict.fromkeys(other.outcome.id for other in left))
            reason = OutcomeUnknownError(f"the answer names {names}, which has the inputs of another")
            for other in left:
                other.outcome.id = ""
            state.limit.start(len(left))
            await self._recovery.recover(list(left), reason)

    def _finish(self, item: Item[T], read: Read[T]) -> None:
        item.outcome.value = read.value
        self.state.finish(item, read.error)

    def _read_done(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        self.state.signal()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.state.stop_for(failure)  # An outcome is missing, which must not pass for the end.
