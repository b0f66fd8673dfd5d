"""Tests for what a bulk fetch yields: an outcome per id, the errors that end it, its progress and its statistics."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from bulk_jobs import Desk, Reader, echo, fetch, labs, own_id, pour
from event_loop import turns, until
from hypothesis import given
from hypothesis import strategies as st
from internals import assert_idle
from raw_server import ONCE

from eachlabs_async import EachLabs
from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.outcomes import BulkResult, BulkStats, Outcome
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    ServerError,
)

KINDS = ("sync", "async", "slow")
BAD = [None, 7, ["a"], b"a", "", ".", "..", "\ud800"]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=60, seed=4) as emulator:
        yield emulator


def of(*ids: str) -> Any:
    """Return a condition for a fault: the request is for one of these ids."""
    return lambda seen: own_id(seen) in ids


class TestOutcomes:
    @pytest.mark.parametrize("unified", [False, True])
    @pytest.mark.parametrize("ordered", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    async def test_every_id_gets_its_own(self, emulator: Emulator, kind: str, ordered: bool, unified: bool) -> None:
        """Each execution comes once, with its id and its index in the input."""
        ids = emulator.workflow_executions.ids()
        hosts = emulator.unified_hosts if unified else emulator.hosts
        async with labs(emulator, hosts=hosts) as client:
            many = client.workflow_executions.get_many(Reader(ids).given(kind), concurrency=7, ordered=ordered)
            async with many as outcomes:
                got = [outcome async for outcome in outcomes]
            assert_idle(client)
        assert sorted(outcome.index for outcome in got) == list(range(60))
        if ordered:
            assert [outcome.id for outcome in got] == ids
        for outcome in got:
            assert outcome.ok
            assert outcome.unwrap() is outcome.value
            assert outcome.value.execution_id == outcome.id == ids[outcome.index]
            assert outcome.value.status == emulator.workflow_executions.get(outcome.id)["status"]
            assert outcome.attempts == 1
            assert outcome.elapsed_s > 0
        assert sum(emulator.requests.values()) == 60
        # An unfinished one is not waited for: the compat edition would hold its answer for ten seconds.
        assert {seen.query.get("timeout") for seen in emulator.log} == {None if unified else "1"}

    async def test_runs_come_in_bulk_too(self, emulator: Emulator) -> None:
        """They are requested with the key of their own vendor."""
        async with labs(emulator) as client:
            result = await client.runs.get_many([*emulator.runs.ids(), "none"]).collect()
        assert list(result.errors) == ["none"]
        assert {run.id for run in result.values.values()} == set(emulator.runs.ids())
        assert not emulator.wrong_keys

    async def test_they_come_as_they_finish_or_in_order(self) -> None:
        """A slow first id delays the ordered fetch only."""
        for ordered, wanted in ((False, ["b", "c", "a"]), (True, ["a", "b", "c"])):
            desk = Desk()
            outcomes = aiter(fetch(desk, iter("abc"), ordered=ordered))
            first = asyncio.ensure_future(anext(outcomes))
            await turns()
            desk.answer("b", "c")
            await turns()
            assert first.done() is not ordered
            desk.answer("a")
            assert [(await first).id, *[outcome.id async for outcome in outcomes]] == wanted

    async def test_one_failure_is_one_outcome(self, emulator: Emulator) -> None:
        """Unknown, refused and broken ids do not end the fetch, and `unwrap` raises their errors."""
        ids = emulator.workflow_executions.ids()[:9]
        emulator.faults.add(Fault.status(403), when=of(ids[1]))
        emulator.faults.add(Fault.status(503), when=of(ids[2]))
        async with labs(emulator) as client:
            result = await client.workflow_executions.get_many([*ids, "none", "a/ä?#% b"]).collect()
        kinds = {key: type(error).__name__ for key, error in result.errors.items()}
        none = "NotFoundError"
        assert kinds == {ids[1]: "PermissionDeniedError", ids[2]: "ServerError", "none": none, "a/ä?#% b": none}
        assert set(result.values) == {ids[0], *ids[3:]}
        with pytest.raises(NotFoundError, match="execution not found") as caught:
            Outcome("none", 0, error=result.errors["none"]).unwrap()
        assert (caught.value.status, caught.value.attempts) == (404, 1)

    async def test_raising_an_error_again_does_not_lengthen_its_traceback(self) -> None:
        """Duplicate ids share one error, which may be raised any number of times."""
        outcome: Outcome[str] = Outcome("a", 0, error=NotFoundError("none", status=404))
        lengths = set()
        for _ in range(3):
            with pytest.raises(NotFoundError) as caught:
                outcome.unwrap()
            lengths.add(len(caught.traceback))
        assert len(lengths) == 1

    @pytest.mark.parametrize("ordered", [False, True])
    @pytest.mark.parametrize("chunk_size", [1, 3])
    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_bad_id_is_its_own_outcome(self, kind: str, chunk_size: int, ordered: bool) -> None:
        """A value that cannot be an id fails alone and is never sent."""
        desk: list[str] = []

        async def job(batch: Any) -> None:
            desk.extend(slot.outcome.id for slot in batch)
            await echo(batch)

        source = Reader(["x", *BAD, "y", *BAD]).given(kind)
        many = fetch(job, source, ordered=ordered, chunk_size=chunk_size)
        got = sorted([outcome async for outcome in many], key=lambda outcome: outcome.index)
        assert [outcome.id for outcome in got] == ["x", *BAD, "y", *BAD]
        assert sorted(desk) == ["x", "y"]
        for outcome in got:
            assert outcome.ok is (outcome.id in ("x", "y"))
            if not outcome.ok:
                assert isinstance(outcome.error, TypeError if not isinstance(outcome.id, str) else ValueError)
                assert "id must" in str(outcome.error)
                assert (outcome.attempts, outcome.elapsed_s) == (0, 0.0)
        assert many.stats.errors == {"TypeError": 8, "ValueError": 8}

    async def test_collect_names_what_cannot_be_a_key_by_its_repr(self) -> None:
        """A list among the ids does not break the dict of errors."""
        result = await fetch(echo, ["x", *BAD]).collect()
        assert result.values == {"x": "x"}
        assert set(result.errors) == {None, 7, "['a']", b"a", "", ".", "..", "\ud800"}


class TestArguments:
    @pytest.mark.parametrize(
        ("changed", "error", "says"),
        [
            ({"ids": "abc"}, TypeError, "ids must be an iterable of ids, not one str"),
            ({"ids": b"abc"}, TypeError, "ids must be an iterable of ids, not one bytes"),
            ({"ids": 7}, TypeError, "ids must be an iterable or async iterable of ids, not int"),
            ({"concurrency": 0}, ValueError, "concurrency must be at least 1, not 0"),
            ({"concurrency": 1.5}, TypeError, "concurrency must be an int"),
            ({"window": 3}, ValueError, "window must be at least 4, not 3"),
            ({"known": [1]}, TypeError, "known must be a mapping or a callable, not list"),
        ],
    )
    async def test_a_senseless_one_is_refused_at_once(
        self, changed: dict[str, Any], error: type[Exception], says: str
    ) -> None:
        """The error names the argument before anything is sent, for all three resources."""
        arguments = {"ids": ["a"], "concurrency": 4} | changed
        ids = arguments.pop("ids")
        async with EachLabs("k", runs_api_key="k") as client:
            for make in (client.workflow_executions.get_many, client.runs.get_many):
                with pytest.raises(error, match=says):
                    make(ids, **arguments)
            flows = arguments | ({"window": 1} if "window" in changed else {})
            with pytest.raises(error, match=says.replace("at least 4, not 3", "at least 400, not 1")):
                client.flow_executions.get_many("w", ids, **flows)
            with pytest.raises(ValueError, match="chunk_size must be at least 1"):
                client.flow_executions.get_many("w", [], chunk_size=0)

    async def test_it_runs_once(self) -> None:
        """A second iteration, or one after the end, is an error rather than an empty result."""
        many = fetch(echo, ["a"])
        assert [outcome.id async for outcome in many] == ["a"]
        assert repr(many) == "<BulkFetch: 1 outcomes so far>"
        left = fetch(echo, ["a"])
        async with left:
            pass
        for one in (many, left):
            with pytest.raises(RuntimeError, match="a BulkFetch is run once"):
                aiter(one)
            with pytest.raises(RuntimeError, match="a BulkFetch is run once"):
                await one.collect()


@pytest.mark.parametrize("ordered", [False, True])
class TestWhatEndsItAll:
    async def test_a_bad_key_is_raised_once_after_what_is_finished(self, emulator: Emulator, ordered: bool) -> None:
        """Finished outcomes are still delivered, no others follow, and nothing more is sent."""
        ids = emulator.workflow_executions.ids()
        emulator.faults.add(Fault.status(401), after=20)
        emulator.faults.add(Fault.latency(0.002, jitter=0.01))
        got: list[Any] = []
        async with labs(emulator) as client:
            with pytest.raises(AuthenticationError) as caught:
                await pour(client.workflow_executions.get_many(ids, concurrency=5, ordered=ordered), got)
            assert_idle(client)
        assert caught.value.attempts == 1
        assert all(outcome.ok for outcome in got)
        assert 16 <= len(got) <= 20
        assert 21 <= sum(emulator.requests.values()) <= 25
        await until(lambda: emulator.in_flight == 0)

    async def test_collect_brings_what_came_along(self, emulator: Emulator, ordered: bool) -> None:
        """`error.partial` is a result like any other."""
        ids = emulator.workflow_executions.ids()
        emulator.faults.add(Fault.status(401), after=3)
        async with labs(emulator) as client:
            with pytest.raises(AuthenticationError) as caught:
                await client.workflow_executions.get_many(["none", *ids], concurrency=1, ordered=ordered).collect()
        assert isinstance(caught.value.partial, BulkResult)
        assert list(caught.value.partial.values) == ids[:2]
        assert list(caught.value.partial.errors) == ["none"]

    async def test_a_missing_key_and_a_closed_client_are_raised(self, emulator: Emulator, ordered: bool) -> None:
        """They are raised before anything is sent, and not at all without ids."""
        async with labs(emulator, runs_api_key=None) as client:
            with pytest.raises(ConfigurationError, match="this call needs a key"):
                await client.runs.get_many(iter("abc"), ordered=ordered).collect()
            assert await client.runs.get_many([], ordered=ordered).collect() == BulkResult()
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await client.workflow_executions.get_many(iter("abc"), ordered=ordered).collect()
        assert not emulator.requests

    async def test_a_client_closed_on_the_way_ends_it(self, emulator: Emulator, ordered: bool) -> None:
        """The error is that of a closed client, however the requests in flight ended."""
        emulator.faults.add(Fault.latency(0.005))
        client = labs(emulator)
        ids = emulator.workflow_executions.ids()
        got: list[Any] = []

        async def consume() -> None:
            async for outcome in client.workflow_executions.get_many(ids, concurrency=4, ordered=ordered):
                got.append(outcome)
                if len(got) == 10:
                    await client.close()

        with pytest.raises(ConfigurationError, match="closed"):
            await consume()
        assert 10 <= len(got) <= 26
        assert all(outcome.ok for outcome in got)
        assert_idle(client)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("chunk_size", [1, 3])
    async def test_a_source_that_breaks_is_raised_after_what_was_read(
        self, ordered: bool, kind: str, chunk_size: int
    ) -> None:
        """Every id that it yielded has its outcome first."""

        def ids() -> Iterator[str]:
            yield from map(str, range(10))
            raise KeyError("the source broke")

        got: list[Any] = []
        with pytest.raises(KeyError, match="the source broke"):
            await pour(fetch(echo, Reader(ids()).given(kind), ordered=ordered, chunk_size=chunk_size), got)
        assert sorted(int(outcome.id) for outcome in got) == list(range(10))

    async def test_what_known_raises_is_raised(self, ordered: bool) -> None:
        """It is raised after the finished outcomes, like any error that is not an id's own."""

        def known(identity: str) -> None:
            if identity == "f":
                raise LookupError("no store")

        got: list[Any] = []
        with pytest.raises(LookupError, match="no store"):
            await pour(fetch(echo, iter("abcdefgh"), ordered=ordered, concurrency=2, known=known), got)
        assert {outcome.id for outcome in got} <= set("abcde")

    async def test_what_on_progress_raises_is_raised(self, ordered: bool) -> None:
        """The consumer gets it at once, and the fetch ends."""

        def on_progress(stats: BulkStats) -> None:
            if stats.done == 3:
                raise LookupError("no screen")

        got: list[Any] = []
        with pytest.raises(LookupError, match="no screen"):
            await pour(fetch(echo, iter("abcdefgh"), ordered=ordered, on_progress=on_progress), got)
        assert len(got) == 2


class TestStats:
    async def test_they_say_what_happened(self, emulator: Emulator) -> None:
        """Outcomes, failures by type, retries and known ids add up, and nothing is in flight at the end."""
        ids = emulator.workflow_executions.ids()[:20]
        emulator.faults.add(Fault.status(503), times=2, when=of(ids[3]))
        emulator.faults.add(Fault.status(500), when=of(ids[4]))
        emulator.faults.add(Fault.latency(0.01))
        seen: list[tuple[int, int]] = []

        def on_progress(stats: BulkStats) -> None:
            assert stats is many.stats
            seen.append((stats.done, stats.in_flight))

        async with labs(emulator) as client:
            have = await client.workflow_executions.get(ids[0])
            many = client.workflow_executions.get_many(
                [*ids, "x", "y", 7],
                concurrency=4,
                known={ids[0]: have},
                on_progress=on_progress,
            )
            await many.collect()
        stats = many.stats
        assert (stats.done, stats.failed, stats.retries) == (23, 4, 2 + 4)
        assert stats.errors == Counter({"NotFoundError": 2, "ServerError": 1, "TypeError": 1})
        assert stats.known == (1 if have.is_finished else 0)
        assert stats.in_flight == stats.paused == 0
        assert [done for done, _ in seen] == list(range(1, 24))
        assert max(flying for _, flying in seen) <= 4
        assert 0.01 < stats.p50_s <= stats.p90_s <= stats.p99_s < 2
        assert str(stats).startswith("23 done, 4 failed (2 NotFoundError, 1 ")
        assert "), 6 retries, 0 in flight, 0 paused, p50 0.0" in str(stats)

    async def test_who_waits_is_counted_while_he_waits(self, emulator: Emulator) -> None:
        """While a service asks for a pause, `paused` counts the waiting calls, even without `on_progress`."""
        ids = emulator.workflow_executions.ids()[:4]
        emulator.faults.add(Fault.status(429, retry_after=0.2), times=1)
        async with labs(emulator) as client:
            many = client.workflow_executions.get_many(ids, concurrency=4)
            async with many as outcomes:
                first = asyncio.ensure_future(anext(aiter(outcomes)))
                await until(lambda: many.stats.paused)
                assert 1 <= many.stats.paused <= many.stats.in_flight <= 4
                await first
        assert many.stats.paused == 0

    @given(st.lists(st.floats(1e-5, 200.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
    def test_latencies_are_right_within_five_percent(self, latencies: list[float], share: float) -> None:
        """This holds whatever their spread, at any percentile."""
        stats = BulkStats()
        for one in latencies:
            stats.record_latency(one)
        true = sorted(latencies)[math.ceil(share * len(latencies)) - 1]
        assert true / 1.05 <= stats.latency_s(share) <= true * 1.05

    def test_without_latencies_they_are_nought(self) -> None:
        """An empty fetch has percentiles of 0, and a latency of 0 counts as a microsecond."""
        stats = BulkStats()
        assert (stats.p50_s, stats.p90_s, stats.p99_s) == (0, 0, 0)
        stats.record_latency(0.0)
        assert stats.p99_s == pytest.approx(1e-6, rel=0.05)
        assert "0 failed, 0 retries" in str(stats)

    async def test_one_line_a_period(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """A long fetch logs its progress at INFO; a short one logs nothing."""
        caplog.set_level(logging.INFO, "eachlabs_async")
        await fetch(echo, iter("abcdef")).collect()
        assert not caplog.records
        monkeypatch.setattr("eachlabs_async.bulk.fetch.LOG_EVERY_S", 0.0)
        await fetch(echo, iter("abcdef"), concurrency=1, paused=lambda: 3).collect()
        assert len(caplog.records) == 5
        assert caplog.records[-1].getMessage().startswith("bulk fetch: ")
        assert "3 paused" in caplog.records[-1].getMessage()


async def test_a_server_error_keeps_its_attempts(emulator: Emulator) -> None:
    """An outcome has the number of requests sent for it, whether it failed or not."""
    (one,) = emulator.workflow_executions.ids()[:1]
    emulator.faults.add(Fault.status(502), times=2)
    async with labs(emulator) as client:
        for wanted in (3, 1):
            many: BulkFetch[Any] = client.workflow_executions.get_many([one])
            assert [outcome.attempts async for outcome in many] == [wanted]
        emulator.faults.add(Fault.html(502))
        patient = client.with_options(retry=ONCE)
        (outcome,) = [outcome async for outcome in patient.workflow_executions.get_many([one])]
    assert isinstance(outcome.error, ServerError)
    assert outcome.attempts == outcome.error.attempts == 1
