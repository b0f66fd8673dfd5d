"""The handlers of runs, a service of Noxus: it pages by number and refuses with `{"detail": ...}`.

A started run ends by the clock, like submitted executions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

from ..collection import Row, encode, parsed_time
from ..handler_request import INTEGER, HandlerRequest, decoded_json
from ..lifecycle import run_time_s
from ..reply import RefusedError, Reply, envelope, error_reply, join_rows
from ..rows import naive_iso, run_started
from ..simulation import Simulation

__all__ = ["HANDLERS"]

_GOING: Final = ("queued", "running", "awaiting_human_feedback")


def _validated(query: Mapping[str, str], name: str, default: int, most: int | None) -> int | dict[str, Any]:
    text = query.get(name)
    if text is None:
        return default
    fault = {"loc": ["query", name], "input": text}
    if not INTEGER.fullmatch(text):
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message, **fault}
    if int(text) < 1:
        message = "Input should be greater than or equal to 1"
        return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": 1}, **fault}
    if most is not None and int(text) > most:
        message = f"Input should be less than or equal to {most}"
        return {"type": "less_than_equal", "msg": message, "ctx": {"le": most}, **fault}
    return int(text)


def _page_of_runs(simulation: Simulation, request: HandlerRequest, rows: list[Row]) -> Reply:
    page = _validated(request.query, "page", 1, None)
    size = _validated(request.query, "size", 50, 100)
    if isinstance(page, dict) or isinstance(size, dict):
        detail = [fault for fault in (page, size) if isinstance(fault, dict)]
        return Reply(422, encode({"detail": detail}))
    clamped, stated = request.clamped(size)
    start = (page - 1) * clamped
    rest = {"total": len(rows), "page": page, "size": stated, "pages": -(-len(rows) // stated)}
    return Reply(200, envelope("items", join_rows(simulation.runs, rows[start : start + clamped]), rest))


async def _list_runs(simulation: Simulation, request: HandlerRequest) -> Reply:
    return _page_of_runs(simulation, request, simulation.runs.select())


async def _list_workflow_runs(simulation: Simulation, request: HandlerRequest) -> Reply:
    workflow_id = request.fields["workflow_id"]
    if workflow_id not in simulation.workflow_ids:
        return error_reply(404, "Workflow not found", service="runs")
    rows = simulation.runs.select(workflow_id, lambda row: row["workflow_id"] == workflow_id)
    return _page_of_runs(simulation, request, rows)


async def _get_run(simulation: Simulation, request: HandlerRequest) -> Reply:
    row = simulation.runs.find(request.fields["run_id"])
    if row is None:
        return error_reply(404, "Run not found", service="runs")
    return Reply(200, simulation.runs.encoded(row, "full"))


async def _stop_run(simulation: Simulation, request: HandlerRequest) -> Reply:
    run_id = request.fields["run_id"]
    row = simulation.runs.find(run_id)
    if row is not None and row["status"] in _GOING:
        simulation.runs.change(run_id, status="stopped", finished_at=naive_iso(simulation.clock.now()))
    return await _get_run(simulation, request)


# ---- starting


def _object(request: HandlerRequest) -> Row:
    try:
        value = decoded_json(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(_wrong("body", "Input should be a valid dictionary", value))
    return cast(Row, value)


def _wrong(name: str, message: str, value: Any) -> Reply:
    return Reply(
        422, encode({"detail": [{"type": "value_error", "loc": ["body", name], "msg": message, "input": value}]})
    )


async def _start_run(simulation: Simulation, request: HandlerRequest) -> Reply:
    workflow_id = request.fields["workflow_id"]
    if workflow_id not in simulation.workflow_ids:
        return error_reply(404, "Workflow not found", service="runs")
    body = _object(request)
    inputs = body.get("input")
    if inputs is not None and not isinstance(inputs, dict):
        return _wrong("input", "Input should be a valid dictionary", inputs)
    run_id = simulation.new_id("run")
    row = run_started(run_id, simulation.clock.now(), workflow_id, body)
    simulation.runs.add(row)
    given = cast(Row, inputs) or {}
    seconds = run_time_s(given)
    if seconds is None:
        seconds = simulation.step_seconds
    simulation.clock.after(seconds / 2, partial(_go_on, simulation, run_id, status="running", progress=50))
    simulation.clock.after(seconds, partial(_end, simulation, run_id, given))
    return Reply(201, simulation.runs.encoded(row, "full"))


def _go_on(simulation: Simulation, run_id: str, **fields: Any) -> None:
    # A test may remove a run or stop it; then nothing more happens to it.
    row = simulation.runs.find(run_id)
    if row is not None and row["status"] in ("queued", "running"):
        simulation.runs.change(run_id, **fields)


def _end(simulation: Simulation, run_id: str, given: Row) -> None:
    if given.get("feedback"):
        _go_on(simulation, run_id, status="awaiting_human_feedback", progress=75)
        return
    ended = naive_iso(simulation.clock.now())
    if given.get("fail"):
        _go_on(simulation, run_id, status="failed", output={"error": "The node failed."}, finished_at=ended)
    else:
        _go_on(simulation, run_id, status="completed", progress=100, output={"text": "done"}, finished_at=ended)


# ---- deleting


def _deleted(simulation: Simulation, ids: list[str], *, dry_run: bool = False) -> Reply:
    """Delete the finished runs; the others and the unknown ones are reported as errors."""
    rows = {run_id: simulation.runs.find(run_id) for run_id in dict.fromkeys(ids)}
    errors = {run_id: "Run not found" for run_id, row in rows.items() if row is None}
    errors |= {run_id: "Run is still in progress" for run_id, row in rows.items() if row and row["status"] in _GOING}
    finished = [run_id for run_id in rows if run_id not in errors]
    if not dry_run and finished:
        simulation.runs.remove(*finished)
    counts = {
        "matched": len(finished),
        "succeeded": 0 if dry_run else len(finished),
        "failed": len(errors),
        "errors": errors,
    }
    return Reply(200, encode(counts))


async def _delete_run(simulation: Simulation, request: HandlerRequest) -> Reply:
    run_id = request.fields["run_id"]
    if run_id not in simulation.runs:
        return error_reply(404, "Run not found", service="runs")
    return _deleted(simulation, [run_id])


async def _delete_runs(simulation: Simulation, request: HandlerRequest) -> Reply:
    body = _object(request)
    ids, filters, expected = body.get("run_ids"), body.get("filters"), body.get("expected_count")
    if not ids and not filters:
        return _wrong("run_ids", "Either run_ids or filters must be provided", ids)
    chosen: list[str] = list(ids or ())
    if filters:
        workflow_id, until = filters.get("workflow_id"), parsed_time(filters.get("to_date"))
        for row in simulation.runs.select():
            created = parsed_time(row["created_at"])
            if workflow_id in (None, row["workflow_id"]) and (until is None or (created and created <= until)):
                # Filters match finished runs only; an id that is given explicitly counts in any state.
                chosen += [row["id"]] if row["status"] not in _GOING else []
    if expected is not None and expected != len(set(chosen)):
        return error_reply(409, f"Expected {expected} runs, matched {len(set(chosen))}", service="runs")
    return _deleted(simulation, chosen, dry_run=body.get("dry_run") is True)


HANDLERS: Final = {
    "runs.list": _list_runs,
    "runs.list_for_workflow": _list_workflow_runs,
    "runs.get": _get_run,
    "runs.stop": _stop_run,
    "runs.start": _start_run,
    "runs.delete": _delete_run,
    "runs.delete_many": _delete_runs,
}
