"""Splitting a time span into windows.

Deep offsets are slow on real databases. Windows keep offsets shallow, and they can be walked concurrently, by one
process or by several (see `window_walk`). Counting and listing the rows is left to the caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from attrs import define, evolve, field, frozen

from ..transport.tasks import gather_or_cancel

_MARGIN: Final = timedelta(seconds=1)
_SHORTEST: Final = timedelta(seconds=1)
_SHORTEST_PIECE: Final = 10 * _SHORTEST  # The margins of shorter ones would cost too much.
_COUNTS_PER_PART: Final = 8
_SAMPLES_PER_PART: Final = 4
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + _MARGIN
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _MARGIN


class Created(Protocol):
    """A row with an id and a creation time."""

    @property
    def id(self) -> str | None:
        """The id of the row, or None."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """When the row was created, in UTC; None if unknown."""
        ...


@frozen
class Window:
    """A part of a time span, `since <= created_at < until`, with the filters of its listing. It can be pickled.

    `rows` is the approximate number of rows when the window was created, or None if the service did not count them.
    """

    since: datetime
    until: datetime
    filters: dict[str, str] = field(factory=dict[str, str])
    rows: int | None = None

    def holds(self, row: Created) -> bool:
        """Whether a row belongs to this window. A row without a time does."""
        return row.created_at is None or self.since <= row.created_at < self.until

    @property
    def wider(self) -> tuple[datetime, datetime]:
        """The span to request: a second wider on each side, because the service may exclude either end."""
        return max(self.since, _EARLIEST) - _MARGIN, min(self.until, _LATEST) + _MARGIN

    def pieces_of(self, rows: int) -> int:
        """The number of equal pieces with about so many rows each; 1 if the rows of the window are unknown."""
        if self.rows is None:
            return 1
        return max(1, min(-(-self.rows // rows), (self.until - self.since) // _SHORTEST_PIECE))

    def pieces(self, number: int) -> list[Window]:
        """Cut the window into adjacent pieces of equal length, newest first."""
        if number == 1:
            return [self]
        cuts = [self.since + (self.until - self.since) * at / number for at in range(number)] + [self.until]
        rows = None if self.rows is None else self.rows // number
        return [evolve(self, since=cuts[at], until=cuts[at + 1], rows=rows) for at in reversed(range(number))]


@define
class _Span:
    """A piece of the span while it is split. `rows` is None if the service stated only a lower bound."""

    since: datetime
    until: datetime
    rows: int | None

    @property
    def divisible(self) -> bool:
        return self.until - self.since >= 2 * _SHORTEST

    @property
    def cost(self) -> int:
        """The number of counts needed to halve the piece, see `_halved`."""
        return 2 if self.rows is None else 1

    @property
    def middle(self) -> datetime:
        half = self.since + (self.until - self.since) / 2
        return half.replace(microsecond=0) if self.until - self.since > 4 * _SHORTEST else half


async def split(
    since: datetime,
    until: datetime,
    parts: int,
    filters: dict[str, str],
    count: Callable[[datetime, datetime], Awaitable[int | None]],
) -> list[Window]:
    """Split a span into at most `parts` windows with about the same number of rows, oldest first.

    `count` returns the number of rows of a span, or None if unknown. Pieces with more than half a window's rows are
    halved until none is left (or 8 counts per part are used up). Neighboring pieces are then merged into windows.
    """
    spans = [_Span(since, until, await count(since, until))]
    budget = _COUNTS_PER_PART * parts - 1
    while budget > 0:
        total = _total(spans)
        most = None if total is None else total / (2 * parts)
        large = [span for span in spans if span.divisible and (span.rows is None or (most or 0) < span.rows)]
        large.sort(key=_priority, reverse=True)
        while sum(span.cost for span in large) > budget:
            large.pop()
        if parts == 1 or not large:
            break
        budget -= sum(span.cost for span in large)
        halves = await gather_or_cancel(_halved(span, count) for span in large)
        for span, (older, newer) in zip(large, halves, strict=True):
            at = spans.index(span)
            spans[at : at + 1] = [older, newer]
    return [Window(span.since, span.until, filters, span.rows) for span in _merged(spans, parts)]


@frozen
class Sample:
    """The newest rows up to some time: how many there are, and the creation time of the oldest of them."""

    rows: int
    since: datetime


async def split_by_density(
    since: datetime,
    until: datetime,
    parts: int,
    filters: dict[str, str],
    sample: Callable[[datetime], Coroutine[Any, Any, Sample]],
) -> list[Window]:
    """Split a span as `split` does, without counts: `sample` returns the newest rows up to a time.

    The span is sampled at the ends of equal pieces, four per part. Each piece is assumed to be as dense as its sample.
    """
    if parts == 1:
        return [Window(since, until, filters, None)]
    pieces = _SAMPLES_PER_PART * parts
    cuts = {(since + (until - since) * number / pieces).replace(microsecond=0) for number in range(1, pieces)}
    ends = [*sorted(cut for cut in cuts if since < cut < until), until]
    samples = await gather_or_cancel(sample(newest) for newest in ends)
    spans: list[_Span] = []
    for begin, newest, found in zip([since, *ends], ends, samples, strict=False):
        seconds = (newest - found.since).total_seconds()
        share = min((newest - begin).total_seconds() / seconds, 1e6) if seconds > 0 else 1e6
        spans.append(_Span(begin, newest, round(found.rows * share)))
    return [Window(span.since, span.until, filters, None) for span in _merged(spans, parts)]


async def _halved(span: _Span, count: Callable[[datetime, datetime], Awaitable[int | None]]) -> tuple[_Span, _Span]:
    """Halve a piece, oldest first. The second count is needed only if the rows of the whole piece are unknown."""
    older = await count(span.since, span.middle)
    if span.rows is None:
        newer = await count(span.middle, span.until)
    else:
        older = None if older is None else min(older, span.rows)
        newer = None if older is None else span.rows - older
    return _Span(span.since, span.middle, older), _Span(span.middle, span.until, newer)


def _priority(span: _Span) -> float:
    """The priority for halving a piece: its rows, or infinity if they could not be counted."""
    return float("inf") if span.rows is None else span.rows


def _total(spans: Sequence[_Span]) -> int | None:
    counts = [span.rows for span in spans]
    return None if None in counts else sum(rows or 0 for rows in counts)


def _merged(spans: Sequence[_Span], parts: int) -> list[_Span]:
    """Merge neighboring pieces until at most `parts` are left, each with about an equal share of the rows."""
    known = [span.rows for span in spans if span.rows is not None]
    # A piece that could not be counted has at least as many rows as the largest counted one.
    assumed = max(known, default=1) or 1
    weights = [assumed if span.rows is None else span.rows for span in spans]
    whole = sum(weights)
    merged: list[_Span] = []
    before, current = 0, -1
    for span, weight in zip(spans, weights, strict=True):
        # A piece belongs to the share in which its middle lies.
        share = min(parts - 1, int((before + weight / 2) * parts / whole)) if whole else 0
        before += weight
        if share == current:
            last = merged[-1]
            rows = None if last.rows is None or span.rows is None else last.rows + span.rows
            merged[-1] = _Span(last.since, span.until, rows)
        else:
            merged.append(span)
        current = share
    return merged
