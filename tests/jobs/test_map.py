"""Tests for maps of many inputs over a workflow or a model: outcomes, order, window, refusals, the account's limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from event_loop import until
from internals import slots_held
from map_jobs import CREATES, EDITIONS, KINDS, QUICK, given, mapped, numbered, stage, times

from eachlabs_async import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ExecutionFailedError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    UnprocessableEntityError,
)
from eachlabs_async.emulator import Emulator, Fault, RecordedRequest
from eachlabs_async.jobs.input_reader import InputReader
from eachlabs_async.jobs.map_run import MapRun

both_kinds = pytest.mark.parametrize("kind", KINDS)


async def trickled(values: list[Any]) -> AsyncIterator[Any]:
    for value in values:
        await asyncio.sleep(0)
        yield value


SOURCES = {"list": list, "generator": lambda values: (value for value in values), "async": trickled}


class TestOutcomes:
    @both_kinds
    @pytest.mark.parametrize("edition", EDITIONS)
    @pytest.mark.parametrize("source", SOURCES)
    async def test_every_input_is_executed_once_and_gives_one_outcome(
        self, kind: str, edition: str, source: str
    ) -> None:
        """Whatever the source, each input has an execution of its own, with its own inputs and a result."""
        inputs = numbered(23)
        async with stage(edition) as (emulator, client):
            run = mapped(emulator, client, kind, SOURCES[source](inputs), concurrency=8)
            outcomes = [outcome async for outcome in run]
            assert sorted(outcome.index for outcome in outcomes) == list(range(23))
            ids = {one.id: one.inputs for one in emulator.submitted}
            for outcome in outcomes:
                assert given(outcome.unwrap()) == inputs[outcome.index] == ids[outcome.id]
                assert outcome.unwrap().is_finished
                assert outcome.ok
                assert outcome.elapsed_s > 0
            assert set(times(emulator).values()) == {1}
            assert emulator.max_running <= 8
            assert slots_held(run) == 0
            assert not emulator.wrong_keys

    @both_kinds
    async def test_ordered_outcomes_come_in_input_order(self, kind: str) -> None:
        """The order holds even if the first input takes longest and the window is no larger than a chunk."""
        inputs = [{"n": number, "seconds": 0.1 if number % 7 == 0 else 0.005} for number in range(30)]
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(429), endpoint=CREATES, after=1, times=2)
            run = mapped(emulator, client, kind, inputs, ordered=True, window=10, concurrency=10)
            assert [outcome.index async for outcome in run] == list(range(30))
            assert len(emulator.submitted) == 30
            assert run.stats.refusals > 0

    @both_kinds
    async def test_what_finishes_first_comes_first_without_order(self, kind: str) -> None:
        """A slow input does not delay the others."""
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, [{"seconds": 0.2}, *numbered(5)])
            assert [outcome.index async for outcome in run][-1] == 0

    @both_kinds
    async def test_an_input_that_fails_is_an_outcome_of_its_own(self, kind: str) -> None:
        """Its error has the execution's message, the step's name and the record, and the other inputs go on."""
        inputs = [{"n": number, "fail": number % 3 == 1} for number in range(9)]
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, inputs)
            result = await run.collect()
            assert sorted(result.errors) == ["1", "4", "7"]
            assert sorted(result.values) == ["0", "2", "3", "5", "6", "8"]
            for error in result.errors.values():
                assert isinstance(error, ExecutionFailedError)
                assert error.state == "failed"
                assert given(error.record)["fail"] is True
            assert (run.stats.done, run.stats.failed, run.stats.submitted) == (9, 3, 9)

    @both_kinds
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_what_is_no_json_object_is_an_outcome_of_its_own(self, kind: str, ordered: bool) -> None:
        """It is never sent, and the other inputs go on."""
        inputs: list[Any] = [{"n": 0}, 5, {"n": object()}, {"n": 3}, {"n": float("nan")}, "text", None, {"n": 7}]
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, inputs, ordered=ordered)
            found = {outcome.index: outcome async for outcome in run}
            assert {index for index, outcome in found.items() if outcome.ok} == {0, 3, 7}
            assert {type(found[index].error) for index in (1, 2, 4, 5, 6)} <= {TypeError, ValueError}
            assert [found[index].id for index in (1, 2)] == ["", ""]
            assert len(emulator.submitted) == 3
            assert slots_held(run) == 0

    @both_kinds
    async def test_no_inputs_are_no_outcomes(self, kind: str) -> None:
        """An empty source ends at once, without a request."""
        async with stage() as (emulator, client):
            assert [outcome async for outcome in mapped(emulator, client, kind, [])] == []
            assert not emulator.requests

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"inputs": "text"}, TypeError),
            ({"inputs": {"n": 1}}, TypeError),
            ({"inputs": 5}, TypeError),
            ({"concurrency": 0}, ValueError),
            ({"window": 0}, ValueError),
            ({"webhook_url": 5}, TypeError),
        ],
    )
    @both_kinds
    async def test_a_bad_argument_is_told_at_once(self, kind: str, options: dict[str, Any], error: Any) -> None:
        """Creating a map does no I/O and raises the error for a wrong argument."""
        async with stage() as (emulator, client):
            with pytest.raises(error, match=next(iter(options))):
                mapped(emulator, client, kind, **{"inputs": [], **options})
            assert not emulator.requests


class TestInputs:
    @both_kinds
    async def test_an_endless_source_is_read_a_window_ahead_at_most(self, kind: str) -> None:
        """The number of inputs read and not delivered never exceeds the window, however slow the consumer."""
        read, handed, ahead = 0, 0, 0

        def endless() -> Iterator[dict[str, int]]:
            nonlocal read, ahead
            for number in count():
                read += 1
                ahead = max(ahead, read - handed)
                yield {"n": number}

        async with stage() as (emulator, client):
            async with mapped(emulator, client, kind, endless(), concurrency=5, window=13) as run:
                async for _ in run:
                    handed += 1
                    if handed == 10:
                        await until(lambda: read >= 23)
                        await asyncio.sleep(0.05)
                        assert len(emulator.submitted) <= 13 + handed
                    if handed == 60:
                        break
            # The one that is being handed out has left the window already.
            assert 13 <= ahead <= 14

    @both_kinds
    async def test_a_source_may_wait_for_the_outcomes_of_what_it_gave(self, kind: str) -> None:
        """An incomplete chunk is sent: the map does not wait for the source to fill it."""
        done = asyncio.Semaphore(1)

        async def chain() -> AsyncIterator[dict[str, int]]:
            for number in range(4):
                await done.acquire()
                yield {"n": number}

        async with stage() as (emulator, client):
            async with asyncio.timeout(10):
                async for _ in mapped(emulator, client, kind, chain()):
                    done.release()
            assert len(emulator.submitted) == 4

    @both_kinds
    async def test_a_source_that_stands_still_holds_up_nothing_that_was_read(self, kind: str) -> None:
        """While the source yields nothing, a refused input is sent again, and a fatal refusal ends the map."""

        async def stands_still() -> AsyncIterator[dict[str, int]]:
            yield {"n": 0}
            yield {"n": 1}
            await asyncio.sleep(3600)

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(429), endpoint=CREATES, times=2)
            run = mapped(emulator, client, kind, stands_still())
            async with asyncio.timeout(10):
                outcomes = aiter(run)
                assert {(await anext(outcomes)).index, (await anext(outcomes)).index} == {0, 1}
            await run.aclose()
            emulator.faults.add(Fault.status(402), endpoint=CREATES)
            with pytest.raises(PaymentRequiredError):
                async with asyncio.timeout(10):
                    await mapped(emulator, client, kind, stands_still()).collect()

    @both_kinds
    @pytest.mark.parametrize("failure", [RuntimeError("the source broke"), asyncio.CancelledError()])
    async def test_what_a_source_raises_comes_after_the_outcomes(self, kind: str, failure: BaseException) -> None:
        """Inputs read before are executed and delivered; a cancelled source is not mistaken for an exhausted one."""

        async def breaks() -> AsyncIterator[dict[str, int]]:
            for number in range(3):
                yield {"n": number}
            raise failure

        seen = []
        async with stage() as (emulator, client):
            with pytest.raises(type(failure)):
                async for outcome in mapped(emulator, client, kind, breaks()):
                    seen.append(outcome.index)
            assert sorted(seen) == [0, 1, 2]

    async def test_inputs_are_numbered_and_read_one_by_one(self) -> None:
        """Nothing is read before it is requested, and nothing after the end."""
        source = iter([{"a": 1}, {"b": 2}, {"c": 3}])
        inputs = InputReader("inputs", source)
        assert await inputs.next() == (0, {"a": 1})
        assert next(source) == {"b": 2}
        assert await inputs.next() == (1, {"c": 3})
        assert not inputs.exhausted
        assert [await inputs.next(), await inputs.next()] == [None, None]
        assert inputs.exhausted
        assert inputs.failure is None

    async def test_reading_can_be_cancelled(self) -> None:
        """A cancellation by the map is not a failure of the source."""

        async def never() -> AsyncIterator[int]:
            await asyncio.sleep(3600)
            yield 1

        inputs = InputReader("inputs", never())
        task = asyncio.create_task(inputs.next())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inputs.failure is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "error"), [(400, BadRequestError), (422, UnprocessableEntityError), (413, APIStatusError)]
    )
    async def test_a_refused_chunk_is_halved_until_the_input_at_fault_stands_alone(
        self, status: int, error: type[Exception]
    ) -> None:
        """One bad input among ten costs a few requests, and no other input fails."""

        def poisoned(seen: RecordedRequest) -> bool:
            return any(one["n"] == 6 for one in seen.json()["inputs"])

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(status), endpoint=CREATES, when=poisoned)
            run = mapped(emulator, client, "workflow", numbered(10))
            result = await run.collect()
            assert list(result.errors) == ["6"]
            assert isinstance(result.errors["6"], error)
            assert len(emulator.submitted) == 9
            assert emulator.requests["workflows.bulk_trigger"] <= 9
            assert slots_held(run) == 0

    @both_kinds
    async def test_an_input_that_is_refused_by_name_is_an_outcome(self, kind: str) -> None:
        """The error contains the service's message."""
        inputs = [{"n": 0}, {"n": 1, "invalid": "too large"}, {"n": 2}]
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, inputs)
            result = await run.collect()
            assert isinstance(result.errors["1"], BadRequestError)
            assert "too large" in str(result.errors["1"])
            assert len(emulator.submitted) == 2
            assert slots_held(run) == 0

    @pytest.mark.parametrize("mangle", ["short", "silent"])
    async def test_an_answer_that_does_not_tell_of_an_input_has_it_looked_for(self, mangle: str) -> None:
        """If entries are missing, or one has neither an id nor a failure, the input is looked up in the listing."""

        def mangled(answer: Any, seen: RecordedRequest) -> Any:
            entries = answer["executions"]
            last = [] if mangle == "short" else [{"status": "queued"}]
            return {**answer, "executions": [*entries[:-1], *last]}

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.edit(mangled), endpoint=CREATES)
            run = mapped(emulator, client, "workflow", numbered(10))
            assert len((await run.collect()).values) == 10
            assert run.stats.recovered >= 1
            assert set(times(emulator).values()) == {1}
            assert slots_held(run) == 0

    @both_kinds
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, AuthenticationError),
            (403, PermissionDeniedError),
            (404, NotFoundError),
        ],
    )
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_what_every_input_would_meet_ends_the_sending(
        self, kind: str, status: int, error: type[Exception], ordered: bool
    ) -> None:
        """Running executions are delivered first; then the error is raised, with all outcomes as `partial`."""
        async with stage(step_seconds=0.02) as (emulator, client):
            emulator.faults.add(Fault.status(status), endpoint=CREATES, after=2)
            run = mapped(emulator, client, kind, numbered(40), concurrency=40, ordered=ordered)
            with pytest.raises(error) as caught:
                await run.collect()
            assert len(caught.value.partial.values) == len(emulator.submitted) > 0
            assert emulator.requests[CREATES[KINDS.index(kind)]] <= 6
            assert slots_held(run) == 0


async def in_rounds(emulator: Emulator, run: MapRun[Any], limit: int) -> Any:
    """Collect a map; its executions end whenever `limit` of them run, or when no more have started for a while."""
    job = asyncio.create_task(run.collect())
    while not job.done():
        running = emulator.running
        await asyncio.wait([job], timeout=0.02 if running == limit else 0.1)
        if emulator.running == running:
            emulator.clock.advance(1.0)
    return await job


class TestTheCap:
    @both_kinds
    @pytest.mark.parametrize("limit", [2, 4, 10, 32])
    async def test_it_is_found_filled_and_remembered(self, kind: str, limit: int) -> None:
        """The limit is used fully, and a second map of the same client starts from the level that the first found."""
        inputs = numbered(3 * limit, seconds=1)
        async with stage(account_cap=limit, virtual_time=True) as (emulator, client):
            run = mapped(emulator, client, kind, inputs)
            assert len((await in_rounds(emulator, run, limit)).values) == 3 * limit
            assert emulator.max_running == limit
            assert 1 <= run.stats.refusals <= 20
            assert slots_held(run) == 0
            refused = emulator.answers[429]
            again = mapped(emulator, client, kind, inputs)
            assert len((await in_rounds(emulator, again, limit)).values) == 3 * limit
            assert emulator.answers[429] - refused <= 8
            assert again.stats.refusals == emulator.answers[429] - refused
            assert len(emulator.submitted) == 6 * limit

    @pytest.mark.parametrize("limit", [1, 3, 10])
    async def test_a_bulk_that_fits_in_part_is_completed(self, limit: int) -> None:
        """Entries that failed only because of the limit are sent again; nothing is wrong with their inputs."""
        async with stage(account_cap=limit, partial_bulks=True) as (emulator, client):
            run = mapped(emulator, client, "workflow", numbered(25, seconds=0.01 * limit))
            assert len((await run.collect()).values) == 25
            assert set(times(emulator).values()) == {1}
            assert run.stats.refusals > 0
            assert slots_held(run) == 0

    @both_kinds
    async def test_a_retry_after_is_waited_out(self, kind: str) -> None:
        """Nothing is sent before the time that a 429 states."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(429, retry_after=0.15), endpoint=CREATES, times=1)
            run = mapped(emulator, client, kind, [{"n": 0}])
            assert len((await run.collect()).values) == 1
            sent = [seen.at for seen in emulator.log if seen.endpoint in CREATES]
            assert len(sent) == 2
            assert sent[1] - sent[0] >= 0.15

    @both_kinds
    async def test_an_account_that_others_fill_is_tried_ever_more_rarely(self, kind: str) -> None:
        """None of this client's executions runs, so none can end: the pauses grow until a slot is free."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(429), endpoint=CREATES, times=2)
            run = mapped(emulator, client, kind, [{"n": 0}])
            assert len((await run.collect()).values) == 1
            sent = [seen.at for seen in emulator.log if seen.endpoint in CREATES]
            assert sent[1] - sent[0] >= QUICK.creating_pause_s
            assert sent[2] - sent[1] >= QUICK.creating_pause_s * 4 / 3

    @both_kinds
    async def test_our_own_concurrency_is_kept_without_a_single_refusal(self, kind: str) -> None:
        """The map stays within its own concurrency even if the account allows more."""
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, numbered(30), concurrency=3)
            assert len((await run.collect()).values) == 30
            assert emulator.max_running == 3
            assert run.stats.refusals == 0


@both_kinds
async def test_the_stats_tell_how_it_goes(kind: str) -> None:
    """`on_progress` is called after each outcome, with the one object that stays up to date."""
    told: list[int] = []
    async with stage(account_cap=5) as (emulator, client):
        run = mapped(
            emulator, client, kind, numbered(12, seconds=0.1), on_progress=lambda stats: told.append(stats.done)
        )
        assert run.stats.done == 0
        await run.collect()
        assert told == list(range(1, 13))
        stats = run.stats
        assert (stats.submitted, stats.done, stats.failed, stats.unknown, stats.recovered) == (12, 12, 0, 0, 0)
        assert stats.level <= 6
        assert stats.polls > 0
        assert stats.running == 0
        assert "12 outcomes" in repr(run)
        await until(lambda: emulator.running == 0)
