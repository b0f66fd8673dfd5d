"""Bound calls in time: the deadline of a whole call and its read timeout.

All calls of one view of a client have the same two limits, so a single timer serves them. It fires when the first call
may be due, checks all active calls and schedules itself again. A timer for each call would cost more than the rest of
a call's bookkeeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, Literal, TypeVar

from ..errors import ConfigurationError

T = TypeVar("T")

NEVER: Final = float("inf")
MIN_INTERVAL_S: Final = 0.005
"""Seconds between two checks, at least (or a hundredth of the shorter limit), however many calls are due."""

Bound = Literal["deadline", "read_timeout", "closed"]


class Deadline:
    """The limits of one call, created by `DeadlineTimer.start`.

    `started_at`, `expires_at` and `read_deadline` are loop times. By `read_deadline` the peer must have sent something;
    it is `NEVER` while the call does not wait for the peer. `interrupted_by` is the bound that cancelled the task; it
    is None again once that cancellation was absorbed.
    """

    __slots__ = ("_cancelling", "_task", "expires_at", "interrupted_by", "read_deadline", "started_at")

    def __init__(self, task: asyncio.Task[object], started_at: float, expires_at: float, read_deadline: float) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self.started_at = started_at
        self.expires_at = expires_at
        self.read_deadline = read_deadline
        self.interrupted_by: Bound | None = None

    def interrupt(self, bound: Bound) -> None:
        """Cancel the task, unless another bound has done so. The last bound counts as the cause."""
        if self.interrupted_by is None:
            self._task.cancel()
        self.interrupted_by = bound

    def absorb_cancellation(self, bound: Bound) -> bool:
        """Whether a caught `CancelledError` is due to this bound and nothing else. Returns True only once."""
        if self.interrupted_by != bound:
            return False
        self.interrupted_by = None
        return self._task.uncancel() <= self._cancelling

    def is_stray_cancellation(self) -> bool:
        """Whether a caught `CancelledError` is due neither to this deadline nor to a cancellation of the task."""
        return self.interrupted_by is None and self._task.cancelling() <= self._cancelling

    def stop_read_timeout(self) -> None:
        """Stop waiting for the peer, and undo an interruption whose `CancelledError` was swallowed."""
        self.read_deadline = NEVER
        if self.interrupted_by is not None:
            self.interrupted_by = None
            self._task.uncancel()


class DeadlineTimer:
    """The deadlines of the active calls of one view.

    `deadline_s` limits each call as a whole, `read_timeout_s` the time without a byte from the peer.
    """

    __slots__ = ("__weakref__", "_active", "_min_interval_s", "_timer", "deadline_s", "read_timeout_s")

    def __init__(self, deadline_s: float, read_timeout_s: float) -> None:
        self.deadline_s = deadline_s
        self.read_timeout_s = read_timeout_s
        self._min_interval_s = min(MIN_INTERVAL_S, deadline_s / 100, read_timeout_s / 100)
        self._active: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop, *, reading: bool, earlier: Deadline | None = None) -> Deadline:
        """Start the deadline of a call of the current task, or go on with its `earlier` one.

        With `reading`, the read timeout starts too.
        """
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a call needs a running asyncio task")
        now = loop.time()
        deadline = Deadline(task, now, now + self.deadline_s, now + self.read_timeout_s if reading else NEVER)
        if earlier is not None:
            deadline.started_at, deadline.expires_at = earlier.started_at, earlier.expires_at
        self._active.add(deadline)
        if self._timer is None:
            self._schedule(loop, now, deadline.expires_at)
        return deadline

    def restart_read_timeout(self, deadline: Deadline) -> None:
        """Start the read timeout again: a request goes out, or a part of the response came."""
        deadline.read_deadline = asyncio.get_running_loop().time() + self.read_timeout_s

    def stop(self, deadline: Deadline) -> None:
        """Stop a deadline, whether it has passed or not."""
        self._active.discard(deadline)
        if deadline.interrupted_by is not None:
            deadline.stop_read_timeout()

    def reset(self) -> None:
        """Forget all calls: their loop is closed, or belongs to a parent process."""
        self._timer, self._active = None, set()

    def close(self) -> None:
        """Interrupt all active calls and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for deadline in self._active:
            deadline.interrupt("closed")

    def _schedule(self, loop: asyncio.AbstractEventLoop, now: float, due: float) -> None:
        # A limit that starts after now cannot pass before this.
        due = max(min(due, now + min(self.deadline_s, self.read_timeout_s)), now + self._min_interval_s)
        if due < NEVER:
            self._timer = loop.call_at(due, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, next_due = loop.time(), NEVER
        for deadline in self._active:
            if deadline.interrupted_by is not None:
                continue
            due = min(deadline.expires_at, deadline.read_deadline)
            if due > now:
                next_due = min(next_due, due)
            else:
                deadline.interrupt("deadline" if deadline.expires_at <= now else "read_timeout")
        if self._active:
            self._schedule(loop, now, next_due)


async def until_closed(timer: DeadlineTimer, work: Awaitable[T], operation: str) -> T:
    """Await work that has no deadline and ends at the latest when the client is closed.

    Raises `ConfigurationError` in that case, with a message that names the `operation`.
    """
    deadline = timer.start(asyncio.get_running_loop(), reading=False)
    try:
        return await work
    except asyncio.CancelledError:
        if not deadline.absorb_cancellation("closed"):
            raise
    finally:
        timer.stop(deadline)
    raise ConfigurationError(f"the client was closed while {operation} was under way")
