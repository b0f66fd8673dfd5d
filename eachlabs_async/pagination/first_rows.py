"""Owns asking for one execution: for the number of rows beside it, and for the service's time; refuses to walk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from ..errors import APIStatusError
from ..records import Execution, ExecutionCursorPage, ExecutionList
from ..transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from ..transport.transport import Transport
from ..transport.wire import http_date, query
from .listing_choice import ListingChoice, RefusedListings, is_refused


@frozen
class FirstRows:
    """The first rows of a listing: `more` says whether others follow, `served_at` when the service answered.

    `total` counts all rows; None where the service gives a lower bound. `counted` is False where it gives no number
    at all, because it lists by cursor alone.
    """

    rows: list[Execution]
    more: bool
    total: int | None
    counted: bool
    served_at: datetime | None


async def first_rows(
    transport: Transport, refused: RefusedListings, filters: Mapping[str, object], *, limit: int = 1
) -> FirstRows:
    """Ask for the first rows, by offset because that counts them, by cursor where there is no such listing.

    `filters` are in the words of the wire.
    """
    choice = ListingChoice(transport.session, refused, first="seek")
    while True:
        way = choice.make()
        try:
            return await (_counted if way == "seek" else _uncounted)(transport, {**filters, "limit": limit})
        except APIStatusError as exc:
            if not is_refused(exc, way, transport.session):
                raise
            failure = exc
        choice.refuse(failure)


async def _counted(transport: Transport, params: Mapping[str, object]) -> FirstRows:
    path = LIST_EXECUTIONS.expand(transport.session.hosts.edition)
    call = transport.call(LIST_EXECUTIONS, path, query({**params, "offset": 0}), chosen_by_caller=False)
    answer = await transport.get(call, ExecutionList)
    rows = answer.executions or []
    total = answer.total_count if answer.total_capped is False else None
    more = len(rows) < (answer.total_count or 0)
    return FirstRows(rows, more, total, True, http_date(call.headers.get("Date")))


async def _uncounted(transport: Transport, params: Mapping[str, object]) -> FirstRows:
    path = LIST_EXECUTIONS_BY_CURSOR.expand(transport.session.hosts.edition)
    call = transport.call(LIST_EXECUTIONS_BY_CURSOR, path, query(params), chosen_by_caller=False)
    answer = await transport.get(call, ExecutionCursorPage)
    return FirstRows(answer.executions or [], bool(answer.has_more), None, False, http_date(call.headers.get("Date")))
