"""Tests for `snapshot`: executions created after the first request do not shift a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from listings import KINDS, ids_of, reached

from eachlabs_async import APIStatusError
from eachlabs_async.emulator import Fault, Move
from eachlabs_async.transport.arguments import rfc3339

editions = pytest.mark.parametrize("kind", KINDS[:2])


def fresh_rows(count: int, **how: Any) -> Move:
    """Rows that are created now, as real ones are."""
    later = rfc3339(datetime.now(UTC) + timedelta(hours=1))
    return Move.insert(count, created_at=later, **how)


@editions
@pytest.mark.parametrize("look_ahead", [0, 4])
async def test_rows_that_enter_cannot_shift_the_pages(kind: str, look_ahead: int) -> None:
    """Rows are inserted before each request, and no page repeats a row of the one before it."""
    async with reached(kind, 95) as listing:
        there = listing.rows.ids()
        listing.emulator.moves.add(fresh_rows(7))
        pager = listing.list(20, snapshot=True, look_ahead=look_ahead)
        assert ids_of(await pager.collect()) == there
        assert (pager.stats.duplicates, pager.stats.drift_seen) == (0, 0)
        assert listing.requests == 6  # one of them asked for the time
        limits = [int(seen.query["limit"]) for seen in listing.emulator.log]
        assert limits[:2] == [1, 20]
        assert set(limits[2:]) <= {21, 22}  # Pages overlap by a row, or by two with look-ahead.


async def test_the_time_is_the_servers() -> None:
    """The view ends a second before the Date of the answer, whatever the local clock."""
    async with reached(KINDS[0], 25, now=datetime(2020, 1, 10, tzinfo=UTC)) as listing:
        first = json.dumps({"executions": [], "total_count": 0, "total_capped": False, "offset": 0, "limit": 1})
        date = datetime(2020, 1, 9, 12, tzinfo=UTC)
        listing.emulator.faults.add(
            Fault.status(200, body=first, headers={"Date": format_datetime(date, usegmt=True)}), times=1
        )
        rows = await listing.list(10, snapshot=True, since="2019-01-01T00:00:00Z").collect()
        assert {seen.query.get("to") for seen in listing.emulator.log} == {None, "2020-01-09T11:59:59Z"}
        assert rows
        assert max(row.created_at for row in rows) < date


@editions
async def test_an_earlier_until_is_kept(kind: str) -> None:
    """The caller's `until` is kept if it is before the time of the request, and replaced if it is after."""
    async with reached(kind, 25) as listing:
        early = list(listing.rows)[10]["created_at"]
        rows = await listing.list(10, snapshot=True, until=early).collect()
        assert ids_of(rows) == listing.rows.ids()[10:]
        listing.emulator.reset_counters()
        await listing.list(10, snapshot=True, until="2999-01-01T00:00:00Z").collect()
        assert all(seen.query["to"] < "2999" for seen in list(listing.emulator.log)[1:])


@editions
async def test_filters_hold_for_the_first_request_too(kind: str) -> None:
    """The request for the time has the same filters as the others."""
    async with reached(kind, 60) as listing:
        rows = await listing.list(10, snapshot=True, status="success", since="2020-01-01T00:00:00Z").collect()
        wanted = [row["id"] for row in listing.rows if row["status"] == "success"]
        assert ids_of(rows) == wanted
        assert {seen.query["status"] for seen in listing.emulator.log} == {"success"}
        assert {seen.query["from"] for seen in listing.emulator.log} == {"2020-01-01T00:00:00Z"}


@editions
async def test_a_resumed_walk_is_not_pinned_again(kind: str) -> None:
    """The view is that of the first walk: the checkpoint records its end."""
    async with reached(kind, 45) as listing:
        there = listing.rows.ids()
        pager = listing.list(10, snapshot=True, max_rows=17)
        rows = await pager.collect()
        end = json.loads(pager.checkpoint)["filters"]["until"]
        listing.emulator.reset_counters()
        listing.emulator.moves.add(fresh_rows(50), times=1)
        for again in (True, False):
            rest = await listing.list(10, snapshot=again, resume=pager.checkpoint).collect()
            assert ids_of(rows + rest) == there
        assert all(seen.query["to"] <= end for seen in listing.emulator.log)
        assert "1" not in {seen.query["limit"] for seen in listing.emulator.log}


@editions
async def test_a_walk_that_failed_before_it_was_pinned_is_pinned_when_resumed(kind: str) -> None:
    """If the request for the time failed, the checkpoint has no end, and new rows must still be excluded."""
    async with reached(kind, 45) as listing:
        there = listing.rows.ids()
        listing.emulator.faults.add(Fault.status(400), times=1)
        with pytest.raises(APIStatusError) as caught:
            await listing.list(10, snapshot=True).collect()
        listing.emulator.reset_counters()
        listing.emulator.moves.add(fresh_rows(3))
        pager = listing.list(10, snapshot=True, resume=caught.value.checkpoint)
        assert ids_of(await pager.collect()) == there
        assert pager.stats.drift_seen == 0
        assert all("to" in seen.query for seen in list(listing.emulator.log)[1:])


async def test_rows_that_leave_a_filter_still_move_what_is_below() -> None:
    """The view is fixed in time, not in status; use resync for that."""
    async with reached(KINDS[0], 90) as listing:
        listing.emulator.moves.add(Move.change(0, 1, 2, where={"status": "success"}, status="error"), after=2, times=1)
        there = [row["id"] for row in listing.rows if row["status"] == "success"]
        rows = ids_of(await listing.list(10, snapshot=True, status="success", drift="resync").collect())
        assert rows == there
        assert len(set(there)) - len([row for row in listing.rows if row["status"] == "success"]) == 3
