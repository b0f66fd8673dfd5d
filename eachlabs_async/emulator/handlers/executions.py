"""The handlers of the two listings of executions: by offset, with a limited depth, and by cursor.

Both show the same rows in the same order, which `Timeline` keeps.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from ..collection import Row
from ..cursors import CursorPosition
from ..handler_request import HandlerRequest, int_param, time_param, words_param
from ..reply import Reply, envelope, error_reply, join_rows
from ..rows import ERROR_CLASSES
from ..simulation import Simulation

__all__ = ["HANDLERS", "deprecation_headers", "is_switched_off"]

_STATUSES: Final = ("created", "starting", "success", "error")
_EQUAL: Final = ("model", "workflow_id", "workflow_execution_id")
_FILTERS: Final = (*_EQUAL, "status", "error_classification", "from", "to")
_WINDOW: Final = timedelta(days=90)
_DEPRECATED: Final = {
    "Deprecation": "@1788480000",
    "Link": '<https://www.eachlabs.ai/deprecations/v1-executions>; rel="deprecation"; type="text/html"',
}


def deprecation_headers(simulation: Simulation, endpoint: str) -> dict[str, str]:
    """Return the headers that mark an endpoint as deprecated."""
    is_v1 = endpoint == "executions.list" and simulation.v1_executions
    return _DEPRECATED if is_v1 and simulation.v1_depth is not None else {}


def is_switched_off(simulation: Simulation, endpoint: str) -> bool:
    """Whether an endpoint is switched off, so that its route does not exist."""
    if endpoint == "executions.list":
        return not simulation.v1_executions
    return endpoint == "executions.list_by_cursor" and not simulation.v2_executions


def _select(
    simulation: Simulation, request: HandlerRequest, statuses: tuple[str, ...] | None
) -> tuple[list[Row], int, int]:
    """Return the rows that match the filters, and the start and end of the requested time window among them.

    The selection is cached without the window, because a walk uses very many windows with the same filters.
    """
    query = request.query
    wanted = words_param(query, "status", statuses)
    classes = words_param(query, "error_classification", ERROR_CLASSES)
    until = time_param(query, "to")
    since = time_param(query, "from") or (until or simulation.clock.now()) - _WINDOW
    equal = tuple((name, query[name]) for name in _EQUAL if query.get(name))

    def keep(row: Row) -> bool:
        if wanted and row["status"] not in wanted:
            return False
        if classes and row.get("_error_classification") not in classes:
            return False
        return all(row.get(name) == value for name, value in equal)

    executions = simulation.executions
    filtered = wanted or classes or equal
    rows = executions.select((wanted, classes, equal), keep) if filtered else executions.select()
    return rows, *executions.between(rows, since, until)


async def _list_executions(simulation: Simulation, request: HandlerRequest) -> Reply:
    limit, stated = request.clamped(int_param(request.query, "limit", 20, 1, 100))
    offset = int_param(request.query, "offset", 0, 0)
    rows, first, end = _select(simulation, request, _STATUSES if request.edition == "unified" else None)
    depth = simulation.v1_depth
    if depth is not None and offset > depth - limit:
        message = f"V1 execution pagination is limited to {depth} rows; use GET /v2/executions with cursor pagination"
        return error_reply(400, message)
    rest = {"total_count": end - first, "total_capped": False, "offset": offset, "limit": stated}
    page = rows[first + offset : min(first + offset + limit, end)]
    return Reply(200, envelope("executions", join_rows(simulation.executions, page), rest))


async def _list_executions_by_cursor(simulation: Simulation, request: HandlerRequest) -> Reply:
    query, executions = request.query, simulation.executions
    limit, stated = request.clamped(int_param(query, "limit", 20, 1, 100))
    rows, first, end = _select(simulation, request, _STATUSES)
    scope = (request.organisation, str(limit), *(query.get(name, "") for name in _FILTERS))
    position, cursor = CursorPosition(), query.get("cursor", "")
    if cursor:
        position = simulation.cursors.position(scope, cursor, lifetime=simulation.cursor_lifetime)
    if position.key is not None:
        first = max(first, executions.behind(rows, position.key))
    size = limit if request.short_page is None else min(limit, request.short_page)
    page = rows[first : min(first + size, end)]
    more = request.short_page is not None or first + size < end
    if page:
        position = CursorPosition(executions.key(page[-1]))
    else:
        position = CursorPosition(position.key, position.empty_pages + 1)
    next_cursor = simulation.cursors.issue(scope, position) if more else None
    rest = {"limit": stated, "has_more": more, "next_cursor": next_cursor}
    return Reply(200, envelope("executions", join_rows(executions, page), rest))


HANDLERS: Final = {"executions.list": _list_executions, "executions.list_by_cursor": _list_executions_by_cursor}
