"""Requesting the first rows of the executions listing, to learn the total and the service's time.

Walking the listing is left to `execution_pager`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TypeVar

from attrs import frozen

from ..codec.undecoded_row import UndecodedRow
from ..errors import APIStatusError
from ..records import Execution, ExecutionCursorPage, ExecutionList
from ..transport.call import Call
from ..transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from ..transport.transport import Transport
from ..transport.wire import http_date, query
from .listing_choice import ListingChoice, RefusedListings, is_refused

T = TypeVar("T")


@frozen
class FirstRows:
    """The first rows of a listing. `more` is whether others follow; `served_at` is the service's time of the answer.

    `total` is the number of all rows, or None if it is unknown or only a lower bound. `counted` is False if the service
    lists by cursor only, which states no total.
    """

    rows: list[Execution | UndecodedRow]
    more: bool
    total: int | None
    counted: bool
    served_at: datetime | None


async def first_rows(
    transport: Transport, refused: RefusedListings, filters: Mapping[str, object], *, limit: int = 1
) -> FirstRows:
    """Return the first rows, read by offset for the sake of the total, or by cursor if that listing is missing.

    `filters` use the parameter names of the API.
    """
    choice = ListingChoice(transport.session, refused, first="seek")
    while True:
        strategy = choice.next_strategy()
        try:
            return await (_counted if strategy == "seek" else _uncounted)(transport, {**filters, "limit": limit})
        except APIStatusError as exc:
            if not is_refused(exc, strategy, transport.session):
                raise
            failure = exc
        choice.reject(failure)


async def _counted(transport: Transport, params: Mapping[str, object]) -> FirstRows:
    path = LIST_EXECUTIONS.expand(transport.session.hosts.edition)
    call = transport.call(LIST_EXECUTIONS, path, query({**params, "offset": 0}), chosen_by_caller=False)
    answer, rows = await _read(transport, call, ExecutionList)
    total = answer.total_count if answer.total_capped is False else None
    more = len(rows) < (answer.total_count or 0)
    return FirstRows(rows, more, total, True, http_date(call.headers.get("Date")))


async def _uncounted(transport: Transport, params: Mapping[str, object]) -> FirstRows:
    path = LIST_EXECUTIONS_BY_CURSOR.expand(transport.session.hosts.edition)
    call = transport.call(LIST_EXECUTIONS_BY_CURSOR, path, query(params), chosen_by_caller=False)
    answer, rows = await _read(transport, call, ExecutionCursorPage)
    return FirstRows(rows, bool(answer.has_more), None, False, http_date(call.headers.get("Date")))


async def _read(transport: Transport, call: Call, kind: type[T]) -> tuple[T, list[Execution | UndecodedRow]]:
    """Return a page and its rows. A row that cannot be read says nothing about the total and the service's time."""
    decode = partial(transport.decoder.decode_page, call, kind, rows="executions", identity="id")
    _, (page, rows, _) = await transport.receive(call, decode)
    return page, rows or []
