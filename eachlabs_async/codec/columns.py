"""The columns of a record class: what a table of its records has, whatever the format of the table.

A column has the API's name of its field. Fields with a secret have no column, because tables are passed on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from operator import attrgetter
from typing import Any, Final, Literal, cast, get_type_hints

import attrs
from attrs import frozen

from ..records._field_metadata import COST, wire_names
from .strict import to_plain
from .times import optional

Content = Literal["text", "time", "integer", "number", "cost", "boolean", "texts", "json"]
"""What a column holds. `cost` is an exact decimal number of USD, `texts` a list of texts, and `json` any JSON."""

COST_SCALE: Final = 18
"""The number of decimal places of a cost."""
SECRETS: Final = frozenset({"api_key", "headers", "presigned_url", "required_headers"})
"""The fields that are left out. The `headers` of a webhook have the secret that its receiver checks."""

_CONTENTS: Final[dict[Any, Content]] = {
    str: "text",
    datetime: "time",
    int: "integer",
    float: "number",
    bool: "boolean",
    list[str]: "texts",
}
_SMALLEST_COST: Final = Decimal(1).scaleb(-COST_SCALE)


@frozen
class Column:
    """One column: the API's name of the field, the attribute of the record, and what it holds."""

    name: str
    attribute: str
    content: Content
    required: bool


def columns_of(kind: Any) -> tuple[Column, ...]:
    """Return the columns of a record class. Raises `TypeError` if `kind` is not a record class."""
    if not isinstance(kind, type) or not attrs.has(kind):
        raise TypeError(f"record must be a record class of this package, such as Execution, not {kind!r}")
    return _columns_of(cast(Any, kind))


@cache
def _columns_of(kind: Any) -> tuple[Column, ...]:
    types, names = get_type_hints(kind), wire_names(kind)
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(kind)
    return tuple(
        Column(
            names.get(field.name, field.name),
            field.name,
            "cost" if COST.items() <= field.metadata.items() else _CONTENTS.get(optional(types[field.name]), "json"),
            field.default is attrs.NOTHING,
        )
        for field in fields
        if field.name not in SECRETS
    )


def json_text(value: Any) -> str:
    """Return a value, in which there may be records, as `plain_json_text` does."""
    return plain_json_text(to_plain(value))


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII_JSON: Final = json.JSONEncoder(separators=(",", ":"))


def plain_json_text(plain: Any) -> str:
    """Return plain JSON values as compact JSON that UTF-8 can encode.

    A number that JSON cannot represent is written as Python's `json` does (`NaN`, `Infinity`). Raises `ValueError` for
    nesting that is too deep.
    """
    try:
        text = _JSON.encode(plain)
        # Only JSON's own escape can represent a lone surrogate.
        return text if _is_utf8(text) else _ASCII_JSON.encode(plain)
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None


def utf8(text: str) -> str:
    """Return a text with escapes in the place of lone surrogates, which UTF-8 cannot encode."""
    return text if _is_utf8(text) else text.encode("utf-8", "backslashreplace").decode()


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def exact_cost(cost: float) -> Decimal:
    """Return the decimal number that a cost was written as, rounded to `COST_SCALE` places."""
    exact = Decimal(repr(cost))
    exponent = exact.as_tuple().exponent
    return exact.quantize(_SMALLEST_COST) if isinstance(exponent, int) and exponent < -COST_SCALE else exact


def read_column(column: Column, rows: Sequence[Any], convert: Callable[[Any], Any] | None) -> list[Any]:
    """Return the values of a column, each converted unless it is None."""
    values = list(map(attrgetter(column.attribute), rows))
    if convert is None:
        return values
    return [None if value is None else convert(value) for value in values]
