"""Owns what the workflows answer, own and public ones: reading, creating, changing, triggering.

It refuses to run anything: `live.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast
from urllib.parse import urlsplit

from . import catalogue
from .answers import (
    Answer,
    Call,
    RefusedError,
    body_of,
    choice,
    clamped,
    envelope,
    found,
    joined,
    object_in,
    refusal,
    text_in,
    whole,
)
from .collection import Row, encode
from .jobs import Hook
from .live import Live
from .rows import zulu

__all__ = ["WORKFLOW_HANDLERS", "hook_of"]

_SORT_KEYS: Final = ("name", "created_at", "updated_at", "trigger_count", "status")
_MOST_INPUTS: Final = 10
_FLAGS: Final = ("locked", "production", "published", "allowed_to_share")


async def _list_workflows(state: Live, call: Call) -> Answer:
    query = call.query
    limit, _ = call.applied(clamped(query, "limit", 50, 100))
    offset = whole(query, "offset", 0, 0)
    category, keyword = query.get("category", ""), query.get("keyword", "").lower()
    nodes = choice(query, "node_based", ("true", "false"))
    key, direction = choice(query, "sort_key", _SORT_KEYS), choice(query, "sort_direction", ("asc", "desc"))

    def keep(row: Row) -> bool:
        return (
            (not category or category in row["categories"])
            and keyword in row["name"].lower()
            and (not nodes or row["node_based"] == (nodes == "true"))
        )

    rows = state.workflows.select((category, keyword, nodes), keep)
    if key and direction:  # One without the other is ignored, as documented.
        rows = sorted(rows, key=lambda row: row[key], reverse=direction == "desc")
    part = rows[offset : offset + limit]
    rest: dict[str, Any] = {"total_count": len(rows)}
    if len(part) == limit:
        # Where the next page starts, for as long as pages come back full, be the next one empty.
        rest["offset"] = offset + limit
    return Answer(200, envelope("workflows", joined(state.workflows, part), rest))


def _workflow(state: Live, id_or_slug: str) -> Row:
    workflow_id = state.workflow_id_of(id_or_slug)
    return found(state.workflows, workflow_id or "", "workflow not found")


def _version(workflow: Row, version_id: str | None) -> Row | None:
    wanted = version_id or workflow["latest_version_id"]
    return next((one for one in workflow["versions"] if one["version_id"] == wanted), None)


def _shown(state: Live, workflow_id: str, status: int = 200) -> Answer:
    return Answer(status, state.workflows.encoded(_workflow(state, workflow_id), "full"))


async def _get_workflow(state: Live, call: Call) -> Answer:
    return _shown(state, _workflow(state, call.fields["workflow_id"])["workflow_id"])


def _free_slug(state: Live, name: str, workflow_id: str | None = None) -> str:
    slug = catalogue.slug_of(name)
    if state.workflow_id_of(slug) not in (None, workflow_id):
        raise RefusedError(refusal(409, f"a workflow with the slug {slug!r} exists already"))
    return slug


async def _create_workflow(state: Live, call: Call) -> Answer:
    body = body_of(call)
    name, definition = text_in(body, "name"), object_in(body, "definition", {})
    slug, workflow_id = _free_slug(state, name), state.new_id("workflow")
    row = catalogue.workflow_row(workflow_id, slug, name, definition, state.clock.now(), public=False)
    if isinstance(body.get("description"), str):
        row["description"] = body["description"]
    state.add_workflow(row)
    return _shown(state, workflow_id, 201)


async def _rename_workflow(state: Live, call: Call) -> Answer:
    workflow, name = _workflow(state, call.fields["workflow_id"]), text_in(body_of(call), "name")
    workflow_id = workflow["workflow_id"]
    if workflow["locked"]:
        return refusal(403, "workflow is locked")
    if name != workflow["name"]:
        slug = _free_slug(state, name, workflow_id)
        state.rename_workflow(workflow_id, name, slug, updated_at=zulu(state.clock.now()))
    return _shown(state, workflow_id)


async def _put_version(state: Live, call: Call) -> Answer:
    body = body_of(call)
    workflow = _workflow(state, call.fields["workflow_id"])
    version_id = body.get("version_id") or call.fields["version_id"]
    if not isinstance(version_id, str):
        return refusal(400, "version_id must be a string")
    definition = object_in(body, "definition", {})
    stored, now = _version(workflow, version_id), state.clock.now()
    if workflow["locked"] or (stored is not None and stored["locked"]):
        return refusal(403, "workflow version is locked")
    if stored is None and not definition:
        return refusal(400, "definition is required to create a version")
    version = dict(stored or catalogue.version_row(version_id, workflow["slug"], definition, now))
    version |= {name: body[name] for name in _FLAGS if isinstance(body.get(name), bool)}
    version |= {"updated_at": zulu(now), "definition": definition or version["definition"]}
    if version["visibility"] != "public":
        version["visibility"] = "unlisted" if version["allowed_to_share"] else "private"
    others = [one for one in workflow["versions"] if one is not stored]
    state.workflows.change(
        workflow["workflow_id"],
        versions=[*others, version],
        latest_version_id=version_id,
        updated_at=version["updated_at"],
    )
    return Answer(200, encode(version))


# ---- triggering


def hook_of(body: Row, call: Call) -> Hook | None:
    """Read where the end is to be told; the body's URL goes before the query's, and 400 is for what is no URL."""
    url = body.get("webhook_url") or call.query.get("webhook_url")
    secret = body.get("webhook_secret")
    if not url:
        return None
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise RefusedError(refusal(400, "webhook_url must be a URL"))
    if secret is not None and not isinstance(secret, str):
        raise RefusedError(refusal(400, "webhook_secret must be a string"))
    return Hook(url=url, secret=secret)


def _asked(state: Live, call: Call) -> tuple[Row, Row, Row]:
    body = body_of(call, needed=False)
    workflow = _workflow(state, call.fields["workflow_id"])
    # The unified edition pins the version in the path, the compat one may name it in the body.
    version = _version(workflow, call.fields.get("version_id") or body.get("version_id"))
    if version is None:
        raise RefusedError(refusal(404, "workflow version not found"))
    return body, workflow, version


def _queued(state: Live, call: Call, execution_id: str) -> Row:
    queued: Row = {"execution_id": execution_id, "status": "queued"}
    if call.edition == "compat":
        queued["started_at"] = zulu(state.clock.now())
    return queued


def _triggered(state: Live, call: Call, body: Row, workflow: Row, version: Row) -> Answer:
    inputs, hook = object_in(body, "inputs", {}), hook_of(body, call)
    wrong = catalogue.missing_input(inputs, version["definition"].get("input_schema"))
    if wrong is not None and call.edition == "compat":
        # As documented for this edition: it accepts the trigger, and says in the answer that it came to nothing.
        return Answer(202, encode({"status": "failed", "message": wrong}))
    if wrong is not None:
        return refusal(400, wrong)
    state.places(1)
    execution_id = state.start_workflow(workflow, version, inputs, hook=hook)
    return Answer(202, encode(_queued(state, call, execution_id)))


async def _trigger(state: Live, call: Call) -> Answer:
    return _triggered(state, call, *_asked(state, call))


async def _bulk_trigger(state: Live, call: Call) -> Answer:
    body, workflow, version = _asked(state, call)
    listed: Any = body.get("inputs")
    many = list(cast("Iterable[Any]", listed)) if isinstance(listed, list) else []
    if not 1 <= len(many) <= _MOST_INPUTS or not all(isinstance(one, dict) for one in many):
        return refusal(400, f"inputs must be a list of 1 to {_MOST_INPUTS} objects")
    hook, bulk_id = hook_of(body, call), state.new_id("bulk")
    schema = version["definition"].get("input_schema")
    wrong = [catalogue.missing_input(inputs, schema) for inputs in many]
    free, why = state.places(wrong.count(None))
    queued: list[Row] = []
    for inputs, fault in zip(many, wrong, strict=True):
        if fault is None and not free:
            fault = why
        if fault is not None:
            queued.append({"status": "failed", "message": fault})
            continue
        free -= 1
        execution_id = state.start_workflow(workflow, version, inputs, hook=hook, bulk_id=bulk_id)
        queued.append(_queued(state, call, execution_id))
    return Answer(202, encode({"bulk_id": bulk_id, "executions": queued}))


# ---- public workflows


def _public(state: Live, call: Call) -> tuple[Row, Row]:
    workflow_id = state.workflow_id_of(call.fields["slug"])
    workflow = state.workflows.find(workflow_id or "")
    version = _version(workflow, call.fields["version_id"]) if workflow is not None else None
    here = call.fields["nickname"] == catalogue.NICKNAME
    if workflow is None or version is None or not here or version["visibility"] == "private":
        raise RefusedError(refusal(404, "workflow version not found or not publicly available"))
    return workflow, version


async def _get_public(state: Live, call: Call) -> Answer:
    return Answer(200, encode(catalogue.public_version(*_public(state, call))))


async def _trigger_public(state: Live, call: Call) -> Answer:
    return _triggered(state, call, body_of(call), *_public(state, call))


WORKFLOW_HANDLERS: Final = {
    "workflows.list": _list_workflows,
    "workflows.get": _get_workflow,
    "workflows.create": _create_workflow,
    "workflows.rename": _rename_workflow,
    "workflows.put_version": _put_version,
    "workflows.trigger": _trigger,
    "workflows.bulk_trigger": _bulk_trigger,
    "public_workflows.get": _get_public,
    "public_workflows.trigger": _trigger_public,
}
"""The handlers of the workflows, by the name of their endpoint."""
