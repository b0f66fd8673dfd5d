"""Tests for maps whose account lacks balance or is blocked for a burst of starts: they wait, and lose no input."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from event_loop import until
from internals import backend_of, ledger_of, slots_held
from map_jobs import CREATES, EDITIONS, KINDS, QUICK, mapped, numbered, slug, stage, times

from eachlabs_async import EachLabs, PaymentRequiredError, RetryPolicy
from eachlabs_async.emulator import Emulator, Fault, RecordedRequest

both_kinds = pytest.mark.parametrize("kind", KINDS)
PAUSE_S = 0.15
FIRST_S = 0.05
SHORT = RetryPolicy(base_s=0.005, creating_pause_s=PAUSE_S)


@pytest.fixture(autouse=True)
def _quick_money(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a map that waits for balance try again, and check for ended executions, four times as fast."""
    monkeypatch.setattr("eachlabs_async.jobs.balance_backoff.FIRST_PAUSE_S", FIRST_S)
    monkeypatch.setattr("eachlabs_async.jobs.balance_backoff.BALANCE_CHECK_S", 0.12)


def sent(emulator: Emulator) -> list[float]:
    """Return when each creating request arrived."""
    return [seen.at for seen in emulator.log if seen.endpoint in CREATES]


async def rest(emulator: Emulator, client: EachLabs) -> None:
    """Wait until nothing of this client runs, and let the client see it."""
    await until(lambda: emulator.running == 0)
    for one in emulator.submitted:
        if one.kind == "prediction":
            await client.predictions.get(one.id)
        else:
            await client.workflow_executions.get(one.id)


class TestABalanceThatWhatRunsReserves:
    @both_kinds
    @pytest.mark.parametrize("edition", EDITIONS)
    @pytest.mark.parametrize("covers", [1, 3, 12])
    async def test_is_waited_for(self, kind: str, edition: str, covers: int) -> None:
        """However few executions the balance covers at once, every input is executed once, with few requests."""
        inputs = numbered(30, seconds=0.01 * covers)
        async with stage(edition, balance=1000.0, estimate=1000.0 / (covers + 0.1)) as (emulator, client):
            run = mapped(emulator, client, kind, inputs, concurrency=20)
            result = await run.collect()
            assert len(result.values) == 30
            assert set(times(emulator).values()) == {1}
            assert emulator.max_running <= covers
            assert slots_held(run) == 0
            # A slow machine may never have twelve of them run at once.
            assert run.stats.refusals == emulator.answers[402] <= 20
            assert ledger_of(client).account_limit is None, "what the balance allowed is not the account's cap"

    @both_kinds
    async def test_nothing_is_sent_before_something_has_ended(
        self, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Refused inputs wait until an execution that ran at the refusal has ended; that is logged once."""
        caplog.set_level(logging.INFO, "eachlabs_async")
        async with stage(balance=1000.0, estimate=300.0) as (emulator, client):
            first = mapped(emulator, client, kind, numbered(3, seconds=0.4))
            waiting = asyncio.create_task(first.collect())
            await until(lambda: emulator.running == 3)
            second = asyncio.create_task(mapped(emulator, client, kind, [{"n": 3}]).collect())
            await until(lambda: emulator.answers[402] > 0)
            refused = len(sent(emulator))
            await until(lambda: emulator.running == 0)
            assert len(sent(emulator)) == refused
            assert len((await waiting).values) == 3
            assert len((await second).values) == 1
            assert len(sent(emulator)) == refused + 1
            assert caplog.text.count("a part of the balance: HTTP 402: insufficient balance") == 1

    @both_kinds
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_is_the_maps_error_when_nothing_runs_and_one_alone_is_refused(self, kind: str, ordered: bool) -> None:
        """The error is raised after the running executions were delivered, and has them as `partial`."""
        async with stage(step_seconds=0.02) as (emulator, client):
            emulator.faults.add(Fault.status(402), endpoint=CREATES, after=2)
            run = mapped(emulator, client, kind, numbered(40), concurrency=40, ordered=ordered)
            async with asyncio.timeout(10):
                with pytest.raises(PaymentRequiredError) as caught:
                    await run.collect()
            assert len(caught.value.partial.values) == len(emulator.submitted) > 0
            assert len(sent(emulator)) <= 10
            assert slots_held(run) == 0

    @both_kinds
    async def test_is_an_error_at_once_where_nothing_ran(self, kind: str) -> None:
        """There is no pause, and a bulk of ten is only halved to see whether fewer can be paid for."""
        async with stage(balance_low=True) as (emulator, client):
            async with asyncio.timeout(5):
                with pytest.raises(PaymentRequiredError, match="insufficient"):
                    await mapped(
                        emulator, client, kind, numbered(20), concurrency=1 if kind != "workflow" else 20
                    ).collect()
            assert len(sent(emulator)) == (4 if kind == "workflow" else 1)

    @both_kinds
    async def test_is_asked_for_ever_more_rarely_where_nobody_tells_of_an_end(self, kind: str) -> None:
        """The execution of a single call counts as running until it is seen to end or forgotten."""
        async with stage(balance=101.0, estimate=100.0) as (emulator, client):
            await client.predictions.create(slug(emulator), {"seconds": 0.25})
            run = mapped(emulator, client, kind, numbered(1))
            assert len((await run.collect()).values) == 1
            at = sent(emulator)
            gaps = [later - earlier for earlier, later in pairwise(at[1:])]
            assert 2 <= len(gaps) <= 5
            assert all(gap >= FIRST_S * 2**number - 0.002 for number, gap in enumerate(gaps))

    @both_kinds
    async def test_that_does_not_come_back_ends_the_map(self, kind: str) -> None:
        """The executions of another map of the client have ended and left too little."""
        async with stage() as (emulator, client):
            first = asyncio.create_task(mapped(emulator, client, kind, numbered(1, seconds=0.2)).collect())
            await until(lambda: emulator.running == 1)
            emulator.balance_low = True
            with pytest.raises(PaymentRequiredError):
                await mapped(emulator, client, kind, numbered(1)).collect()
            assert first.done() or emulator.running == 0
            assert len((await first).values) == 1

    async def test_entries_of_a_bulk_that_it_does_not_cover_are_sent_again(self) -> None:
        """Nothing is wrong with their inputs."""
        async with stage(balance=1000.0, estimate=300.0, partial_bulks=True) as (emulator, client):
            run = mapped(emulator, client, "workflow", numbered(20, seconds=0.05))
            assert len((await run.collect()).values) == 20
            assert set(times(emulator).values()) == {1}
            assert slots_held(run) == 0

    @pytest.mark.parametrize("words", ["insufficient balance", "concurrent execution limit reached"])
    async def test_a_bulk_of_nothing_but_such_entries_is_a_refusal(
        self, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is handled like a 402, which ends the map, or like a 429, which is followed by a pause."""
        caplog.set_level(logging.INFO, "eachlabs_async")

        def refuse(answer: Any, seen: RecordedRequest) -> Any:
            entries = [{"status": "failed", "message": words} for _ in seen.json()["inputs"]]
            return {"bulk_id": answer["bulk_id"], "executions": entries}

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.edit(refuse), endpoint=CREATES)
            run = mapped(emulator, client, "workflow", [{"n": 0, "invalid": "so that it is not executed"}])
            if words == "insufficient balance":
                with pytest.raises(PaymentRequiredError, match="insufficient"):
                    await run.collect()
                assert len(sent(emulator)) == 1
            else:
                task = asyncio.create_task(run.collect())
                await until(lambda: len(sent(emulator)) == 3)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                at = sent(emulator)
                assert at[1] - at[0] >= QUICK.creating_pause_s - 0.002
                assert at[2] - at[1] >= QUICK.creating_pause_s * 4 / 3 - 0.002
                assert "pausing all creating" in caplog.text

    @both_kinds
    async def test_nothing_that_was_refused_is_marked_as_sent(self, kind: str, tmp_path: Path) -> None:
        """The journal deletes the intent, so the next run sends the input, and nothing runs twice."""
        path = tmp_path / "journal"
        async with stage(step_seconds=0.02) as (emulator, client):
            rule = emulator.faults.add(Fault.status(402), endpoint=CREATES, after=1)
            inputs = numbered(25)
            with pytest.raises(PaymentRequiredError) as caught:
                await mapped(emulator, client, kind, inputs, journal=path).collect()
            ran = len(caught.value.partial.values)
            assert 0 < ran == len(emulator.submitted) < 25
            emulator.faults.remove(rule)
            again = await mapped(emulator, client, kind, inputs, journal=path).collect()
            assert len(again.values) == 25 - ran
            assert set(times(emulator).values()) == {1}


class TestABlock:
    @both_kinds
    @pytest.mark.parametrize("edition", EDITIONS)
    async def test_is_waited_out_in_silence(self, kind: str, edition: str, caplog: pytest.LogCaptureFixture) -> None:
        """A block costs the requests under way and is logged once; then nothing is sent, and no input is lost."""
        caplog.set_level(logging.INFO, "eachlabs_async")
        options: dict[str, Any] = {"burst": 12, "burst_seconds": 0.1, "burst_silence": 0.12}
        async with stage(edition, **options) as (emulator, view):
            client = view.with_options(retry=SHORT)
            run = mapped(emulator, client, kind, numbered(40, seconds=0.15), concurrency=40)
            result = await run.collect()
            assert len(result.values) == 40
            assert set(times(emulator).values()) == {1}
            refused = emulator.answers[429]
            told = [one for one in caplog.records if "pausing all creating" in one.getMessage()]
            assert 0 < len(told) <= refused <= len(told) * backend_of(run).senders
            assert run.stats.refusals == refused
            assert slots_held(run) == 0
            gaps = [later - earlier for earlier, later in pairwise(sent(emulator))]
            assert sum(gap >= PAUSE_S - 0.002 for gap in gaps) == len(told)

    @both_kinds
    async def test_that_says_nothing_is_waited_out_when_nothing_runs(self, kind: str) -> None:
        """While something runs it counts as the limit, which is found anew afterwards: the level does not stay low."""
        async with stage() as (emulator, view):
            client = view.with_options(retry=SHORT)
            emulator.faults.add(Fault.status(429), endpoint=CREATES, after=2, times=6)
            run = mapped(emulator, client, kind, numbered(40, seconds=0.05), concurrency=40)
            assert len((await run.collect()).values) == 40
            assert set(times(emulator).values()) == {1}
            assert run.stats.refusals == 6
            assert len(sent(emulator)) <= 60
            if kind == "workflow":  # Of predictions some are accepted between the refusals: that may be the cap.
                assert run.stats.level == 40

    @both_kinds
    async def test_that_a_single_call_met_holds_maps_too(self, kind: str) -> None:
        """Not one creating request is sent before it is over; waiting for running executions goes on."""
        async with stage() as (emulator, view):
            client = view.with_options(retry=SHORT)
            queued = await client.workflows.trigger(emulator.workflow_ids[0], "v1", {})
            await rest(emulator, client)
            emulator.faults.add(Fault.status(429), endpoint="predictions.create", times=1)
            single = asyncio.create_task(client.predictions.create(slug(emulator), {}))
            await until(lambda: emulator.answers[429] == 1)
            began = sent(emulator)[0]
            run = asyncio.create_task(mapped(emulator, client, kind, numbered(3)).collect())
            waited = client.workflow_executions.wait_many(emulator.workflow_ids[0], [queued.execution_id])
            async with asyncio.timeout(PAUSE_S):
                assert len((await waited.collect()).values) == 1
            assert len((await run).values) == 3
            await single
            assert all(at - began >= PAUSE_S - 0.002 for at in sent(emulator)[1:])

    @both_kinds
    async def test_is_followed_by_one_request_at_a_time_until_one_is_accepted(self, kind: str) -> None:
        """A block that is not over costs one request, not one per sender."""
        first = 4 if kind == "prediction" else 1
        async with stage() as (emulator, view):
            client = view.with_options(retry=SHORT)
            emulator.faults.add(Fault.status(429), endpoint=CREATES, times=first + 2)
            emulator.faults.add(Fault.latency(0.03), endpoint=CREATES)
            run = mapped(emulator, client, kind, numbered(8), concurrency=8)
            assert len((await run.collect()).values) == 8
            at = sent(emulator)
            for earlier, later in pairwise(at[first - 1 : first + 3]):
                assert later - earlier >= PAUSE_S - 0.04

    async def test_a_map_that_is_left_leaves_what_runs_counted(self) -> None:
        """A workflow's execution runs on, so a 429 still means the limit; a cancelled prediction does not count."""
        async with stage() as (emulator, client):
            ledger = ledger_of(client)
            for kind in KINDS:
                async with mapped(emulator, client, kind, [{"n": 0}, {"n": 1, "seconds": 60.0}]) as outcomes:
                    async for _ in outcomes:
                        break
                assert ledger.running() == 1
                assert not ledger.ends_are_observed
