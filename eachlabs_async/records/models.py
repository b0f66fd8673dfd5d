"""The records of models, and the search for the input schema in a model's OpenAPI document.

Inputs are not validated against the schema; the service does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from attrs import field, frozen

from ._field_metadata import MOSTLY_ABSENT


@frozen(kw_only=True)
class ModelCostRow:
    """One line of a price table: `label` says what it is for, and `value` is the price as text."""

    label: str | None = None
    value: str | None = None


@frozen(kw_only=True)
class ModelCost:
    """The price of a prediction with a model.

    `type` is `"fixed"` or `"usage_based"` as far as is known. `amount`, `min` and `max` are numbers in `currency`;
    `amount` is for each `unit`. `estimate` and `description` are texts for people. `depends_on` names the inputs that
    change the price, and `rows` is the price table.
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
    """One model, a row of `GET /models` and the response of `GET /models/{slug}`. `request_schema` is a JSON Schema.

    `cost` is None if the service states no price.
    """

    slug: str
    title: str | None = None
    version: str | None = None
    output_type: str | None = None
    request_schema: dict[str, Any] | None = None
    cost: ModelCost | None = field(default=None, metadata=MOSTLY_ABSENT)


@frozen(kw_only=True)
class ModelSchema:
    """The inputs of one model, from `GET /models/{slug}/schemas/openapi`. `document` is the whole OpenAPI document."""

    document: dict[str, Any] = field(repr=False)

    @property
    def input_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the model's input, or None if the document has none.

        It is the component called `Input`, else the schema of a request body (its `input`, if the body is that of `POST
        /prediction`), else the only component. If it refers to other components, they are included under `components`,
        so that the references resolve.
        """
        schema = _find_input_schema(self.document)
        components = self.document.get("components")
        if schema is None or components is None or not _has_references(schema):
            return schema
        return {**schema, "components": components}


_BESIDE_INPUT: Final = frozenset({"model", "version", "webhook_url", "webhook_secret", "fallback_selector"})
_LONGEST_CHAIN: Final = 20
"""The longest chain of references that is followed, so that circular ones end."""


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _find_input_schema(document: dict[str, Any]) -> dict[str, Any] | None:
    schemas = _at(document, "components", "schemas")
    named = schemas.get("Input") or next((value for name, value in schemas.items() if name.lower() == "input"), None)
    for candidate in (named, *_body_schemas(document), *(schemas.values() if len(schemas) == 1 else ())):
        schema = _resolved(document, candidate)
        if schema is not None:
            return _unwrapped(document, schema)
    # Not an OpenAPI document, but the schema itself.
    return document if _is_object(document.get("properties")) and "openapi" not in document else None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _at(value: object, *names: str) -> dict[str, Any]:
    """Return the object at a path of names, or an empty one."""
    for name in names:
        value = value.get(name) if _is_object(value) else None
    return value if _is_object(value) else {}


def _body_schemas(document: dict[str, Any]) -> Iterator[Any]:
    """Yield the schemas of all request bodies; within a body JSON comes first."""
    for path in _at(document, "paths").values():
        for operation in path.values() if _is_object(path) else ():
            body = _resolved(document, operation.get("requestBody")) if _is_object(operation) else None
            content = _at(body, "content")
            for kind in sorted(content, key=lambda name: "json" not in name):
                yield _at(content, kind).get("schema")


def _resolved(document: dict[str, Any], value: object) -> dict[str, Any] | None:
    """Resolve references within the document; None if they lead nowhere."""
    for _ in range(_LONGEST_CHAIN):
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


def _unwrapped(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of `input` if `schema` is that of a whole prediction, else `schema` itself."""
    properties = _at(schema, "properties")
    if not set(properties) <= {*_BESIDE_INPUT, "input"}:
        return schema
    inner = _resolved(document, properties.get("input"))
    # Otherwise the model itself has an input of that name, such as a text.
    if inner is not None and (inner.get("type") == "object" or "properties" in inner):
        return inner
    return schema


def _has_references(schema: dict[str, Any]) -> bool:
    # Not recursive: a document that could be parsed must not fail here because of its depth.
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
