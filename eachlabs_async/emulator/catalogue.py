"""The rows of workflows, their versions and models, and the views of them on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, cast

from .collection import Row
from .rows import rfc3339

__all__ = [
    "FALLBACKS",
    "NICKNAME",
    "default_steps",
    "missing_input",
    "model_document",
    "model_rows",
    "public_version",
    "slug_of",
    "version_row",
    "workflow_listed",
    "workflow_row",
]

NICKNAME: Final = "acme"
"""The nickname of the emulated organisation, as used in the paths of public workflows."""

_LISTED: Final = (
    "workflow_id",
    "slug",
    "name",
    "categories",
    "tags",
    "status",
    "trigger_count",
    "clone_count",
    "is_public",
    "production",
    "node_based",
    "created_at",
    "updated_at",
)
_ROUTER: Final = "eachlabs-llm-router"
_NAMED: Final = ("flux-1-1-pro", "nano-banana-pro", "kling-v2-1-master", "veo3-fast", "openai-chatgpt-5", _ROUTER)
_AT_ONCE: Final = ("openai-chatgpt-5", _ROUTER)
FALLBACKS: Final = {"any-image": "nano-banana-pro", "any-video": "veo3-fast"}
"""The fallback chains of the emulated organisation: each selector and the model that takes over."""
_OUTPUTS: Final = ("array", "string", "object")


def slug_of(name: str) -> str:
    """Return the slug of a name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "workflow"


def default_steps() -> list[Row]:
    """Return the steps of a workflow whose definition has none."""
    return [
        {"step_id": "step1", "type": "model", "model": "openai-chatgpt-5", "version": "0.0.1", "params": {}},
        {"step_id": "step2", "type": "model", "model": "nano-banana-pro", "version": "0.0.1", "params": {}},
    ]


def version_row(version_id: str, slug: str, definition: Row, created: datetime, *, public: bool = False) -> Row:
    """Return a new version of a workflow."""
    return {
        "version_id": version_id,
        "slug": slug,
        "published": public,
        "locked": False,
        "production": False,
        "allowed_to_share": False,
        "trigger_count": 0,
        "created_at": rfc3339(created),
        "updated_at": rfc3339(created),
        "status": "active",
        "visibility": "public" if public else "private",
        "is_popular": False,
        "definition": definition,
    }


def workflow_row(workflow_id: str, slug: str, name: str, definition: Row, created: datetime, *, public: bool) -> Row:
    """Return a new workflow with its first version, `v1`."""
    return {
        "workflow_id": workflow_id,
        "slug": slug,
        "name": name,
        "description": "",
        "categories": ["general"],
        "tags": [],
        "locked": False,
        "production": False,
        "is_public": public,
        "node_based": False,
        "latest_version_id": "v1",
        "status": "active",
        "trigger_count": 0,
        "clone_count": 0,
        "created_at": rfc3339(created),
        "updated_at": rfc3339(created),
        "versions": [version_row("v1", slug, definition, created, public=public)],
    }


def workflow_listed(row: Row) -> Row:
    """Return a workflow as listed: without its versions."""
    return {name: row[name] for name in _LISTED if name in row}


def public_version(workflow: Row, version: Row) -> Row:
    """Return a version as the public view shows it: flat, and without empty fields."""
    shown: Row = {
        "workflow_id": workflow["workflow_id"],
        "version_id": version["version_id"],
        "slug": workflow["slug"],
        "name": workflow["name"],
        "description": workflow["description"],
        "status": version["status"],
        "created_at": version["created_at"],
        "updated_at": version["updated_at"],
    }
    for name, value in (("categories", workflow["categories"]), ("definition", version["definition"])):
        if value:
            shown[name] = value
    return shown


def model_rows(count: int) -> list[Row]:
    """Return `count` models: first those that the seeded executions name, then numbered ones.

    A model with a true `_at_once` supports synchronous predictions.
    """
    slugs = [*_NAMED, *(f"model-{number}" for number in range(1, count))][:count]
    return [
        {
            "title": slug.replace("-", " ").title(),
            "slug": slug,
            "version": "0.0.1",
            "output_type": _OUTPUTS[number % len(_OUTPUTS)],
            "request_schema": {
                "type": "object",
                "properties": {"prompt": {"type": "string", "maxLength": 500}, "num_images": {"type": "integer"}},
            },
            "cost": _cost(number),
            "_at_once": slug in _AT_ONCE,
        }
        for number, slug in enumerate(slugs)
    ]


def _cost(number: int) -> Row | None:
    """Return a price of one of the documented kinds; every third model has none."""
    fixed: Row = {
        "currency": "USD",
        "type": "fixed",
        "amount": 0.0125,
        "unit": "image",
        "estimate": "$0.0125 per image",
        "description": "One price for every image.",
        "min": None,
        "max": None,
        "depends_on": [],
        "rows": [],
    }
    by_use: Row = {
        **fixed,
        "type": "usage_based",
        "amount": None,
        "unit": None,
        "estimate": "$0.10 to $0.40",
        "description": "By the length of the video.",
        "min": 0.1,
        "max": 0.4,
        "depends_on": ["duration"],
        "rows": [{"label": "5 s", "value": "$0.10"}, {"label": "20 s", "value": "$0.40"}],
    }
    return (fixed, by_use, None)[number % 3]


def model_document(model: Row) -> Row:
    """Return the OpenAPI document of a model's input."""
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Input"}}}
    answers = {"200": {"description": "OK"}}
    return {
        "openapi": "3.0.3",
        "info": {"title": model["title"], "version": model["version"]},
        "paths": {f"/{model['slug']}": {"post": {"requestBody": {"content": body}, "responses": answers}}},
        "components": {"schemas": {"Input": model["request_schema"]}},
    }


def missing_input(inputs: Row, schema: object) -> str | None:
    """Return what is wrong with the inputs, or None: a required one is missing, or `invalid` asks for a refusal."""
    if inputs.get("invalid"):
        return f"invalid input: {inputs['invalid']}"
    required: Any = cast("Row", schema).get("required") if isinstance(schema, dict) else None
    names = list(cast("Iterable[Any]", required)) if isinstance(required, list) else []
    missing = [name for name in names if name not in inputs]
    return f"invalid input: missing required field '{missing[0]}'" if missing else None
