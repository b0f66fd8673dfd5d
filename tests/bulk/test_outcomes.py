"""Tests for the statistics of bulk fetches: latencies are accurate to one percent and take next to no memory."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.bulk.outcomes import _BUFFER_SIZE, BulkStats

SHARES = (0.0, 0.01, 0.5, 0.9, 0.99, 1.0)


def stats_of(latencies: list[float]) -> BulkStats:
    stats = BulkStats()
    for one in latencies:
        stats.record_latency(one)
    return stats


def exact(latencies: list[float], share: float) -> float:
    """Return the smallest latency that at least `share` of all did not exceed."""
    ordered = sorted(latencies)
    return next(one for count, one in enumerate(ordered, 1) if count >= share * len(ordered))


@pytest.mark.parametrize("count", [1, 2, _BUFFER_SIZE - 1, _BUFFER_SIZE, _BUFFER_SIZE + 1, 5 * _BUFFER_SIZE + 7])
def test_latencies_are_told_within_one_percent(count: int) -> None:
    """This holds however many there are, in whatever order they came, buffered or counted."""
    dice = random.Random(count)
    latencies = [dice.lognormvariate(-3, 2) for _ in range(count)]
    for order in (latencies, sorted(latencies), sorted(latencies, reverse=True)):
        stats = stats_of(order)
        for share in SHARES:
            assert stats.latency_s(share) == pytest.approx(exact(latencies, share), rel=0.01)
        assert (stats.p50_s, stats.p90_s, stats.p99_s) == tuple(map(stats.latency_s, (0.5, 0.9, 0.99)))


def test_looking_changes_nothing() -> None:
    """Percentiles are the same whether they are read after every latency or only at the end."""
    dice = random.Random(5)
    watched, unwatched = BulkStats(), BulkStats()
    for _ in range(2 * _BUFFER_SIZE + 100):
        latency = dice.expovariate(4)
        for stats in (watched, unwatched):
            stats.record_latency(latency)
        before = watched.p50_s
        assert watched.p50_s == before
        assert str(watched)
    assert [watched.latency_s(share) for share in SHARES] == [unwatched.latency_s(share) for share in SHARES]


def test_before_the_first_there_is_none() -> None:
    """The percentiles are 0, and the statistics can be printed."""
    stats = BulkStats()
    assert [stats.latency_s(share) for share in SHARES] == [0.0] * len(SHARES)
    assert str(stats).endswith("p50 0.000 s, p90 0.000 s, p99 0.000 s")


@pytest.mark.parametrize("latency", [0.0, 1e-9, 1e-6, 1.0, 86_400.0, 1e7])
def test_the_least_and_the_largest_are_told(latency: float) -> None:
    """A latency below the clock's resolution counts as a millionth of a second."""
    stats = stats_of([latency] * 3)
    assert stats.p99_s == pytest.approx(max(latency, 1e-6), rel=0.01)


def test_the_list_of_recent_ones_stays_short() -> None:
    """A million latencies take no more memory than a few thousand: 512 at once are counted together."""
    stats, dice = BulkStats(), random.Random(1)
    longest = 0
    for _ in range(4 * _BUFFER_SIZE):
        stats.record_latency(dice.lognormvariate(-3, 1))
        longest = max(longest, len(stats._buffer))
    assert longest < _BUFFER_SIZE == 512
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200_000):
            stats.record_latency(dice.lognormvariate(-3, 1))
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 300_000
    assert stats._latencies.total() + len(stats._buffer) == 200_000 + 4 * _BUFFER_SIZE
    assert len(stats._latencies) < 4000


@given(st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=40), st.floats(0, 1))
def test_any_latencies_are_told_within_one_percent(latencies: list[float], share: float) -> None:
    """The percentile is close to one of the recorded latencies."""
    told = stats_of(latencies).latency_s(share)
    assert any(told == pytest.approx(one, rel=0.01) for one in latencies)
