"""Owns what the api service says of models, and where a model's document keeps its input schema.

It refuses to know how a record is read, and to judge inputs: that is the service's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from attrs import field, frozen

from ._field_metadata import MOSTLY_ABSENT


@frozen(kw_only=True)
class ModelCostRow:
    """One line of a price table: what it is for (`label`) and the price as text (`value`)."""

    label: str | None = None
    value: str | None = None


@frozen(kw_only=True)
class ModelCost:
    """What a prediction with a model costs.

    `type` is `"fixed"` or `"usage_based"`, as far as is known. `amount`, `min` and `max` are numbers in `currency`,
    `amount` for each `unit`; `estimate` and `description` are texts for people. `depends_on` names the inputs that
    change the price, `rows` is its table.
    """

    currency: str | None = None
    type: str | None = None
    amount: float | None = None
    unit: str | None = None
    estimate: str | None = None
    description: str | None = None
    min: float | None = None
    max: float | None = None
    depends_on: list[str] | None = None
    rows: list[ModelCostRow] | None = None


@frozen(kw_only=True)
class Model:
    """One model, a row of `GET /models` and the answer of `GET /models/{slug}`; `request_schema` is a JSON Schema.

    `cost` is None where the service states no price.
    """

    slug: str
    title: str | None = None
    version: str | None = None
    output_type: str | None = None
    request_schema: dict[str, Any] | None = None
    cost: ModelCost | None = field(default=None, metadata=MOSTLY_ABSENT)


@frozen(kw_only=True)
class ModelSchema:
    """What one model takes, from `GET /models/{slug}/schemas/openapi`; `document` is the OpenAPI document, whole."""

    document: dict[str, Any] = field(repr=False)

    @property
    def input_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the model's input, None where the document has none.

        It is the component called `Input`, else the schema of a request's body (its `input`, where the body is that of
        `POST /prediction`), else the only component. Where it refers to other components, these are beside it under
        `components`, so that the references lead somewhere.
        """
        found = _input_in(self.document)
        components = self.document.get("components")
        if found is None or components is None or not _refers(found):
            return found
        return {**found, "components": components}


_BESIDE_INPUT: Final = frozenset({"model", "version", "webhook_url", "webhook_secret", "fallback_selector"})
_MOST_STEPS: Final = 20
"""References that are followed one after the other, so that those in a circle end."""


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _input_in(document: dict[str, Any]) -> dict[str, Any] | None:
    schemas = _at(document, "components", "schemas")
    named = schemas.get("Input") or next((value for name, value in schemas.items() if name.lower() == "input"), None)
    for candidate in (named, *_bodies(document), *(schemas.values() if len(schemas) == 1 else ())):
        found = _followed(document, candidate)
        if found is not None:
            return _inside(document, found)
    # Not what is promised, but as plain as can be: the schema itself.
    return document if _is_object(document.get("properties")) and "openapi" not in document else None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _at(value: object, *names: str) -> dict[str, Any]:
    """Give the object at a path of names, an empty one where there is none."""
    for name in names:
        value = value.get(name) if _is_object(value) else None
    return value if _is_object(value) else {}


def _bodies(document: dict[str, Any]) -> Iterator[Any]:
    """Find the schemas of the bodies of all requests; JSON comes first."""
    for path in _at(document, "paths").values():
        for operation in path.values() if _is_object(path) else ():
            body = _followed(document, operation.get("requestBody")) if _is_object(operation) else None
            content = _at(body, "content")
            for kind in sorted(content, key=lambda name: "json" not in name):
                yield _at(content, kind).get("schema")


def _followed(document: dict[str, Any], value: object) -> dict[str, Any] | None:
    """Follow references within the document to what they stand for; None where they lead nowhere."""
    for _ in range(_MOST_STEPS):
        if not _is_object(value):
            return None
        target = value.get("$ref")
        if not isinstance(target, str):
            return value or None
        if not target.startswith("#/"):
            return None
        value = document
        for part in target[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            value = value.get(name) if _is_object(value) else None
    return None


def _inside(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of `input` where `schema` is that of a whole prediction, else `schema` itself."""
    properties = _at(schema, "properties")
    if not set(properties) <= {*_BESIDE_INPUT, "input"}:
        return schema
    inner = _followed(document, properties.get("input"))
    # A model may well have one text input of that name.
    if inner is not None and (inner.get("type") == "object" or "properties" in inner):
        return inner
    return schema


def _refers(schema: dict[str, Any]) -> bool:
    # Not by recursion: what could be read must not fail here for its depth.
    todo: list[Any] = [schema]
    while todo:
        item: object = todo.pop()
        if _is_object(item):
            if isinstance(item.get("$ref"), str):
                return True
            todo.extend(item.values())
        elif _is_array(item):
            todo.extend(item)
    return False
