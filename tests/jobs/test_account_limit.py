"""Tests for the estimate of an account's concurrency limit: found from refusals, remembered, probed less and less."""

from __future__ import annotations

import random

import pytest
from account_simulation import Simulation
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.jobs.account_limit import MIN_ENDED, QUIET_S, AccountLimit, RememberedLimit


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
                limit.refuse(count, 0.0)
        if running and (not limit.available or chance.random() < 0.5):
            running -= 1
            limit.end()
    assert min(allowed, 64) - 1 <= limit.estimate <= allowed + 1
    assert limit.running == running
    # A round of as many executions as the limit allows costs no more than one refusal.
    assert limit.refusals < 40 + started / max(min(allowed, 64) - 1, MIN_ENDED)


def test_one_more_is_tried_now_and_then() -> None:
    """After a refusal the level stays, and rises by one once enough executions have ended without another."""
    limit = AccountLimit(10, 10)
    limit.start(4)
    limit.accept()
    limit.start(1)
    limit.refuse(1, 0.0)
    assert (limit.estimate, limit.available) == (4, 0)
    for _ in range(4):
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
        limit.refuse(1, 0.0)
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
    limit.refuse(4, 0.0)
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
        limit.refuse_for_balance(limit.running, 0.0)
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
            limit.refuse(count, 0.0)
    assert limit.estimate == limit.running == allowed
    assert limit.refusals <= 5


@pytest.mark.parametrize("takes_s", [0.5, 2.0, 22.0])
@pytest.mark.parametrize(("senders", "chunk"), [(4, 1), (1, 10)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_squeeze_is_forgotten_soon_after_its_end(takes_s: float, senders: int, chunk: int, seed: int) -> None:
    """Three execution times after others gave back 63 of 64 places, 0.85 of all that is possible ends."""
    begins, ends = 1.3 * takes_s, 1.3 * takes_s + 3.0
    limit = AccountLimit(64, 64)
    run = Simulation(
        limit,
        lambda now: 1 if begins <= now < ends else 64,
        takes_s=takes_s,
        until_s=ends + 20 * takes_s,
        senders=senders,
        chunk=chunk,
        notice_s=0.04 * takes_s,
        seed=seed,
    )
    assert run.rate(ends + 3 * takes_s, ends + 13 * takes_s) >= 0.85 * 64 / takes_s
    assert limit.estimate == 64


@pytest.mark.parametrize("takes_s", [0.5, 6.0, 60.0])
@pytest.mark.parametrize(("senders", "chunk"), [(4, 1), (1, 10)])
@pytest.mark.parametrize("allowed", [2, 10, 40])
def test_a_steady_cap_is_used_well(takes_s: float, senders: int, chunk: int, allowed: int) -> None:
    """At least 0.9 of what the account allows ends, at the price of a few refusals in each execution time."""
    limit = AccountLimit(64, 64)
    run = Simulation(
        limit,
        lambda now: allowed,
        takes_s=takes_s,
        until_s=33 * takes_s,
        senders=senders,
        chunk=chunk,
        notice_s=0.04 * takes_s,
    )
    assert run.rate(3 * takes_s, 33 * takes_s) >= 0.9 * allowed / takes_s
    assert limit.refusals <= 20 + 33 * max(6.0, 0.6 * takes_s)


def test_more_is_tried_after_a_quiet_time_although_nothing_has_ended() -> None:
    """Executions may take hours; each try that is refused doubles the time until the next one."""
    limit = AccountLimit(64, 64)
    limit.start(3)
    limit.refuse(2, 100.0)
    assert (limit.estimate, limit.running, limit.probe_in_s(100.0)) == (2, 1, None)
    limit.start(1)
    limit.accept()
    limit.probe(100.0 + QUIET_S - 0.1)
    assert limit.available == 0
    limit.probe(100.0 + QUIET_S)
    assert limit.available == 1
    limit.start(1)
    limit.refuse(1, 103.0)
    assert limit.probe_in_s(103.0) == 2 * QUIET_S
    limit.probe(110.0)
    for more in (1, 2, 4, 8):
        assert limit.available == more
        limit.start(more)
        limit.accept()
    assert limit.estimate == 2 + 1 + 2 + 4 + 8 + 16


def test_a_limit_is_remembered_for_a_while_unless_there_was_none() -> None:
    """A later map of more executions at once must not be held to the concurrency of an earlier one."""
    limit = AccountLimit(8, 8)
    limit.start(8)
    limit.accept()
    assert limit.remembered(5.0) is None
    limit.start(1)
    limit.refuse(1, 5.0)
    limit.refuse(2, 5.0)
    found = limit.remembered(5.0)
    assert found == RememberedLimit(7, 5.0)
    assert found.is_recent(60.0)
    assert not found.is_recent(66.0)
    later = AccountLimit(64, 64)
    later.start_from(found.estimate)
    assert (later.estimate, later.available, later.known) == (7, 7, True)
