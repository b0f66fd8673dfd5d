"""Owns what each endpoint answers when nothing is wrong: one handler an endpoint name, in `HANDLERS`.

A handler reads the state and the request and gives an answer; the words are those of the services' public
documentation. It refuses keys, faults and counting: `server.py` does these around it.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from random import Random
from typing import Any, Final, cast

from attrs import field, frozen

from ..hosts import Edition
from .collection import Collection, Row, encode, parsed_time
from .rows import ERROR_CLASSES
from .state import State

__all__ = ["HANDLERS", "Answer", "Call", "Clamp", "Handler", "phrase", "refusal"]

_UNIFIED_STATUSES: Final = ("created", "starting", "success", "error")
_WINDOW: Final = timedelta(days=90)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_NUMBER: Final = re.compile(r"-?\d{1,18}")


@frozen
class Answer:
    """An answer before any fault: status, body, extra headers, content type."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(factory=dict[str, str])
    content_type: str = "application/json"


@frozen
class Clamp:
    """The most rows a page gives whatever was asked; `stated` where the answer admits it."""

    largest: int
    stated: bool = True


@frozen(kw_only=True)
class Call:
    """What a handler may know of a request: edition, decoded path fields and query, the body, a clamp."""

    edition: Edition
    fields: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    clamp: Clamp | None = None

    def applied(self, asked: int) -> tuple[int, int]:
        """Give the rows of a page for what was asked, and the number that the answer states."""
        if self.clamp is None:
            return asked, asked
        applied = min(asked, self.clamp.largest)
        return applied, applied if self.clamp.stated else asked


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


Handler = Callable[[State, Call], Awaitable[Answer]]


def refusal(status: int, message: str, *, service: str = "api") -> Answer:
    """Give an error in the words of a service: `{"error": ...}`, or `{"detail": ...}` from the runs
    service.
    """
    return Answer(status, encode({"detail" if service == "runs" else "error": message}))


def phrase(status: int) -> str:
    """Give the words that go with a status, "Unknown" where it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _whole(query: Mapping[str, str], name: str, default: int, least: int, most: int | None = None) -> int:
    text = query.get(name, "")
    if not text:
        return default
    number = int(text) if _NUMBER.fullmatch(text) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise _RefusedError(refusal(400, f"invalid {name}: must be an integer {bounds}"))
    return number


def _words(query: Mapping[str, str], name: str, allowed: tuple[str, ...] | None) -> frozenset[str]:
    words = [word.strip() for word in query.get(name, "").split(",") if word.strip()]
    for word in words:
        if allowed is not None and word not in allowed:
            raise _RefusedError(refusal(400, f"invalid {name} {word!r}: allowed are {', '.join(allowed)}"))
    return frozenset(words)


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name, "")
    if not text:
        return None
    time = parsed_time(text.upper()) if _RFC3339.fullmatch(text) else None
    if time is None:
        raise _RefusedError(refusal(400, f"invalid {name}: must be an RFC 3339 time"))
    return time


def _page(collection: Collection, rows: Iterable[Row]) -> bytes:
    return b"[" + b",".join([collection.encoded(row, "listed") for row in rows]) + b"]"


def _envelope(name: str, rows: bytes, rest: Mapping[str, Any]) -> bytes:
    # The rows are joined from their cached bytes; only the few fields around them are encoded anew.
    return b'{"%s":%s,%s' % (name.encode(), rows, encode(rest)[1:])


def _execution_filter(state: State, call: Call) -> tuple[Any, Callable[[Row], bool]]:
    query = call.query
    statuses = _words(query, "status", _UNIFIED_STATUSES if call.edition == "unified" else None)
    classes = _words(query, "error_classification", ERROR_CLASSES)
    until = _time(query, "to")
    since = _time(query, "from") or (until or state.now) - _WINDOW
    equal = {name: query[name] for name in ("model", "workflow_id", "workflow_execution_id") if query.get(name)}

    def keep(row: Row) -> bool:
        if statuses and row["status"] not in statuses:
            return False
        if classes and row.get("_error_classification") not in classes:
            return False
        if any(row.get(name) != value for name, value in equal.items()):
            return False
        created = parsed_time(row.get("created_at"))
        return created is None or (since <= created and (until is None or created <= until))

    return (statuses, classes, since, until, tuple(equal.items())), keep


async def _list_executions(state: State, call: Call) -> Answer:
    limit, stated = call.applied(_whole(call.query, "limit", 20, 1, 100))
    offset = _whole(call.query, "offset", 0, 0)
    rows = state.executions.select(*_execution_filter(state, call))
    rest = {"total_count": len(rows), "total_capped": False, "offset": offset, "limit": stated}
    page = _page(state.executions, rows[offset : offset + limit])
    return Answer(200, _envelope("executions", page, rest))


async def _list_workflow_executions(state: State, call: Call) -> Answer:
    limit, stated = call.applied(_whole(call.query, "limit", 50, 1, 100))
    offset = _whole(call.query, "offset", 0, 0)
    bulk_id = call.query.get("bulk_id", "")
    if bulk_id and not _is_uuid(bulk_id):
        return refusal(400, "invalid bulk_id format")
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    collection = state.workflow_executions[workflow_id]
    rows = collection.select()
    if bulk_id:
        rows = collection.select(bulk_id.lower(), lambda row: row.get("bulk_id") == bulk_id.lower())
    part = rows[offset : offset + limit]
    total = len(rows)
    rest: dict[str, Any] = {"total_count": total}
    if call.edition == "unified":
        rest["limit"] = stated
    elif offset + len(part) < total:
        # Where the next page starts, not an echo.
        rest["offset"] = offset + len(part)
    elif total % 2:
        # On the last page it is null or absent: both are documented, so both occur.
        rest["offset"] = None
    return Answer(200, _envelope("executions", _page(collection, part), rest))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


async def _get_workflow_execution(state: State, call: Call) -> Answer:
    execution_id = call.fields["execution_id"]
    seconds = _whole(call.query, "timeout", 10, 1, 30) if call.edition == "compat" else 0
    group = state.workflow_executions.group_of(execution_id)
    if group is not None and seconds and state.hold_unfinished > 0:
        await _held(group, execution_id, seconds * state.hold_unfinished)
    row = group.find(execution_id) if group is not None else None
    if group is None or row is None:
        return refusal(404, "execution not found")
    return Answer(200, group.encoded(row, "full"))


async def _held(group: Collection, execution_id: str, seconds: float) -> None:
    # As the compat edition does: the answer of an unfinished execution waits for its end, so long and no
    # longer.
    try:
        async with asyncio.timeout(seconds):
            while (row := group.find(execution_id)) and row["status"] in ("running", "queued"):
                await group.changed()
    except TimeoutError:
        return


async def _get_flow_execution(state: State, call: Call) -> Answer:
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    group = state.flow_executions[workflow_id]
    row = group.find(call.fields["execution_id"])
    return refusal(404, "execution not found") if row is None else Answer(200, group.encoded(row, "full"))


async def _get_flow_executions(state: State, call: Call) -> Answer:
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    ids = _asked_ids(call.body)
    if not ids:
        return refusal(400, "execution_ids must be a list of ids")
    if state.max_bulk_ids is not None and len(ids) > state.max_bulk_ids:
        return refusal(state.bulk_refusal, f"too many execution_ids: at most {state.max_bulk_ids}")
    for one in ids:
        if one in state.poisoned_ids:
            return refusal(state.poisoned_ids[one], "invalid execution id")
    group = state.flow_executions[workflow_id]
    # No order is promised: the rows come shuffled, and an unknown id is simply missing.
    rows = [row for one in dict.fromkeys(ids) if (row := group.find(one)) is not None]
    Random(f"{state.seed}/{len(ids)}/{ids[0]}").shuffle(rows)
    body = b"[" + b",".join([group.encoded(row, "full") for row in rows]) + b"]"
    return Answer(200, _envelope("executions", body, {"status": "success", "total": len(rows)}))


def _asked_ids(body: bytes) -> list[str]:
    try:
        value: Any = json.loads(body)["execution_ids"]
    except (ValueError, TypeError, KeyError):
        return []
    if not isinstance(value, list):
        return []
    ids = list(cast("Iterable[Any]", value))
    return ids if all(isinstance(one, str) for one in ids) else []


def _validated(query: Mapping[str, str], name: str, default: int, most: int | None) -> int | dict[str, Any]:
    text = query.get(name)
    if text is None:
        return default
    fault = {"loc": ["query", name], "input": text}
    if not _NUMBER.fullmatch(text):
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message, **fault}
    if int(text) < 1:
        message = "Input should be greater than or equal to 1"
        return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": 1}, **fault}
    if most is not None and int(text) > most:
        message = f"Input should be less than or equal to {most}"
        return {"type": "less_than_equal", "msg": message, "ctx": {"le": most}, **fault}
    return int(text)


async def _list_runs(state: State, call: Call) -> Answer:
    page = _validated(call.query, "page", 1, None)
    size = _validated(call.query, "size", 50, 100)
    if isinstance(page, dict) or isinstance(size, dict):
        detail = [fault for fault in (page, size) if isinstance(fault, dict)]
        return Answer(422, encode({"detail": detail}))
    applied, stated = call.applied(size)
    start = (page - 1) * applied
    rows = state.runs.select()
    rest = {"total": len(rows), "page": page, "size": stated, "pages": -(-len(rows) // stated)}
    return Answer(200, _envelope("items", _page(state.runs, rows[start : start + applied]), rest))


async def _get_run(state: State, call: Call) -> Answer:
    row = state.runs.find(call.fields["run_id"])
    if row is None:
        return refusal(404, "Run not found", service="runs")
    return Answer(200, state.runs.encoded(row, "full"))


def _refusing(handler: Handler) -> Handler:
    async def answered(state: State, call: Call) -> Answer:
        try:
            return await handler(state, call)
        except _RefusedError as refused:
            return refused.answer

    return answered


HANDLERS: Final[dict[str, Handler]] = {
    "executions.list": _refusing(_list_executions),
    "workflow_executions.list": _refusing(_list_workflow_executions),
    "workflow_executions.get": _refusing(_get_workflow_execution),
    "flow_executions.get": _get_flow_execution,
    "flow_executions.get_many": _get_flow_executions,
    "runs.list": _list_runs,
    "runs.get": _get_run,
}
"""One handler for each endpoint of `endpoints.ENDPOINTS`, by its name."""
