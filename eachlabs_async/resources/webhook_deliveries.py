"""The webhooks that the service has sent. `eachlabs_async.webhooks` receives them."""

from __future__ import annotations

from typing import Unpack

from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions
from ..records import Webhook
from ..transport.arguments import checked_count
from ..transport.endpoints import GET_WEBHOOK, LIST_WEBHOOKS
from ..transport.guidance import NamesGuide
from ..transport.transport import Transport


class WebhookDeliveries(NamesGuide):
    """The webhooks that the service sends for the organisation, with its attempts to deliver them."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, limit: int = 100, offset: int = 0, **walk: Unpack[WalkOptions]) -> Pager[Webhook]:
        """Walk all webhooks, without their attempts; `limit` is the page size, `max_rows` the total.

        Source: `GET /webhooks`. `limit` is the number of rows per request, 1 to 100. `offset` is the number of rows to
        skip, from 0. `walk` takes the options of `WalkOptions`, `max_rows` among them.

        Raises `ValueError` or `TypeError` at once for a number out of range. The walk raises `EachLabsError`.
        """
        return Pager(
            self._transport,
            LIST_WEBHOOKS,
            LIST_WEBHOOKS.expand(self._transport.edition),
            {},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, execution_id: str) -> Webhook:
        """Return the webhook of one execution, with every attempt to deliver it (`GET /webhooks/{execution_id}`).

        Raises `NotFoundError` if there is none, and the other errors of a call.
        """
        return await self._transport.request(GET_WEBHOOK, Webhook, execution_id=execution_id)
