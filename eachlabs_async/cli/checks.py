"""The comparison of fetched records with the emulator's rows.

A record is compared field by field with the row as it was on the wire. The codec is not used, because a value that was
decoded wrongly must show as much as a row that was lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from attrs import AttrsInstance, fields_dict, has

from ..emulator.collection import parsed_time

__all__ = ["difference", "problems"]

_UNSET_TIMES = ("", "0001-01-01T00:00:00Z")
_SHOWN = 3


def problems(records: Sequence[object], rows: Sequence[Mapping[str, Any]], identity: str) -> list[str]:
    """Return the problems: rows that are missing, duplicated, unknown or out of order, and rows whose fields differ."""
    fetched = [str(getattr(record, identity)) for record in records]
    expected = [str(row[identity]) for row in rows]
    found: list[str] = []
    counts = Counter(fetched)
    if missing := [row_id for row_id in expected if row_id not in counts]:
        found.append(f"{len(missing)} rows missing ({_some(missing)})")
    if doubled := [row_id for row_id, count in counts.items() if count > 1]:
        found.append(f"{len(doubled)} rows came more than once ({_some(doubled)})")
    by_id = dict(zip(expected, rows, strict=True))
    if unknown := [row_id for row_id in counts if row_id not in by_id]:
        found.append(f"{len(unknown)} rows that the emulator does not have ({_some(unknown)})")
    if not found and fetched != expected:
        index = next(index for index, pair in enumerate(zip(fetched, expected, strict=True)) if pair[0] != pair[1])
        found.append(f"rows out of order from number {index + 1} on")
    differing: list[str] = []
    for row_id, record in zip(fetched, records, strict=True):
        path = difference(record, by_id[row_id]) if row_id in by_id else None
        if path is not None:
            differing.append(f"{row_id} at {path}")
    if differing:
        found.append(f"{len(differing)} rows differ ({_some(differing)})")
    return found


def difference(value: object, wire: Any, path: str = "$") -> str | None:
    """Return the path of the first field in which a record, or a part of one, differs from the wire; None if equal."""
    kind = cast("type[AttrsInstance]", type(value))
    if has(kind):
        if not isinstance(wire, dict):
            return path
        row = cast("dict[str, Any]", wire)
        pairs = [(name, getattr(value, name), row.get(name)) for name in fields_dict(kind)]
    elif isinstance(value, dict) and isinstance(wire, dict):
        mapping, row = cast("dict[str, Any]", value), cast("dict[str, Any]", wire)
        if mapping.keys() != row.keys():
            return path
        pairs = [(name, mapping[name], row[name]) for name in mapping]
    elif isinstance(value, list) and isinstance(wire, list):
        items, others = cast("Sequence[Any]", value), cast("Sequence[Any]", wire)
        if len(items) != len(others):
            return path
        pairs = [(str(at), item, others[at]) for at, item in enumerate(items)]
    elif isinstance(value, datetime):
        return None if value == parsed_time(wire) and value.utcoffset() is not None else path
    elif value is None and path.endswith("_at"):
        return None if wire is None or wire in _UNSET_TIMES else path
    else:
        return None if value == wire and isinstance(value, bool) == isinstance(wire, bool) else path
    for name, part, other in pairs:
        found = difference(part, other, f"{path}.{name}")
        if found is not None:
            return found
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
