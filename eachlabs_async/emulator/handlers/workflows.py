"""The handlers of workflows: reading, creating, changing and triggering them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from .. import catalogue
from ..collection import Row, encode
from ..handler_request import (
    HandlerRequest,
    choice_param,
    clamped_int_param,
    int_param,
    json_body,
    object_field,
    required_text,
)
from ..reply import RefusedError, Reply, envelope, error_reply, find_or_404, join_rows
from ..rows import rfc3339
from ..simulation import Simulation
from ..webhook_target import webhook_target

__all__ = ["HANDLERS", "find_version", "trigger_reply"]

_SORT_KEYS: Final = ("name", "created_at", "updated_at", "trigger_count", "status")
_MOST_INPUTS: Final = 10
_FLAGS: Final = ("locked", "production", "published", "allowed_to_share")


async def _list_workflows(simulation: Simulation, request: HandlerRequest) -> Reply:
    query = request.query
    limit, _ = request.clamped(clamped_int_param(query, "limit", 50, 100))
    offset = int_param(query, "offset", 0, 0)
    category, keyword = query.get("category", ""), query.get("keyword", "").lower()
    nodes = choice_param(query, "node_based", ("true", "false"))
    key, direction = choice_param(query, "sort_key", _SORT_KEYS), choice_param(query, "sort_direction", ("asc", "desc"))

    def keep(row: Row) -> bool:
        return (
            (not category or category in row["categories"])
            and keyword in row["name"].lower()
            and (not nodes or row["node_based"] == (nodes == "true"))
        )

    rows = simulation.workflows.select((category, keyword, nodes), keep)
    if key and direction:  # As documented, one without the other is ignored.
        rows = sorted(rows, key=lambda row: row[key], reverse=direction == "desc")
    part = rows[offset : offset + limit]
    rest: dict[str, Any] = {"total_count": len(rows)}
    if len(part) == limit:
        # The start of the next page, as long as pages are full, even if the next one is empty.
        rest["offset"] = offset + limit
    return Reply(200, envelope("workflows", join_rows(simulation.workflows, part), rest))


def _workflow(simulation: Simulation, id_or_slug: str) -> Row:
    workflow_id = simulation.workflow_id_of(id_or_slug)
    return find_or_404(simulation.workflows, workflow_id or "", "workflow not found")


def find_version(workflow: Row, version_id: str | None) -> Row | None:
    """Return a version of a workflow (default: the latest), or None."""
    wanted = version_id or workflow["latest_version_id"]
    return next((one for one in workflow["versions"] if one["version_id"] == wanted), None)


def _workflow_reply(simulation: Simulation, workflow_id: str, status: int = 200) -> Reply:
    return Reply(status, simulation.workflows.encoded(_workflow(simulation, workflow_id), "full"))


async def _get_workflow(simulation: Simulation, request: HandlerRequest) -> Reply:
    return _workflow_reply(simulation, _workflow(simulation, request.fields["workflow_id"])["workflow_id"])


def _free_slug(simulation: Simulation, name: str, workflow_id: str | None = None) -> str:
    slug = catalogue.slug_of(name)
    if simulation.workflow_id_of(slug) not in (None, workflow_id):
        raise RefusedError(error_reply(409, f"a workflow with the slug {slug!r} exists already"))
    return slug


async def _create_workflow(simulation: Simulation, request: HandlerRequest) -> Reply:
    body = json_body(request)
    name, definition = required_text(body, "name"), object_field(body, "definition", {})
    slug, workflow_id = _free_slug(simulation, name), simulation.new_id("workflow")
    row = catalogue.workflow_row(workflow_id, slug, name, definition, simulation.clock.now(), public=False)
    if isinstance(body.get("description"), str):
        row["description"] = body["description"]
    simulation.add_workflow(row)
    return _workflow_reply(simulation, workflow_id, 201)


async def _rename_workflow(simulation: Simulation, request: HandlerRequest) -> Reply:
    workflow, name = _workflow(simulation, request.fields["workflow_id"]), required_text(json_body(request), "name")
    workflow_id = workflow["workflow_id"]
    if workflow["locked"]:
        return error_reply(403, "workflow is locked")
    if name != workflow["name"]:
        slug = _free_slug(simulation, name, workflow_id)
        simulation.rename_workflow(workflow_id, name, slug, updated_at=rfc3339(simulation.clock.now()))
    return _workflow_reply(simulation, workflow_id)


async def _put_version(simulation: Simulation, request: HandlerRequest) -> Reply:
    body = json_body(request)
    workflow = _workflow(simulation, request.fields["workflow_id"])
    version_id = body.get("version_id") or request.fields["version_id"]
    if not isinstance(version_id, str):
        return error_reply(400, "version_id must be a string")
    definition = object_field(body, "definition", {})
    stored, now = find_version(workflow, version_id), simulation.clock.now()
    if workflow["locked"] or (stored is not None and stored["locked"]):
        return error_reply(403, "workflow version is locked")
    if stored is None and not definition:
        return error_reply(400, "definition is required to create a version")
    version = dict(stored or catalogue.version_row(version_id, workflow["slug"], definition, now))
    version |= {name: body[name] for name in _FLAGS if isinstance(body.get(name), bool)}
    version |= {"updated_at": rfc3339(now), "definition": definition or version["definition"]}
    if version["visibility"] != "public":
        version["visibility"] = "unlisted" if version["allowed_to_share"] else "private"
    others = [one for one in workflow["versions"] if one is not stored]
    simulation.workflows.change(
        workflow["workflow_id"],
        versions=[*others, version],
        latest_version_id=version_id,
        updated_at=version["updated_at"],
    )
    return Reply(200, encode(version))


# ---- triggering


def _trigger_arguments(simulation: Simulation, request: HandlerRequest) -> tuple[Row, Row, Row]:
    body = json_body(request, required=False)
    workflow = _workflow(simulation, request.fields["workflow_id"])
    # The unified edition has the version in the path; in the compat edition it may be in the body.
    version = find_version(workflow, request.fields.get("version_id") or body.get("version_id"))
    if version is None:
        raise RefusedError(error_reply(404, "workflow version not found"))
    return body, workflow, version


def _queued(simulation: Simulation, request: HandlerRequest, execution_id: str) -> Row:
    queued: Row = {"execution_id": execution_id, "status": "queued"}
    if request.edition == "compat":
        queued["started_at"] = rfc3339(simulation.clock.now())
    return queued


def trigger_reply(simulation: Simulation, request: HandlerRequest, body: Row, workflow: Row, version: Row) -> Reply:
    """Start an execution of a version, and return the reply to the trigger."""
    inputs, webhook = object_field(body, "inputs", {}), webhook_target(body, request)
    problem = catalogue.missing_input(inputs, version["definition"].get("input_schema"))
    if problem is not None and request.edition == "compat":
        # As documented for this edition: it accepts the trigger, and reports the failure in its reply.
        return Reply(202, encode({"status": "failed", "message": problem}))
    if problem is not None:
        return error_reply(400, problem)
    simulation.admit(1)
    execution_id = simulation.start_workflow(workflow, version, inputs, webhook=webhook)
    return Reply(202, encode(_queued(simulation, request, execution_id)))


async def _trigger(simulation: Simulation, request: HandlerRequest) -> Reply:
    return trigger_reply(simulation, request, *_trigger_arguments(simulation, request))


async def _bulk_trigger(simulation: Simulation, request: HandlerRequest) -> Reply:
    body, workflow, version = _trigger_arguments(simulation, request)
    listed: Any = body.get("inputs")
    inputs_list = list(cast("Iterable[Any]", listed)) if isinstance(listed, list) else []
    if not 1 <= len(inputs_list) <= _MOST_INPUTS or not all(isinstance(inputs, dict) for inputs in inputs_list):
        return error_reply(400, f"inputs must be a list of 1 to {_MOST_INPUTS} objects")
    webhook, bulk_id = webhook_target(body, request), simulation.new_id("bulk")
    schema = version["definition"].get("input_schema")
    problems = [catalogue.missing_input(inputs, schema) for inputs in inputs_list]
    slots, reason = simulation.admit(problems.count(None))
    queued: list[Row] = []
    for inputs, problem in zip(inputs_list, problems, strict=True):
        if problem is None and not slots:
            problem = reason
        if problem is not None:
            queued.append({"status": "failed", "message": problem})
            continue
        slots -= 1
        execution_id = simulation.start_workflow(workflow, version, inputs, webhook=webhook, bulk_id=bulk_id)
        queued.append(_queued(simulation, request, execution_id))
    return Reply(202, encode({"bulk_id": bulk_id, "executions": queued}))


HANDLERS: Final = {
    "workflows.list": _list_workflows,
    "workflows.get": _get_workflow,
    "workflows.create": _create_workflow,
    "workflows.rename": _rename_workflow,
    "workflows.put_version": _put_version,
    "workflows.trigger": _trigger,
    "workflows.bulk_trigger": _bulk_trigger,
}
