"""Hooks: functions of yours that a client calls with an event for each thing it does, for metrics and traces.

    def count(event: hooks.Event) -> None:
        if isinstance(event, hooks.CallEnded):
            print(event.endpoint, event.seconds, event.error)

    EachLabs(hooks=[count])

A hook is called within the event loop, in the task that does the work, and must return soon. What it raises is logged
once and changes nothing. No event contains a key, or the query of a URL of a storage. Without hooks no event is made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from inspect import iscoroutinefunction
from itertools import count
from typing import Any, Final, Protocol, TypeAlias, cast

from attrs import field, frozen

__all__ = [
    "AttemptEnded",
    "CallEnded",
    "CallStarted",
    "Event",
    "ExecutionEnded",
    "ExecutionSubmitted",
    "Hook",
    "OutcomeDelivered",
    "PageTaken",
    "PauseShared",
    "RequestStarted",
    "RetryPlanned",
]

log: Final = logging.getLogger("eachlabs_async")


@frozen(kw_only=True)
class CallStarted:
    """A call began: one method of an endpoint, with all its attempts, or a transfer to or from a storage.

    `call` is a number of its own in this process. `endpoint` is the name in the API reference, such as
    `"executions.list"`, or None for `client.request`; `service` is `"api"`, `"workflows"`, `"flows"`, `"runs"` or
    `"storage"`. `url` is without keys, and without its query if it is one of a storage; `template` is the path of the
    endpoint with its parameters, such as `"/executions/{execution_id}"`, or None. `background` marks calls of walks and
    bulk jobs, which give way to single calls.
    """

    call: int
    endpoint: str | None
    service: str
    method: str
    url: str
    template: str | None
    background: bool


@frozen(kw_only=True)
class RequestStarted:
    """A request of a call goes out. `attempt` counts from 1; `request_id` is the `X-Request-Id` that is sent.

    A hook may add `headers`, for example `traceparent`. They are sent with this request; one that the client sends
    itself cannot be replaced. Requests to a storage take none.
    """

    call: int
    attempt: int
    request_id: str
    headers: MutableMapping[str, str] = field(factory=dict[str, str], repr=False)


@frozen(kw_only=True)
class AttemptEnded:
    """A request got its response, or failed.

    `status` is that of the response, None if none came; `seconds` passed since the request went out; `received` is the
    number of bytes of the body after decompression. `error` is None after a success. `request_id` is the service's own
    id of the request, or the one that was sent.
    """

    call: int
    attempt: int
    status: int | None
    seconds: float
    received: int
    error: Exception | None
    request_id: str | None


@frozen(kw_only=True)
class RetryPlanned:
    """A call waits `wait_s` seconds before its next attempt, because of `error`. `attempt` is the one that failed."""

    call: int
    attempt: int
    wait_s: float
    error: Exception


@frozen(kw_only=True)
class PauseShared:
    """A response holds all requests to `service` for `seconds`, or only the `creating` ones. `status` is its status."""

    service: str
    seconds: float
    status: int
    creating: bool


@frozen(kw_only=True)
class CallEnded:
    """A call ended after `seconds` and `attempts` requests. `status` is that of the last response, if there was one.

    `error` is what the call raises, None after a success. It is an `asyncio.CancelledError` after a cancellation.
    If a body turns out to be no JSON, or another's, the call is started again with the same number.
    """

    call: int
    endpoint: str | None
    service: str
    method: str
    seconds: float
    attempts: int
    status: int | None
    error: BaseException | None


@frozen(kw_only=True)
class PageTaken:
    """A walk of the listing `endpoint` accepted a page with `new_rows` rows that had not come before.

    The other numbers are those of `WalkStats` after it: of this walk so far, or of its window, where several are walked
    at once. `total` is what the service states, None if it states nothing.
    """

    endpoint: str
    new_rows: int
    requests: int
    rows: int
    total: int | None
    duplicates: int
    drift_seen: int


@frozen(kw_only=True)
class OutcomeDelivered:
    """A bulk fetch or a map handed out an outcome.

    `source` is the method, such as `"workflows.map"`; `id` and `index` are those of the outcome, `error` is None if it
    has a value. `elapsed_s` and `attempts` are those of the outcome.
    """

    source: str
    id: str
    index: int
    error: Exception | None
    attempts: int
    elapsed_s: float


@frozen(kw_only=True)
class ExecutionSubmitted:
    """The client started an execution or a prediction with this `id`."""

    id: str


@frozen(kw_only=True)
class ExecutionEnded:
    """The client saw that an execution has ended which it had started.

    `status` is the service's word and `cost_usd` what the execution cost. Each is None if the client does not know it,
    for example because the execution was seen in a listing only.
    """

    id: str
    status: str | None
    cost_usd: float | None


Event: TypeAlias = (
    CallStarted
    | RequestStarted
    | AttemptEnded
    | RetryPlanned
    | PauseShared
    | CallEnded
    | PageTaken
    | OutcomeDelivered
    | ExecutionSubmitted
    | ExecutionEnded
)


class Hook(Protocol):
    """A function, or an object with `__call__`, that takes an `Event`. It is not a coroutine function."""

    def __call__(self, event: Event, /) -> object:
        """Take note of an event. It must return soon, because the event loop waits for it."""
        ...


class Hooks:
    """The hooks of one client."""

    __slots__ = ("_failed", "_hooks")

    def __init__(self, hooks: tuple[Hook, ...]) -> None:
        self._hooks = hooks
        self._failed: set[int] = set()  # the positions of hooks whose failure was logged

    def emit(self, event: Event) -> None:
        """Call each hook with an event. What a hook raises is logged, once per hook, and goes no further."""
        for at, hook in enumerate(self._hooks):
            try:
                hook(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:  # a `CancelledError` of a hook is no cancellation of the call
                if at not in self._failed:
                    self._failed.add(at)
                    log.warning(
                        "the hook %r raised %s at %s: events go on, further failures of it are not logged",
                        hook,
                        type(exc).__name__,
                        type(event).__name__,
                        exc_info=exc,
                        extra={"event": "hook failed", "hook": repr(hook), "at": type(event).__name__},
                    )


def checked_hooks(hooks: object) -> Hooks | None:
    """Return the hooks of the argument `hooks`, None if there are none.

    Raises `TypeError` if it is not an iterable of functions.
    """
    if callable(hooks) or not isinstance(hooks, Iterable):
        raise TypeError(f"hooks must be a list of functions that take an event, not {type(hooks).__name__}")
    found: tuple[Any, ...] = tuple(cast(Any, hooks))
    for hook in found:
        if not callable(hook):
            raise TypeError(f"each of hooks must be a function that takes an event, not {type(hook).__name__}")
        if iscoroutinefunction(hook) or iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
            raise TypeError("hooks are called without await: pass plain functions, not coroutine functions")
    return Hooks(found) if found else None


next_call_number: Final = count(1).__next__
"""Return the number of the next call. Numbers are unique in the process, so that clients can share a hook."""
