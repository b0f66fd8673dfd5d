"""Tests for the buffer, the checkpoint and the options of a walk of windows, against the independent server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from executions_server import Running, running
from internals import rows_held
from test_execution_walks import client_of

from eachlabs_async import APIStatusError, DriftError, EachLabs, ResponseDecodeError, UnreadableRow, WalkStats, Window
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.transport.arguments import rfc3339

both_orders = pytest.mark.parametrize("ordered", [True, False])
both_ways = pytest.mark.parametrize("edition", ["compat", "unified"])


@asynccontextmanager
async def served(edition: str, rows: int, **options: Any) -> AsyncIterator[tuple[Running, EachLabs, list[str]]]:
    """A server, a client of it, and the ids of its rows, newest first."""
    async with running(rows=rows, spacing_s=1.5, **options) as server, client_of(server, edition) as client:
        yield server, client, (await server.account())["ids"]


async def cut(client: EachLabs, parts: int) -> list[Window]:
    """Windows over all rows that exist now."""
    newest = await client.executions.list().first()
    assert newest is not None
    assert newest.created_at is not None
    until = newest.created_at + timedelta(microseconds=1)
    return await client.executions.windows(until - timedelta(days=30), until, parts=parts)


async def until_idle(walk: Any) -> None:
    """Wait until the buffer has stopped growing."""
    held = -1
    while held != rows_held(walk):
        held = rows_held(walk)
        await asyncio.sleep(0.05)


@both_ways
@both_orders
@pytest.mark.parametrize("every", [1, 7, 60, 100])
async def test_a_walk_that_is_killed_again_and_again_loses_no_row(edition: str, ordered: bool, every: int) -> None:
    """Each walk delivers a few rows, and the next one resumes from its checkpoint, also in the other order."""
    async with served(edition, 120 if every == 1 else 900) as (_, client, ids):
        windows = await cut(client, 5)
        rows: list[str] = []
        resume: str | None = None
        for life in range(2000):
            before = len(rows)
            this_order = ordered if every != 60 else life % 2 == 0
            walk = client.executions.walk_windows(
                windows[::-1] if life % 3 else windows,
                ordered=this_order,
                resume=resume,
                concurrency=3,
                buffer_rows=150,
            )
            async with walk as opened:
                async for row in opened:
                    rows.append(row.id)
                    if len(rows) - before == every:
                        break
                if life % 2:
                    resume = walk.checkpoint
            if not life % 2:
                resume = walk.checkpoint
            if len(rows) - before < every:
                break
        assert sorted(rows) == sorted(ids)
        if ordered and every != 60:
            assert rows == ids
        assert json.loads(resume or "")["under_way"] == []


@both_orders
async def test_the_checkpoint_of_every_row_resumes_behind_it(ordered: bool) -> None:
    """Taken after each row of a walk, whatever the buffer holds, a checkpoint leads to exactly the other rows."""
    async with served("compat", 260) as (_, client, ids):
        windows = await cut(client, 4)
        walk = client.executions.walk_windows(windows, ordered=ordered, concurrency=3)
        taken = [(walk.checkpoint, 0)]
        come: list[str] = []
        async for row in walk:
            come.append(row.id)
            taken.append((walk.checkpoint, len(come)))
        for text, number in taken[::9]:
            rest = [row.id async for row in client.executions.walk_windows(windows, ordered=ordered, resume=text)]
            assert sorted(come[:number] + rest) == sorted(ids)


@both_ways
@both_orders
async def test_rows_that_move_at_the_top_change_nothing(edition: str, ordered: bool) -> None:
    """New rows enter above the newest window, and others vanish, while the walk is killed and resumed."""
    async with served(edition, 1500, inserts=2, deletes=1) as (server, client, _):
        windows = await cut(client, 4)
        old = set((await server.account())["ids"])
        rows: list[str] = []
        resume: str | None = None
        for _ in range(100):
            walk = client.executions.walk_windows(windows, ordered=ordered, resume=resume, concurrency=3)
            before = len(rows)
            async with walk as opened:
                async for row in opened:
                    rows.append(row.id)
                    if len(rows) - before == 130:
                        break
                resume = walk.checkpoint
            if len(rows) - before < 130:
                break
        assert len(rows) == len(set(rows))
        stayed = set((await server.account())["ids"])
        # The only ones missing are newer than the windows. The ids ascend with time.
        assert all(row > max(rows) for row in (old & stayed) - set(rows))


@both_orders
async def test_drift_raise_ends_the_walk_with_its_checkpoint(ordered: bool) -> None:
    """`drift` applies to each window, and the error's checkpoint is that of all windows."""
    async with Emulator(executions=600, seed=2) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            windows = [Window(emulator.now - timedelta(days=61), emulator.now + timedelta(seconds=1))]
            rows: list[str] = []
            walk = client.executions.walk_windows(windows, ordered=ordered, drift="raise", buffer_rows=1)
            with pytest.raises(DriftError) as caught:
                async for row in walk:
                    rows.append(row.id)
                    if len(rows) == 150:
                        emulator.executions.remove(rows[10])
            rest = client.executions.walk_windows(windows, ordered=ordered, resume=caught.value.checkpoint)
            whole = rows + [row.id async for row in rest]
            assert len(whole) == len(set(whole)) == 600


@both_orders
@pytest.mark.parametrize("buffer_rows", [1, 800, 3000])
async def test_the_buffer_bounds_the_rows_held(ordered: bool, buffer_rows: int) -> None:
    """After each page, and when all has come to rest, no more rows are held than the buffer and a page per window."""
    async with served("compat", 8000) as (_, client, ids):
        windows = await cut(client, 3)
        walk = client.executions.walk_windows(windows, concurrency=4, ordered=ordered, buffer_rows=buffer_rows)
        most, count = buffer_rows + 4 * 100, 0  # a page per window being read
        async with walk as opened:
            async for _ in opened:
                count += 1
                if count % 2000 == 50:
                    await until_idle(walk)
                assert rows_held(walk) <= most
        assert count == len(ids)


@pytest.mark.parametrize("empty", [True, False])
async def test_windows_read_to_their_end_make_room_within_the_buffer(empty: bool) -> None:
    """While the first window stalls, others are read to their end, until what they hold, or their number, is enough."""
    async with Emulator(executions=2000, seed=6) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            now = emulator.now + timedelta(seconds=1)
            top, days = Window(now - timedelta(days=1), now), timedelta(days=400 if empty else 1)
            begin = top.since - days
            below = [Window(begin - timedelta(hours=hour + 1), begin - timedelta(hours=hour)) for hour in range(600)]
            seen_to = rfc3339(top.wider[1])
            emulator.faults.add(Fault.latency(30), when=lambda seen: seen.query["to"] == seen_to)
            async with client.executions.walk_windows([top, *below], concurrency=4, buffer_rows=1200) as walk:
                rows = aiter(walk)
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(rows), 0.5)
                assert rows_held(walk) <= 1200 + 4 * 100
                # A window counts as a page at least: nine of 100 rows beside the share of the first.
                assert 5 <= walk.stats.requests <= 4 + 9


async def test_sixty_thousand_rows_are_not_all_held() -> None:
    """Ordered, six windows of 10,000 rows hold the buffer and a page each, and keep a rate above that of one window."""
    async with served("compat", 60_000, depth=None) as (_, client, ids):
        windows = await cut(client, 6)
        assert len(windows) == 6
        walk = client.executions.walk_windows(windows, concurrency=6, buffer_rows=6000)
        most, rows = 0, []
        async for row in walk:
            rows.append(row.id)
            most = max(most, rows_held(walk))
        assert rows == ids
        assert 3000 < most <= 6000 + 6 * 100


@both_ways
@both_orders
@pytest.mark.parametrize("max_rows", [0, 1, 100, 130, 700, 10_000])
async def test_max_rows_is_exact(edition: str, ordered: bool, max_rows: int) -> None:
    """So many rows come, all windows together, and the checkpoint leads to the others; 0 sends nothing."""
    async with served(edition, 700) as (server, client, ids):
        windows = await cut(client, 4)
        await server.reset()
        walk = client.executions.walk_windows(windows, ordered=ordered, max_rows=max_rows)
        rows = [row.id async for row in walk]
        assert len(rows) == min(max_rows, 700) == walk.stats.rows
        if not max_rows:
            assert not sum((await server.account())["asked"].values())
        rest = [row.id async for row in client.executions.walk_windows(windows, resume=walk.checkpoint)]
        assert sorted(rows + rest) == sorted(ids)


@both_orders
async def test_stats_are_those_of_all_windows_and_progress_is_told(ordered: bool) -> None:
    """Requests and rows are sums over the windows; `on_progress` gets the one object, once per page."""
    async with served("compat", 1000) as (server, client, _):
        windows = await cut(client, 5)
        await server.reset()
        told: list[tuple[WalkStats, int]] = []
        walk = client.executions.walk_windows(
            windows, ordered=ordered, on_progress=lambda stats: told.append((stats, stats.rows))
        )
        assert len([row async for row in walk]) == 1000
        stats = walk.stats
        assert stats.requests == sum((await server.account())["asked"].values())
        assert stats.rows == 1000 == stats.total
        assert not stats.total_is_exact
        assert 0 < stats.longest_page <= 100
        assert 10 <= len(told) <= stats.requests
        assert all(each is stats for each, _ in told)
        assert [rows for _, rows in told] == sorted({rows for _, rows in told})


@both_orders
async def test_an_error_carries_the_checkpoint_of_all_windows(ordered: bool) -> None:
    """One window fails; the rows that had come and those of a resumed walk are all rows, each once."""
    async with Emulator(executions=900, seed=4) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            now = emulator.now
            windows = await client.executions.windows(now - timedelta(days=61), now + timedelta(seconds=1), parts=4)
            rows: list[str] = []
            emulator.faults.add(Fault.status(400), after=5, times=1)
            with pytest.raises(APIStatusError) as caught:
                async for row in client.executions.walk_windows(windows, ordered=ordered, concurrency=3):
                    rows.append(row.id)
            assert caught.value.checkpoint is not None
            assert len(json.loads(caught.value.checkpoint)["windows"]) == 4
            rest = client.executions.walk_windows(windows, ordered=ordered, resume=caught.value.checkpoint)
            assert sorted(rows + [row.id async for row in rest]) == sorted(emulator.executions.ids())


async def test_a_checkpoint_of_other_windows_is_refused() -> None:
    """So is a text that is not a checkpoint of windows; nothing is sent."""
    since = datetime.fromisoformat("2026-01-01T00:00:00Z")
    one, two = Window(since, since + timedelta(days=1)), Window(since + timedelta(days=1), since + timedelta(days=2))
    async with EachLabs("key") as client:
        walk_windows = client.executions.walk_windows
        text = walk_windows([one, two]).checkpoint
        walk_windows([two, one], resume=text, ordered=False, concurrency=1)
        other = Window(two.since, two.until, {"status": "error"})
        for windows, message in (
            ([one], "there are 1 windows here, 2 in the checkpoint"),
            ([one, other], "2026-01-03T00:00:00Z with {'status': 'error'} here, 2026-01-02"),
        ):
            with pytest.raises(ValueError, match=message):
                walk_windows(windows, resume=text)
        state = json.loads(text)
        for wrong in (
            "x",
            "[]",
            "{}",
            client.executions.list().checkpoint,
            json.dumps({**state, "v": 9}),
            json.dumps({**state, "done": [2]}),
            json.dumps({**state, "done": [-1]}),
            json.dumps({**state, "done": None}),
            json.dumps({**state, "under_way": [[0, "{}", []]]}),
            json.dumps({**state, "under_way": [[0, None]]}),
            json.dumps({**state, "done": [0], "under_way": [[0, None, []]]}),
            json.dumps({**state, "windows": [[*one[:3], 0] for one in state["windows"]]}),
        ):
            with pytest.raises(ValueError, match="resume is not a checkpoint"):
                walk_windows([one, two], resume=wrong)
        wrong_options: list[tuple[dict[str, Any], type[Exception]]] = [
            ({"resume": 3}, TypeError),
            ({"buffer_rows": 0}, ValueError),
            ({"max_rows": -1}, ValueError),
            ({"drift": "no"}, ValueError),
            ({"on_progress": 3}, TypeError),
            ({"other": 3}, TypeError),
        ]
        for options, kind in wrong_options:
            with pytest.raises(kind, match=next(iter(options))):
                walk_windows([one, two], **options)


async def test_ordered_windows_are_read_at_the_same_time() -> None:
    """At 20 ms a page, eight windows at once take less than half of the time of one, also larger than their share."""
    async with served("compat", 6000, latency_s=0.02) as (_, client, ids):
        windows = await cut(client, 3)
        times: list[float] = []
        for concurrency in (1, 6):
            begun = time.perf_counter()
            rows = [
                row.id
                async for row in client.executions.walk_windows(windows, concurrency=concurrency, buffer_rows=3000)
            ]
            times.append(time.perf_counter() - begun)
            assert rows == ids
        assert times[0] > 2 * times[1]


@both_orders
async def test_look_ahead_applies_to_each_window(ordered: bool) -> None:
    """More requests are in flight at once, and every row comes once."""
    async with served("compat", 2000, latency_s=0.005) as (server, client, ids):
        windows = await cut(client, 2)
        await server.reset()
        walk = client.executions.walk_windows(windows, ordered=ordered, concurrency=2, look_ahead=2, buffer_rows=20_000)
        assert sorted([row.id async for row in walk]) == sorted(ids)
        assert 2 < (await server.account())["most_in_flight"] <= 6


# ---- rows that cannot be read

BAD = [*range(395, 410), 300, 250, 7]


@both_ways
@both_orders
async def test_rows_that_cannot_be_read_are_reported_once(edition: str, ordered: bool) -> None:
    """Windows are requested wider than they are, and a row without a time may belong to any of them."""
    async with served(edition, 600, unreadable=BAD) as (_, client, ids):
        windows = await cut(client, 6)
        found: list[UnreadableRow] = []
        walk = client.executions.walk_windows(windows, ordered=ordered, concurrency=3, on_unreadable=found.append)
        rows = [row.id async for row in walk]
    unreadable = {f"exec-{number:08d}" for number in BAD}
    assert sorted(rows) == sorted(set(ids) - unreadable)
    assert sorted(row.id or "" for row in found) == sorted(unreadable)
    assert walk.stats.unreadable == len(BAD)


@both_ways
@both_orders
async def test_the_error_of_a_row_that_cannot_be_read_resumes_behind_it(edition: str, ordered: bool) -> None:
    """Without a callback, each resume delivers the rows up to the next such row, and none twice."""
    async with served(edition, 600, unreadable=BAD) as (_, client, ids):
        windows = await cut(client, 6)
        rows: list[str] = []
        resume: str | None = None
        for _ in range(3 * len(BAD)):
            walk = client.executions.walk_windows(windows, ordered=ordered, concurrency=3, resume=resume)
            try:
                async with walk:
                    async for row in walk:
                        rows.append(row.id)
                break
            except ResponseDecodeError as exc:
                resume = exc.checkpoint
        assert sorted(rows) == sorted(set(ids) - {f"exec-{number:08d}" for number in BAD})
