"""Owns the text of a checkpoint: what it says and whether it fits the walk that is to go on; refuses everything else.

A checkpoint is short JSON with a version. It is bound to its endpoint, edition and filters; the place, the last ids
handed out, and of listings by time the lowest time, are all that it knows of the rows. Those of executions are bound to
no edition: both have the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeGuard, cast

from attrs import frozen

from ..transport.arguments import checked_moment, rfc3339

VERSION: Final = 1
TIMES: Final = ("at", "bottom")
TAKEN_OVER: Final = ("since", "until")
"""Filters that may be left out when a walk is resumed: the checkpoint has them."""


@frozen
class Checkpoint:
    """Where a walk stood: its start, the rows before its place, the last ids handed out, the total if exact.

    Listings by time add `at`, the creation time of the lowest row handed out, `ties`, how many rows of that very time
    were, and `bottom`, the oldest time asked for where the walk chose it.
    """

    start: int
    place: int
    anchors: tuple[str, ...] = ()
    total: int | None = None
    at: datetime | None = None
    ties: int = 0
    bottom: datetime | None = None


def write_checkpoint(endpoint: str, edition: str | None, filters: Mapping[str, object], checkpoint: Checkpoint) -> str:
    """Write a checkpoint; `filters` are the caller's arguments by name, None where not given."""
    return json.dumps(
        {
            "v": VERSION,
            "endpoint": endpoint,
            **({} if edition is None else {"edition": edition}),
            "filters": {name: value for name, value in filters.items() if value is not None},
            "start": checkpoint.start,
            "place": checkpoint.place,
            "total": checkpoint.total,
            "last": checkpoint.anchors,
            **({} if checkpoint.at is None else {"at": rfc3339(checkpoint.at), "ties": checkpoint.ties}),
            **({} if checkpoint.bottom is None else {"bottom": rfc3339(checkpoint.bottom)}),
        },
        separators=(",", ":"),
    )


def read_checkpoint(
    text: object, endpoint: str, edition: str | None, filters: Mapping[str, object]
) -> tuple[Checkpoint, dict[str, object]]:
    """Read a checkpoint for a walk; gives the bookmark, and the filters with what the checkpoint adds.

    Raises `TypeError` where `text` is no text, `ValueError` where it is no checkpoint, or one of another walk: the
    message then says what differs.
    """
    if not isinstance(text, str):
        raise TypeError(f"resume must be a checkpoint (a str), not {type(text).__name__}")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("resume is not a checkpoint: it is not JSON") from None
    if not isinstance(found, dict) or cast(dict[str, Any], found).get("v") != VERSION:
        raise ValueError(f"resume is not a checkpoint of version {VERSION}")
    parts = cast(dict[str, Any], found)
    theirs, last = parts.get("filters"), parts.get("last")
    start, place, total, ties = parts.get("start"), parts.get("place"), parts.get("total"), parts.get("ties", 0)
    if not (
        isinstance(theirs, dict)
        and isinstance(last, list)
        and all(isinstance(identity, str) for identity in cast(list[object], last))
        and _is_count(start)
        and _is_count(place)
        and (last or place >= start)  # rows that were out can have moved up past the start
        and (total is None or _is_count(total))
        and _is_count(ties)
    ):
        raise ValueError("resume is not a checkpoint: a part of it is missing or damaged")
    before = cast(dict[str, object], theirs)
    merged = {
        name: before.get(name) if value is None and name in TAKEN_OVER else value for name, value in filters.items()
    }
    mine = {"endpoint": endpoint, **merged}
    other = {"endpoint": parts.get("endpoint"), **before}
    if edition is not None:
        mine["edition"], other["edition"] = edition, parts.get("edition")
    differing = [name for name in sorted(mine.keys() | other.keys()) if mine.get(name) != other.get(name)]
    if differing:
        told = "; ".join(f"{name} is {mine.get(name)!r} here, {other.get(name)!r} there" for name in differing)
        raise ValueError(f"resume is the checkpoint of another walk: {told}")
    try:
        at, bottom = (None if parts.get(name) is None else checked_moment(name, parts[name]) for name in TIMES)
    except (TypeError, ValueError):
        raise ValueError("resume is not a checkpoint: a time in it is damaged") from None
    return Checkpoint(start, place, tuple(cast(list[str], last)), total, at, ties, bottom), merged


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
