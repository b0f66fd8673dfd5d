"""Owns what fetches a batch of ids: the slots that it fills, and the job of one call an id; refuses to fan out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from ._fast_reader import fast_reader
from ._services import Call
from ._session import Transport
from .endpoints import Endpoint
from .errors import EachLabsError
from .outcomes import Outcome

T = TypeVar("T")


class Slot(Generic[T]):
    """One id in the window: its outcome once it has one, and the twins that wait for it."""

    __slots__ = ("encoded", "finished", "outcome", "twins")

    def __init__(self, identity: Any, index: int) -> None:
        self.outcome: Outcome[T] = Outcome(identity, index)
        self.encoded = ""
        self.finished = False
        self.twins: list[Slot[T]] | None = None


Job = Callable[[list[Slot[T]]], Awaitable[None]]
"""Fetches what a batch of slots asks for and fills in their outcomes; it raises only what ends the whole fetch."""


def one_each(transport: Transport, endpoint: Endpoint, argument: str, kind: type[T], query: str = "") -> Job[T]:
    """Make the job that fetches each id with a call of its own; `argument` is the id's name in the path."""
    before, after = endpoint.template(transport.session.hosts.edition).split("{" + argument + "}")
    session, read = transport.session, fast_reader(kind)
    url: Callable[[str], Any] | None = None

    async def fetch(batch: list[Slot[T]]) -> None:
        nonlocal url
        for slot in batch:
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

    return fetch
