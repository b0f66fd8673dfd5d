"""Splitting a walk by cursor into spans of time, so that its pages can be requested ahead.

A *chain* is a request without a cursor and the requests that follow its cursors. Only the next page of a chain can be
requested. So with look-ahead the time below the first page is split into *spans* of about one page each, estimated from
the density of the last rows, and the chains of several spans are read at the same time. A span with more rows follows
its cursor or is split again. Below an empty span the rest is requested as one span, because the length of the gap is
unknown. Each span is a listing of its own and has an engine of its own (see `engine`). Spans do not share rows: each
delivers what was created from its `since` on and before its `until`. Its requests extend a second further on both
sides, because it is not documented whether the bounds are inclusive. Pages are delivered in the order of the spans.

Sending the requests is left to `execution_pager`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from attrs import define, field

from ..errors import PaginationError
from .engine import Engine
from .pages import WalkStats
from .row_times import MARGIN, are_ordered
from .walk_values import Accepted, Answer, Request, Span

_FLOOR: Final = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
_MIN_FILL: Final = 0.5
_MAX_FILL: Final = 0.92
_DENSE: Final = 0.1
"""Pages per second above which spans do not pay off, because each of them repeats two seconds of rows."""


class SpanRequest(NamedTuple):
    """A request of one span; `since` is the oldest time to ask for, None for the limit of the walk."""

    span: int
    since: datetime | None
    request: Request

    @property
    def size(self) -> int:
        """The number of rows requested."""
        return self.request.size


class TakenPage(NamedTuple):
    """The positions of the rows to deliver, whether the walk ends with them, and whether they are in order so far."""

    positions: Sequence[int]
    ended: bool
    ordered: bool


@define(eq=False)
class Chain:
    """The requests of one span. `pending` are those whose pages are not delivered yet, with the pages that came."""

    number: int
    since: datetime | None
    until: datetime | None
    engine: Engine
    pending: dict[SpanRequest, Accepted | None] = field(factory=dict[SpanRequest, Accepted | None])
    answers: int = 0
    ended: bool = False
    failure: PaginationError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether the next request can be sent."""
        return not self.ended and all(self.pending.values())

    @property
    def is_done(self) -> bool:
        """Whether the chain ended and all its pages were delivered."""
        return self.ended and not self.pending and self.failure is None


@define(eq=False)
class Gap:
    """A span that is not requested yet."""

    since: datetime | None
    until: datetime


class SpanWalk:
    """A walk by cursor. `engine` returns the engine of a span, from the start of the walk if both times are None.

    `oldest` is the time to which the walk goes, None if it is unknown; without one, nothing is requested ahead.
    """

    def __init__(
        self,
        engine: Callable[[Span], Engine],
        stats: WalkStats,
        *,
        size: int,
        ahead: bool,
        oldest: datetime | None,
    ) -> None:
        self._engine = engine
        self._stats = stats
        self.oldest = oldest
        self._splits = ahead
        self.ignores_times = False
        self._numbers = 0
        # The density of the rows: rows and seconds of the last spans.
        self._recent: deque[tuple[int, float]] = deque(maxlen=8)
        self._fill = 0.85  # the planned fill of a page
        self._server_rows = float(size)  # how many rows the service returns per page
        self._parts: list[Chain | Gap] = [self._chain(None, None)]

    def _chain(self, since: datetime | None, until: datetime | None) -> Chain:
        self._numbers += 1
        return Chain(self._numbers, since, until, self._engine((since, until)))

    @property
    def head(self) -> Chain:
        """The chain whose page comes next."""
        while len(self._parts) > 1 and isinstance(first := self._parts[0], Chain) and first.is_done:
            del self._parts[0]
        if isinstance(first := self._parts[0], Gap):
            first = self._begin(0, first)
        return first

    # ---- requests

    def requests(self, most: int, *, needed: bool = True) -> list[SpanRequest]:
        """Return the requests whose pages come next, in order: up to `most`, and at least the next one if `needed`.

        Requests whose pages came and were not delivered are included.
        Raises the error of a chain once all its pages were delivered.
        """
        head, at = self.head, 0
        if head.failure is not None and not head.pending:
            raise head.failure
        room = most - sum(len(part.pending) for part in self._parts if isinstance(part, Chain))
        if needed and head.is_idle and not head.pending:
            room = max(room, 1)
        while at < len(self._parts) and room > 0:
            part = self._parts[at]
            chain = self._begin(at, part) if isinstance(part, Gap) else part
            if chain.is_idle and chain.failure is None:
                since = None if chain.since is None else chain.since - MARGIN
                chain.pending[SpanRequest(chain.number, since, chain.engine.requests()[0])] = None
                room -= 1
            at += 1
        return [request for part in self._parts if isinstance(part, Chain) for request in part.pending]

    def _begin(self, at: int, gap: Gap) -> Chain:
        """Replace the top of a gap with a chain."""
        rows, seconds = self._density
        since = None
        if rows and seconds > 0:
            width = max(self._fill * self._server_rows * seconds / rows, 1.0)
            since = max(gap.until - timedelta(seconds=min(width, 1e9)), _FLOOR).replace(microsecond=0)
            lowest = self.oldest if gap.since is None else gap.since
            if lowest is not None and (since - lowest).total_seconds() < width / 4:
                since = None
        chain = self._chain(gap.since if since is None else since, gap.until)
        self._parts[at : at + 1] = [chain] if since is None else [chain, Gap(gap.since, since)]
        return chain

    @property
    def _density(self) -> tuple[int, float]:
        return sum(rows for rows, _ in self._recent), sum(seconds for _, seconds in self._recent)

    # ---- answers

    def accept(self, request: SpanRequest, answer: Answer) -> bool:
        """Record an answer, in any order; return False if its rows cannot be told from those of other spans.

        Then the walk has to start anew where it stands, without look-ahead if the service `ignores_times`.
        """
        at = next((at for at, part in enumerate(self._parts) if self._is_of(part, request)), None)
        if at is None:
            return True
        chain = self._parts[at]
        assert isinstance(chain, Chain)
        times = answer.times or ()
        newest = next((time for time in times if time is not None), None)
        if not answer.readable and chain.engine.span != (None, None):
            return False
        if chain.until is not None and newest is not None and newest >= chain.until + 2 * MARGIN:
            self.ignores_times = True
            return False
        self._measure(chain, answer)
        if (border := self._border(chain, answer)) is not None:
            self._parts.insert(at + 1, Gap(chain.since, border))
            chain.since = border
            chain.engine.span = (border, chain.until)
        chain.answers += 1
        rows = self._stats.rows  # They are counted when they are delivered.
        try:
            accepted = chain.engine.accept(request.request, answer)
        except PaginationError as exc:
            chain.failure, accepted = exc, None
        self._stats.rows = rows
        if accepted is None:
            del chain.pending[request]
        else:
            chain.pending[request] = accepted
            chain.ended = accepted.ended
        return True

    @staticmethod
    def _is_of(part: Chain | Gap, request: SpanRequest) -> bool:
        return isinstance(part, Chain) and part.number == request.span and part.pending.get(request, request) is None

    def awaits(self, request: SpanRequest) -> bool:
        """Whether the answer to a request is to be recorded by `accept`."""
        return any(self._is_of(part, request) for part in self._parts)

    def take(self, request: SpanRequest) -> TakenPage | None:
        """Return the page that comes next, or None if it is not needed."""
        chain = self.head
        accepted = chain.pending.pop(request, None)
        if accepted is None:
            return None
        ended = all(isinstance(part, Chain) and part.is_done for part in self._parts)
        return TakenPage(accepted.positions, ended, chain.engine.page.ordered)

    def lowest(self, request: SpanRequest) -> datetime | None:
        """Return the time of the lowest row so far of the span of a request, None if it has none."""
        chain = next((part for part in self._parts if isinstance(part, Chain) and part.number == request.span), None)
        return None if chain is None else chain.engine.lowest

    def restart(self, request: SpanRequest) -> bool:
        """Continue the chain of a refused cursor at the time of its lowest row; return False if that is in vain."""
        chain = self.head
        chain.pending.pop(request, None)
        return chain.engine.seek()

    def _measure(self, chain: Chain, answer: Answer) -> None:
        """Measure the density of the rows, from the first page of a chain."""
        known = [time for time in answer.times or () if time is not None]
        if answer.more and known:
            self._server_rows = float(len(known)) if not self._recent else max(len(known), 0.9 * self._server_rows)
        if chain.answers:
            return
        if not known:
            if not answer.more and chain.until is not None:
                self._recent.clear()  # The length of a gap is unknown.
            return
        top = chain.until or known[0]
        bottom = known[-1] if answer.more or chain.since is None else chain.since
        count = sum(bottom <= time <= top for time in known)
        seconds = (top - bottom).total_seconds()
        if seconds <= 0:
            return
        rows, all_seconds = self._density
        expected = rows * seconds / all_seconds if rows else float(count)
        if count > 2 * expected or count < expected / 4:
            self._recent.clear()
        self._recent.append((count, seconds))
        if chain.until is not None and chain.since is not None:
            overflows = answer.more and known[-1] >= chain.since
            self._fill = max(_MIN_FILL, self._fill - 0.1) if overflows else min(_MAX_FILL, self._fill + 0.005)

    def _border(self, chain: Chain, answer: Answer) -> datetime | None:
        """Return the time at which to end a chain, because its rest is more than a page and sparse; None if it is not.

        The rows of the page that are older are requested again.
        """
        rows, seconds = self._density
        if not self._splits or self.oldest is None or not answer.more or not rows or not seconds:
            return None
        if not answer.readable:
            return None
        last = answer.times[-1] if answer.times else None
        if last is None or rows / seconds > _DENSE * self._server_rows:
            return None
        bottom = self.oldest if chain.since is None else chain.since
        if rows / seconds * (last - bottom).total_seconds() < 1.3 * self._server_rows:
            return None
        border, until = last.replace(microsecond=0) + timedelta(seconds=1), chain.engine.page.until
        is_below_the_top = until is None or border < until - MARGIN
        return border if is_below_the_top and chain.engine.page.ordered and are_ordered(answer.times) else None
