"""The workers of a bulk fetch: one call for each id, or one call for a batch of ids. `fetch` runs them as tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from ..codec.fast import fast_reader
from ..errors import EachLabsError
from ..transport.answer_identity import identity_field, mixed_up_answer, other_identity
from ..transport.call import Call
from ..transport.endpoints import Endpoint
from ..transport.not_found_hints import add_hint
from ..transport.transport import Transport
from .id_window import IdWindow, PendingId

T = TypeVar("T")

SMALL_BODY: Final = 8 * 1024
"""Bytes up to which bodies are decoded together: all those of one loop iteration block it for a few milliseconds."""

Worker = Callable[[IdWindow[T]], Coroutine[Any, Any, None]]
"""Takes ids from the window and fills in their outcomes until no ids are left; raises only what ends the fetch."""


def one_each(transport: Transport, endpoint: Endpoint, kind: type[T], *, hint: str = "") -> Worker[T]:
    """Return a worker that fetches each id with a call of its own.

    The id is the only argument of the endpoint's path. `hint` is added to the message of a 404.
    """
    edition = transport.edition
    before, _, rest = endpoint.template(edition).partition("{")
    after = rest.partition("}")[2]
    query = endpoint.shortest_poll_query(edition)
    reader = DeferredReader(transport, endpoint, kind)

    async def work(window: IdWindow[T]) -> None:
        loop = asyncio.get_running_loop()
        service: Any = None
        url: Any = None
        while batch := window.take() or await window.wait_for_ids():
            (pending,) = batch
            if url is None:
                service = transport.session.service(endpoint.service, endpoint.key)
                url = service.url_maker(query)
            call = Call(
                service, endpoint.method, url(before + pending.encoded + after), background=True, endpoint=endpoint
            )
            outcome = pending.outcome
            try:
                body = await transport.send(call)
                # A body without the id is another's, or escapes it: it is decoded while another attempt is possible.
                if len(body) <= SMALL_BODY and seems_complete(body) and pending.encoded.encode() in body:
                    reader.add(window, batch, call, body, loop)
                    continue
                value = (await transport.receive(call, partial(transport.decoder.decode, call, kind), body))[1]
                if other_identity(endpoint, value, outcome.id) is not None:
                    value = await transport.get_own_record(call, kind, outcome.id, value)
                outcome.value = value
            except EachLabsError as exc:
                add_hint(exc, hint)
                outcome.error = exc.with_traceback(None)
            finally:
                body = b""  # A failure of a later id shows the locals of this frame.
            outcome.attempts = call.attempts
            window.answered(batch)
            window.done(batch, loop.time() - call.deadline.started_at)

    return work


def seems_complete(body: bytes) -> bool:
    """Whether a body looks like one JSON object: a page of HTML or an object that was cut off does not."""
    return body[:1] == b"{" and body[-1:] in b"}\n" and body.count(b"{") == body.count(b"}")


class DeferredReader(Generic[T]):
    """Decodes the small bodies that arrive in one loop iteration together, after all workers have sent again.

    The decoder then runs with warm caches and does not delay the next requests.
    """

    def __init__(self, transport: Transport, endpoint: Endpoint, kind: type[T]) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._identity = attrgetter(identity_field(endpoint))
        self._kind = kind
        self._decode = fast_reader(kind)
        self._received: list[tuple[list[PendingId[T]], Call, bytes, float]] = []

    def add(
        self, window: IdWindow[T], batch: list[PendingId[T]], call: Call, body: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Schedule the body that arrived for a batch of one to be decoded."""
        window.answered(batch)
        if not self._received:
            loop.call_soon(self._decode_all, window)
        self._received.append((batch, call, body, loop.time() - call.deadline.started_at))

    def _is_another(self, value: T, identity: str) -> bool:
        return other_identity(self._endpoint, value, identity) is not None

    def _decode_all(self, window: IdWindow[T]) -> None:
        received, self._received = self._received, []
        if window.closed:
            return
        try:
            for batch, call, body, elapsed_s in received:
                outcome = batch[0].outcome
                value = self._decode(body)
                if value is None:
                    try:
                        value = self._transport.decoder.decode_strictly(call, body, self._kind)
                    except EachLabsError as exc:
                        outcome.error = exc.with_traceback(None)
                if value is not None and self._identity(value) != outcome.id and self._is_another(value, outcome.id):
                    failure = mixed_up_answer(self._endpoint, value, outcome.id)
                    value, outcome.error = None, self._transport.session.with_call_details(call, failure)
                outcome.value, outcome.attempts = value, call.attempts
                window.done(batch, elapsed_s)
        except Exception as exc:  # nobody awaits this: it must not pass for the end of the ids
            window.fail(exc)


def in_batches(fetch: Callable[[list[PendingId[T]]], Awaitable[None]]) -> Worker[T]:
    """Return a worker that fetches batches of ids: `fetch` fills in the outcomes of one batch."""

    async def work(window: IdWindow[T]) -> None:
        loop = asyncio.get_running_loop()
        while batch := window.take() or await window.wait_for_ids():
            began = loop.time()
            await fetch(batch)
            window.answered(batch)
            window.done(batch, loop.time() - began)

    return work
