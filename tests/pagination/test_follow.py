"""Tests for following executions over real sockets: what comes, in how many requests, through failures and restarts."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import aiohttp
import attrs
import pytest
from event_loop import other_tasks, turns, until
from internals import assert_idle
from raw_server import QUICK, RawServer, answer, client_of

from eachlabs_async import (
    COMPAT,
    UNIFIED,
    AuthenticationError,
    EachLabs,
    EachLabsError,
    Execution,
    Follow,
    FollowStats,
    Hosts,
    ResponseDecodeError,
    RetryPolicy,
    Service,
    State,
)
from eachlabs_async.emulator import Collection, Emulator, Fault, Move

LISTINGS = ("executions.list", "executions.list_by_cursor")
SOON = 0.01


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=250, workflows=1, seed=3, unfinished=0.0) as running:
        yield running


@pytest.fixture(params=["compat", "unified"])
async def client(request: pytest.FixtureRequest, emulator: Emulator) -> AsyncIterator[EachLabs]:
    hosts = emulator.hosts if request.param == "compat" else emulator.unified_hosts
    async with EachLabs(emulator.api_key, hosts=hosts, retry=QUICK) as opened:
        yield opened
        assert_idle(opened)


class Running:
    """A follow that runs in a task of its own, and the rows that came and were not taken."""

    def __init__(self, follow: Follow[Execution]) -> None:
        self.follow = follow
        self.rows: list[Execution] = []
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async with self.follow as rows:
            async for row in rows:
                self.rows.append(row)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; an error that ends the follow is raised."""
        await until(lambda: condition() or self.task.done(), 60)
        if self.task.done():
            self.task.result()

    async def take(self, count: int) -> list[Execution]:
        """Return the next rows."""
        await self.until(lambda: len(self.rows) >= count)
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken

    async def nothing_comes(self, polls: int = 3) -> None:
        """Assert that several polls bring no row."""
        last = self.stats.polls + polls
        await self.until(lambda: self.stats.polls >= last)
        assert not self.rows

    @property
    def stats(self) -> FollowStats:
        return self.follow.stats


@asynccontextmanager
async def running(follow: Follow[Execution]) -> AsyncIterator[Running]:
    """Run a follow within a block."""
    made = Running(follow)
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.wait([made.task])


async def take(follow: Follow[Execution], count: int) -> list[Execution]:
    """Return the first rows of a follow, and leave it."""
    async with asyncio.timeout(60), follow as rows:
        iterator = aiter(rows)
        return [await anext(iterator) for _ in range(count)]


def ids(rows: list[Execution]) -> list[str]:
    return [row.id for row in rows]


async def test_new_executions_come_once_oldest_first(emulator: Emulator, client: EachLabs) -> None:
    """What was there at the beginning does not come; late rows come when they appear, between two that came before."""
    async with running(client.executions.follow(every_s=SOON)) as follow:
        await follow.nothing_comes()
        new = emulator.executions.insert(5)
        assert ids(await follow.take(5)) == new[::-1]
        late = emulator.executions.insert(2, 3)
        assert set(ids(await follow.take(2))) == set(late)
        more = emulator.executions.insert(1)
        assert ids(await follow.take(1)) == more
        await follow.nothing_comes()
        stats = follow.stats
    assert (stats.rows, stats.late, stats.failing) == (8, 2, False)
    assert stats.newest == datetime.fromisoformat(emulator.executions.get(more[0])["created_at"])


async def test_a_row_later_than_settle_is_not_looked_for(emulator: Emulator, client: EachLabs) -> None:
    """Above the window of `settle_s` rows come, below they do not: this is what the argument says."""
    async with running(client.executions.follow(every_s=SOON, settle_s=100)) as follow:
        await follow.nothing_comes()
        emulator.executions.insert(100)
        await follow.take(100)
        inside, outside = emulator.executions.insert(1, 50), emulator.executions.insert(1, 200)
        assert ids(await follow.take(1)) == inside
        await follow.nothing_comes()
        assert outside[0] in emulator.executions


async def test_at_rest_a_poll_is_one_request(emulator: Emulator, client: EachLabs) -> None:
    """It is one request also with filters and with `finished`."""
    for options in ({}, {"finished": True}, {"model": "flux-1-1-pro"}):
        async with running(client.executions.follow(every_s=SOON, **options)) as follow:  # type: ignore[arg-type]
            await follow.nothing_comes()
            emulator.reset_counters()
            polls = follow.stats.polls
            await follow.nothing_comes(polls=20)
            done = follow.stats.polls - polls
        assert sum(emulator.requests.values()) - done in (0, 1)


async def test_a_poll_begins_every_so_often(emulator: Emulator, client: EachLabs) -> None:
    """The pause counts from the start of one poll to that of the next, however long the answer takes."""
    emulator.faults.add(Fault.latency(0.05))
    async with running(client.executions.follow(every_s=0.1)) as follow:
        await follow.nothing_comes(polls=5)
    times = [seen.at for seen in emulator.log if seen.endpoint in LISTINGS]
    pauses = [later - earlier for earlier, later in pairwise(times[-5:])]
    assert min(pauses) > 0.08
    assert min(pauses) < 0.14


async def test_a_burst_costs_about_its_pages(emulator: Emulator, client: EachLabs) -> None:
    """10,000 rows come each once, newest first because they are many, by about a request for each hundred."""
    async with running(client.executions.follow(every_s=SOON)) as follow:
        await follow.nothing_comes()
        burst = emulator.executions.insert(10_000)
        emulator.reset_counters()
        rows = await follow.take(10_000)
        assert ids(rows) == burst
        assert 100 <= sum(emulator.requests.values()) <= 105
        assert len(follow.follow.checkpoint) < 12 * (1000 + 1100 + 100) + 500
        await follow.nothing_comes()
        assert follow.stats.remembered < 200


async def test_a_long_poll_goes_on_after_a_kill(emulator: Emulator, client: EachLabs) -> None:
    """The checkpoint of any row, in the middle of a burst too, leads to the rows that follow, and to later ones."""
    first = client.executions.follow(every_s=SOON)
    async with running(first) as follow:
        await follow.nothing_comes()
    text, got = first.checkpoint, list[str]()
    expected = set(emulator.executions.insert(3500))
    emulator.reset_counters()
    for count in (1, 999, 1, 700, 1200, 99):
        part = client.executions.follow(every_s=SOON, resume=text)
        got += ids(await take(part, count))
        text = part.checkpoint
        assert len(text) < 12 * (1000 + 1100) + 600
        expected |= set(emulator.executions.insert(20))
    async with running(client.executions.follow(every_s=SOON, resume=text)) as follow:
        got += ids(await follow.take(len(expected) - len(got)))
        await follow.nothing_comes()
    assert Counter(got) == Counter(expected)
    assert sum(emulator.requests.values()) < 150


async def test_since_brings_what_is_there(emulator: Emulator, client: EachLabs) -> None:
    """Rows created from that time on come first, then the new ones."""
    rows = await client.executions.list().collect()
    since = rows[99].created_at
    assert since is not None
    for form in (since, since.isoformat()):
        async with running(client.executions.follow(since=form, every_s=SOON)) as follow:
            assert ids(await follow.take(100)) == ids(rows[:100])[::-1]
            new = emulator.executions.insert(1)
            assert ids(await follow.take(1)) == new
            emulator.executions.remove(*new)


async def test_an_empty_listing_is_followed(client: EachLabs, emulator: Emulator) -> None:
    """Whatever appears in a listing that was empty is new, however old it is."""
    emulator.executions.remove(*emulator.executions.ids())
    async with running(client.executions.follow(every_s=SOON)) as follow:
        await follow.nothing_comes()
        new = emulator.executions.insert(3)
        assert ids(await follow.take(3)) == new[::-1]


# ---- as they end


async def start(client: EachLabs, seconds: float) -> str:
    return (await client.predictions.create("flux-1-1-pro", {"prompt": "a boat", "seconds": seconds})).id


async def test_executions_come_as_they_end(emulator: Emulator, client: EachLabs) -> None:
    """Each comes once, with its final row, in the order of the ends."""
    async with running(client.executions.follow(finished=True, every_s=SOON)) as follow:
        await follow.nothing_comes()
        started = [await start(client, seconds) for seconds in (0.6, 0.1, 0.35)]
        rows = await follow.take(3)
        assert follow.stats.open == 0
    assert ids(rows) == [started[1], started[2], started[0]]
    assert all(row.is_finished and row.execution_cost and row.completed_at for row in rows)


async def test_what_runs_at_the_start_comes_when_it_ends(emulator: Emulator, client: EachLabs) -> None:
    """Without `since` that is everything, created weeks ago too; with it only what was created from then on."""
    old, slow = emulator.executions.ids()[120], await start(client, 30)
    emulator.executions.change(old, status="starting", completed_at=None)
    since = datetime.now(UTC) - timedelta(seconds=30)
    async with running(client.executions.follow(finished=True, every_s=SOON)) as all_of_them:
        async with running(client.executions.follow(finished=True, every_s=SOON, since=since)) as later:
            await all_of_them.nothing_comes()
            await later.nothing_comes()
            assert all_of_them.stats.open == 2
            assert later.stats.open == 1
            emulator.executions.change(old, status="success", completed_at="2026-01-01T00:00:00Z")
            assert ids(await all_of_them.take(1)) == [old]
            emulator.clock.advance(60)
            assert ids(await all_of_them.take(1)) == [slow]
            assert ids(await later.take(1)) == [slow]
            await later.nothing_comes()


async def test_what_runs_long_is_watched_with_one_request_more(emulator: Emulator, client: EachLabs) -> None:
    """It stays watched over restarts, while newer executions come and end, and its end costs a request."""
    rows = emulator.executions.ids()
    slow = rows[0:200:10]
    for one in slow:
        emulator.executions.change(one, status="starting", completed_at=None)
    options: dict[str, Any] = {"finished": True, "every_s": SOON, "settle_s": 1}
    async with running(client.executions.follow(**options)) as follow:
        await follow.nothing_comes()
        new = emulator.executions.insert(3, status="success")
        assert set(ids(await follow.take(3))) == set(new)
        emulator.reset_counters()
        polls = follow.stats.polls
        await follow.nothing_comes(polls=10)
        polls = follow.stats.polls - polls
        assert abs(sum(emulator.requests.values()) - 2 * polls) <= 2
        text = follow.follow.checkpoint
        assert follow.stats.open == 20
    for one in slow[:7]:
        emulator.executions.change(one, status="error", completed_at="2026-01-01T00:00:00Z")
    async with running(client.executions.follow(**options, resume=text)) as follow:
        assert set(ids(await follow.take(7))) == set(slow[:7])
        emulator.executions.remove(*slow[7:])
        await follow.until(lambda: follow.stats.vanished == 13)
        assert follow.stats.open == 0


async def test_filters_by_how_an_execution_ended(emulator: Emulator, client: EachLabs) -> None:
    """A status, a state, or an error classification select among those that end."""
    queries: dict[str, dict[str, Any]] = {
        "error": {"status": "error"},
        "state": {"status": State.FAILED},
        "class": {"error_classification": "provider_error"},
        "both": {"status": "success", "model": "flux-1-1-pro"},
    }
    got: dict[str, list[str]] = {}
    bad = {"_error_classification": "provider_error", "status": "error"}
    for name, options in queries.items():
        async with running(client.executions.follow(finished=True, every_s=SOON, **options)) as follow:
            await follow.nothing_comes()
            first = emulator.executions.insert(1, model="flux-1-1-pro", status="created")[0]
            good = emulator.executions.insert(1, model="flux-1-1-pro", status="success")[0]
            other = emulator.executions.insert(1, status="error", _error_classification="internal_error")[0]
            emulator.executions.change(first, **bad)
            count = {"error": 2, "state": 2, "class": 1, "both": 1}[name]
            got[name] = ids(await follow.take(count))
            await follow.nothing_comes()
        assert (
            set(got[name]) == {"error": {first, other}, "state": {first, other}, "class": {first}, "both": {good}}[name]
        )


# ---- failures


@pytest.fixture(params=["status", "html", "reset", "cut"])
def fault(request: pytest.FixtureRequest) -> Fault:
    return {
        "status": Fault.status(503),
        "html": Fault.html(200),
        "reset": Fault.reset(),
        "cut": Fault.cut_body(),
    }[request.param]


async def test_an_outage_is_waited_out(emulator: Emulator, fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """It takes one warning, few requests, and no row: all that were created meanwhile come, each once."""
    caplog.set_level(logging.INFO, "eachlabs_async")
    async with EachLabs(emulator.api_key, hosts=emulator.hosts, retry=RetryPolicy.none()) as client:
        async with running(client.executions.follow(every_s=0.03)) as follow:
            await follow.nothing_comes()
            new = emulator.executions.insert(2)
            assert ids(await follow.take(2)) == new[::-1]
            emulator.faults.add(fault, endpoint=LISTINGS)
            new = emulator.executions.insert(230)
            emulator.reset_counters()
            await asyncio.sleep(0.7)
            assert not follow.rows
            assert 2 <= sum(emulator.requests.values()) <= 7
            assert follow.stats.failing
            assert follow.stats.failed_polls >= 2
            emulator.faults.clear()
            assert ids(await follow.take(230)) == new[::-1]
            await follow.nothing_comes(polls=1)
            assert not follow.stats.failing
    said = [record for record in caplog.records if "following executions" in record.getMessage()]
    assert [record.levelname for record in said] == ["WARNING", "INFO"]
    assert emulator.api_key not in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_what_does_not_pass_ends_it_with_a_checkpoint(status: int, after: int) -> None:
    """The rows before it have come, and the checkpoint leads to the rest."""
    async with Emulator(executions=150, seed=3, v2_executions=False) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts, retry=QUICK) as client:
            got: list[str] = []
            follow = client.executions.follow(every_s=SOON, since="2020-01-01T00:00:00Z")
            emulator.faults.add(Fault.status(status), endpoint="executions.list", after=after)
            with pytest.raises(EachLabsError) as caught:
                async with follow as rows:
                    async for row in rows:
                        got.append(row.id)
            assert getattr(caught.value, "status", status) == status
            assert caught.value.checkpoint == follow.checkpoint
            assert len(got) in (0, 150)
            emulator.faults.clear()
            again = client.executions.follow(every_s=SOON, resume=caught.value.checkpoint)
            got += ids(await take(again, 150 - len(got)))
    assert Counter(got) == Counter(emulator.executions.ids())


async def test_a_wrong_key_ends_it(emulator: Emulator) -> None:
    async with EachLabs("wrong", hosts=emulator.hosts) as client:
        with pytest.raises(AuthenticationError) as caught:
            await take(client.executions.follow(), 1)
    assert caught.value.checkpoint is not None


async def test_a_busy_service_sets_the_pace() -> None:
    """A poll that was told when to come again comes no earlier."""
    busy = answer(429, json={"error": "slow down"}, headers={"Retry-After": "1"})
    async with RawServer(answer(json=empty()), busy, then=answer(json=empty())) as server:
        async with client_of(server, retry=RetryPolicy.none()) as client:
            async with running(client.executions.follow(every_s=0.01)) as follow:
                await follow.until(lambda: follow.stats.polls >= 2)
    assert server.requests[2].at - server.requests[1].at >= 0.99


def empty() -> dict[str, Any]:
    return {"executions": [], "total_count": 0, "total_capped": False, "offset": 0, "limit": 100}


# ---- waits, clean-up, arguments


async def test_cancelled_waits_lose_nothing(emulator: Emulator, client: EachLabs) -> None:
    """Waits that are far shorter than an answer takes lead to the same rows, each once."""
    emulator.faults.add(Fault.latency(0.008, jitter=0.004))
    got: list[str] = []
    async with client.executions.follow(every_s=SOON) as follow:
        rows = aiter(follow)
        expected: list[str] = []
        for number in range(1500):
            if number % 100 == 50:
                expected += emulator.executions.insert(30, 2 if expected else 0)
            with suppress(TimeoutError):
                got.append((await asyncio.wait_for(anext(rows), random.choice([0.001, 0.003, 0.02]))).id)
            if number > 1000 and len(got) == len(expected):
                break
    assert len(got) >= 300
    assert Counter(got) == Counter(expected)


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03, 0.05, 0.1])
async def test_nothing_outlives_it(emulator: Emulator, client: EachLabs, pause: float) -> None:
    """Closed while it waits for an answer or for the next poll, it leaves no task and no request behind."""
    emulator.faults.add(Fault.latency(0.02))
    follow = client.executions.follow(every_s=0.05)
    task = asyncio.ensure_future(take(follow, 1))
    await asyncio.sleep(pause)
    await follow.aclose()
    with pytest.raises(RuntimeError, match="closed while a row was awaited|iterated once"):
        await task
    assert not [one for one in other_tasks() if "Follow" in repr(one) or "Pager" in repr(one)]
    assert_idle(client)


async def test_a_plain_loop_left_by_break_ends_it(emulator: Emulator, client: EachLabs) -> None:
    """Without a block it ends in the next iterations of the loop, in the middle of a page."""
    async for _ in client.executions.follow(every_s=SOON, since="2020-01-01T00:00:00Z"):
        break
    await turns()
    assert_idle(client)
    sent = emulator.requests.total()
    await asyncio.sleep(0.05)
    assert emulator.requests.total() == sent


async def test_it_is_iterated_once(emulator: Emulator, client: EachLabs) -> None:
    follow = client.executions.follow(every_s=SOON, since="2020-01-01T00:00:00Z")
    await take(follow, 1)
    with pytest.raises(RuntimeError, match="iterated once"):
        aiter(follow)


async def test_an_unreadable_row_is_reported_once(emulator: Emulator, client: EachLabs) -> None:
    """With a callback it is passed on, without one it is an error whose checkpoint resumes after it."""
    async with running(client.executions.follow(every_s=SOON)) as follow:
        await follow.nothing_comes()
        text = follow.follow.checkpoint
    new = emulator.executions.insert(5)
    emulator.executions.change(new[2], run_time="long")
    told: list[Any] = []
    async with running(client.executions.follow(every_s=SOON, resume=text, on_unreadable=told.append)) as follow:
        assert set(ids(await follow.take(4))) == {*new} - {new[2]}
        await follow.nothing_comes()
        assert follow.stats.unreadable == 1
    assert [row.id for row in told] == [new[2]]
    got: list[str] = []
    with pytest.raises(ResponseDecodeError, match="on_unreadable") as caught:
        async with client.executions.follow(every_s=SOON, resume=text) as rows:
            async for row in rows:
                got.append(row.id)
    async with running(client.executions.follow(every_s=SOON, resume=caught.value.checkpoint)) as follow:
        got += ids(await follow.take(4 - len(got)))
        await follow.nothing_comes()
    assert Counter(got) == Counter({*new} - {new[2]})


async def test_progress_is_told_after_each_poll(emulator: Emulator, client: EachLabs) -> None:
    told: list[FollowStats] = []
    async with running(client.executions.follow(every_s=SOON, on_progress=told.append)) as follow:
        await follow.nothing_comes(polls=3)
    assert [stats.polls for stats in told] == list(range(1, len(told) + 1))
    assert told[-1].requests == sum(emulator.requests.values())


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"every_s": 0}, ValueError, "every_s must be more than 0"),
        ({"every_s": float("inf")}, ValueError, "every_s must be more than 0 and finite"),
        ({"every_s": "5"}, TypeError, "every_s must be a number"),
        ({"settle_s": -1}, ValueError, "settle_s must be at least 0"),
        ({"since": "yesterday"}, ValueError, "since must be RFC 3339"),
        ({"since": datetime(2026, 1, 1)}, ValueError, "since must have a time zone"),
        ({"status": "error"}, ValueError, "status says how an execution ended: pass finished=True"),
        ({"error_classification": "unknown"}, ValueError, "error_classification says how .*: pass finished=True"),
        ({"status": "eror", "finished": True}, ValueError, "did you mean 'error'"),
        ({"model": ""}, ValueError, "model must not be empty"),
        ({"resume": 5}, TypeError, "resume must be a checkpoint"),
        ({"resume": "no"}, ValueError, "resume is not a checkpoint"),
        ({"resume": "{}"}, ValueError, r"resume is not a checkpoint of follow\(\)"),
        ({"on_progress": 5}, TypeError, "on_progress must be callable"),
    ],
)
async def test_wrong_arguments_are_refused_at_once(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    client = EachLabs("key")
    with pytest.raises(kind, match=words):
        client.executions.follow(**options)


def test_a_checkpoint_belongs_to_its_filters() -> None:
    """The error names what differs; `since` is taken from the checkpoint; damaged parts are refused."""
    client = EachLabs("key")
    text = client.executions.follow(model="m", since="2026-01-01T00:00:00Z").checkpoint
    assert client.executions.follow(model="m", resume=text).checkpoint == text
    for options, words in (
        ({"model": "n"}, "model is 'n' here, 'm' in the checkpoint"),
        ({"model": "m", "finished": True}, "finished is True here"),
        ({"model": "m", "since": "2026-01-02T00:00:00Z"}, "since is '2026-01-02"),
    ):
        with pytest.raises(ValueError, match=words):
            client.executions.follow(resume=text, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a checkpoint of follow"):
        client.executions.follow(resume=client.executions.list().checkpoint)
    good = json.loads(text)
    for part, value in (
        ("seen", "AAAA"),
        ("seen", 5),
        ("open", [["AAAA", 5]]),
        ("open", [5]),
        ("floor", "now"),
        ("newest", 5),
    ):
        with pytest.raises(ValueError, match="a part of it is missing or invalid"):
            client.executions.follow(model="m", resume=json.dumps({**good, part: value}))


# ---- a moving listing


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("finished", [False, True])
async def test_rows_that_enter_while_a_poll_reads_come_once(
    emulator: Emulator, client: EachLabs, finished: bool, seed: int
) -> None:
    """Rows enter before, during and after each request, at the top and further down; others end; requests fail."""
    dice, expected, runs = random.Random(seed), set[str](), set[str]()

    def move(rows: Collection, rng: random.Random) -> None:
        # Further down than the first of the new rows it would be later than `settle_s`.
        at = min(rng.choice([0, 0, 3, 150]), len(expected))
        new = rows.insert(rng.randint(1, 40), at, status=dice.choice(["success", "starting"]))
        expected.update(new)
        runs.update(one for one in new if rows.get(one)["status"] == "starting")
        for one in list(runs)[: rng.randint(0, 30)]:
            rows.change(one, status="error")
            runs.discard(one)

    options: dict[str, Any] = {"finished": finished, "every_s": SOON, "settle_s": 10_000}
    first = client.executions.follow(**options)
    async with running(first) as follow:
        await follow.nothing_comes()
    moments: tuple[Literal["before", "during", "after"], ...] = ("before", "during", "after")
    for when in moments:
        emulator.moves.add(Move.by(move), endpoint=LISTINGS, after=dice.randint(0, 9), times=12, when=when)
    emulator.faults.add(Fault.status(503), endpoint=LISTINGS, when=lambda request: dice.random() < 0.1)
    got, text = list[str](), first.checkpoint
    for _ in range(12):
        async with client.executions.follow(**options, resume=text) as rows:
            iterator = aiter(rows)
            with suppress(TimeoutError):
                for _ in range(dice.randint(1, 200)):
                    got.append((await asyncio.wait_for(anext(iterator), 0.3)).id)
            text = rows.checkpoint
    emulator.moves.clear()
    emulator.faults.clear()
    for one in runs:
        emulator.executions.change(one, status="success")
    async with running(client.executions.follow(**options, resume=text)) as follow:
        got += ids(await follow.take(len(expected) - len(got)))
        await follow.nothing_comes()
    assert len(expected) > 200
    assert Counter(got) == Counter(expected)


# ---- against a service that shares no code


@asynccontextmanager
async def service(**options: Any) -> AsyncIterator[tuple[str, float]]:
    """Yield the URL of an independent service, and when it began."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("follow_server.py")),
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port, began = json.loads(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}", began
    finally:
        process.stdin.close()
        await process.wait()


def hosts_of(url: str, *, unified: bool) -> Hosts:
    preset = UNIFIED if unified else COMPAT
    return attrs.evolve(preset, api=Service(f"{url}/v1", preset.api.auth))


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("at_start", [False, True])
async def test_an_independent_service_has_it_in_its_account(finished: bool, unified: bool, at_start: bool) -> None:
    """Late and out of order, through failures, outages and restarts: exactly what its account says."""
    options = {
        "rows": 1500, "seconds": 3.0, "before_s": 1.0, "late_s": 0.4, "run_s": 0.5, "slow_s": 2.5,
        "faults": 0.05, "outages": [[1.0, 1.3], [2.0, 2.4]], "seed": 7,
    }  # fmt: skip
    dice, got, at = random.Random(5), list[str](), list[float]()
    follow_options: dict[str, Any] = {"finished": finished, "every_s": 0.05, "settle_s": 0.5}
    async with service(**options) as (url, began):
        retry = RetryPolicy(max_attempts=2, base_s=0.01, cap_s=0.02)
        async with EachLabs("key", hosts=hosts_of(url, unified=unified), retry=retry) as client:
            since = None if at_start else datetime.fromtimestamp(began - 5, UTC)
            follow = client.executions.follow(since=since, **follow_options)
            first_poll: float | None = None
            ends = began + 6.5

            def now() -> float:
                return datetime.now(UTC).timestamp()

            while now() < ends:
                restart = now() + dice.uniform(0.2, 1.0)
                async with follow as rows:
                    iterator = aiter(rows)
                    while now() < min(restart, ends):
                        try:
                            row = await asyncio.wait_for(anext(iterator), 0.1)
                        except TimeoutError:
                            continue
                        finally:
                            if first_poll is None and follow.stats.polls:
                                first_poll = now()
                        got.append(row.id)
                        at.append(now())
                        assert row.is_finished or not finished
                follow = client.executions.follow(resume=follow.checkpoint, **follow_options)
            assert_idle(client)
        async with aiohttp.ClientSession() as session, session.get(f"{url}/account") as reply:
            account = await reply.json()
    doubled = [name for name, count in Counter(got).items() if count > 1]
    assert not doubled
    assert account["failed"] > 5
    assert first_poll is not None
    moments = dict(zip(got, at, strict=True))
    for name, (created, appears, ends, _) in account["rows"].items():
        happened = max(created, appears, ends) if finished else max(created, appears)
        if at_start and happened < began:
            assert name not in moments
        if not at_start or happened > first_poll:
            assert name in moments, f"{name} is missing: created {created - began:.3f}, visible {appears - began:.3f}"
        if name in moments:
            assert moments[name] >= happened - 0.001
