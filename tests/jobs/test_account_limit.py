"""Tests for the estimate of an account's concurrency limit: found from refusals, remembered, probed less and less."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.jobs.account_limit import PROBE_AFTER, AccountLimit


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 10**6))
def test_the_level_settles_at_the_cap(allowed: int, chunk: int, seed: int) -> None:
    """Whatever the limit and the chunk size, the level reaches the limit and rarely exceeds it, and then by one."""
    chance = random.Random(seed)
    limit = AccountLimit(64, 64)
    running = 0
    started = 0
    for _ in range(4000):
        if limit.available:
            count = min(limit.available, chunk)
            limit.start(count)
            if running + count <= allowed:
                running += count
                started += count
                limit.accept()
            else:
                limit.refuse(count)
        if running and (not limit.available or chance.random() < 0.5):
            running -= 1
            limit.end()
    assert min(allowed, 64) - 1 <= limit.estimate <= allowed + 1
    assert limit.running == running
    # A probe that is refused makes the next one rarer.
    assert limit.refusals < 40 + started / PROBE_AFTER


def test_one_more_is_tried_now_and_then() -> None:
    """After a refusal the level stays, and rises by one once enough executions have ended without another."""
    limit = AccountLimit(10, 10)
    limit.start(4)
    limit.accept()
    limit.start(1)
    limit.refuse(1)
    assert (limit.estimate, limit.available) == (4, 0)
    for _ in range(PROBE_AFTER):
        limit.end()
        limit.start(1)
    assert (limit.estimate, limit.available) == (5, 1)
    limit.discard(4)
    assert limit.running == 0
    assert limit.available == 4  # all that was proven, at once


def test_refusals_that_were_no_caps_leave_the_level_as_it_was() -> None:
    """Refusals since the last acceptance may have another cause; after that the level falls step by step."""
    limit = AccountLimit(40, 40)
    limit.start(10)
    limit.accept()
    for _ in range(10):
        limit.start(1)
        limit.refuse(1)
        limit.end()
    assert (limit.running, limit.estimate) == (0, 1)
    limit.start(1)
    limit.refuse_for_pause(1)
    assert (limit.running, limit.estimate, limit.available, limit.refusals) == (0, 40, 1, 11)
    for running in range(1, 5):
        limit.start(1)
        limit.accept()
        assert (limit.running, limit.available) == (running, 1)
    limit.end(4)
    assert limit.available == 4
    limit.start(4)
    limit.refuse(4)
    limit.accept()
    limit.refuse_for_pause(0)
    assert limit.estimate == 3, "what was refused before an acceptance was told by a cap"


def test_what_was_refused_for_the_balance_is_halved() -> None:
    """The level is halved whatever was accepted before: the balance may cover less now."""
    limit, tried = AccountLimit(40, 40), []
    limit.start(20)
    limit.accept()
    limit.end(20)
    limit.start(10)
    while limit.running > 1:
        tried.append(limit.running)
        limit.refuse_for_balance(limit.running)
        limit.start(limit.available)
    assert [*tried, limit.running] == [10, 5, 2, 1]


@pytest.mark.parametrize("allowed", [1, 2, 3, 4, 9, 10, 11, 32, 63])
def test_the_cap_is_found_with_few_refusals(allowed: int) -> None:
    """From an unknown limit, the level reaches it after a few refusals, before any execution has ended."""
    limit = AccountLimit(64, 64)
    while limit.available:
        count = min(limit.available, 10)
        limit.start(count)
        if limit.running <= allowed:
            limit.accept()
        else:
            limit.refuse(count)
    assert limit.estimate == limit.running == allowed
    assert limit.refusals <= 5
