"""The catalogue of models. It is public, so no key is sent."""

from __future__ import annotations

from typing import Any, Final, Unpack

from ..errors import APIStatusError, NotFoundError
from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions
from ..records import Model, ModelSchema
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import GET_MODEL, GET_MODEL_BY_QUERY, GET_MODEL_SCHEMA, LIST_MODELS
from ..transport.guidance import NamesGuide
from ..transport.retry import RETRIED_STATUSES
from ..transport.transport import Transport
from ..transport.wire import query

MAX_LIMIT: Final = 500


class Models(NamesGuide):
    """The models that predictions can be made with. No key is needed, and none is sent."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, name: str | None = None, limit: int = MAX_LIMIT, offset: int = 0, **walk: Unpack[WalkOptions]
    ) -> Pager[Model]:
        """Walk all models; `limit` is the page size, `max_rows` the total.

        Source: `GET /models`. `name` keeps the models with this text in their name. `limit` is the number of rows per
        request, 1 to 500. `offset` is the number of rows to skip, from 0. `walk` takes the options of `WalkOptions`,
        `max_rows` among them. The service states no total: the walk ends with a page that is shorter than the others.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse. The walk raises
        `EachLabsError`.
        """
        return Pager(
            self._transport,
            LIST_MODELS,
            LIST_MODELS.expand(self._transport.edition),
            {"name": checked_text("name", name)},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=MAX_LIMIT),
            walk=walk,
        )

    async def get(self, slug: str) -> Model:
        """Return one model with its request schema and its price (`GET /models/{slug}`).

        If the model is not found there, the older path (`GET /model?slug=`) is tried, which is the only one on some
        hosts.

        Raises `ValueError` or `TypeError` at once for a slug that cannot be one, `NotFoundError` for an unknown one,
        and the other errors of a call.
        """
        try:
            return await self._transport.request(GET_MODEL, Model, slug=slug)
        except NotFoundError as exc:
            unknown = exc.with_traceback(None)
        try:
            return await self._transport.request(GET_MODEL_BY_QUERY, Model, query({"slug": slug}))
        except APIStatusError as exc:
            # A host without the older path may refuse it in many ways, none of which says anything about the model.
            if not 400 <= exc.status < 500 or exc.status in RETRIED_STATUSES:
                raise
        raise unknown

    async def schema(self, slug: str) -> ModelSchema:
        """Return the OpenAPI document of one model's input (`GET /models/{slug}/schemas/openapi`).

        The schema of the input is its `input_schema`.

        Raises `ValueError` or `TypeError` at once for a slug that cannot be one, `NotFoundError` for an unknown one,
        and the other errors of a call.
        """
        return ModelSchema(document=await self._transport.request(GET_MODEL_SCHEMA, dict[str, Any], slug=slug))
