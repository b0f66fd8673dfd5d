"""Owns the deadlines of calls; refuses to know what a call does.

Calls of one view have deadlines of one length, so they fall due in the order in which they began: one timer, set
for the oldest, serves all of them, where a timer a call would cost more than the rest of the bookkeeping.
"""

from __future__ import annotations

import asyncio


class Deadline:
    """The deadline of one call, made and kept by its lane; `expired` tells of an interruption not yet settled."""

    __slots__ = ("_cancelling", "_task", "ends", "expired")

    def __init__(self, task: asyncio.Task[object], ends: float) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self.ends = ends
        self.expired = False

    def interrupt(self) -> None:
        """Cancel what the call awaits."""
        self.expired = True
        self._task.cancel()

    def took_effect(self) -> bool:
        """Say, once and after a `CancelledError`, whether that was this deadline's doing and nobody else's."""
        if not self.expired:
            return False
        self.expired = False
        return self._task.uncancel() <= self._cancelling


class Lane:
    """All running deadlines of one length, in seconds."""

    __slots__ = ("_running", "_timer", "length_s")

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, loop: asyncio.AbstractEventLoop) -> Deadline:
        """Start the deadline of a call that the current task makes."""
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a call needs a running asyncio task")
        deadline = Deadline(task, loop.time() + self.length_s)
        self._running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.ends, self._ring, loop)
        return deadline

    def extend(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        """Let a deadline begin anew: it goes to the end of the lane. One that has passed stays as it is."""
        if self._running.pop(deadline, deadline) is None:
            deadline.ends = loop.time() + self.length_s
            self._running[deadline] = None

    def leave(self, deadline: Deadline) -> None:
        """End a deadline, passed or not."""
        self._running.pop(deadline, None)
        if deadline.expired:
            deadline.took_effect()  # The call swallowed the interruption: its task must not stay marked by it.

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        due: list[Deadline] = []
        for deadline in self._running:
            if deadline.ends > now:
                self._timer = loop.call_at(deadline.ends, self._ring, loop)
                break
            due.append(deadline)
        for deadline in due:
            del self._running[deadline]
            deadline.interrupt()
