"""Watch the running executions of a map, each at times that fit its age, and read the finished ones.

While executions run, a refusal such as a 401 is waited out for a while: what runs is paid for, and its outcomes can be
read once the key works again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, Final, Generic, TypeVar

from ..errors import (
    ConfigurationError,
    EachLabsError,
    ExecutionFailedError,
    NotFoundError,
    OutcomeUnknownError,
    WaitTimeoutError,
)
from ..transport.tasks import cancel_and_wait
from .map_recovery import MapRecovery
from .map_state import Item, MapState, Read
from .placement import Stray
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

    def __init__(self, state: MapState[T], recovery: MapRecovery[T]) -> None:
        self.state = state
        self.schedule = WatchSchedule()
        self._due: dict[str, float] = {}  # by id: when to look at it again
        self._recovery = recovery
        self._failures = 0  # consecutive failed checks
        self._refused_since: float | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Watch until nothing runs, nothing more will be sent, and every finished execution has been read."""
        state, reading = self.state, self._reading
        try:
            while state.running or state.senders_left or reading:
                if not state.running:
                    await state.wait_for_change()
                    continue
                await self._until_due()
                # Executions are read in tasks of their own, so that the next checks and sends do not wait for them.
                work = self._overdue()
                work += [self._read(identity, items) for identity, items in await self._check()]
                for each in work:
                    reading.add(task := asyncio.create_task(each))
                    task.add_done_callback(self._read_done)
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

    def _overdue(self) -> list[Coroutine[Any, Any, None]]:
        """Give up the executions that have run for too long, and return what ends their inputs.

        They continue at the service.
        """
        state, now = self.state, time.monotonic()
        ending: list[Coroutine[Any, Any, None]] = []
        for identity, items in list(state.running.items()):
            if now < self._ends_at(identity, items[0]):
                continue
            word = state.backend.words.unknown.get(identity)
            status = "" if word is None else f": its status is '{word}', which this version does not know"
            message = f"{identity} did not end within {now - items[0].began:.1f} s{status}; it runs on at the service"
            self._forget(identity)
            state.ledger.executions.unwatch([identity], asyncio.get_running_loop().time())
            state.limit.end(len(items))
            ending.append(self._end(items, Read(None, WaitTimeoutError(message, execution_id=identity))))
        return ending

    # ---- what

    async def _check(self) -> list[tuple[str, list[Item[T]]]]:
        """Check once and return the id and the inputs of each finished execution."""
        state, now = self.state, time.monotonic()
        if not state.running:
            return []
        state.stats.polls += 1
        fresh = {identity for identity, items in state.running.items() if _is_fresh(items[0])}
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
                error = exc
                if isinstance(exc, NotFoundError):
                    if not _is_fresh(items[0]):
                        break
                elif not self._is_patient(exc):
                    self.state.running[identity] = items  # The error names it.
                    raise
            except EachLabsError as exc:
                error = exc
                break
            if isinstance(error, WaitTimeoutError) and time.monotonic() >= ends:
                break
            await asyncio.sleep(pause_s * (0.9 + 0.2 * random.random()))
            pause_s = min(1.5 * pause_s, MAX_PAUSE_S / 2)
        self.state.backend.words.forget(identity)
        await self._end(items, Read(value, None if error is None else error.with_traceback(None)))

    async def _end(self, items: list[Item[T]], read: Read[T]) -> None:
        if self.state.backend.creates and not isinstance(read.error, WaitTimeoutError):
            record = read.error.record if isinstance(read.error, ExecutionFailedError) else read.value
            self.state.ledger.report_end(items[0].outcome.id, record)
        for item in items:
            item.outcome.elapsed_s = time.monotonic() - item.began
            await self._place(item, read)

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
        self.state.signal()
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.state.stop_for(failure)  # An outcome is missing, which must not pass for the end.


def _is_fresh(item: Item[Any]) -> bool:
    """Whether the execution of an input may not be visible yet."""
    if item.resumed and item.sent is not None:
        return time.time() - item.sent.since < GRACE_S
    return time.monotonic() - item.began < GRACE_S
