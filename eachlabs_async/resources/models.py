"""Owns the calls about models; refuses to send a key, for the catalogue is public."""

from __future__ import annotations

from typing import Any, Final, Unpack

from ..errors import APIStatusError, NotFoundError
from ..pagination.pager import Pager, WalkOptions
from ..records import Model, ModelSchema
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import GET_MODEL, GET_MODEL_BY_QUERY, GET_MODEL_SCHEMA, LIST_MODELS
from ..transport.retry import RETRIED_STATUSES
from ..transport.transport import Transport
from ..transport.wire import query

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
        """Get one model with its request schema and its price (`GET /models/{slug}`).

        Where that is not found the path that it replaces (`GET /model?slug=`) is asked, as some hosts know that one
        alone. Each call begins with the new path.

        Raises `ValueError` or `TypeError` at once for a slug that cannot be one, `NotFoundError` for an unknown one,
        and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        path = GET_MODEL.expand(edition, slug=slug)
        try:
            return await self._transport.get(self._transport.call(GET_MODEL, path), Model)
        except NotFoundError as exc:
            unknown = exc.with_traceback(None)
        older = self._transport.call(GET_MODEL_BY_QUERY, GET_MODEL_BY_QUERY.expand(edition), query({"slug": slug}))
        try:
            return await self._transport.get(older, Model)
        except APIStatusError as exc:
            # A path that is gone may refuse in many ways, and none of them is news of this model.
            if not 400 <= exc.status < 500 or exc.status in RETRIED_STATUSES:
                raise
        raise unknown

    async def schema(self, slug: str) -> ModelSchema:
        """Get the document of one model's input (`GET /models/{slug}/schemas/openapi`); `input_schema` is in it.

        Raises `ValueError` or `TypeError` at once for a slug that cannot be one, `NotFoundError` for an unknown one,
        and the other errors of a call.
        """
        path = GET_MODEL_SCHEMA.expand(self._transport.session.hosts.edition, slug=slug)
        call = self._transport.call(GET_MODEL_SCHEMA, path)
        return ModelSchema(document=await self._transport.get(call, dict[str, Any]))
