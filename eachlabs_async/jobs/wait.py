"""Poll one execution until it finishes. `poll` computes the pauses, and the resources send the requests.

The transport retries what is transient (a dropped connection, a 5xx, a 429); an error that comes through ends the wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

from ..errors import NotFoundError, WaitTimeoutError
from ..records import Prediction, Run, State, WorkflowExecution
from ..transport.arguments import checked_callback
from ..transport.redaction import line
from .failure import failure_of, feedback_needed
from .poll import Poll

R = TypeVar("R", Prediction, WorkflowExecution, Run)

GRACE_S: Final = 10.0
"""Seconds for which an execution that was just created may not be found."""


def id_of(name: str, execution: object, field: str) -> str:
    """Return the id in the argument `name`, which is the id itself or a record that holds it in `field`."""
    identity: object = getattr(execution, field, execution)
    if not isinstance(identity, str):
        raise TypeError(f"{name} must be an id or a record with one, not {type(execution).__name__}")
    return identity


async def poll_until_finished(
    identity: str,
    fetch: Callable[[float, float], Awaitable[R]],
    *,
    timeout_s: float,
    poll: Poll,
    on_update: Callable[[R], object] | None,
    fresh: bool,
    secrets: Collection[str],
) -> R:
    """Poll until the execution finishes and return its record.

    `fetch` is called with the pause that would follow and the time that is left, both in seconds. `on_update` is called
    with each record that differs from the one before. With `fresh`, a 404 during the first ten seconds is ignored,
    because an execution that was just created may not be found yet. No text of an error shows one of the `secrets`.

    Raises `ExecutionFailedError` if the execution failed or was cancelled, `HumanFeedbackRequiredError` if it waits
    for a person, and `WaitTimeoutError` after `timeout_s` seconds.
    """
    checked_callback("on_update", on_update)
    if not isinstance(poll, Poll):
        raise TypeError(f"poll must be a Poll, not {type(poll).__name__}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    last: R | None = None
    missed: NotFoundError | None = None
    attempt = 0
    bound = asyncio.timeout_at(began + timeout_s)
    try:
        async with bound:
            while True:
                attempt += 1
                sent_at = loop.time()
                pause_s = poll.pause_s(attempt, jitter=random.random())
                try:
                    record = await fetch(pause_s, began + timeout_s - sent_at)
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
                await asyncio.sleep(max(0.0, sent_at + pause_s - loop.time()))
    except TimeoutError:
        if not bound.expired():
            raise  # from a call
        failure: Exception = _timeout_error(identity, timeout_s, last, missed, secrets)
    else:
        found = failure_of(last, secrets) or feedback_needed(last, secrets)
        if found is None:
            return last
        failure = found
    # Raised outside of the handlers, so that the error gets no context.
    raise failure


def _timeout_error(
    identity: str,
    timeout_s: float,
    last: Prediction | WorkflowExecution | Run | None,
    missed: NotFoundError | None,
    secrets: Collection[str],
) -> WaitTimeoutError:
    missing = "no answer came" if missed is None else "it was not found"
    status = missing if last is None else f"it is {line(last.status, secrets)}"
    return WaitTimeoutError(
        f"{identity} did not end within {timeout_s:g} s: {status}", execution_id=identity, record=last
    )
