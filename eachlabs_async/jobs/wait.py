"""Owns the waiting for one job: asking until it has ended, within a time; refuses to know how it is asked after.

What passes while it asks (a drop, a 5xx, a 429) the session tries again; an error that comes through ends the wait.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..errors import NotFoundError, WaitTimeoutError
from ..records import Prediction, Run, State, WorkflowExecution
from ..transport.arguments import checked_callback
from .polling import Poll, who_has_to_act, why_it_failed

R = TypeVar("R", Prediction, WorkflowExecution, Run)

GRACE_S: Final = 10.0
"""Seconds for which a job that was made just now may not be found."""


def checked_timeout(name: str, value: object) -> float:
    """Check a time to wait, in seconds: a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be more than 0 and finite, not {value}")
    return float(value)


def identity_of(name: str, job: object, field: str) -> str:
    """Give the id of what the argument `name` says to wait for: the id itself, or a record with it in a `field`."""
    identity: object = getattr(job, field, job)
    if not isinstance(identity, str):
        raise TypeError(f"{name} must be an id or a record with one, not {type(job).__name__}")
    return identity


async def until_ended(
    identity: str,
    ask: Callable[[float, float], Awaitable[R]],
    *,
    timeout_s: float,
    poll: Poll,
    on_update: Callable[[R], object] | None,
    fresh: bool,
) -> R:
    """Ask until the job has ended well; an `ExecutionFailedError` where it ended otherwise.

    A job that waits for a person ends the waiting too, with a `HumanFeedbackRequiredError`.

    `ask` is given the pause that would follow and the seconds that are left. `fresh` says that the job was made just
    now, so that it may take a while to be found. A `WaitTimeoutError` after `timeout_s` seconds.
    """
    checked_callback("on_update", on_update)
    if not isinstance(poll, Poll):
        raise TypeError(f"poll must be a Poll, not {type(poll).__name__}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    last: R | None = None
    missed: NotFoundError | None = None
    asked = 0
    bound = asyncio.timeout_at(began + timeout_s)
    try:
        async with bound:
            while True:
                asked += 1
                asked_at = loop.time()
                pause_s = poll.pause_s(asked, jitter=random.random())
                try:
                    record = await ask(pause_s, began + timeout_s - asked_at)
                except NotFoundError as exc:
                    if not fresh or last is not None or loop.time() - began >= GRACE_S:
                        raise
                    missed = exc
                else:
                    if on_update is not None and record != last:
                        on_update(record)
                    last = record
                    if record.is_finished or record.state is State.WAITING:
                        break
                await asyncio.sleep(max(0.0, asked_at + pause_s - loop.time()))
    except TimeoutError:
        if not bound.expired():
            raise  # a call's own
        failure: Exception = _too_late(identity, timeout_s, last, missed)
    else:
        found = why_it_failed(last) or who_has_to_act(last)
        if found is None:
            return last
        failure = found
    # Raised here, not in a handler above: no context of the interrupted code hangs on to the error.
    raise failure


def _too_late(
    identity: str, timeout_s: float, last: Prediction | WorkflowExecution | Run | None, missed: NotFoundError | None
) -> WaitTimeoutError:
    never = "no answer came" if missed is None else "it was not found"
    now = never if last is None else f"it is {last.status}"
    return WaitTimeoutError(f"{identity} did not end within {timeout_s:g} s: {now}", execution_id=identity, record=last)
