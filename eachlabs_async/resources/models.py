"""Owns the calls about models; refuses to send a key, for the catalogue is public."""

from __future__ import annotations

from typing import Final, Unpack

from .._arguments import checked_count, checked_text
from .._session import Transport
from .._wire import query
from ..endpoints import GET_MODEL, LIST_MODELS
from ..pager import Pager, WalkOptions
from ..records import Model

MAX_LIMIT: Final = 500


class Models:
    """The models that predictions can be made with; no key is needed, and none is sent."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, name: str | None = None, limit: int = MAX_LIMIT, offset: int = 0, **walk: Unpack[WalkOptions]
    ) -> Pager[Model]:
        """Walk models (`GET /models`).

        `name` keeps those with this text in their name. `limit` is rows a request, 1 to 500; `offset` rows to skip,
        from 0. `walk`: see `WalkOptions`. The service states no total: a page that is shorter than others ends it.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
        `EachLabsError`.
        """
        return Pager(
            self._transport,
            LIST_MODELS,
            LIST_MODELS.expand(self._transport.session.hosts.edition),
            {"name": checked_text("name", name)},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=MAX_LIMIT),
            walk=walk,
        )

    async def get(self, slug: str) -> Model:
        """Get one model with its request schema (`GET /model?slug=`); `NotFoundError` for an unknown slug."""
        if checked_text("slug", slug) is None:
            raise TypeError("slug must be a str, not NoneType")
        path = GET_MODEL.expand(self._transport.session.hosts.edition)
        return await self._transport.get(self._transport.call(GET_MODEL, path, query({"slug": slug})), Model)
