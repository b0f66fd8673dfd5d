"""Look whether a repeatable request took effect, if it failed after one of its answers may have been lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import EachLabsError
from ..transport.retry import leaves_outcome_open

T = TypeVar("T")


async def request_or_look(request: Awaitable[T], look: Callable[[], Awaitable[T | None]], *, deadline_s: float) -> T:
    """Return the answer to a request, or what `look` finds if the request fails.

    A service may refuse the second attempt because the first one, whose answer was lost, took effect. `look` returns
    None if the request did not take effect; then, or if looking fails too, the error of the request is raised. Both
    together take no longer than `deadline_s`.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline_s
    try:
        return await request
    except EachLabsError as exc:
        if exc.attempts <= 1 and not leaves_outcome_open(exc):
            raise
        failure = exc
    found: T | None = None
    bound = asyncio.timeout_at(ends_at)
    try:
        async with bound:
            found = await look()
    except EachLabsError:
        pass
    except TimeoutError:
        if not bound.expired():
            raise
    if found is not None:
        return found
    # Raised outside of the handlers, so that the error gets no context.
    try:
        raise failure
    finally:
        del failure
