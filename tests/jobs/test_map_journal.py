"""Tests for jobs with a journal that end at any point and start again: nothing is executed or delivered twice.

An outcome is done with when the caller asks for the next one, or acknowledges it. One that is still in the caller's
hands when the job ends, by a break, an error, a cancellation or a kill, comes again in the next run; no other does.
However a job ends, no input is executed twice, and an input that may have been executed and is not found is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from event_loop import until
from map_jobs import CREATES, EDITIONS, KINDS, mapped, numbered, slug, stage, times

from eachlabs_async import EachLabs, JournalError, OutcomeUnknownError, PaymentRequiredError
from eachlabs_async.bulk.outcomes import Outcome
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.jobs.journal import Journal

both_kinds = pytest.mark.parametrize("kind", KINDS)
LOST = (
    Fault.status(503),
    Fault.reset(),
    Fault.status(429),
    Fault.status(503, late=True),
    Fault.reset(late=True),
    Fault.cut_body(),
)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between look-ups: the emulator's listings show new executions at once."""
    monkeypatch.setattr("eachlabs_async.jobs.map_recovery.LOOKUP_DELAYS_S", (0.0, 0.002, 0.01))
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.01)


def states(path: Path) -> Counter[tuple[str, int]]:
    """Return how many inputs the journal has in each state, delivered or not."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return Counter((state, done) for state, done in db.execute("SELECT state, delivered FROM inputs"))


async def outcomes_of(run: Any) -> list[Outcome[Any]]:
    async with run as outcomes:
        return [outcome async for outcome in outcomes]


async def a_while(job: asyncio.Task[None], emulator: Emulator, chance: random.Random) -> None:
    """Wait until a random point of a job: for some time, or for some of its requests and iterations of the loop."""
    if chance.random() < 0.5:
        await asyncio.wait([job], timeout=chance.uniform(0.0, 0.05))
        return
    # However slow the machine, the job gets on: time alone could cut every run before it has done anything.
    last = sum(emulator.requests.values()) + chance.randrange(1, 30)
    while not job.done() and sum(emulator.requests.values()) < last:
        await asyncio.sleep(0.0005)
    for _ in range(chance.randrange(40)):
        await asyncio.sleep(0)


class TestCancelledAtAnyPoint:
    @both_kinds
    @pytest.mark.parametrize("edition", EDITIONS)
    @pytest.mark.parametrize(("faulty", "ordered"), [(False, False), (True, False), (True, True)])
    async def test_a_job_goes_on_where_it_was(
        self, kind: str, edition: str, faulty: bool, ordered: bool, tmp_path: Path
    ) -> None:
        """Over all runs every input has one outcome and is executed at most once, even among equal inputs."""
        chance = random.Random(f"{kind}{edition}{faulty}{ordered}")
        inputs: list[Any] = [{"n": number // 2, "fail": number % 11 == 5} for number in range(60)]
        inputs[20:20] = ["no object", {"n": object()}]
        seen: Counter[int] = Counter()
        ended: Counter[str] = Counter()
        runs = 0
        async with stage(edition, account_cap=8) as (emulator, client):
            if faulty:
                emulator.faults.random(0.1, LOST)

            async def go(path: Path) -> None:
                run = mapped(emulator, client, kind, inputs, journal=path, ordered=ordered, window=20)
                async with run as outcomes:
                    async for outcome in outcomes:
                        seen[outcome.index] += 1
                        ended[type(outcome.error).__name__] += 1

            done = False
            while not done:
                runs += 1
                job = asyncio.create_task(go(tmp_path / "journal"))
                await a_while(job, emulator, chance)
                done = job.done()
                job.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await job
            assert runs > 1
            assert sorted(seen.elements()) == list(range(62)), "an outcome is missing, or came twice"
            wanted = Counter(str(one) for one in inputs if isinstance(one, dict) and "fail" in one)
            assert not times(emulator) - wanted, "an input was executed twice"
            unknown = ended["OutcomeUnknownError"]
            assert len(emulator.submitted) >= 60 - unknown
            assert ended["NoneType"] + ended["ExecutionFailedError"] == 60 - unknown
            # Leaving waits for the answers, so without faults everything is known; a lost request may be anything.
            assert unknown < (60 if faulty else 1)
            assert sum(states(tmp_path / "journal").values()) == 62
            assert {done for _, done in states(tmp_path / "journal")} == {1}

    @both_kinds
    async def test_what_runs_is_taken_up_and_not_sent_again(self, kind: str, tmp_path: Path) -> None:
        """A second run sends only the inputs that the first did not."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            inputs = [*numbered(3), *numbered(4, seconds=0.25)]
            async with mapped(emulator, client, kind, inputs, journal=journal) as run:
                async for _ in run:
                    await until(lambda: len(emulator.submitted) == 7)
                    await asyncio.sleep(0.05)
                    break
            assert states(journal) == {("running", 0): 7}
            again = mapped(emulator, client, kind, [*inputs, {"n": 9}], journal=journal)
            assert len(await outcomes_of(again)) == 8
            assert again.stats.submitted == 1
            assert len(emulator.submitted) == 8
            assert await outcomes_of(mapped(emulator, client, kind, [*inputs, {"n": 9}], journal=journal)) == []

    @both_kinds
    async def test_what_was_being_sent_is_looked_for(self, kind: str, tmp_path: Path) -> None:
        """Each input gets one of the executions, even equal inputs that are looked up one by one."""
        journal = tmp_path / "journal"
        inputs = [{"n": 0}, {"n": 0}, {"n": 0}, {"n": 1}]
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.stalled_answer(late=True), endpoint=CREATES, times=4)
            run = mapped(emulator, client, kind, inputs, journal=journal, leave_s=0.05)
            job = asyncio.create_task(outcomes_of(run))
            await until(lambda: len(emulator.submitted) == 4)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            assert states(journal) == {("sending", 0): 4}
            again = mapped(emulator, client, kind, inputs, journal=journal)
            found = await outcomes_of(again)
            assert len({outcome.id for outcome in found if outcome.ok}) == 4
            assert again.stats.recovered == 4
            assert len(emulator.submitted) == 4

    @both_kinds
    async def test_what_may_have_been_sent_and_is_not_found_is_reported(self, kind: str, tmp_path: Path) -> None:
        """Neither this run nor a later one sends it again, and the error says where to look."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.stalled_answer(), endpoint=CREATES, times=1)
            left = mapped(emulator, client, kind, [{"n": 0}], journal=journal, leave_s=0.05)
            job = asyncio.create_task(outcomes_of(left))
            await until(lambda: sum(emulator.requests[name] for name in CREATES) == 1)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job

            def fails(stats: Any) -> None:
                raise ZeroDivisionError

            run = mapped(emulator, client, kind, [{"n": 0}], journal=journal, on_progress=fails)
            with pytest.raises(ZeroDivisionError):
                await outcomes_of(run)
            assert states(journal) == {("unknown", 0): 1}
            (outcome,) = await outcomes_of(mapped(emulator, client, kind, [{"n": 0}], journal=journal))
            assert isinstance(outcome.error, OutcomeUnknownError)
            assert outcome.error.lookup
            assert states(journal) == {("unknown", 1): 1}
            assert not emulator.submitted

    @both_kinds
    async def test_an_unknown_outcome_is_looked_for_again_on_request(self, kind: str, tmp_path: Path) -> None:
        """Whether its error was delivered or not; what is not found is an error again, and nothing is sent again."""
        journal = tmp_path / "journal"
        listings = ("workflow_executions.list", "executions.list", "executions.list_by_cursor")
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.reset(late=True), endpoint=CREATES, times=2)
            away = emulator.faults.add(Fault.status(503), endpoint=listings)
            inputs = numbered(2)
            first = await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal, concurrency=2))
            assert {type(one.error) for one in first} == {OutcomeUnknownError}
            assert states(journal) == {("unknown", 1): 2}
            assert await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal)) == []
            again = mapped(emulator, client, kind, inputs, journal=journal, retry_unknown=True)
            assert {type(one.error) for one in await outcomes_of(again)} == {OutcomeUnknownError}
            emulator.faults.remove(away)
            found = await outcomes_of(
                mapped(emulator, client, kind, inputs, journal=journal, retry_unknown=True, acknowledge=True)
            )
            assert sorted(one.index for one in found if one.ok) == [0, 1]
            assert len(await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal))) == 2
            last = mapped(emulator, client, kind, inputs, journal=journal, retry_unknown=True)
            assert await outcomes_of(last) == []
            assert set(times(emulator).values()) == {1}


class TestInTheCallersHands:
    @both_kinds
    @pytest.mark.parametrize("ordered", [False, True])
    @pytest.mark.parametrize("how", ["break", "exception", "cancellation"])
    async def test_an_outcome_comes_again_if_the_loop_ends_before_the_next(
        self, kind: str, how: str, ordered: bool, tmp_path: Path
    ) -> None:
        """Those before it, for which the caller had asked for the next, do not."""
        journal = tmp_path / "journal"
        seen: list[int] = []

        async def go(stop: int) -> None:
            stop += len(seen)
            run = mapped(emulator, client, kind, numbered(5), journal=journal, ordered=ordered)
            async with run as outcomes:
                async for outcome in outcomes:
                    seen.append(outcome.index)
                    if len(seen) != stop:
                        continue
                    if how == "break":
                        break
                    if how == "exception":
                        raise ZeroDivisionError
                    asyncio.current_task().cancel()  # type: ignore[union-attr]  # a test runs in a task
                    await asyncio.sleep(0)

        async with stage() as (emulator, client):
            for stop in (3, 2):
                with contextlib.suppress(ZeroDivisionError, asyncio.CancelledError):
                    await asyncio.create_task(go(stop))
            await go(100)
            in_hand = [seen[2], seen[4]]
            assert sorted(seen) == sorted([*range(5), *in_hand]), "another outcome came twice, or one is missing"
            assert len(emulator.submitted) == 5

    @both_kinds
    async def test_what_is_collected_comes_again_if_collecting_fails(self, kind: str, tmp_path: Path) -> None:
        """The caller has seen none of it; what is returned, or attached to the error, does not come again."""
        journal = tmp_path / "journal"
        inputs = [*numbered(3), {"n": 3, "seconds": 0.3}]
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, inputs, journal=journal)
            job = asyncio.create_task(run.collect())
            await until(lambda: run.stats.done == 3)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            assert len((await mapped(emulator, client, kind, inputs, journal=journal).collect()).values) == 4
            assert await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal)) == []
            assert len(emulator.submitted) == 4

    @both_kinds
    async def test_with_acknowledge_only_what_is_acknowledged_is_done_with(self, kind: str, tmp_path: Path) -> None:
        """The rest comes again, although the caller had asked for more."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):

            async def go(**options: Any) -> list[Outcome[Any]]:
                found = []
                run = mapped(emulator, client, kind, numbered(6), journal=journal, acknowledge=True, **options)
                async with run as outcomes:
                    async for outcome in outcomes:
                        if outcome.index % 2 and outcome.index < 5:
                            await outcome.acknowledge()
                            await outcome.acknowledge()
                        found.append(outcome)
                return found

            assert len(await go()) == 6
            again = await go()
            assert sorted(one.index for one in again) == [0, 2, 4, 5]
            with pytest.raises(RuntimeError, match="within its block"):
                await again[0].acknowledge()
            assert len((await mapped(emulator, client, kind, numbered(6), journal=journal).collect()).values) == 4
            assert len(emulator.submitted) == 6

    async def test_what_cannot_be_acknowledged_says_why(self, tmp_path: Path) -> None:
        """Without a journal there is nothing to record."""
        async with stage() as (emulator, client):
            async for outcome in mapped(emulator, client, "workflow", numbered(1), journal=tmp_path / "journal"):
                with pytest.raises(RuntimeError, match="acknowledge=True"):
                    outcome.acknowledge()
            for options in ({"acknowledge": True}, {"retry_unknown": True}):
                with pytest.raises(ValueError, match="needs a journal"):
                    mapped(emulator, client, "workflow", [], **options)
            for wrong in ({"acknowledge": 1}, {"leave_s": -1}, {"leave_s": "5"}, {"timeout_s": 0}):
                with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
                    mapped(emulator, client, "workflow", [], journal=tmp_path / "journal", **wrong)


class TestAJournalThatFails:
    @both_kinds
    async def test_ends_the_map_and_loses_nothing(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk is full when the ids are to be written: the error names them, and the next run looks for them."""
        journal = tmp_path / "journal"
        answered, times_left = Journal.answered, 1

        async def fails_once(self: Journal, started: Any, refused: Any = ()) -> None:
            nonlocal times_left
            if started and times_left:
                times_left -= 1
                raise JournalError("the disk is full", path=self.path)
            await answered(self, started, refused)

        monkeypatch.setattr(Journal, "answered", fails_once)
        async with stage() as (emulator, client):
            inputs = numbered(1, seconds=0.1)
            with pytest.raises(JournalError, match="the disk is full") as caught:
                await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal))
            assert caught.value.running
            assert states(journal) == {("sending", 0): 1}
            (outcome,) = await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal))
            assert outcome.ok
            assert (outcome.id,) == caught.value.running
            assert len(emulator.submitted) == 1


class TestRefused:
    @both_kinds
    async def test_what_was_refused_and_not_handed_out_is_sent_again(self, kind: str, tmp_path: Path) -> None:
        """Nothing was executed for a refused input; once its outcome is delivered, the input is done."""
        journal = tmp_path / "journal"
        inputs = [{"n": 0, "invalid": "x"}, {"n": 1}]
        async with stage() as (emulator, client):
            found = await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal))
            assert sorted(outcome.ok for outcome in found) == [False, True]
            assert states(journal) == {("refused", 1): 1, ("running", 1): 1}
            assert await outcomes_of(mapped(emulator, client, kind, inputs, journal=journal)) == []

    @both_kinds
    async def test_an_empty_balance_leaves_the_rest_for_the_next_run(self, kind: str, tmp_path: Path) -> None:
        """Inputs that were not sent are not in the journal; once there is balance again, each is executed once."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(402), endpoint=CREATES, after=1, times=8)
            seen: list[int] = []
            with pytest.raises(PaymentRequiredError):
                async for outcome in mapped(emulator, client, kind, numbered(30), journal=journal):
                    seen.append(outcome.index)
            assert len(states(journal)) == 1
            assert states(journal)["running", 1] == len(seen)
            emulator.faults.clear()
            async for outcome in mapped(emulator, client, kind, numbered(30), journal=journal):
                seen.append(outcome.index)
            assert sorted(seen) == list(range(30))
            assert len(emulator.submitted) == 30


class TestTheWrongJob:
    @both_kinds
    async def test_other_inputs_are_refused(self, kind: str, tmp_path: Path) -> None:
        """A journal belongs to its inputs in their order."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            await outcomes_of(mapped(emulator, client, kind, [{"n": 0}, "bad"], journal=journal))
            for other in ([{"n": 1}], ["bad"], [{"n": 0}, {"n": 1}]):
                with pytest.raises(ValueError, match="another job"):
                    await outcomes_of(mapped(emulator, client, kind, other, journal=journal))
            assert len(emulator.submitted) == 1

    async def test_another_workflow_model_or_version_is_refused(self, tmp_path: Path) -> None:
        """The error is raised before anything is sent."""
        journal = tmp_path / "journal"
        async with stage(workflows=2) as (emulator, client):
            await outcomes_of(mapped(emulator, client, "workflow", [{"n": 0}], journal=journal))
            first, second = emulator.workflow_ids[:2]
            for run in (
                client.workflows.map(second, "v1", [], journal=journal),
                client.workflows.map(first, "v2", [], journal=journal),
                client.predictions.map(slug(emulator), [], journal=journal),
            ):
                with pytest.raises(ValueError, match="another job"):
                    await outcomes_of(run)
            assert len(emulator.submitted) == 1

    async def test_another_fallback_chain_is_refused(self, tmp_path: Path) -> None:
        """Another chain gives other results; a journal without a chain is read as before there were any."""
        async with stage() as (emulator, client):
            for number, chain in enumerate((None, "any-image")):
                journal = tmp_path / str(number)
                run = client.predictions.map(slug(emulator), [{}], fallback_selector=chain, journal=journal)
                await outcomes_of(run)
                other = client.predictions.map(slug(emulator), [], fallback_selector="any-video", journal=journal)
                before = "unified" if chain is None else "unified, fallback any-image"
                with pytest.raises(ValueError, match=f"version None, {before}, not .*, fallback any-video"):
                    await outcomes_of(other)
            assert len(emulator.submitted) == 2

    async def test_a_journal_in_use_is_refused(self, tmp_path: Path) -> None:
        """Two runs of one job would send each other's inputs again."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            async with mapped(emulator, client, "workflow", numbered(3), journal=journal) as run:
                async for _ in run:
                    with pytest.raises(ValueError, match="another job has it open"):
                        await outcomes_of(mapped(emulator, client, "workflow", numbered(3), journal=journal))
                    break
            assert len(await outcomes_of(mapped(emulator, client, "workflow", numbered(3), journal=journal))) == 3

    async def test_another_account_is_refused(self, tmp_path: Path) -> None:
        """It would find none of the executions; the file names neither key."""
        journal = tmp_path / "journal"
        async with stage() as (emulator, client):
            await outcomes_of(mapped(emulator, client, "workflow", numbered(1), journal=journal))
            async with EachLabs("another-key", hosts=emulator.unified_hosts) as other:
                with pytest.raises(JournalError, match="another account"):
                    await outcomes_of(mapped(emulator, other, "workflow", numbered(1), journal=journal))
            content = journal.read_bytes()
            assert emulator.api_key.encode() not in content
            assert b"fingerprint" in content


JOB = """
import asyncio, json, sys
from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.jobs import map_recovery, reconcile
from eachlabs_async.emulator.url_prefixes import hosts_at

map_recovery.LOOKUP_DELAYS_S = (0.0, 0.01, 0.05)
reconcile.LISTING_LAG_S = 0.01

async def main(url, key, kind, target, journal, count):
    inputs = [{"n": number // 2} for number in range(count)]
    policy = RetryPolicy(base_s=0.01, creating_pause_s=0.1)
    async with EachLabs(key, hosts=hosts_at(url, "unified"), retry=policy) as client:
        if kind == "workflow":
            run = client.workflows.map(target, "v1", inputs, journal=journal)
        else:
            run = client.predictions.map(target, inputs, journal=journal)
        async for outcome in run:
            print(outcome.index, type(outcome.error).__name__, flush=True)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


class TestKilled:
    @both_kinds
    async def test_a_process_that_is_killed_and_started_again(self, kind: str, tmp_path: Path) -> None:
        """No input is executed twice and no outcome is missing; one may come twice for each kill."""
        journal, count = tmp_path / "journal", 40
        chance = random.Random(kind)
        seen: Counter[int] = Counter()
        unknown = kills = 0
        async with stage(account_cap=6) as (emulator, _):
            target = emulator.workflow_ids[0] if kind == "workflow" else slug(emulator)
            arguments = [emulator.url, emulator.api_key, kind, target, str(journal), count]
            while True:
                async with _process(JOB, arguments) as process:
                    assert process.stdout is not None
                    left = chance.randint(1, 14)
                    while line := await process.stdout.readline():
                        index, error = line.split()
                        seen[int(index)] += 1
                        unknown += error == b"OutcomeUnknownError"
                        left -= 1
                        if left == 0 and kills < 4:
                            kills += 1
                            process.kill()
                    code = await process.wait()
                if code == 0:
                    break
                assert code == -9
            assert kills >= 2
            assert set(seen) == set(range(count)), "an outcome is missing"
            assert seen.total() - count <= kills, "more came twice than was in the caller's hands"
            wanted = Counter(str({"n": number // 2}) for number in range(count))
            assert not times(emulator) - wanted, "an input was executed twice"
            assert len(emulator.submitted) >= count - unknown


@contextlib.asynccontextmanager
async def _process(code: str, arguments: list[Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error::ResourceWarning",
        "-c",
        code,
        json.dumps(arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
