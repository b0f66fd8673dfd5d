"""Watch the running executions of a map, each at times that fit its age, and read the finished ones.

While executions run, a refusal such as a 401 is waited out for a while: what runs is paid for, and its outcomes can be
read once the key works again.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, Generic, TypeVar

from ..errors import ConfigurationError, EachLabsError, NotFoundError, WaitTimeoutError
from ..transport.tasks import cancel_and_wait
from .map_state import Item, MapState
from .refusals import FATAL_FOR_MAP
from .wait import GRACE_S
from .watch_schedule import MAX_PAUSE_S, MIN_PAUSE_S, WatchSchedule

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""Seconds for which refusals that every read would meet are waited out while executions run."""
UNKNOWN_STATUS_S: Final = 600.0
"""Seconds for which an execution with an unknown status, or one that only its listing calls finished, is watched."""
_NEVER: Final = float("inf")


class MapWatcher(Generic[T]):
    """The watcher task of one map."""

    def __init__(self, state: MapState[T]) -> None:
        self.state = state
        self.schedule = WatchSchedule()
        self._due: dict[str, float] = {}  # by id: when to look at it again
        self._failures = 0  # consecutive failed checks
        self._refused_since: float | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Watch until nothing runs, nothing more will be sent, and every finished execution has been read."""
        state, reading = self.state, self._reading
        try:
            while state.running or state.senders_left:
                if not state.running:
                    await state.wait_for_change()
                    continue
                await self._until_due()
                self._end_overdue()
                # Executions are read in tasks of their own, so that the next checks and sends do not wait for them.
                for identity, items in await self._check():
                    reading.add(task := asyncio.create_task(self._read(identity, items)))
                    task.add_done_callback(self._read_done)
            while reading:
                await asyncio.wait(reading)
        finally:
            await cancel_and_wait(list(reading))

    # ---- when

    async def _until_due(self) -> None:
        """Sleep until an execution is due: at least for the shortest time between two checks."""
        pause_s = self.schedule.floor_s
        if self._failures:
            pause_s = max(pause_s, min(MIN_PAUSE_S * 2.0 ** min(self._failures, 10), MAX_PAUSE_S / 2))
        await asyncio.sleep(pause_s * (0.9 + 0.2 * random.random()))
        while self.state.running and (left_s := self._next_due() - time.monotonic()) > 0:
            await self.state.wait_for_change(left_s)
            await asyncio.sleep(min(max(self._next_due() - time.monotonic(), 0.0), pause_s))

    def _next_due(self) -> float:
        """Return when the first of the running executions is due."""
        due = _NEVER
        for identity, items in self.state.running.items():
            at = self._due.get(identity)
            if at is None:
                # It is unknown how long one that was started earlier has run.
                pause_s = MIN_PAUSE_S if items[0].resumed else self.schedule.pause_s(0.0)
                at = self._due[identity] = items[0].began + pause_s
            due = min(due, at, self._ends_at(identity, items[0]))
        return due

    def _ends_at(self, identity: str, item: Item[T]) -> float:
        """Return when waiting for an execution ends without its own end."""
        limit_s = self.state.options.timeout_s
        if limit_s is None:
            limit_s = UNKNOWN_STATUS_S if identity in self.state.backend.words.unknown else _NEVER
        return item.began + limit_s

    def _end_overdue(self) -> None:
        """Give up the executions that have run for too long; they continue at the service."""
        state, now = self.state, time.monotonic()
        for identity, items in list(state.running.items()):
            if now < self._ends_at(identity, items[0]):
                continue
            word = state.backend.words.unknown.get(identity)
            status = "" if word is None else f": its status is {word!r}, which this version does not know"
            message = f"{identity} did not end within {now - items[0].began:.1f} s{status}; it runs on at the service"
            self._forget(identity)
            state.ledger.executions.unwatch([identity], asyncio.get_running_loop().time())
            state.limit.end(len(items))
            for item in items:
                item.outcome.elapsed_s = now - item.began
                state.finish(item, WaitTimeoutError(message, execution_id=identity))

    # ---- what

    async def _check(self) -> list[tuple[str, list[Item[T]]]]:
        """Check once and return the id and the inputs of each finished execution."""
        state, now = self.state, time.monotonic()
        if not state.running:
            return []
        state.stats.polls += 1
        fresh = {identity for identity, items in state.running.items() if now - items[0].began < GRACE_S}
        soon = now + self.schedule.floor_s / 2
        due = [identity for identity in state.running if self._due.get(identity, now) <= soon]
        try:
            finished = await state.backend.finished(list(state.running), fresh, due)
        except EachLabsError as exc:
            # The transport has retried already; the next check is another attempt.
            self._failures += 1
            if isinstance(exc, FATAL_FOR_MAP) and not self._is_patient(exc):
                raise
            return []
        self._failures, self._refused_since = 0, None
        now = time.monotonic()
        done = [(identity, self._forget(identity)) for identity in finished]
        for identity in due:
            if identity in state.running:
                self._due[identity] = now + self.schedule.pause_s(now - state.running[identity][0].began)
        for identity, items in done:
            state.ledger.executions.end(identity)
            if state.backend.creates and not items[0].resumed:
                self.schedule.ended(now - items[0].began)
            state.limit.end(len(items))
        state.signal()
        return done

    def _forget(self, identity: str) -> list[Item[T]]:
        """Stop watching an execution, and return its inputs."""
        self._due.pop(identity, None)
        self.state.backend.words.forget(identity)
        return self.state.running.pop(identity)

    def _is_patient(self, failure: EachLabsError) -> bool:
        """Whether a refusal is waited out: only executions of this map are known to exist and to be paid for."""
        if isinstance(failure, ConfigurationError) or not self.state.backend.creates:
            return False
        now = time.monotonic()
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since < PATIENCE_S

    # ---- reading

    async def _read(self, identity: str, items: list[Item[T]]) -> None:
        """Read a finished execution in full, once, for all inputs that wait for it.

        The listing may call it finished before the execution itself does; it is then read again until it does.
        """
        value: T | None = None
        error: EachLabsError | None = None
        began, pause_s = time.monotonic(), MIN_PAUSE_S
        limit_s = self.state.options.timeout_s
        ends = began + UNKNOWN_STATUS_S if limit_s is None else max(began, items[0].began + limit_s)
        while True:
            try:
                value = await self.state.backend.fetch(identity)
                self._refused_since, error = None, None
                break
            except WaitTimeoutError as exc:
                error = exc
            except FATAL_FOR_MAP as exc:
                if isinstance(exc, NotFoundError):
                    error = exc
                    break
                if not self._is_patient(exc):
                    self.state.running[identity] = items  # The error names it.
                    raise
                error = exc
            except EachLabsError as exc:
                error = exc
                break
            if isinstance(error, WaitTimeoutError) and time.monotonic() >= ends:
                break
            await asyncio.sleep(pause_s * (0.9 + 0.2 * random.random()))
            pause_s = min(1.5 * pause_s, MAX_PAUSE_S / 2)
        self.state.backend.words.forget(identity)
        for item in items:
            item.outcome.value = value
            item.outcome.elapsed_s = time.monotonic() - item.began
            self.state.finish(item, None if error is None else error.with_traceback(None))

    def _read_done(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.state.stop_for(failure)  # An outcome is missing, which must not pass for the end.
