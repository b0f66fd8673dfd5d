"""Owns the bounds in time of calls: as a whole, and while nothing comes; refuses to know what a call does.

All calls of one view of a client have bounds of the same lengths, so one timer serves them: it rings when the first
may be due, looks at those that are running and sets itself anew. A timer a call would cost more than the rest of the
bookkeeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, Literal, TypeVar

from ..errors import ConfigurationError

T = TypeVar("T")

NEVER: Final = float("inf")
LEAST_REST_S: Final = 0.005
"""So long the timer rests at least, or a hundredth of the shorter bound: many late calls must not keep it busy."""

Bound = Literal["end", "silence", "closed"]


class Deadline:
    """The bounds of one call, made by its watch.

    `began` and `ends` are loop times; by `silent_until` something of the answer must come, and it is `NEVER` while
    nobody waits for the peer. `passed` names the bound that led to an interruption which is not settled yet.
    """

    __slots__ = ("_cancelling", "_task", "began", "ends", "passed", "silent_until")

    def __init__(self, task: asyncio.Task[object], began: float, ends: float, silent_until: float) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self.began = began
        self.ends = ends
        self.silent_until = silent_until
        self.passed: Bound | None = None

    def interrupt(self, bound: Bound) -> None:
        """Cancel what the call awaits, once: a closing in the same turn takes the place of the bound that did so."""
        if self.passed is None:
            self._task.cancel()
        self.passed = bound

    def took_effect(self, bound: Bound) -> bool:
        """Say, once and after a `CancelledError`, whether that was this bound's doing and nobody else's."""
        if self.passed != bound:
            return False
        self.passed = None
        return self._task.uncancel() <= self._cancelling

    def nobody_asked(self) -> bool:
        """Say, after a `CancelledError`, that neither this deadline nor anybody else cancelled the task."""
        return self.passed is None and self._task.cancelling() <= self._cancelling

    def rest(self) -> None:
        """Wait for the peer no longer; an interruption that somebody swallowed must not mark the task."""
        self.silent_until = NEVER
        if self.passed is not None:
            self.passed = None
            self._task.uncancel()


class DeadlineTimer:
    """The running deadlines of one view, in seconds: `length_s` for a call as a whole, `silence_s` without a byte."""

    __slots__ = ("__weakref__", "_rest_s", "_running", "_timer", "length_s", "silence_s")

    def __init__(self, length_s: float, silence_s: float) -> None:
        self.length_s = length_s
        self.silence_s = silence_s
        self._rest_s = min(LEAST_REST_S, length_s / 100, silence_s / 100)
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, loop: asyncio.AbstractEventLoop, *, listening: bool) -> Deadline:
        """Start the deadline of a call of the current task; a `listening` one waits for its peer from now on."""
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a call needs a running asyncio task")
        began = loop.time()
        deadline = Deadline(task, began, began + self.length_s, began + self.silence_s if listening else NEVER)
        self._running.add(deadline)
        if self._timer is None:
            self._set(loop, began, deadline.ends)
        return deadline

    def listen(self, deadline: Deadline) -> None:
        """Let the silence begin anew: a part of the answer came, or a request goes out."""
        deadline.silent_until = asyncio.get_running_loop().time() + self.silence_s

    def leave(self, deadline: Deadline) -> None:
        """End a deadline, passed or not."""
        self._running.discard(deadline)
        if deadline.passed is not None:
            deadline.rest()

    def close(self) -> None:
        """Interrupt all calls that run, and stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for deadline in self._running:
            deadline.interrupt("closed")

    def _set(self, loop: asyncio.AbstractEventLoop, now: float, due: float) -> None:
        # Whoever enters, or begins to listen, later than now is not due before this either.
        due = max(min(due, now + min(self.length_s, self.silence_s)), now + self._rest_s)
        if due < NEVER:
            self._timer = loop.call_at(due, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, due = loop.time(), NEVER
        for deadline in self._running:
            if deadline.passed is not None:
                continue
            until = min(deadline.ends, deadline.silent_until)
            if until > now:
                due = min(due, until)
            else:
                deadline.interrupt("end" if deadline.ends <= now else "silence")
        if self._running:
            self._set(loop, now, due)


async def ended_by_closing(watch: DeadlineTimer, work: Awaitable[T], what: str) -> T:
    """Await what may take any time and ends when the client is closed, with an error that says `what` ended."""
    deadline = watch.enter(asyncio.get_running_loop(), listening=False)
    try:
        return await work
    except asyncio.CancelledError:
        if not deadline.took_effect("closed"):
            raise
    finally:
        watch.leave(deadline)
    raise ConfigurationError(f"the client was closed while {what} was under way")
