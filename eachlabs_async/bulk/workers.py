"""Owns what the workers of a bulk fetch do: one call an id, or one for a batch; refuses to fan out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from ..codec.fast import fast_reader
from ..errors import EachLabsError
from ..transport.call import Call
from ..transport.endpoints import Endpoint
from ..transport.gone import tell
from ..transport.transport import Transport
from .id_window import IdWindow, PendingId

T = TypeVar("T")

SMALL_BODY: Final = 8 * 1024
"""Bytes up to which bodies are read together: those of a whole turn hold up the loop for a few milliseconds at most."""

Job = Callable[[IdWindow[T]], Coroutine[Any, Any, None]]
"""One worker: takes ids from the window and hands their outcomes in, until there are no more; it raises only what ends
the whole fetch."""


def one_each(
    transport: Transport, endpoint: Endpoint, argument: str, kind: type[T], query: str = "", *, hint: str = ""
) -> Job[T]:
    """Make the job that fetches each id with a call of its own; `argument` is the id's name in the path.

    `hint` is what a 404 may mean.
    """
    before, after = endpoint.template(transport.session.hosts.edition).split("{" + argument + "}")
    reading = Reading(transport, kind)

    async def work(window: IdWindow[T]) -> None:
        loop = asyncio.get_running_loop()
        service: Any = None
        url: Any = None
        while batch := window.take() or await window.more():
            (slot,) = batch
            if url is None:
                service = transport.session.service(endpoint.service, endpoint.key)
                url = service.urls(query)
            call = Call(
                service, endpoint.method, url(before + slot.encoded + after), background=True, endpoint=endpoint
            )
            outcome = slot.outcome
            try:
                body = await transport.send(call)
                if len(body) <= SMALL_BODY:
                    reading.add(window, batch, call, body, loop)
                    continue
                outcome.value = await transport.read(call, body, kind)
            except EachLabsError as exc:
                tell(exc, hint)
                outcome.error = exc.with_traceback(None)
            finally:
                body = b""  # A failure of a later id shows the locals of this frame.
            outcome.attempts = call.attempts
            window.landed(batch)
            window.done(batch, loop.time() - call.deadline.began)

    return work


class Reading(Generic[T]):
    """Reads the small bodies that came in one turn of the loop together, after all who got one have asked for the next.

    What reads is warm then, and not in the way of what sends.
    """

    def __init__(self, transport: Transport, kind: type[T]) -> None:
        self._transport = transport
        self._kind = kind
        self._read = fast_reader(kind)
        self._came: list[tuple[list[PendingId[T]], Call, bytes, float]] = []

    def add(
        self, window: IdWindow[T], batch: list[PendingId[T]], call: Call, body: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Take the body that came for a batch of one."""
        window.landed(batch)
        if not self._came:
            loop.call_soon(self._read_all, window)
        self._came.append((batch, call, body, loop.time() - call.deadline.began))

    def _read_all(self, window: IdWindow[T]) -> None:
        came, self._came = self._came, []
        if window.closed:
            return
        try:
            for batch, call, body, elapsed_s in came:
                outcome = batch[0].outcome
                value = self._read(body)
                if value is None:
                    try:
                        value = self._transport.decoded(call, body, self._kind)
                    except EachLabsError as exc:
                        outcome.error = exc.with_traceback(None)
                outcome.value, outcome.attempts = value, call.attempts
                window.done(batch, elapsed_s)
        except Exception as exc:  # nobody awaits this: it must not pass for the end of the ids
            window.fail(exc)


def in_batches(fetch: Callable[[list[PendingId[T]]], Awaitable[None]]) -> Job[T]:
    """Make the job that fetches whole batches: `fetch` fills in the outcomes of one."""

    async def work(window: IdWindow[T]) -> None:
        loop = asyncio.get_running_loop()
        while batch := window.take() or await window.more():
            began = loop.time()
            await fetch(batch)
            window.landed(batch)
            window.done(batch, loop.time() - began)

    return work
