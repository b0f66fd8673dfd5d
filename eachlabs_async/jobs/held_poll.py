"""Poll with requests that the service holds back, for a shorter time once a gateway has cut one of them off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from attrs import asdict, frozen

from ..errors import APIConnectionError, APIStatusError, EachLabsError
from ..transport.retry import RetryPolicy
from ..transport.transport import Transport
from .poll import MAX_HOLD_S, hold_s

R = TypeVar("R")


def is_cut_off(failure: EachLabsError) -> bool:
    """Whether a gateway may have ended a request because its answer took too long: by a 504, or without an answer."""
    if isinstance(failure, APIStatusError):
        return failure.status == 504
    return isinstance(failure, APIConnectionError) and failure.sent and failure.retryable


@frozen
class _PolicyForHolds(RetryPolicy):
    """A policy that does not repeat a request that was cut off: it would be cut off again."""

    def delay(self, attempt: int, failure: EachLabsError, *, elapsed_s: float, jitter: float) -> float | None:
        if is_cut_off(failure):
            return None
        return super().delay(attempt, failure, elapsed_s=elapsed_s, jitter=jitter)


class HeldPoll(Generic[R]):
    """The requests of one wait. Each that is cut off halves the time for which the service may hold the next one.

    `read` sends one request by the given transport, to be held for the given number of seconds. At one second the retry
    policy alone decides about further requests.
    """

    def __init__(self, transport: Transport, read: Callable[[Transport, int], Awaitable[R]], *, watched: bool) -> None:
        self._transport = transport
        policy = _PolicyForHolds(**asdict(transport.retry, recurse=False))
        self._holding = Transport(transport.session, policy, transport.timeouts)
        self._read = read
        self._watched = watched
        self._most_s = MAX_HOLD_S

    async def fetch(self, pause_s: float, left_s: float) -> R:
        """Return the record, for `poll_until_finished`."""
        loop, timeouts, retry = asyncio.get_running_loop(), self._transport.timeouts, self._transport.retry
        ends_at = loop.time() + left_s
        while True:
            wanted_s = hold_s(
                pause_s,
                left_s=ends_at - loop.time(),
                read_s=timeouts.read_s,
                watched=self._watched,
                most_s=self._most_s,
            )
            if wanted_s == 1:
                return await self._read(self._transport, wanted_s)
            try:
                return await self._read(self._holding, wanted_s)
            except EachLabsError as exc:
                wait_s = retry.delay(1, exc, elapsed_s=0.0, jitter=random.random()) if is_cut_off(exc) else None
                if wait_s is None:
                    raise
            self._most_s = wanted_s // 2
            await asyncio.sleep(wait_s)
