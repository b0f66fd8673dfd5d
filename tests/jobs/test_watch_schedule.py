"""Tests for the times at which a running execution is looked at."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.jobs.watch_schedule import GROWTH, LOOKS, MAX_PAUSE_S, MIN_PAUSE_S, WatchSchedule


def looks(schedule: WatchSchedule, takes_s: float) -> tuple[int, float]:
    """Return how often an execution is looked at until its end is seen, and how long after its end that is."""
    count, age = 0, 0.0
    while True:
        age += schedule.pause_s(age)
        count += 1
        if age >= takes_s:
            return count, age - takes_s


@given(st.floats(0, 1e6), st.lists(st.floats(0.001, 1e4), max_size=80))
def test_every_pause_is_within_bounds(age: float, took: list[float]) -> None:
    """However old an execution is and however long others took."""
    schedule = WatchSchedule()
    for each in took:
        schedule.ended(each)
    assert MIN_PAUSE_S <= schedule.pause_s(age) <= MAX_PAUSE_S
    assert MIN_PAUSE_S <= schedule.floor_s <= MAX_PAUSE_S / 2


@pytest.mark.parametrize("takes_s", [0.5, 6.0, 20.0])
def test_executions_of_similar_lengths_are_looked_at_a_few_times(takes_s: float) -> None:
    """Once some have ended, the others are seen to end soon, with few looks."""
    chance = random.Random(1)
    schedule = WatchSchedule()
    for _ in range(30):
        schedule.ended(takes_s * chance.uniform(0.7, 1.3))
    found = [looks(schedule, takes_s * chance.uniform(0.7, 1.3)) for _ in range(300)]
    assert sum(count for count, _ in found) / 300 <= LOOKS + 0.5
    assert sum(late for _, late in found) / 300 <= 0.08 * takes_s


def test_a_straggler_is_looked_at_ever_more_rarely() -> None:
    """After 20 seconds among executions of 50 ms there were few looks, and the pause is a share of the age."""
    schedule = WatchSchedule()
    for _ in range(10):
        schedule.ended(0.05)
    count, late = looks(schedule, 20.0)
    assert count <= 30
    assert late <= GROWTH * 20


def test_without_knowledge_the_pause_grows_with_the_age() -> None:
    """A first execution of six seconds is looked at some times, and seen to end within a share of its length."""
    count, late = looks(WatchSchedule(), 6.0)
    assert count <= 20
    assert late <= GROWTH * 6
