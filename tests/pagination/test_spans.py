"""Tests for `SpanWalk` against a listing in memory: every row once, in order, with a bounded number of requests."""

from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eachlabs_async.errors import PaginationError
from eachlabs_async.pagination.checkpoint import Checkpoint
from eachlabs_async.pagination.engine import MAX_BARREN, MAX_EMPTY, MAX_RESTARTS, Engine
from eachlabs_async.pagination.pages import WalkStats
from eachlabs_async.pagination.spans import SpanRequest, SpanWalk
from eachlabs_async.pagination.walk_values import Answer

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


class Listing:
    """Rows, newest first, as `/v2/executions` lists them; a cursor names the row that it follows."""

    def __init__(self, offsets: list[float], *, exclusive: bool = False, dice: random.Random | None = None) -> None:
        self.rows = sorted(
            ((ZERO + timedelta(seconds=second), f"{at:05}") for at, second in enumerate(offsets)), reverse=True
        )
        self.exclusive = exclusive
        self.dice = dice
        self.empties = 0.0
        self.short = 0.0
        self.made: dict[str, tuple[datetime, str]] = {}
        self.refused: set[str] = set()
        self.asked: list[SpanRequest] = []

    def answer(self, request: SpanRequest) -> Answer | None:
        self.asked.append(request)
        cursor, until = request.request.cursor, request.request.until
        if cursor is not None and cursor in self.refused:
            return None
        rows = self.rows
        if until is not None:
            rows = [row for row in rows if row[0] < until or (row[0] == until and not self.exclusive)]
        if (since := request.since) is not None:
            rows = [row for row in rows if row[0] > since or (row[0] == since and not self.exclusive)]
        if cursor is not None:
            rows = rows[bisect_right(rows, order(self.made[cursor]), key=order) :]
        size = request.size
        if self.dice is not None and self.dice.random() < self.empties:
            size = 0
        elif self.dice is not None and self.dice.random() < self.short:
            size = self.dice.randint(1, size)
        page = rows[:size]
        more = len(rows) > len(page)
        following = None
        if more:
            following = f"c{len(self.made)}"
            last = page[-1] if page else self.made.get(cursor or "", (ZERO + timedelta(days=9999), ""))
            self.made[following] = last
        return answered(page, more, following)


def answered(page: list[tuple[datetime, str]], more: bool, cursor: str | None) -> Answer:
    return Answer([identity for _, identity in page], times=[time for time, _ in page], cursor=cursor, more=more)


def order(row: tuple[datetime, str]) -> tuple[float, str]:
    # Newest first; rows of one time in the order of the listing.
    return -row[0].timestamp(), row[1]


def walked(
    listing: Listing,
    *,
    ahead: int = 0,
    size: int = 10,
    dice: random.Random | None = None,
    resume: Checkpoint | None = None,
    oldest: datetime | None = ZERO - timedelta(days=1),
    most: int = 5000,
) -> list[str]:
    """Walk like a pager: answers arrive in any order, pages are accepted in the order of the requests."""

    def engine(span: tuple[datetime | None, datetime | None]) -> Engine:
        return Engine(dialect="cursor", limit=size, span=span, resume=resume if span == (None, None) else None)

    walk = SpanWalk(engine, WalkStats(), size=size, ahead=ahead > 0, oldest=None)
    listing.rows.sort(key=order)
    rows: list[str] = []
    out: dict[SpanRequest, Answer | type[Ellipsis] | None] = {}
    requests, ended = walk.requests(1), False
    while not ended:
        assert len(listing.asked) < most, "the walk does not end"
        out = {request: out.get(request, Ellipsis) for request in requests}
        assert len(out) <= ahead + 1
        while out[requests[0]] is Ellipsis:
            waiting = [request for request, answer in out.items() if answer is Ellipsis]
            request = dice.choice(waiting) if dice is not None else requests[0]
            out[request] = listing.answer(request)
        request, answer = requests[0], out[requests[0]]
        if answer is None:
            assert walk.restart(request)
            requests = walk.requests(ahead + 1)
            continue
        assert isinstance(answer, Answer)
        walk.oldest = oldest
        for each, came in out.items():
            if isinstance(came, Answer):
                assert walk.accept(each, came)
        taken = walk.take(request)
        if taken is not None:
            rows += [answer.keys[at] for at in taken[0]]
            ended = taken[1]
        del out[request]
        if ahead and not ended:
            held = walk.requests(ahead, needed=False)
            assert len(held) <= ahead
            for later in held:
                out.setdefault(later, Ellipsis)
        if not ended:
            requests = walk.requests(ahead + 1)
    return rows


moments = st.lists(
    st.one_of(
        st.integers(0, 40).map(float),
        st.integers(0, 10**6).map(float),
        st.floats(0, 10**5, allow_nan=False).map(lambda second: round(second, 6)),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(moments, st.sampled_from([0, 1, 3, 8]), st.booleans(), st.integers(1, 20), st.randoms(use_true_random=False))
def test_every_row_comes_once_and_in_order(
    offsets: list[float], ahead: int, exclusive: bool, size: int, dice: random.Random
) -> None:
    """For any distribution of rows in time, any order of answers, and inclusive or exclusive bounds."""
    listing = Listing(offsets, exclusive=exclusive)
    rows = walked(listing, ahead=ahead, size=size, dice=dice)
    times = {identity: time for time, identity in listing.rows}
    assert sorted(rows) == sorted(times)
    assert [times[row] for row in rows] == sorted((times[row] for row in rows), reverse=True)


@settings(max_examples=200, deadline=None)
@given(moments, st.sampled_from([0, 4]), st.floats(0, 0.5), st.floats(0, 0.5), st.randoms(use_true_random=False))
def test_short_and_empty_pages_are_not_the_end(
    offsets: list[float], ahead: int, empties: float, short: float, dice: random.Random
) -> None:
    """Only `has_more` ends a chain."""
    listing = Listing(offsets, dice=dice)
    listing.empties, listing.short = empties, short
    assert sorted(walked(listing, ahead=ahead, dice=dice)) == sorted(identity for _, identity in listing.rows)


@settings(max_examples=200, deadline=None)
@given(moments, st.sampled_from([0, 4]), st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_cursor_that_is_refused_costs_no_row(
    offsets: list[float], ahead: int, every: int, dice: random.Random
) -> None:
    """The walk continues at the time of the last row; rows with the same time come once."""
    listing = Listing(offsets, exclusive=False)
    listing.refused = {f"c{number}" for number in range(0, 1000, every + 1)}
    assert sorted(walked(listing, ahead=ahead, size=7, dice=dice)) == sorted(identity for _, identity in listing.rows)


@pytest.mark.parametrize("ahead", [4, 8, 16])
def test_looking_ahead_costs_a_bounded_number_of_requests(ahead: int) -> None:
    """For evenly spread rows: at most a quarter more requests than pages, and one more round at the end."""
    dice = random.Random(5)
    listing = Listing([dice.uniform(0, 10**6) for _ in range(10_000)])
    assert len(walked(listing, ahead=ahead, size=100, dice=dice)) == 10_000
    assert len(listing.asked) <= 125 + 2 * ahead


def test_bursts_and_gaps_cost_a_bounded_number_of_requests() -> None:
    """The spans adapt even if the density changes by a factor of a thousand."""
    dice = random.Random(6)
    offsets: list[float] = []
    for burst in range(20):
        offsets += [burst * 10**6 + dice.uniform(0, 10 ** (3 + burst % 3)) for _ in range(500)]
    listing = Listing(offsets)
    assert len(walked(listing, ahead=8, size=100, dice=dice)) == 10_000
    assert len(listing.asked) <= 4 * 100


def test_without_look_ahead_a_walk_asks_for_no_page_more_than_there_are() -> None:
    """One chain from the top to the end."""
    listing = Listing([float(second) for second in range(1000)])
    assert len(walked(listing, size=100)) == 1000
    assert len(listing.asked) == 10
    assert {(request.since, request.request.until) for request in listing.asked} == {(None, None)}


def test_rows_of_one_moment_are_resumed_by_their_number_where_those_known_are_gone() -> None:
    """A checkpoint records how many rows with its time were delivered; the others come next."""
    listing = Listing([5.0] * 30 + [1.0, 0.0])
    walk = walked(listing, size=8)
    for anchor in ("gone", walk[11]):
        resume = Checkpoint(0, 0, (anchor,), at=ZERO + timedelta(seconds=5), ties=12)
        assert walked(listing, size=8, resume=resume) == walk[12:]


class Endless(Listing):
    """A listing that always states that there are more rows."""

    def __init__(self, cursors: str, rows: str) -> None:
        super().__init__([float(second) for second in range(50)])
        self.rows.sort(key=order)
        self.cursors, self.kind = cursors, rows

    def answer(self, request: SpanRequest) -> Answer | None:
        self.asked.append(request)
        rows = [] if self.kind == "none" and len(self.asked) > 1 else self.rows[:10]
        return answered(rows, True, {"same": "c", "new": f"c{len(self.asked)}", "none": None}[self.cursors])


@pytest.mark.parametrize(
    ("cursors", "rows", "most", "told"),
    [
        ("same", "all", 3, "for the second time"),
        ("same", "none", MAX_EMPTY + 2, "no new row"),
        ("new", "all", MAX_BARREN + 2, "no new row"),
        ("new", "none", MAX_EMPTY + 2, "no new row"),
        ("none", "all", MAX_RESTARTS + 4, "no cursor"),
        ("none", "none", MAX_RESTARTS + 4, "no cursor"),
    ],
)
@pytest.mark.parametrize("ahead", [0, 4])
def test_what_would_go_on_for_ever_is_an_error(cursors: str, rows: str, most: int, told: str, ahead: int) -> None:
    """A repeated cursor, pages without a new row, and `has_more` without a cursor."""
    listing = Endless(cursors, rows)
    with pytest.raises(PaginationError, match=told if not ahead else None):
        walked(listing, size=10, ahead=ahead, most=300)
    assert len(listing.asked) <= most + (8 * MAX_EMPTY if ahead else 0)
