"""What the engine promises, as bounds over many random histories of listings that move.

`EACHLABS_HISTORIES` is how many histories are tried, 4,000 by default; 200,000 take some ten minutes.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from simulator import History, Sum, Walking, by_time, campaign, faulty, killed, nasty, plain

from eachlabs_async.pagination.engine import Engine
from eachlabs_async.pagination.walk_values import Accepted, Answer

HISTORIES = int(os.environ.get("EACHLABS_HISTORIES", "4000"))


class Driven(Engine):
    def requests(self, ahead: int = 0) -> list[Any]:
        return super().requests()

    def accept(self, request: Any, served: Any) -> Accepted | None:
        return super().accept(request, Answer(*served))


def make(history: History, checkpoint: Any) -> Walking:
    dialect = "page" if history.by_number else "cursor" if history.by_cursor else "offset"
    return Driven(
        dialect=dialect,
        start=history.start,
        limit=history.limit,
        drift=history.drift,
        look_ahead=history.ahead,
        depth=history.depth or None,
        resume=checkpoint,
    )


def within(count: int, share: float, of: int) -> bool:
    """Whether a count is no more than its share, with three standard deviations for a small sample."""
    return count <= share * of + 3 * (share * of) ** 0.5


def total(sums: dict[str, Sum], *names: str) -> Sum:
    found = Sum()
    for name in names:
        each = sums.get(name, Sum())
        found.requests, found.ideal = found.requests + each.requests, found.ideal + each.ideal
    return found


def test_a_moving_listing_loses_and_doubles_nothing_at_little_cost() -> None:
    """Rows enter and leave anywhere, alone and in bursts, with all kinds of totals, clamps and look-ahead."""
    sums = campaign(HISTORIES * 2 // 5, plain, make)
    offset, numbers = sums["offset"], sums["numbers"]
    assert (offset.lost, offset.doubled, offset.disordered) == (0, 0, 0), offset.seeds
    assert (numbers.doubled, numbers.disordered) == (0, 0), numbers.seeds
    assert within(numbers.lost, 0.003, numbers.walks), numbers.seeds
    assert within(offset.false_errors + numbers.false_errors, 0.003, offset.walks + numbers.walks)
    assert total(sums, "offset up to 5, alone", "numbers up to 5, alone").ratio <= 1.25
    assert total(sums, "offset up to 1, ahead 8", "numbers up to 1, ahead 8").ratio <= 1.4
    assert sums["offset at rest, alone"].ratio <= 1.02


def test_a_walk_that_is_killed_and_resumed_loses_nothing_and_doubles_next_to_nothing() -> None:
    """Up to three times, with up to 1,000 rows entering or leaving in between."""
    sums = campaign(HISTORIES * 3 // 10, killed, make)
    offset, numbers = sums["offset"], sums["numbers"]
    assert offset.lost == 0, offset.seeds
    assert within(numbers.lost, 0.003, numbers.walks), numbers.seeds
    assert within(offset.doubled + numbers.doubled, 0.0006, offset.resumes + numbers.resumes), offset.seeds
    assert within(offset.false_errors + numbers.false_errors, 0.003, offset.walks + numbers.walks)


def test_a_server_that_slips_costs_next_to_no_row() -> None:
    """Its answers are empty, short, repeated or stale by mistake; where no total tells, that can be the end."""
    sums = campaign(HISTORIES // 5, faulty, make)
    offset, numbers = sums["offset"], sums["numbers"]
    assert (offset.doubled, numbers.doubled) == (0, 0)
    assert within(offset.lost + numbers.lost, 0.003, offset.walks + numbers.walks)
    assert within(offset.false_errors + numbers.false_errors, 0.003, offset.walks + numbers.walks)


def test_walks_by_time_and_by_cursor_lose_and_double_nothing() -> None:
    """Executions are read by seeking below 1,000 rows, or by cursor; some walks are killed and resumed."""
    for name, found in campaign(HISTORIES // 10, by_time, make).items():
        assert (found.lost, found.doubled, found.disordered, found.false_errors) == (0, 0, 0, 0), (name, found.seeds)


@pytest.mark.parametrize("drift", ["resync", "raise"])
def test_a_tiny_listing_that_is_replaced_under_the_walk_loses_no_row(drift: str) -> None:
    """Pages of one to three rows, most of which can vanish at once; an error may say that all are gone."""
    sums = campaign(HISTORIES // 4, lambda chance: nasty(chance, drift), make)
    assert (sums["offset"].lost, sums["offset"].doubled) == (0, 0), sums["offset"].seeds


def test_raise_says_that_a_listing_moved_or_loses_nothing() -> None:
    """At rest there is no error; otherwise either one, or every row that stays."""

    def raising(chance: Any) -> History:
        history = plain(chance)
        history.drift = "raise"
        return history

    sums = campaign(HISTORIES // 10, raising, make)
    assert (sums["offset"].lost, sums["offset"].doubled, sums["offset"].false_errors) == (0, 0, 0)
