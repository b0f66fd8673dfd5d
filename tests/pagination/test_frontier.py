"""Tests for `Frontier`: overlaps, rows with the same time, skipped rows, and old checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from eachlabs_async.pagination.frontier import Frontier, lowest
from eachlabs_async.pagination.recent_ids import RecentIds

ZERO = datetime(2026, 1, 1, tzinfo=UTC)


def at(*seconds: float | None) -> list[datetime | None]:
    return [None if second is None else ZERO + timedelta(seconds=second) for second in seconds]


def position(known: str, second: float, ties: int) -> Frontier:
    frontier = Frontier(RecentIds(100), at=ZERO + timedelta(seconds=second), ties=ties)
    frontier.seen.add(list(known))
    frontier.begin_overlap()
    return frontier


@pytest.mark.parametrize(
    ("known", "ties", "ids", "seconds", "excluded"),
    [
        ("ab", 1, "abcd", (6, 5, 4, 3), set()),
        ("ab", 1, "xabc", (7, 6, 5, 4), {0}),
        # Unknown rows with the same time come next after a known row, or after `ties` rows.
        ("ab", 2, "abxc", (5, 5, 5, 4), set()),
        ("b", 2, "bxc", (5, 5, 4), set()),
        ("b", 3, "xbyc", (5, 5, 5, 4), {0}),
        # All known rows are gone: `ties` rows are excluded.
        ("", 2, "xyz", (5, 5, 5), {0, 1}),
        ("", 2, "xyz", (5, 4, 3), {0}),
        # Rows without a time are never excluded, and a row below the time ends the overlap.
        ("", 1, "nx", (None, 4), set()),
        ("", 1, "wx", (4, 6), set()),
    ],
)
def test_an_overlap_excludes_late_rows_and_delivered_ones(
    known: str, ties: int, ids: str, seconds: tuple[float | None, ...], excluded: set[int]
) -> None:
    """Rows above the time are excluded, and as many with the time as were delivered."""
    found = position(known, 5, ties).excluded(ids, at(*seconds))
    assert {position for position in found if ids[position] not in known} == excluded


def test_an_overlap_spans_pages_and_excluded_changes_no_state() -> None:
    """Only `take` applies the result of `excluded`."""
    frontier = position("", 5, 3)
    for _ in range(2):
        assert set(frontier.excluded("ab", at(5, 5))) == {0, 1}
    frontier.take(at(5, 5), [])
    assert set(frontier.excluded("cd", at(5, 5))) == {0}
    frontier.take(at(5, 5), [1])
    assert frontier.ties == 4
    assert set(frontier.excluded("ef", at(5, 4))) == set()


def test_rows_to_skip_are_taken_and_not_given() -> None:
    """They count for the time and its ties, so that an overlap knows them."""
    frontier = Frontier(RecentIds(100), skip=3)
    assert frontier.take(at(9, 8), [0, 1]) == []
    assert frontier.take(at(7, 6, 6), [0, 1, 2]) == [1, 2]
    assert (frontier.at, frontier.ties, frontier.skip) == (ZERO + timedelta(seconds=6), 2, 0)


def test_an_old_checkpoint_excludes_all_until_one_of_its_rows_is_found() -> None:
    """On that page, all rows up to the last known one are excluded too."""
    frontier = Frontier(RecentIds(100), anchors=("a", "b"))
    assert set(frontier.excluded("xy", at(9, 8))) == {0, 1}
    frontier.take(at(9, 8), [])
    assert frontier.seeking
    assert set(frontier.excluded("zabc", at(7, 6, 5, 4))) == {0, 1, 2}
    frontier.take(at(7, 6, 5, 4), [3])
    assert not frontier.seeking
    assert not frontier.excluded("d", at(3))


def test_rows_out_of_order_are_noticed_and_then_times_prove_nothing() -> None:
    """The walk continues from the newest row of the last page, and drops known rows."""
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
