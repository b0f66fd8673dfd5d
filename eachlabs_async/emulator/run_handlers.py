"""Owns what the runs service answers, and how a started run lives; refuses to build rows: `rows.py` does.

It is Noxus's service: `{"detail": ...}` for a refusal, pages by number, whole numbers for progress.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

from .answers import NUMBER, Answer, Call, RefusedError, envelope, joined, refusal
from .collection import Row, encode, parsed_time
from .live import Live
from .rows import naive, run_started

__all__ = ["RUN_HANDLERS"]

_GOING: Final = ("queued", "running", "awaiting_human_feedback")


def _validated(query: Mapping[str, str], name: str, default: int, most: int | None) -> int | dict[str, Any]:
    text = query.get(name)
    if text is None:
        return default
    fault = {"loc": ["query", name], "input": text}
    if not NUMBER.fullmatch(text):
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message, **fault}
    if int(text) < 1:
        message = "Input should be greater than or equal to 1"
        return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": 1}, **fault}
    if most is not None and int(text) > most:
        message = f"Input should be less than or equal to {most}"
        return {"type": "less_than_equal", "msg": message, "ctx": {"le": most}, **fault}
    return int(text)


def _page_of_runs(state: Live, call: Call, rows: list[Row]) -> Answer:
    page = _validated(call.query, "page", 1, None)
    size = _validated(call.query, "size", 50, 100)
    if isinstance(page, dict) or isinstance(size, dict):
        detail = [fault for fault in (page, size) if isinstance(fault, dict)]
        return Answer(422, encode({"detail": detail}))
    applied, stated = call.applied(size)
    start = (page - 1) * applied
    rest = {"total": len(rows), "page": page, "size": stated, "pages": -(-len(rows) // stated)}
    return Answer(200, envelope("items", joined(state.runs, rows[start : start + applied]), rest))


async def _list_runs(state: Live, call: Call) -> Answer:
    return _page_of_runs(state, call, state.runs.select())


async def _list_workflow_runs(state: Live, call: Call) -> Answer:
    workflow_id = call.fields["workflow_id"]
    if workflow_id not in state.workflow_ids:
        return refusal(404, "Workflow not found", service="runs")
    rows = state.runs.select(workflow_id, lambda row: row["workflow_id"] == workflow_id)
    return _page_of_runs(state, call, rows)


async def _get_run(state: Live, call: Call) -> Answer:
    row = state.runs.find(call.fields["run_id"])
    if row is None:
        return refusal(404, "Run not found", service="runs")
    return Answer(200, state.runs.encoded(row, "full"))


async def _stop_run(state: Live, call: Call) -> Answer:
    run_id = call.fields["run_id"]
    row = state.runs.find(run_id)
    if row is not None and row["status"] in _GOING:
        state.runs.change(run_id, status="stopped", finished_at=naive(state.clock.now()))
    return await _get_run(state, call)


# ---- starting


def _object(call: Call) -> Row:
    try:
        value: Any = json.loads(call.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(_wrong("body", "Input should be a valid dictionary", value))
    return cast(Row, value)


def _wrong(name: str, message: str, value: Any) -> Answer:
    return Answer(
        422, encode({"detail": [{"type": "value_error", "loc": ["body", name], "msg": message, "input": value}]})
    )


async def _start_run(state: Live, call: Call) -> Answer:
    workflow_id = call.fields["workflow_id"]
    if workflow_id not in state.workflow_ids:
        return refusal(404, "Workflow not found", service="runs")
    body = _object(call)
    inputs = body.get("input")
    if inputs is not None and not isinstance(inputs, dict):
        return _wrong("input", "Input should be a valid dictionary", inputs)
    run_id = state.new_id("run")
    row = run_started(run_id, state.clock.now(), workflow_id, body)
    state.runs.add(row)
    given = cast(Row, inputs) or {}
    seconds = given.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        seconds = state.step_seconds
    state.clock.after(seconds / 2, partial(_go_on, state, run_id, status="running", progress=50))
    state.clock.after(seconds, partial(_end, state, run_id, given))
    return Answer(201, state.runs.encoded(row, "full"))


def _go_on(state: Live, run_id: str, **fields: Any) -> None:
    # A test may take a run away, or stop it: then nothing more happens to it.
    row = state.runs.find(run_id)
    if row is not None and row["status"] in ("queued", "running"):
        state.runs.change(run_id, **fields)


def _end(state: Live, run_id: str, given: Row) -> None:
    if given.get("feedback"):
        _go_on(state, run_id, status="awaiting_human_feedback", progress=75)
        return
    ended = naive(state.clock.now())
    if given.get("fail"):
        _go_on(state, run_id, status="failed", output={"error": "The node failed."}, finished_at=ended)
    else:
        _go_on(state, run_id, status="completed", progress=100, output={"text": "done"}, finished_at=ended)


# ---- deleting


def _deleted(state: Live, ids: list[str], *, dry_run: bool = False) -> Answer:
    """Delete those that are finished; the others are told, and so are those that nobody knows."""
    rows = {run_id: state.runs.find(run_id) for run_id in dict.fromkeys(ids)}
    errors = {run_id: "Run not found" for run_id, row in rows.items() if row is None}
    errors |= {run_id: "Run is still in progress" for run_id, row in rows.items() if row and row["status"] in _GOING}
    gone = [run_id for run_id in rows if run_id not in errors]
    if not dry_run and gone:
        state.runs.remove(*gone)
    said = {"matched": len(gone), "succeeded": 0 if dry_run else len(gone), "failed": len(errors), "errors": errors}
    return Answer(200, encode(said))


async def _delete_run(state: Live, call: Call) -> Answer:
    run_id = call.fields["run_id"]
    return _deleted(state, [run_id]) if run_id in state.runs else refusal(404, "Run not found", service="runs")


async def _delete_runs(state: Live, call: Call) -> Answer:
    body = _object(call)
    ids, filters, expected = body.get("run_ids"), body.get("filters"), body.get("expected_count")
    if not ids and not filters:
        return _wrong("run_ids", "Either run_ids or filters must be provided", ids)
    chosen: list[str] = list(ids or ())
    if filters:
        workflow_id, until = filters.get("workflow_id"), parsed_time(filters.get("to_date"))
        for row in state.runs.select():
            created = parsed_time(row["created_at"])
            if workflow_id in (None, row["workflow_id"]) and (until is None or (created and created <= until)):
                # By filters only what has finished is meant; an id that is named is meant in any case.
                chosen += [row["id"]] if row["status"] not in _GOING else []
    if expected is not None and expected != len(set(chosen)):
        return refusal(409, f"Expected {expected} runs, matched {len(set(chosen))}", service="runs")
    return _deleted(state, chosen, dry_run=body.get("dry_run") is True)


RUN_HANDLERS: Final = {
    "runs.list": _list_runs,
    "runs.list_for_workflow": _list_workflow_runs,
    "runs.get": _get_run,
    "runs.stop": _stop_run,
    "runs.start": _start_run,
    "runs.delete": _delete_run,
    "runs.delete_many": _delete_runs,
}
"""The handlers of runs, by the name of their endpoint."""
