"""Owns the marks of fields that the wire mostly leaves out or calls otherwise; refuses to know how they are read."""

from __future__ import annotations

from typing import Any, Final

import attrs

MOSTLY_ABSENT: Final = {"mostly absent": True}
"""The metadata of an optional field that most answers do not even mention, so that who reads can prepare for it."""

_WIRE_NAME: Final = "wire name"


def named_on_the_wire(name: str) -> dict[str, str]:
    """Give the metadata of a field that the wire calls `name`, and the record otherwise."""
    return {_WIRE_NAME: name}


def wire_names(kind: Any) -> dict[str, str]:
    """Give the wire's names of the fields of a record that have another one there, by their own names."""
    return {field.name: field.metadata[_WIRE_NAME] for field in attrs.fields(kind) if _WIRE_NAME in field.metadata}
