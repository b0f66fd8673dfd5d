"""A bulk fetch that sends one call for each id."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from ..transport.endpoints import Endpoint
from ..transport.transport import Transport
from .fetch import BulkFetch, Known
from .outcome_events import outcome_reporter
from .outcomes import BulkStats
from .workers import one_each

T = TypeVar("T")


def fetch_each(
    transport: Transport,
    endpoint: Endpoint,
    kind: type[T],
    ids: Iterable[str] | AsyncIterable[str],
    *,
    concurrency: int,
    ordered: bool = False,
    window: int | None = None,
    known: Known[T] | None = None,
    on_progress: Callable[[BulkStats], object] | None = None,
    close: Callable[[], Awaitable[None]] | None = None,
    hint: str = "",
) -> BulkFetch[T]:
    """Return a fetch of `ids` that calls `endpoint` once for each id and reads the answer as `kind`.

    The compat edition is asked to hold the answer about an unfinished execution as briefly as it can. `close` is
    awaited when the fetch ends. `hint` is added to the message of a 404.
    """
    return BulkFetch(
        one_each(transport, endpoint, kind, hint=hint),
        ids,
        concurrency=concurrency,
        ordered=ordered,
        window=window,
        known=known,
        on_progress=on_progress,
        paused=partial(transport.waiting, endpoint),
        close=close,
        on_outcome=outcome_reporter(transport.session.hooks, f"{endpoint.name.partition('.')[0]}.get_many"),
    )
