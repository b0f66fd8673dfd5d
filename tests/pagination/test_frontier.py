"""Holds what may follow in a listing by time: seams, rows of one moment, rows passed over, and old checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from eachlabs_async.pagination.frontier import Frontier, lowest
from eachlabs_async.pagination.rules import RecentIds

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def at(*seconds: float | None) -> list[datetime | None]:
    return [None if second is None else ZERO + timedelta(seconds=second) for second in seconds]


def position(known: str, second: float, ties: int) -> Frontier:
    frontier = Frontier(RecentIds(100), at=ZERO + timedelta(seconds=second), ties=ties)
    frontier.seen.add(list(known))
    frontier.begin_overlap()
    return frontier


@pytest.mark.parametrize(
    ("known", "ties", "ids", "seconds", "barred"),
    [
        ("ab", 1, "abcd", (6, 5, 4, 3), set()),
        ("ab", 1, "xabc", (7, 6, 5, 4), {0}),
        # Of two rows of that moment one came: the first of those that are not known, unless a known one is before it.
        ("ab", 2, "abxc", (5, 5, 5, 4), set()),
        ("b", 2, "bxc", (5, 5, 4), set()),
        ("b", 3, "xbyc", (5, 5, 5, 4), {0}),
        # All that were known are gone: as many as came are passed over.
        ("", 2, "xyz", (5, 5, 5), {0, 1}),
        ("", 2, "xyz", (5, 4, 3), {0}),
        # Rows without a time are never barred, and what is below the time ends the seam.
        ("", 1, "nx", (None, 4), set()),
        ("", 1, "wx", (4, 6), set()),
    ],
)
def test_a_seam_bars_what_came_before(
    known: str, ties: int, ids: str, seconds: tuple[float | None, ...], barred: set[int]
) -> None:
    """Rows above the time, and as many of the time as came before."""
    found = position(known, 5, ties).excluded(ids, at(*seconds))
    assert {position for position in found if ids[position] not in known} == barred


def test_a_seam_goes_on_over_pages_and_is_asked_for_twice_without_harm() -> None:
    """What `excluded` says is final when the page is taken."""
    frontier = position("", 5, 3)
    for _ in range(2):
        assert set(frontier.excluded("ab", at(5, 5))) == {0, 1}
    frontier.take(at(5, 5), [])
    assert set(frontier.excluded("cd", at(5, 5))) == {0}
    frontier.take(at(5, 5), [1])
    assert frontier.ties == 4
    assert set(frontier.excluded("ef", at(5, 4))) == set()


def test_rows_to_skip_are_taken_and_not_given() -> None:
    """They count for the time and its ties, so that a seam knows them."""
    frontier = Frontier(RecentIds(100), skip=3)
    assert frontier.take(at(9, 8), [0, 1]) == []
    assert frontier.take(at(7, 6, 6), [0, 1, 2]) == [1, 2]
    assert (frontier.at, frontier.ties, frontier.skip) == (ZERO + timedelta(seconds=6), 2, 0)


def test_an_old_checkpoint_bars_all_until_one_of_its_rows_is_met() -> None:
    """And then all up to the last of them on that page."""
    frontier = Frontier(RecentIds(100), anchors=("a", "b"))
    assert set(frontier.excluded("xy", at(9, 8))) == {0, 1}
    frontier.take(at(9, 8), [])
    assert frontier.seeking
    assert set(frontier.excluded("zabc", at(7, 6, 5, 4))) == {0, 1, 2}
    frontier.take(at(7, 6, 5, 4), [3])
    assert not frontier.seeking
    assert not frontier.excluded("d", at(3))


def test_rows_out_of_order_are_noticed_and_then_times_prove_nothing() -> None:
    """The walk goes on from the newest row of the last page, and drops what it knows."""
    frontier = Frontier(RecentIds(100))
    frontier.take(at(5, 7), [0, 1])
    assert not frontier.ordered
    assert frontier.resume_at == ZERO + timedelta(seconds=7)
    frontier.begin_overlap()
    assert not frontier.excluded("xy", at(9, 8))
    untimed = Frontier(RecentIds(100))
    untimed.take(at(None), [0])
    assert not untimed.ordered
    assert untimed.resume_at is None


@pytest.mark.parametrize(
    ("seconds", "positions", "before", "found"),
    [
        ((5, 4, 4), (0, 1, 2), (None, 0), (4, 2)),
        ((5, 4, 4), (0, 1), (4, 3), (4, 4)),
        ((5, 5), (0, 1), (4, 3), (4, 3)),
        ((5, 3), (0,), (6, 1), (5, 1)),
        ((None,), (0,), (6, 1), (6, 1)),
    ],
)
def test_the_lowest_time_and_its_rows_are_counted(
    seconds: tuple[float | None, ...],
    positions: tuple[int, ...],
    before: tuple[float | None, int],
    found: tuple[float, int],
) -> None:
    """Over pages, and only of the rows that were taken."""
    time, ties = lowest(at(*seconds), positions, at(before[0])[0], before[1])
    assert (time, ties) == (at(found[0])[0], found[1])
