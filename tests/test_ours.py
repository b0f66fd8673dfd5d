"""What a client knows of its own executions, how long its silences are, and when a map without money tries again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from eachlabs_async.jobs.balance_backoff import BALANCE_CHECK_S, FIRST_S, MOST_S, BalanceBackoff
from eachlabs_async.transport.ours import FORGET_S, MAX_KNOWN, OwnExecutions


class Call:
    def __init__(self, in_flight: bool = True) -> None:
        self.in_flight = in_flight


def test_what_was_created_runs_until_it_is_seen_to_end() -> None:
    """Its end counts once, and what is not ours does not count at all."""
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
    """A map's executions are not, before the map is left."""
    ours = OwnExecutions()
    ours.created(["seen", "unseen", "watched"], 0.0)
    ours.watch("watched")
    ours.seen("seen", finished=False, now=100.0)
    ours.seen("watched", finished=False, now=100.0)
    assert ours.is_watched
    assert ours.running(FORGET_S + 1) == 2
    assert ours.running(FORGET_S + 101) == 1
    assert ours.running(1e9) == 1
    ours.leave(["watched", "other"], 1e9)
    assert not ours.is_watched
    assert ours.running(1e9) == 1
    assert ours.running(1e9 + FORGET_S) == 0
    assert ours.ended == 0


def test_a_creating_call_counts_while_its_request_is_out() -> None:
    """Not while it waits for its next try, and not for itself."""
    ours, call, waits = OwnExecutions(), Call(), Call(in_flight=False)
    ours.calls.update((call, waits))
    assert ours.running(0.0) == 1
    assert ours.is_watched
    assert ours.running(0.0, besides=call) == 0


def test_no_more_are_remembered_than_is_said() -> None:
    """The latest ones."""
    ours = OwnExecutions()
    ours.created((str(number) for number in range(MAX_KNOWN + 5)), 0.0)
    assert ours.running(0.0) == MAX_KNOWN
    ours.end("0")
    assert ours.ended == 0
    ours.end(str(MAX_KNOWN + 4))
    assert ours.ended == 1


def test_silences_in_a_row_grow_until_something_is_created() -> None:
    """90, 120, 150 and 180 s; refusals of requests that were under way together begin one anew at the same length."""
    ours, now = OwnExecutions(), 1000.0
    lengths: list[float] = []
    for _ in range(6):
        lengths.append(ours.keep_silence(90.0, now))
        assert ours.keep_silence(90.0, now + 0.5) == lengths[-1]
        assert ours.silent_until == now + 0.5 + lengths[-1]
        now = ours.silent_until
    assert lengths == pytest.approx([90, 120, 150, 180, 180, 180])
    ours.created([], now)
    assert ours.keep_silence(90.0, now) == 180
    ours.created(["a"], ours.silent_until)
    assert ours.keep_silence(90.0, ours.silent_until) == 90


def test_money_is_asked_for_again_when_something_has_ended_and_ever_more_rarely() -> None:
    """While a map watches, nothing is asked before an end; after each refusal in a row the pause is twice as long."""
    ours, money, now = OwnExecutions(), BalanceBackoff(), 50.0
    ours.watch("a")
    assert money.wait_s(ours, now) == 0
    pauses: list[float] = []
    for number in range(12):
        money.refuse(ours.ended, now)
        money.refuse(ours.ended, now + 0.01)  # Of a request that was under way with the first.
        pauses.append(money.wait_s(ours, now))
        now += pauses[-1]
        assert money.wait_s(ours, now) == BALANCE_CHECK_S
        ours.watch("b")
        ours.end("b")
        assert money.wait_s(ours, now) == 0, number
    assert pauses[0] == pytest.approx(FIRST_S)
    assert all(later == pytest.approx(min(MOST_S, 2 * pause)) for pause, later in pairwise(pauses))
    money.accept()
    assert money.wait_s(ours, now) == 0


def test_an_end_while_the_request_was_out_counts() -> None:
    """The refusal may be from before it."""
    ours, money = OwnExecutions(), BalanceBackoff()
    ours.watch("a")
    ours.watch("b")
    ended = ours.ended
    ours.end("a")
    money.refuse(ended, 0.0)
    assert money.wait_s(ours, FIRST_S) == 0


def test_where_nobody_would_tell_of_an_end_money_is_asked_for_after_the_pause() -> None:
    """What a single call created is not watched."""
    ours, money = OwnExecutions(), BalanceBackoff()
    ours.created(["a"], 0.0)
    money.refuse(ours.ended, 0.0)
    assert money.wait_s(ours, 0.0) == pytest.approx(FIRST_S)
    assert money.wait_s(ours, FIRST_S) == 0
