"""Reading and writing the text of a checkpoint, and checking that it fits the walk to be resumed.

A checkpoint is short JSON with a version. It is bound to its endpoint, edition and filters. It records the position in
the listing, the last ids delivered and, for listings by time, the lowest time. Checkpoints of executions are not bound
to an edition, because both editions list the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeGuard, cast

from attrs import frozen

from ..transport.arguments import checked_moment, rfc3339

VERSION: Final = 2
_READABLE: Final = (1, 2)  # Version 1 has fewer anchors, and is otherwise the same.
TIMES: Final = ("at", "bottom")
INHERITED_FILTERS: Final = ("since", "until")
"""Filters that may be omitted when resuming: they are then read from the checkpoint."""


@frozen
class Checkpoint:
    """The state that a walk resumes from.

    `start` is the offset at which the walk began, `next_offset` the offset of the next row, `anchors` the last ids
    delivered, and `total` the last exact total. For listings by time, `at` is the creation time of the lowest row
    delivered, `ties` the number of delivered rows created at exactly that time, and `bottom` the oldest time requested,
    if the walk chose it itself.
    """

    start: int
    next_offset: int
    anchors: tuple[str, ...] = ()
    total: int | None = None
    at: datetime | None = None
    ties: int = 0
    bottom: datetime | None = None


def write_checkpoint(endpoint: str, edition: str | None, filters: Mapping[str, object], checkpoint: Checkpoint) -> str:
    """Return a checkpoint as text; `filters` are the caller's arguments by name, None if not given."""
    return json.dumps(
        {
            "v": VERSION,
            "endpoint": endpoint,
            **({} if edition is None else {"edition": edition}),
            "filters": {name: value for name, value in filters.items() if value is not None},
            "start": checkpoint.start,
            "place": checkpoint.next_offset,
            "total": checkpoint.total,
            "last": checkpoint.anchors,
            **({} if checkpoint.at is None else {"at": rfc3339(checkpoint.at), "ties": checkpoint.ties}),
            **({} if checkpoint.bottom is None else {"bottom": rfc3339(checkpoint.bottom)}),
        },
        separators=(",", ":"),
    )


def parse_checkpoint(text: object) -> dict[str, Any]:
    """Parse the text of any checkpoint. JSON that is no object gives an empty dict, which has no version.

    Raises `TypeError` if `text` is not a string, and `ValueError` if it is not JSON.
    """
    if not isinstance(text, str):
        raise TypeError(f"resume must be a checkpoint (a str), not {type(text).__name__}")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("resume is not a checkpoint: it is not JSON") from None
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def read_checkpoint(
    text: object, endpoint: str, edition: str | None, filters: Mapping[str, object]
) -> tuple[Checkpoint, dict[str, object]]:
    """Parse a checkpoint; return it and the filters, completed with those that the checkpoint records.

    Raises `TypeError` if `text` is not a string, and `ValueError` if it is not a checkpoint or belongs to another
    walk. In the latter case the message lists the differences.
    """
    parts = parse_checkpoint(text)
    if parts.get("v") not in _READABLE:
        raise ValueError(f"resume is not a checkpoint of version {VERSION} or older")
    theirs, last = parts.get("filters"), parts.get("last")
    start, next_offset, total, ties = parts.get("start"), parts.get("place"), parts.get("total"), parts.get("ties", 0)
    if not (
        isinstance(theirs, dict)
        and isinstance(last, list)
        and all(isinstance(identity, str) for identity in cast(list[object], last))
        and _is_count(start)
        and _is_count(next_offset)
        and (last or next_offset >= start)  # delivered rows can have moved up past the start
        and (total is None or _is_count(total))
        and _is_count(ties)
    ):
        raise ValueError("resume is not a checkpoint: a part of it is missing or invalid")
    before = cast(dict[str, object], theirs)
    merged = {
        name: before.get(name) if value is None and name in INHERITED_FILTERS else value
        for name, value in filters.items()
    }
    mine = {"endpoint": endpoint, **merged}
    other = {"endpoint": parts.get("endpoint"), **before}
    if edition is not None:
        mine["edition"], other["edition"] = edition, parts.get("edition")
    check_same_walk(mine, other)
    try:
        at, bottom = (None if parts.get(name) is None else checked_moment(name, parts[name]) for name in TIMES)
    except (TypeError, ValueError):
        raise ValueError("resume is not a checkpoint: a time in it is invalid") from None
    return Checkpoint(start, next_offset, tuple(cast(list[str], last)), total, at, ties, bottom), merged


def check_same_walk(mine: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    """Raise `ValueError` with the differences if the arguments of a checkpoint are not those of the walk to resume."""
    differing = [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]
    if differing:
        differences = "; ".join(
            f"{name} is {mine.get(name)!r} here, {theirs.get(name)!r} in the checkpoint" for name in differing
        )
        raise ValueError(f"resume is the checkpoint of another walk: {differences}")


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
