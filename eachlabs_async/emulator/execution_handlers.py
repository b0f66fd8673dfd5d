"""Owns what the two listings of executions answer: by offset, which ends at a depth, and by cursor.

Both show the same rows in the same order. It refuses to keep them in order and to find the rows of a window, which
is the `Timeline`'s, and to say who may ask: that is `server.py`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from .answers import Answer, Call, envelope, joined, refusal, time, whole, words
from .collection import Row
from .cursors import Place
from .live import Live
from .rows import ERROR_CLASSES

__all__ = ["EXECUTION_HANDLERS", "deprecation", "is_off"]

_STATUSES: Final = ("created", "starting", "success", "error")
_EQUAL: Final = ("model", "workflow_id", "workflow_execution_id")
_FILTERS: Final = (*_EQUAL, "status", "error_classification", "from", "to")
_WINDOW: Final = timedelta(days=90)
_DEPRECATED: Final = {
    "Deprecation": "@1788480000",
    "Link": '<https://www.eachlabs.ai/deprecations/v1-executions>; rel="deprecation"; type="text/html"',
}


def deprecation(state: Live, endpoint: str) -> dict[str, str]:
    """Give the headers that say of an endpoint's answers that it is on its way out."""
    return _DEPRECATED if endpoint == "executions.list" and state.v1_depth is not None and state.v1_executions else {}


def is_off(state: Live, endpoint: str) -> bool:
    """Say whether an endpoint is switched off, so that there is no such route."""
    return not {"executions.list": state.v1_executions, "executions.list_by_cursor": state.v2_executions}.get(
        endpoint, True
    )


def _selected(state: Live, call: Call, statuses: tuple[str, ...] | None) -> tuple[list[Row], int, int]:
    """Give the rows that the filters keep, and where those of the window begin and end among them.

    The filters are remembered without the window: a walk that moves its end through a long listing has a thousand.
    """
    query = call.query
    wanted = words(query, "status", statuses)
    classes = words(query, "error_classification", ERROR_CLASSES)
    until = time(query, "to")
    since = time(query, "from") or (until or state.clock.now()) - _WINDOW
    equal = tuple((name, query[name]) for name in _EQUAL if query.get(name))

    def keep(row: Row) -> bool:
        if wanted and row["status"] not in wanted:
            return False
        if classes and row.get("_error_classification") not in classes:
            return False
        return all(row.get(name) == value for name, value in equal)

    executions = state.executions
    filtered = wanted or classes or equal
    rows = executions.select((wanted, classes, equal), keep) if filtered else executions.select()
    return rows, *executions.between(rows, since, until)


async def _list(state: Live, call: Call) -> Answer:
    limit, stated = call.applied(whole(call.query, "limit", 20, 1, 100))
    offset = whole(call.query, "offset", 0, 0)
    rows, first, end = _selected(state, call, _STATUSES if call.edition == "unified" else None)
    depth = state.v1_depth
    if depth is not None and offset > depth - limit:
        told = f"V1 execution pagination is limited to {depth} rows; use GET /v2/executions with cursor pagination"
        return refusal(400, told)
    rest = {"total_count": end - first, "total_capped": False, "offset": offset, "limit": stated}
    page = rows[first + offset : min(first + offset + limit, end)]
    return Answer(200, envelope("executions", joined(state.executions, page), rest))


async def _list_by_cursor(state: Live, call: Call) -> Answer:
    query, executions = call.query, state.executions
    limit, stated = call.applied(whole(query, "limit", 20, 1, 100))
    rows, first, end = _selected(state, call, _STATUSES)
    scope = (call.organisation, str(limit), *(query.get(name, "") for name in _FILTERS))
    place, cursor = Place(), query.get("cursor", "")
    if cursor:
        place = state.cursors.place(scope, cursor, lifetime=state.cursor_lifetime)
    if place.key is not None:
        first = max(first, executions.behind(rows, place.key))
    size = limit if call.shortened is None else min(limit, call.shortened)
    page = rows[first : min(first + size, end)]
    more = call.shortened is not None or first + size < end
    place = Place(executions.key(page[-1])) if page else Place(place.key, place.idle + 1)
    rest = {"limit": stated, "has_more": more, "next_cursor": state.cursors.give(scope, place) if more else None}
    return Answer(200, envelope("executions", joined(executions, page), rest))


EXECUTION_HANDLERS: Final = {"executions.list": _list, "executions.list_by_cursor": _list_by_cursor}
"""The handlers of the listings of executions, by the name of their endpoint."""
