"""Tests for the spans that an archive has, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.archive.spans import CoveredSpan, TimeSpan, clusters, gaps, merged


def at(hour: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)


def covered(*pairs: tuple[int, int]) -> list[CoveredSpan]:
    return [CoveredSpan(at(since), at(until)) for since, until in pairs]


def hours(spans: Any) -> set[int]:
    """Return the hours of spans; those of an open one end with the day."""
    return {
        hour
        for span in spans
        for hour in range(48)
        if span.since <= at(hour) and (not span.until or at(hour) < span.until)
    }


PAIRS = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=6)


@given(PAIRS, st.integers(0, 23), st.none() | st.integers(0, 23))
def test_the_gaps_are_what_is_wanted_and_not_covered(
    pairs: list[tuple[int, int]], since: int, until: int | None
) -> None:
    """They do not overlap, none is empty, and the newest is the first."""
    have = merged(covered(*pairs))
    wanted = TimeSpan(at(since), None if until is None else at(until))
    found = gaps(wanted, have)
    assert hours(found) == hours([wanted]) - hours(have)
    assert all(gap.until is None or gap.since < gap.until for gap in found)
    starts = [gap.since for gap in found]
    assert starts == sorted(starts, reverse=True)


@given(PAIRS)
def test_merging_keeps_every_hour(pairs: list[tuple[int, int]]) -> None:
    """The merged spans are in order and do not touch."""
    found = merged(covered(*pairs))
    assert hours(found) == hours(covered(*pairs))
    assert all(one.until < other.since for one, other in pairwise(found))
    assert all(one.since < one.until for one in found)


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ([], []),
        ([False], [(1, 1), (0, 0)]),
        ([True, True], [(0, 2)]),
        ([True, False, True], [(2, 3), (0, 1)]),
    ],
)
def test_times_that_are_near_share_a_span(near: list[bool], expected: list[tuple[int, int]]) -> None:
    """The newest span is the first."""
    times = [at(hour) for hour in range(len(near) + 1)] if near else []
    assert clusters(times, near) == [(at(since), at(until)) for since, until in expected]
