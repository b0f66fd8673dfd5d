"""Tests for the order of a listing by time and the positions of its keys, compared with a plain list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.emulator.timeline import Timeline

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: int) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def listing(seconds: list[int]) -> Timeline:
    """Return rows at these seconds, newest first; many rows at few times, so that most share theirs."""
    numbers = count()
    ordered = sorted(seconds, reverse=True)
    made = [{"id": f"old-{next(numbers)}", "created_at": at(second)} for second in ordered]
    return Timeline("id", lambda time: {"id": f"new-{next(numbers)}", "created_at": time.isoformat()}, made)


def times(rows: Timeline) -> list[datetime]:
    return [datetime.fromisoformat(row["created_at"]) for row in rows.select()]


SECONDS = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 99), st.integers(1, 4), st.one_of(st.none(), SECONDS)),
        st.tuples(st.just("remove"), st.integers(0, 99)),
        st.tuples(st.just("change"), st.integers(0, 99), SECONDS),
        st.tuples(st.just("add"), SECONDS),
    ),
    max_size=12,
)


def step(rows: Timeline, what: tuple[Any, ...], added: Any) -> None:
    kind, *rest = what
    if kind == "insert":
        place, amount, second = rest
        rows.insert(amount, place % (len(rows) + 1), **({} if second is None else {"created_at": at(second)}))
    elif kind == "add":
        rows.add({"id": f"added-{next(added)}", "created_at": at(rest[0])})
    elif len(rows):
        row_id = rows.ids()[rest[0] % len(rows)]
        if kind == "remove":
            rows.remove(row_id)
        else:
            rows.change(row_id, created_at=at(rest[1]))


@given(st.lists(SECONDS, max_size=12), STEPS)
def test_rows_stay_in_order_whatever_happens(seconds: list[int], steps: list[tuple[Any, ...]]) -> None:
    """They are newest first after each step, and found by their ids; unchanged rows keep their order."""
    rows, added = listing(seconds), count()
    for what in steps:
        before = rows.ids()
        step(rows, what, added)
        found = times(rows)
        assert found == sorted(found, reverse=True)
        assert all(rows.find(one) is row for one, row in zip(rows.ids(), rows.select(), strict=True))
        moved = {before[what[1] % len(before)]} if what[0] == "change" and before else set()
        kept = [one for one in before if one in rows and one not in moved]
        assert [one for one in rows.ids() if one in set(kept)] == kept


@given(st.lists(SECONDS, max_size=12), STEPS, SECONDS, SECONDS)
def test_a_window_is_what_a_scan_finds(seconds: list[int], steps: list[Any], since: int, until: int) -> None:
    """It includes both ends, or has no end; it is empty if it ends before it begins."""
    rows, added = listing(seconds), count()
    for what in steps:
        step(rows, what, added)
    for end in (START + timedelta(seconds=until), None):
        begin = START + timedelta(seconds=since)
        first, last = rows.between(rows.select(), begin, end)
        wanted = [row for row, time in zip(rows.select(), times(rows), strict=True) if begin <= time <= (end or time)]
        assert rows.select()[first:last] == wanted


@given(st.lists(SECONDS, min_size=1, max_size=12), STEPS, st.integers(1, 3))
def test_a_walk_by_keys_meets_once_what_was_there_throughout(seconds: list[int], steps: list[Any], size: int) -> None:
    """There is a step between pages: rows that stay come once and in order, and none comes twice.

    A row whose time changes may come again further down.
    """
    rows, added = listing(seconds), count()
    there, changed, walked = rows.ids(), set[str](), list[str]()
    key = None
    for what in [*steps, *[None] * 100]:
        first = 0 if key is None else rows.behind(rows.select(), key)
        page = rows.select()[first : first + size]
        walked += [row["id"] for row in page]
        if page:
            key = rows.key(page[-1])
        if what is not None:
            if what[0] == "change" and len(rows):
                changed.add(rows.ids()[what[1] % len(rows)])
            step(rows, what, added)
    still = [one for one in there if one in rows and one not in changed]
    assert [one for one in walked if one in set(still)] == still
    unchanged = [one for one in walked if one not in changed]
    assert len(unchanged) == len(set(unchanged))


@given(st.integers(0, 6), st.integers(1, 5))
def test_rows_stand_where_they_are_put_if_their_time_allows_it(place: int, amount: int) -> None:
    """Among rows with one time every position is allowed, and keeps its row when others are inserted there later."""
    rows = listing([5] * 6)
    for _ in range(20):
        before = rows.ids()
        made = rows.insert(amount, place, created_at=at(5))
        assert rows.ids() == [*before[:place], *made, *before[place:]]
        assert [rows.behind(rows.select(), rows.key(row)) for row in rows.select()] == list(range(1, len(rows) + 1))


def test_a_row_without_a_time_counts_as_created_with_the_one_above_it() -> None:
    """This holds wherever it is inserted, and also if its time was removed."""
    rows = listing([9, 7, 7, 3])
    (odd,) = rows.insert(1, 3, created_at=None)
    rows.change(rows.ids()[0], created_at="soon")
    rows.add({"id": "bare"})
    empty = listing([])
    empty.insert(1, 0, created_at=None)
    assert rows.ids()[0] == "bare"
    assert rows.ids().index(odd) == 4
    first, last = rows.between(rows.select(), START + timedelta(seconds=7), START + timedelta(seconds=7))
    assert [row["id"] for row in rows.select()[first:last]] == rows.ids()[2:5]
    assert len(empty) == 1


def test_two_rows_of_one_id_are_one_after_the_other_is_gone() -> None:
    """The id finds a row as long as one has it."""
    rows = listing([5, 4])
    rows.insert(1, 0, id="old-1")
    assert rows.find("old-1") is rows.select()[2]
    rows.remove(2)
    assert rows.find("old-1") is rows.select()[0]
    rows.remove(0)
    assert "old-1" not in rows
    assert rows.ids() == ["old-0"]
