"""Decide whether and when a failed call is sent again, as pure functions.

The elapsed time and the jitter are arguments. `transport` measures them, sleeps and sends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import field, frozen

from ..errors import (
    APIConnectionError,
    APIStatusError,
    EachLabsError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)

RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONCURRENCY_LIMIT: Final = re.compile("concurren", re.IGNORECASE)
_BURST_LIMIT: Final = re.compile(r"started\s+at\s+once", re.IGNORECASE)
"""How a 429 on creating names the limit that it enforces."""


def _number(*, minimum: float, exclusive: bool = False, infinite: bool = False) -> Any:
    def check(instance: object, attribute: Any, value: object) -> None:
        name = f"{type(instance).__name__}.{attribute.name}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if math.isnan(value) or value < minimum or (exclusive and value == minimum):
            raise ValueError(f"{name} must be {'more than' if exclusive else 'at least'} {minimum:g}, not {value}")
        if math.isinf(value) and not infinite:
            raise ValueError(f"{name} must be finite, not {value}")

    return check


def _whole(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{type(instance).__name__}.{attribute.name} must be an int, not {type(value).__name__}")
    _number(minimum=1)(instance, attribute, value)


def _statuses(values: Iterable[int]) -> frozenset[int]:
    found = frozenset(values)
    for one in found:
        if isinstance(one, bool) or not isinstance(one, int):
            raise TypeError(f"RetryPolicy.statuses must be ints, not {type(one).__name__}")
    return found


@frozen
class Timeouts:
    """How long one call may take, in seconds.

    `connect_s`: the time to open one connection. `read_s`: the longest time without a byte while a response is awaited
    or read (the service may hold the response for an unfinished execution for 30 s). `deadline_s`: the call as a whole,
    including the wait for a free slot, every attempt, every pause and the reading of the response.
    """

    connect_s: float = field(default=10.0, validator=_number(minimum=0, exclusive=True))
    read_s: float = field(default=40.0, validator=_number(minimum=0, exclusive=True))
    deadline_s: float = field(default=120.0, validator=_number(minimum=0, exclusive=True))


@frozen
class RetryPolicy:
    """When a failed request is sent again, and after how long.

    `max_attempts`: requests per call, including the first. `max_elapsed_s`: no wait ends later than this after the
    start of the call. Attempt n is followed by a wait of half to the whole of `base_s * 2 ** (n - 1)` seconds, at most
    `cap_s`. A `Retry-After` is a floor: jitter is only added to it. `statuses`: the response statuses after which a
    request is sent again; it is also sent again when a connection fails, times out or breaks, and when the body of a
    successful response is no JSON. A request that creates something is never sent again after a failure that leaves its
    outcome open, whatever the policy says.

    `creating_pause_s`: seconds for which the client creates nothing after a 429 on creating that names no time and
    comes while nothing of this client is running; 0 for no such pause. The service counts attempts during such a block
    and extends it for them, so only a pause ends it. Each further pause in a row is longer by a third of this, up to
    twice as long, until something is created again. A call whose `max_elapsed_s` or deadline ends before the pause
    raises `RateLimitError` at once, with the rest of the pause as `retry_after_s`; a `map` waits.
    """

    max_attempts: int = field(default=5, validator=_whole)
    max_elapsed_s: float = field(default=60.0, validator=_number(minimum=0, infinite=True))
    base_s: float = field(default=0.5, validator=_number(minimum=0))
    cap_s: float = field(default=30.0, validator=_number(minimum=0, infinite=True))
    statuses: frozenset[int] = field(default=RETRIED_STATUSES, converter=_statuses)
    creating_pause_s: float = field(default=90.0, validator=_number(minimum=0))

    @classmethod
    def none(cls) -> RetryPolicy:
        """Return a policy that sends every request once."""
        return cls(max_attempts=1)

    def delay(self, attempt: int, failure: EachLabsError, *, elapsed_s: float, jitter: float) -> float | None:
        """Return the seconds to wait after `failure` ended attempt number `attempt`, or None to give up.

        `attempt` counts from 1, `elapsed_s` from the start of the call; `jitter` is between 0 and 1.
        """
        if attempt >= self.max_attempts or not self._is_transient(failure):
            return None
        step = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 63))
        left = self.max_elapsed_s - elapsed_s
        floor = requested_pause_s(failure)
        if floor is None:
            wait = step * (1 + jitter) / 2
            return wait if wait <= left else None
        if floor > left:
            return None
        return min(floor + step * jitter, max(left, floor))

    def _is_transient(self, failure: EachLabsError) -> bool:
        if isinstance(failure, APIStatusError):
            return failure.status in self.statuses
        return isinstance(failure, APIConnectionError | ResponseDecodeError) and failure.retryable


def may_pass(failure: EachLabsError) -> bool:
    """Whether a failure to read can pass by itself, so that whoever has the time may try again much later."""
    if isinstance(failure, APIStatusError):
        return failure.status in RETRIED_STATUSES or (failure.status > 500 and failure.status != 501)
    return isinstance(failure, APIConnectionError | ResponseDecodeError) and failure.retryable


def requested_pause_s(failure: EachLabsError) -> float | None:
    """Return the seconds for which the service asked to pause with this failure, or None if it did not."""
    return failure.retry_after_s if isinstance(failure, APIStatusError) else None


def may_send_again(failure: EachLabsError, *, repeatable: bool) -> bool:
    """Whether it is safe to send a request again.

    One that creates something is not `repeatable`, and is sent again only after a 429 or if it was never sent.
    """
    if repeatable or isinstance(failure, RateLimitError):
        return True
    return isinstance(failure, APIConnectionError) and not failure.sent


def leaves_outcome_open(failure: EachLabsError) -> bool:
    """Whether a request that creates something may have been carried out although it failed with `failure`."""
    if isinstance(failure, APIConnectionError):
        return failure.sent
    if isinstance(failure, APIStatusError):
        return isinstance(failure, ServerError) or failure.status in (303, 408)
    return isinstance(failure, ResponseDecodeError)


def needs_creation_pause(failure: RateLimitError, *, running: int, requested: int) -> bool:
    """Whether only a pause ends this 429 on creating `requested` executions, while `running` of ours are running.

    A 429 that names a time ends by itself. While something of ours is running, the cause is the limit on concurrent
    executions, which clears when one ends. The same holds for a 429 that names this limit when several executions were
    requested at once, because fewer may fit. A 429 that says that too many were started at once is never that limit.
    """
    if failure.retry_after_s is not None:
        return False
    text = f"{failure.message} {failure.body}"
    if _BURST_LIMIT.search(text):
        return True
    return not running and not (requested > 1 and _CONCURRENCY_LIMIT.search(text))
