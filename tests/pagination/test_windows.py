"""Tests for splitting a time span: equal rows, no gap, no overlap, few requests, small values."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import KINDS, reached

from eachlabs_async import EachLabsError, Window
from eachlabs_async.emulator import Fault
from eachlabs_async.pagination.windows import split

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Counted:
    """Rows by their seconds after ZERO, and the count requests made. `cap` is the largest exact count."""

    def __init__(self, seconds: list[float], cap: int | None = None) -> None:
        self.times = [ZERO + timedelta(seconds=second) for second in seconds]
        self.cap = cap
        self.asked = 0

    async def __call__(self, since: datetime, until: datetime) -> int | None:
        self.asked += 1
        await asyncio.sleep(0)
        found = self.within(since, until)
        return None if self.cap is not None and found > self.cap else found

    def within(self, since: datetime, until: datetime) -> int:
        return sum(since <= time < until for time in self.times)


def assert_adjoining(windows: list[Window], since: datetime, until: datetime) -> None:
    assert windows[0].since == since
    assert windows[-1].until == until
    assert all(before.until == after.since for before, after in pairwise(windows))
    assert all(window.since < window.until for window in windows)


@given(
    st.lists(st.floats(0, 86_399), max_size=60),
    st.integers(1, 12),
    st.none() | st.integers(1, 20),
    st.integers(1, 86_400),
)
def test_windows_adjoin_and_cover_the_span(seconds: list[float], parts: int, cap: int | None, length: int) -> None:
    """For any rows, parts and cap: adjacent pieces, at most as many as requested, and eight counts per part."""
    count = Counted(seconds, cap)
    until = ZERO + timedelta(seconds=length)
    windows = asyncio.run(split(ZERO, until, parts, {"status": "error"}, count))
    assert 1 <= len(windows) <= parts
    assert_adjoining(windows, ZERO, until)
    assert count.asked <= 8 * parts
    assert sum(count.within(window.since, window.until) for window in windows) == count.within(ZERO, until)
    assert all(window.filters == {"status": "error"} for window in windows)


@pytest.mark.parametrize("parts", [2, 4, 8, 32])
@pytest.mark.parametrize("shape", ["even", "late", "bursts"])
async def test_they_hold_about_equal_rows(parts: int, shape: str) -> None:
    """By rows rather than hours, even if nearly all rows are in the last hour."""
    seconds = {
        "even": [number * 8.64 for number in range(10_000)],
        "late": [86_400 * (1 - 0.999 ** (number / 2)) for number in range(10_000)],
        "bursts": [3600 * (number % 5) * 4 + (number // 5) * 0.3 for number in range(10_000)],
    }[shape]
    count = Counted(seconds)
    windows = await split(ZERO, ZERO + DAY, parts, {}, count)
    held = [count.within(window.since, window.until) for window in windows]
    assert sum(held) == 10_000
    assert max(held) <= 2 * 10_000 / parts
    assert len(windows) >= parts // 2
    assert [window.rows for window in windows] == held
    assert count.asked <= 8 * parts


async def test_pieces_that_cannot_be_counted_are_halved_until_they_can() -> None:
    """A capped count is a lower bound: the piece is halved until it is below the cap."""
    count = Counted([number * 8.64 for number in range(10_000)], cap=3000)
    windows = await split(ZERO, ZERO + DAY, 4, {}, count)
    held = [count.within(window.since, window.until) for window in windows]
    assert len(windows) == 4
    assert max(held) <= 5000
    assert all(window.rows is not None for window in windows)


async def test_what_can_never_be_counted_is_split_all_the_same() -> None:
    """If every count is capped, the span is split by time, and the windows' rows are None."""
    count = Counted([number * 8.64 for number in range(10_000)], cap=0)
    windows = await split(ZERO, ZERO + DAY, 4, {}, count)
    assert len(windows) == 4
    assert {window.rows for window in windows} == {None}
    assert_adjoining(windows, ZERO, ZERO + DAY)
    assert count.asked <= 8 * 4  # of which each halving takes two


async def test_rows_of_one_moment_cannot_be_divided() -> None:
    """A thousand rows in one second are one window, and the search for a bound between them ends."""
    count = Counted([5000.25] * 1000)
    windows = await split(ZERO, ZERO + DAY, 8, {}, count)
    assert max(count.within(window.since, window.until) for window in windows) == 1000
    assert count.asked <= 64


async def test_a_failing_count_is_the_error_and_leaves_no_task() -> None:
    """The other counts are cancelled."""
    counts = Counted([number * 8.64 for number in range(1000)])

    async def count(since: datetime, until: datetime) -> int | None:
        if counts.asked == 4:
            raise EachLabsError("no")
        return await counts(since, until)

    with pytest.raises(EachLabsError, match="no"):
        await split(ZERO, ZERO + DAY, 8, {}, count)


class TestAWindow:
    def test_is_a_small_picklable_value(self) -> None:
        """A window can be pickled, with its filters."""
        window = Window(ZERO, ZERO + DAY, {"status": "error"}, 12)
        assert pickle.loads(pickle.dumps(window)) == window
        assert len(pickle.dumps(window)) < 500

    def test_is_half_open(self) -> None:
        """A window includes its beginning, excludes its end, and includes rows without a time."""

        class Row:
            def __init__(self, created_at: datetime | None) -> None:
                self.created_at = created_at

        window = Window(ZERO, ZERO + DAY)
        tick = timedelta(microseconds=1)
        times = [ZERO - tick, ZERO, ZERO + DAY - tick, ZERO + DAY, None]
        assert [window.holds(Row(time)) for time in times] == [False, True, True, False, True]

    def test_asks_a_second_wider(self) -> None:
        """The wider span stays within the representable times."""
        second = timedelta(seconds=1)
        assert Window(ZERO, ZERO + DAY).wider == (ZERO - second, ZERO + DAY + second)
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert Window(first, last).wider == (first, last)


class TestOverTheWire:
    async def test_the_windows_of_a_listing(self) -> None:
        """A few requests of one row each, with the filters, and equal parts."""
        async with reached(KINDS[0], 2000) as listing:
            now = listing.emulator.now
            since, until = now - timedelta(days=61), now + DAY
            windows = await listing.client.executions.windows(since, until, parts=8, status=["success", "error"])
            wanted = [row for row in listing.rows if row["status"] in ("success", "error")]
            assert sum(window.rows or 0 for window in windows) in range(len(wanted), len(wanted) + 8)
            assert max(window.rows or 0 for window in windows) <= 2 * len(wanted) / 8
            assert windows[0].filters == {"status": "success,error"}
            assert listing.requests <= 1 + 64
            assert {(seen.query["limit"], seen.query["status"]) for seen in listing.emulator.log} == {
                ("1", "success,error")
            }

    async def test_capped_totals_are_respected(self) -> None:
        """A total that is a lower bound does not count."""
        async with reached(KINDS[1], 2000) as listing:
            listing.emulator.faults.add(Fault.capped_total(400))
            now = listing.emulator.now
            windows = await listing.client.executions.windows(now - timedelta(days=61), now, parts=4)
            assert sum(window.rows or 0 for window in windows) >= 1999
            assert max(window.rows or 0 for window in windows) <= 1000

    async def test_only_windows_can_be_walked(self) -> None:
        """Anything else among them is a TypeError at the call."""
        async with reached(KINDS[0], 5) as listing:
            with pytest.raises(TypeError, match="windows must hold Window objects, not tuple"):
                listing.client.executions.walk_windows([(ZERO, ZERO + DAY)])

    @pytest.mark.parametrize(
        ("arguments", "kind", "said"),
        [
            ({"since": ZERO, "until": ZERO}, ValueError, "since must be before until"),
            ({"since": ZERO + DAY, "until": ZERO}, ValueError, "since must be before until"),
            ({"since": "yesterday", "until": ZERO}, ValueError, "since"),
            ({"since": ZERO, "until": ZERO.replace(tzinfo=None)}, ValueError, "until"),
            ({"since": ZERO, "until": None}, TypeError, "until"),
            ({"since": ZERO, "until": ZERO + DAY, "parts": 0}, ValueError, "parts"),
            ({"since": ZERO, "until": ZERO + DAY, "parts": "2"}, TypeError, "parts"),
            ({"since": ZERO, "until": ZERO + DAY, "error_classification": "x"}, ValueError, "error_classification"),
        ],
    )
    async def test_arguments_are_checked_first(self, arguments: Any, kind: type[Exception], said: str) -> None:
        """An empty span, zero parts or an invalid value is an error; nothing is sent."""
        async with reached(KINDS[0], 5) as listing:
            with pytest.raises(kind, match=said):
                await listing.client.executions.windows(**{"parts": 2, **arguments})
            assert not listing.requests
