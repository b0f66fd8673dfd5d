"""Tests for what a client knows about its executions, of its pauses, and of when a map without balance tries again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from eachlabs_async.jobs.balance_backoff import BALANCE_CHECK_S, FIRST_PAUSE_S, MAX_PAUSE_S, BalanceBackoff
from eachlabs_async.jobs.ledger import Ledger
from eachlabs_async.jobs.own_executions import FORGET_S, MAX_REMEMBERED, OwnExecutions
from eachlabs_async.transport.creations import Creations


class Call:
    def __init__(self, in_flight: bool = True) -> None:
        self.in_flight = in_flight


def test_what_was_created_runs_until_it_is_seen_to_end() -> None:
    """Its end counts once, and an execution of another client does not count at all."""
    ours = OwnExecutions()
    ours.created(["a", "b"], 0.0)
    assert ours.running(1.0) == 2
    ours.seen("a", finished=False, now=1.0)
    ours.seen("a", finished=True, now=2.0)
    ours.seen("a", finished=True, now=2.0)
    ours.seen("other", finished=False, now=2.0)
    ours.end("other")
    assert (ours.running(2.0), ours.ended) == (1, 1)


def test_what_nobody_watches_is_forgotten_ten_minutes_after_it_was_seen_last() -> None:
    """The executions of a map are not forgotten before the map is left."""
    ours = OwnExecutions()
    ours.created(["seen", "unseen", "watched"], 0.0)
    ours.watch("watched")
    ours.seen("seen", finished=False, now=100.0)
    ours.seen("watched", finished=False, now=100.0)
    assert ours.is_watched
    assert ours.running(FORGET_S + 1) == 2
    assert ours.running(FORGET_S + 101) == 1
    assert ours.running(1e9) == 1
    ours.unwatch(["watched", "other"], 1e9)
    assert not ours.is_watched
    assert ours.running(1e9) == 1
    assert ours.running(1e9 + FORGET_S) == 0
    assert ours.ended == 0


def test_a_creating_call_counts_while_its_request_is_out() -> None:
    """It does not count while it waits for its next attempt, nor for itself."""
    ledger, call, waits = Ledger(), Call(), Call(in_flight=False)
    creations = ledger.creations
    creations.calls.update((call, waits))
    assert creations.running(0.0) == 1
    assert ledger.ends_are_observed
    assert creations.running(0.0, besides=call) == 0
    ledger.executions.created(["a"], 0.0)
    assert creations.running(0.0) == 2
    assert creations.running(0.0, besides=call) == 1


def test_no_more_are_remembered_than_is_said() -> None:
    """The latest executions are kept."""
    ours = OwnExecutions()
    ours.created((str(number) for number in range(MAX_REMEMBERED + 5)), 0.0)
    assert ours.running(0.0) == MAX_REMEMBERED
    ours.end("0")
    assert ours.ended == 0
    ours.end(str(MAX_REMEMBERED + 4))
    assert ours.ended == 1


async def test_pauses_in_a_row_grow_until_something_is_created() -> None:
    """90, 120, 150 and 180 s; refusals of requests that were in flight together restart one at the same length."""
    ledger, now = Ledger(), 1000.0
    creations: Creations = ledger.creations
    lengths: list[float] = []
    for _ in range(6):
        lengths.append(creations.pause(90.0, now))
        assert creations.pause(90.0, now + 0.5) == lengths[-1]
        assert creations.paused_until == now + 0.5 + lengths[-1]
        now = creations.paused_until
    assert lengths == pytest.approx([90, 120, 150, 180, 180, 180])
    ledger.created([])
    assert creations.pause(90.0, now) == 180
    ledger.created(["a"])
    assert creations.pause(90.0, creations.paused_until) == 90


def test_balance_is_asked_for_again_when_something_has_ended_and_ever_more_rarely() -> None:
    """While a map watches, nothing is sent before an execution ends; each refusal in a row doubles the pause."""
    ledger, backoff, now = Ledger(), BalanceBackoff(), 50.0
    ours = ledger.executions
    ours.watch("a")
    assert backoff.wait_s(ledger, now) == 0
    pauses: list[float] = []
    for number in range(12):
        backoff.refuse(ours.ended, now)
        backoff.refuse(ours.ended, now + 0.01)  # Of a request that was in flight with the first.
        pauses.append(backoff.wait_s(ledger, now))
        now += pauses[-1]
        assert backoff.wait_s(ledger, now) == BALANCE_CHECK_S
        ours.watch("b")
        ours.end("b")
        assert backoff.wait_s(ledger, now) == 0, number
    assert pauses[0] == pytest.approx(FIRST_PAUSE_S)
    assert all(later == pytest.approx(min(MAX_PAUSE_S, 2 * pause)) for pause, later in pairwise(pauses))
    backoff.accept()
    assert backoff.wait_s(ledger, now) == 0


def test_an_end_while_the_request_was_out_counts() -> None:
    """The refusal may be older than that end."""
    ledger, backoff = Ledger(), BalanceBackoff()
    ours = ledger.executions
    ours.watch("a")
    ours.watch("b")
    ended = ours.ended
    ours.end("a")
    backoff.refuse(ended, 0.0)
    assert backoff.wait_s(ledger, FIRST_PAUSE_S) == 0


def test_where_no_end_would_be_observed_balance_is_asked_for_after_the_pause() -> None:
    """The execution of a single call is not watched."""
    ledger, backoff = Ledger(), BalanceBackoff()
    ledger.executions.created(["a"], 0.0)
    backoff.refuse(ledger.executions.ended, 0.0)
    assert backoff.wait_s(ledger, 0.0) == pytest.approx(FIRST_PAUSE_S)
    assert backoff.wait_s(ledger, FIRST_PAUSE_S) == 0
