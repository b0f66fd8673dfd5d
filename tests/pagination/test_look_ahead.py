"""Tests for look-ahead: order, requests in flight, rounds, wasted requests, failures."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from internals import transport_of
from listings import KINDS, Rounds, ids_of, reached

from eachlabs_async import APIStatusError, RetryPolicy
from eachlabs_async.emulator import Fault, Move

every_kind = pytest.mark.parametrize("kind", KINDS)
DEPTHS = [1, 2, 4, 8, 16]


def without_total(answer: Any, _: object) -> Any:
    return {name: value for name, value in answer.items() if name not in ("total", "total_count", "total_capped")}


@every_kind
@pytest.mark.parametrize("depth", DEPTHS)
async def test_the_rounds_are_as_few_as_can_be(kind: str, depth: int) -> None:
    """With an exact total, P pages at depth d take no more than 1 + ceil((P - 1) / d) rounds of requests."""
    async with reached(kind, 41 * 3) as listing:
        rounds = Rounds(listing.client)
        rows = await rounds.run(listing.list(3, look_ahead=depth).collect())
        assert ids_of(rows) == listing.rows.ids()
        # The current page and d following ones are in flight at once: one more than the formula counts.
        assert rounds.count <= 1 + math.ceil(40 / depth)
        assert rounds.count == 1 + math.ceil(40 / (depth + 1))
        assert max(rounds.widths) == min(40, depth + 1)
        assert listing.requests == 41


@every_kind
@pytest.mark.parametrize("depth", [0, *DEPTHS])
async def test_no_more_are_in_flight_than_the_page_in_hand_and_those_ahead(kind: str, depth: int) -> None:
    """With delayed or quick answers, rows are in order, with at most look_ahead + 1 requests in flight."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(0.001, jitter=0.01))
        rows = await listing.list(3, look_ahead=depth).collect()
        assert ids_of(rows) == listing.rows.ids()
        assert listing.emulator.max_in_flight <= depth + 1


@pytest.mark.parametrize("kind", KINDS[:4])  # A resumed walk by page number proves each page before it goes on.
async def test_a_resumed_walk_of_few_rows_asks_ahead_as_well(kind: str) -> None:
    """`max_rows` counts from where the walk resumes, for pages requested ahead too."""
    async with reached(kind, 90) as listing:
        pager = listing.list(3, max_rows=60)
        first = ids_of(await pager.collect())
        rounds = Rounds(listing.client)
        rest = ids_of(await rounds.run(listing.list(3, max_rows=24, look_ahead=3, resume=pager.checkpoint).collect()))
        assert first + rest == listing.rows.ids()[:84]
        assert max(rounds.widths) == 4


@pytest.mark.parametrize("kind", KINDS[:4])
async def test_what_turned_out_useless_is_dropped_before_more_is_asked_for(kind: str) -> None:
    """A clamp detected after pages were requested ahead never causes more than look_ahead + 1 requests in flight."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.edit(without_total))
        listing.emulator.faults.add(Fault.clamped_limit(4))
        listing.emulator.faults.add(Fault.latency(0, jitter=0.01))
        pager = listing.list(4, look_ahead=6)
        under_way, most = 0, 0
        transport: Any = transport_of(listing.client)
        send = transport.send

        async def counted(call: Any) -> bytes:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                body: bytes = await send(call)
                return body
            finally:
                under_way -= 1

        transport.send = counted
        assert ids_of(await pager.collect()) == listing.rows.ids()
        assert most == 7


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("kind", "cap"),
    [*((kind, None) for kind in KINDS[:4]), *((kind, cap) for kind in KINDS[:2] for cap in (1, 10))],
)
async def test_without_a_usable_total_no_more_than_the_depth_is_wasted(kind: str, depth: int, cap: int | None) -> None:
    """Pages are requested speculatively, at most `depth` of them past the end, and rows are in order."""
    async with reached(kind, 44) as listing:
        fault = Fault.edit(without_total) if cap is None else Fault.capped_total(cap, exact_on_last_page=False)
        listing.emulator.faults.add(fault)
        listing.emulator.faults.add(Fault.latency(0, jitter=0.01))
        rows = await listing.list(4, look_ahead=depth).collect()
        assert ids_of(rows) == listing.rows.ids()
        beyond = [offset for offset in listing.offsets if offset >= 44]
        assert len(beyond) <= depth
        assert listing.requests <= 11 + depth + 1


async def test_page_numbers_without_a_total_are_not_speculated_on() -> None:
    """Nothing could prove such pages adjacent, so none is requested ahead."""
    async with reached(KINDS[4], 44) as listing:
        listing.emulator.faults.add(Fault.edit(without_total))
        assert ids_of(await listing.list(4, look_ahead=8).collect()) == listing.rows.ids()
        assert listing.emulator.max_in_flight == 1


@every_kind
async def test_a_page_that_fails_is_tried_again_alone(kind: str) -> None:
    """The other answers are kept: each page is requested once, the failing one twice."""
    async with reached(kind, 60) as listing:
        patient = listing.client.with_options(retry=RetryPolicy(max_attempts=3, base_s=0.001))
        listing.emulator.faults.add(
            Fault.status(503), times=1, when=lambda seen: "20" in (seen.query.get("offset"), seen.query.get("page"))
        )
        listing.client = patient
        rows = await listing.list(2, look_ahead=5).collect()
        assert ids_of(rows) == listing.rows.ids()
        assert listing.requests == 31
        asked = Counter(tuple(sorted(seen.query.items())) for seen in listing.emulator.log)
        assert sorted(asked.values()) == [*[1] * 29, 2]


@every_kind
@pytest.mark.parametrize("depth", [1, 4])
async def test_an_error_ahead_waits_for_its_turn(kind: str, depth: int) -> None:
    """The rows before a failed page are delivered first."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.status(400), after=3, times=1)
        with pytest.raises(APIStatusError) as caught:
            await listing.list(10, look_ahead=depth).collect()
        partial = ids_of(caught.value.partial)
        assert partial == listing.rows.ids()[: len(partial)]
        assert len(partial) >= 10


@every_kind
@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("drift", ["resync"])
async def test_rows_that_enter_between_answers_under_way_come_to_no_harm(kind: str, when: Any, drift: str) -> None:
    """Answers given at different times are combined without a gap."""
    async with reached(kind, 90) as listing:
        there = listing.rows.ids()
        listing.emulator.faults.add(Fault.latency(0.0, jitter=0.005))
        listing.emulator.moves.add(Move.insert(3), after=2, times=4, when=when)
        pager = listing.list(10, look_ahead=4, drift=drift)
        rows = ids_of(await pager.collect())
        assert len(rows) == len(set(rows))
        assert [row for row in rows if row in set(there)] == there
        assert pager.stats.drift_seen
        assert pager.stats.requests == listing.requests


async def test_deep_offsets_cost_what_the_emulator_says() -> None:
    """Deep offsets slow down each page, and look-ahead requests these pages concurrently."""
    async with reached(KINDS[0], 60) as listing:
        rule = listing.emulator.faults.add(Fault.deep_offset(0.1))
        assert ids_of(await listing.list(20, look_ahead=2).collect()) == listing.rows.ids()
        assert rule.fired == 3
