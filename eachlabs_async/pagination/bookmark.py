"""Owns what a walk says of itself: where it stood, what it did, which rows of a page it takes; refuses to walk."""

from __future__ import annotations

from datetime import datetime

from attrs import define, frozen


@frozen
class Bookmark:
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


@frozen
class Taken:
    """A page that was taken: the positions of its rows to hand out, and whether the walk ends with it."""

    fresh: list[int]
    ended: bool


@define
class WalkStats:
    """What a walk did so far; the object is kept up to date while the walk goes on.

    `requests` counts pages asked for, `rows` those handed out, `duplicates` rows dropped because they came before
    (the row that neighbours share by design not counted), `steps_back` how often the walk read again further up,
    `drift_seen` the answers that showed that the listing moved, `longest_page` rows in the longest answer; `total`
    is the last that was stated.
    """

    requests: int = 0
    rows: int = 0
    duplicates: int = 0
    steps_back: int = 0
    drift_seen: int = 0
    longest_page: int = 0
    total: int | None = None
    total_is_exact: bool = False
