"""Metadata of record fields that tells the codec how the wire differs from the record."""

from __future__ import annotations

from typing import Any, Final

import attrs

MOSTLY_ABSENT = {"mostly absent": True}
"""Metadata of an optional field that most answers leave out, so that the fast decoder can prepare for its absence."""

COST = {"cost": True}
"""Metadata of a field with a cost in USD that is meant to be summed, so that tables have it as an exact decimal."""

_WIRE_NAME: Final = "wire name"


def named_on_the_wire(name: str) -> dict[str, str]:
    """Return the metadata of a field that the wire calls `name`."""
    return {_WIRE_NAME: name}


def wire_names(kind: Any) -> dict[str, str]:
    """Return the wire's name of each field of a record class that has another name there."""
    return {field.name: field.metadata[_WIRE_NAME] for field in attrs.fields(kind) if _WIRE_NAME in field.metadata}
