"""Owns the calls about webhooks that the service has sent; refuses to receive one (`eachlabs_async.webhooks` does)."""

from __future__ import annotations

from typing import Unpack

from ..pagination.pager import Pager, WalkOptions
from ..records import Webhook
from ..transport.arguments import checked_count
from ..transport.endpoints import GET_WEBHOOK, LIST_WEBHOOKS
from ..transport.transport import Transport


class Webhooks:
    """The webhooks that the service sends for the organisation."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 100, offset: int = 0, **walk: Unpack[WalkOptions]) -> Pager[Webhook]:
        """Walk webhooks, without their attempts (`GET /webhooks`).

        `limit` is rows a request, 1 to 100; `offset` rows to skip, from 0. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for a number out of range; the walk raises `EachLabsError`.
        """
        return Pager(
            self._transport,
            LIST_WEBHOOKS,
            LIST_WEBHOOKS.expand(self._transport.session.hosts.edition),
            {},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, execution_id: str) -> Webhook:
        """Get the webhook of one execution, with each attempt to deliver it (`GET /webhooks/{execution_id}`).

        Raises `NotFoundError` where there is none, and the other errors of a call.
        """
        path = GET_WEBHOOK.expand(self._transport.session.hosts.edition, execution_id=execution_id)
        return await self._transport.get(self._transport.call(GET_WEBHOOK, path), Webhook)
