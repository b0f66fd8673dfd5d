"""Owns what the workers of a bulk fetch do: one call an id, or one for a batch; refuses to fan out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ._fast_reader import fast_reader
from ._services import Call
from ._session import Transport
from ._window import Slot, Window
from .endpoints import Endpoint
from .errors import EachLabsError

T = TypeVar("T")

Job = Callable[[Window[T]], Coroutine[Any, Any, None]]
"""One worker: takes ids from the window and hands their outcomes in, until there are no more; it raises only what ends
the whole fetch."""


def one_each(transport: Transport, endpoint: Endpoint, argument: str, kind: type[T], query: str = "") -> Job[T]:
    """Make the job that fetches each id with a call of its own; `argument` is the id's name in the path."""
    before, after = endpoint.template(transport.session.hosts.edition).split("{" + argument + "}")
    session, read = transport.session, fast_reader(kind)

    async def work(window: Window[T]) -> None:
        loop = asyncio.get_running_loop()
        url: Callable[[str], Any] | None = None
        while batch := window.take() or await window.more():
            (slot,) = batch
            service = session.service(endpoint.service, endpoint.key)
            if url is None:
                url = service.urls(query)
            call = Call(service, endpoint.method, url(before + slot.encoded + after), crowd=True)
            outcome = slot.outcome
            try:
                body = await transport.send(call)
                value = read(body)
                outcome.value = value if value is not None else await transport.read_by_authority(call, body, kind)
            except EachLabsError as exc:
                outcome.error = exc.with_traceback(None)
            outcome.attempts = call.attempts
            window.done(batch, loop.time() - call.deadline.began)

    return work


def in_batches(fetch: Callable[[list[Slot[T]]], Awaitable[None]]) -> Job[T]:
    """Make the job that fetches whole batches: `fetch` fills in the outcomes of one."""

    async def work(window: Window[T]) -> None:
        loop = asyncio.get_running_loop()
        while batch := window.take() or await window.more():
            began = loop.time()
            await fetch(batch)
            window.done(batch, loop.time() - began)

    return work
