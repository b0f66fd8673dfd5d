"""Spans of time as pure functions: which parts of a span an archive does not have yet, and what it has then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from attrs import frozen


@frozen
class TimeSpan:
    """A span of creation times, `since <= created_at < until`; `until` is None if the span is open."""

    since: datetime
    until: datetime | None


@frozen
class CoveredSpan:
    """A span of creation times whose executions the archive has, `since <= created_at < until`."""

    since: datetime
    until: datetime


def gaps(wanted: TimeSpan, covered: Iterable[CoveredSpan]) -> list[TimeSpan]:
    """Return the parts of a span that are not covered, newest first."""
    found: list[TimeSpan] = []
    since = wanted.since
    for span in sorted(covered, key=lambda span: span.since):
        if wanted.until is not None and span.since >= wanted.until:
            break
        if span.until <= since:
            continue
        if span.since > since:
            found.append(TimeSpan(since, span.since))
        since = span.until
    if wanted.until is None or since < wanted.until:
        found.append(TimeSpan(since, wanted.until))
    return found[::-1]


def merged(covered: Iterable[CoveredSpan]) -> list[CoveredSpan]:
    """Return spans with those that touch or overlap made one, in the order of time."""
    found: list[CoveredSpan] = []
    for span in sorted(covered, key=lambda span: span.since):
        if span.until <= span.since:
            continue
        if found and span.since <= found[-1].until:
            found[-1] = CoveredSpan(found[-1].since, max(found[-1].until, span.until))
        else:
            found.append(span)
    return found


def clusters(times: Sequence[datetime], near: Sequence[bool]) -> list[tuple[datetime, datetime]]:
    """Group ascending times: the one at `number` + 1 belongs to the group before it if `near[number]` is true.

    Returns the first and the last time of each group, newest first.
    """
    found: list[tuple[datetime, datetime]] = []
    for number, time in enumerate(times):
        if found and near[number - 1]:
            found[-1] = (found[-1][0], time)
        else:
            found.append((time, time))
    return found[::-1]
