"""Owns how long and how often a call may try, as pure values and functions; refuses clocks, sleeping and chance.

The caller brings the elapsed time and the jitter; what comes back is a delay or the decision to give up.
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
_NAMES_THE_CAP: Final = re.compile("concurren", re.IGNORECASE)
_NAMES_THE_BURST: Final = re.compile(r"started\s+at\s+once", re.IGNORECASE)


def _number(*, least: float, exclusive: bool = False, endless: bool = False) -> Any:
    def check(instance: object, attribute: Any, value: object) -> None:
        name = f"{type(instance).__name__}.{attribute.name}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        if math.isnan(value) or value < least or (exclusive and value == least):
            raise ValueError(f"{name} must be {'more than' if exclusive else 'at least'} {least:g}, not {value}")
        if math.isinf(value) and not endless:
            raise ValueError(f"{name} must be finite, not {value}")

    return check


def _whole(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{type(instance).__name__}.{attribute.name} must be an int, not {type(value).__name__}")
    _number(least=1)(instance, attribute, value)


def _statuses(values: Iterable[int]) -> frozenset[int]:
    found = frozenset(values)
    for one in found:
        if isinstance(one, bool) or not isinstance(one, int):
            raise TypeError(f"RetryPolicy.statuses must be ints, not {type(one).__name__}")
    return found


@frozen
class Timeouts:
    """How long one call may take, in seconds.

    `connect_s`: opening one connection. `read_s`: the longest silence while an answer is awaited or read (the
    service may hold the answer of an unfinished execution for 30 s). `deadline_s`: the call as a whole, waiting
    for a free place, every try, every pause and the reading included.
    """

    connect_s: float = field(default=10.0, validator=_number(least=0, exclusive=True))
    read_s: float = field(default=40.0, validator=_number(least=0, exclusive=True))
    deadline_s: float = field(default=120.0, validator=_number(least=0, exclusive=True))


@frozen
class RetryPolicy:
    """When a failed request is sent again, and after how long.

    `max_attempts`: requests a call, the first included. `max_elapsed_s`: no wait ends later than this after the
    call began. Attempt n is followed by half to the whole of `base_s * 2 ** (n - 1)` seconds, `cap_s` at most.
    A `Retry-After` is a floor: jitter is only ever added to it. `statuses`: the answers that are worth another
    try; so are connections that fail, time out or break. What creates something is never sent twice for a
    failure that leaves its outcome open, whatever the policy says.

    `creating_pause_s`: seconds for which the client creates nothing after a 429 on creating that says no time and
    comes while nothing of this client runs, from 0 (no such pause). The service counts tries during such a block and
    keeps it up for them: only silence ends it. Each further one in a row is longer by a third of this, up to twice
    as long, until something is created again. A call whose `max_elapsed_s` or deadline ends before the pause does is
    a `RateLimitError` at once, with what is left of it as `retry_after_s`; a `map` waits.
    """

    max_attempts: int = field(default=5, validator=_whole)
    max_elapsed_s: float = field(default=60.0, validator=_number(least=0, endless=True))
    base_s: float = field(default=0.5, validator=_number(least=0))
    cap_s: float = field(default=30.0, validator=_number(least=0, endless=True))
    statuses: frozenset[int] = field(default=RETRIED_STATUSES, converter=_statuses)
    creating_pause_s: float = field(default=90.0, validator=_number(least=0))

    @classmethod
    def none(cls) -> RetryPolicy:
        """Give the policy that sends every request once."""
        return cls(max_attempts=1)

    def delay(self, attempt: int, failure: EachLabsError, *, elapsed_s: float, jitter: float) -> float | None:
        """Give the seconds to wait after `failure` ended attempt number `attempt`, or None to give up.

        `attempt` counts from 1, `elapsed_s` from the start of the call, `jitter` is between 0 and 1.
        """
        if attempt >= self.max_attempts or not self._is_passing(failure):
            return None
        step = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 63))
        left = self.max_elapsed_s - elapsed_s
        floor = asked_pause_s(failure)
        if floor is None:
            wait = step * (1 + jitter) / 2
            return wait if wait <= left else None
        if floor > left:
            return None
        return min(floor + step * jitter, max(left, floor))

    def _is_passing(self, failure: EachLabsError) -> bool:
        if isinstance(failure, APIStatusError):
            return failure.status in self.statuses
        return isinstance(failure, APIConnectionError) and failure.retryable


def asked_pause_s(failure: EachLabsError) -> float | None:
    """Give the pause that the service asked for with this failure, in seconds, None where it asked for none."""
    return failure.retry_after_s if isinstance(failure, APIStatusError) else None


def may_send_again(failure: EachLabsError, *, repeatable: bool) -> bool:
    """Say whether sending again is safe: what creates something only after a failed connect or a 429."""
    if repeatable or isinstance(failure, RateLimitError):
        return True
    return isinstance(failure, APIConnectionError) and not failure.sent


def leaves_outcome_open(failure: EachLabsError) -> bool:
    """Say whether a request that creates something may have been carried out although it failed like this."""
    if isinstance(failure, APIConnectionError):
        return failure.sent
    if isinstance(failure, APIStatusError):
        return isinstance(failure, ServerError) or failure.status in (303, 408)
    return isinstance(failure, ResponseDecodeError)


def calls_for_silence(failure: RateLimitError, *, running: int, asked: int) -> bool:
    """Say whether a 429 on creating, of `asked` executions while `running` are ours, is one that only silence ends.

    While something of ours runs it is the cap on concurrent executions, which clears when one ends. So is one that
    names that cap when several were asked for at once: fewer may fit. Where it says that too many were started at
    once it is no cap, whatever runs.
    """
    if failure.retry_after_s is not None:
        return False
    words = f"{failure.message} {failure.body}"
    if _NAMES_THE_BURST.search(words):
        return True
    return not running and not (asked > 1 and _NAMES_THE_CAP.search(words))
