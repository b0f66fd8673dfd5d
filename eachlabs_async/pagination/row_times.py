"""The creation times of the rows of an answer, as pure functions: their order, their span, the lowest of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from attrs import evolve

from ..codec.undecoded_row import UndecodedRow
from .walk_values import Span

T = TypeVar("T")

MARGIN: Final = timedelta(seconds=1)
"""How much further the requests for a span extend, because it is not documented whether its bounds are inclusive."""

Times = Sequence[datetime | None]


def are_ordered(times: Times | None) -> bool:
    """Return whether all rows have a time and come newest first."""
    known = [time for time in times or () if time is not None]
    return times is not None and len(known) == len(times) and known == sorted(known, reverse=True)


def is_lower(times: Times | None, than: Times | None) -> bool:
    """Return whether the rows of an answer reach further down in time `than` those of another."""
    before, last = (each[-1] if each else None for each in (than, times))
    return before is not None and last is not None and last < before


def is_below(times: Times | None, since: datetime | None) -> bool:
    """Return whether rows in the order of their times reach down to those before `since`."""
    last = times[-1] if times else None
    return since is not None and last is not None and last < since and are_ordered(times)


def is_in_span(span: Span, times: Times | None, at: int) -> bool:
    """Return whether the row at a position was created in a span, which begins with its first time; or has no time."""
    (since, until), time = span, times[at] if times else None
    return time is None or ((since is None or time >= since) and (until is None or time < until))


def with_bound(rows: Sequence[T | UndecodedRow], bound: datetime) -> list[T | UndecodedRow]:
    """Return the rows of an answer, with a time for undecoded rows on top of it that have none.

    It is the latest that these can have: `bound`, the lowest time so far, or the time of the first row below them if
    that is higher. After a time that is too late a walk reads rows again; after one that is too early it loses rows.
    """
    below = next((time for row in rows if (time := getattr(row, "created_at", None)) is not None), bound)
    return [
        evolve(row, created_at=max(bound, below)) if isinstance(row, UndecodedRow) and row.created_at is None else row
        for row in rows
    ]


def lowest(times: Times, at: datetime | None, ties: int) -> tuple[datetime | None, int]:
    """Return the last of the `times` of rows in order, and how many have it; `ties` rows before had the time `at`."""
    last = times[-1]
    count = next((count for count, time in enumerate(reversed(times)) if time != last), len(times))
    return last, count + (ties if last == at else 0)
