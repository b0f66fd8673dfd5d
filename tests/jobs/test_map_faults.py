"""Tests that no input is billed twice: maps through requests that are lost before or after they were carried out."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from event_loop import until
from internals import slots_held
from map_jobs import CREATES, EDITIONS, KINDS, given, mapped, numbered, stage, times

from eachlabs_async import BadRequestError, NotFoundError, OutcomeUnknownError, ServerError
from eachlabs_async.emulator import Emulator, Fault, RecordedRequest

both_kinds = pytest.mark.parametrize("kind", KINDS)

BEFORE = (Fault.status(503), Fault.status(500), Fault.html(502), Fault.reset(), Fault.status(429))
AFTER = (
    Fault.status(503, late=True),
    Fault.html(502, late=True),
    Fault.reset(late=True),
    Fault.cut_headers(),
    Fault.cut_body(),
)
LISTINGS = {"workflow": "workflow_executions.list", "prediction": "executions.list_by_cursor"}


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between look-ups: the emulator's listings show new executions at once."""
    monkeypatch.setattr("eachlabs_async.jobs.map_recovery.LOOKUP_DELAYS_S", (0.0, 0.002, 0.01))
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.01)


async def held(emulator: Emulator, run: Any, inputs: list[dict[str, Any]]) -> Counter[str]:
    """Run a map to the end, assert its guarantees, and return how the inputs ended."""
    seen: Counter[int] = Counter()
    ended: Counter[str] = Counter()
    ids: list[str] = []
    async with run as outcomes:
        async for outcome in outcomes:
            seen[outcome.index] += 1
            ended["ok" if outcome.ok else type(outcome.error).__name__] += 1
            if outcome.ok:
                assert given(outcome.unwrap()) == inputs[outcome.index]
                ids.append(outcome.id)
    assert sorted(seen.elements()) == list(range(len(inputs))), "an outcome is missing, or came twice"
    assert len(set(ids)) == len(ids), "two inputs were given the same execution"
    wanted = Counter(map(str, inputs))
    too_many = times(emulator) - wanted
    assert not too_many, "an input was executed twice"
    assert ended["ok"] + ended["OutcomeUnknownError"] == len(inputs)
    assert len(emulator.submitted) >= ended["ok"]
    assert slots_held(run) == 0
    assert run.stats.unknown == ended["OutcomeUnknownError"]
    return ended


class TestNothingIsBilledTwice:
    async def test_a_thousand_inputs_through_random_faults(self) -> None:
        """Each input is executed once or reported, has one outcome, and is found again where that is possible."""
        inputs = [{"n": number // 2, "seconds": 0.01} for number in range(1000)]
        async with stage(account_cap=20) as (emulator, client):
            emulator.faults.random(0.04, (*BEFORE, *AFTER))
            emulator.faults.add(AFTER[0], endpoint=CREATES, times=2)  # Chance need not bring one of these.
            run = mapped(emulator, client, "workflow", inputs)
            ended = await held(emulator, run, inputs)
            assert emulator.max_running == 20
            assert sum(emulator.faults.injected.values()) > 10
            assert run.stats.recovered > 0
            assert ended["OutcomeUnknownError"] < 150
            assert len(emulator.submitted) == 1000 - ended["OutcomeUnknownError"]

    @both_kinds
    @pytest.mark.parametrize("edition", EDITIONS)
    @pytest.mark.parametrize("seed", [1, 2])
    async def test_inputs_of_either_kind_and_edition_through_random_faults(
        self, kind: str, edition: str, seed: int
    ) -> None:
        """Even among equal inputs, an execution belongs to one input only."""
        inputs = [{"n": number // 3} for number in range(60)]
        async with stage(edition, account_cap=6, seed=seed) as (emulator, client):
            emulator.faults.random(0.15, (*BEFORE, *AFTER))
            await held(emulator, mapped(emulator, client, kind, inputs, ordered=seed == 2), inputs)

    @both_kinds
    @pytest.mark.parametrize("fault", AFTER, ids=lambda fault: fault.kind)
    async def test_what_was_carried_out_and_not_answered_is_found_again(self, kind: str, fault: Fault) -> None:
        """None of its inputs is sent again, and each gets its own execution as its outcome."""
        inputs = [{"n": number // 2} for number in range(20)]
        async with stage() as (emulator, client):
            emulator.faults.add(fault, endpoint=CREATES, times=2)
            run = mapped(emulator, client, kind, inputs)
            assert (await held(emulator, run, inputs))["ok"] == 20
            assert run.stats.recovered == (20 if kind == "workflow" else 2)

    @both_kinds
    @pytest.mark.parametrize("fault", BEFORE[:4], ids=lambda fault: fault.kind)
    async def test_what_was_lost_on_its_way_is_reported_and_not_sent_again(self, kind: str, fault: Fault) -> None:
        """The map cannot know that it was not carried out; the error says where to look."""
        inputs = numbered(12)
        async with stage() as (emulator, client):
            emulator.faults.add(fault, endpoint=CREATES, times=1)
            run = mapped(emulator, client, kind, inputs)
            result = await run.collect()
            lost = 10 if kind == "workflow" else 1
            assert len(result.errors) == run.stats.unknown == lost
            assert len(emulator.submitted) == len(result.values) == 12 - lost
            for error in result.errors.values():
                assert isinstance(error, OutcomeUnknownError)
                assert error.reason is not None
                assert set(error.lookup) == {"workflow_id" if kind == "workflow" else "model", "since", "until"}
            assert slots_held(run) == 0

    @both_kinds
    async def test_a_listing_that_shows_it_late_is_read_again(self, kind: str) -> None:
        """The first look-ups find nothing; a later one does."""
        inputs = numbered(5, seconds=0.2)
        looks = 0

        def late(answer: Any, seen: RecordedRequest) -> Any:
            nonlocal looks
            looks += seen.query["limit"] == "100"
            return {**answer, "executions": []} if looks <= 2 else answer

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.edit(late), endpoint=LISTINGS[kind])
            emulator.faults.add(Fault.reset(late=True), endpoint=CREATES, times=1)
            run = mapped(emulator, client, kind, inputs)
            assert (await held(emulator, run, inputs))["ok"] == 5
            assert looks >= 3

    @both_kinds
    async def test_a_look_that_fails_is_tried_again(self, kind: str) -> None:
        """An input whose look-ups all fail is reported."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.reset(late=True), endpoint=CREATES, times=1)
            emulator.faults.add(Fault.status(400), endpoint=LISTINGS[kind], times=2)
            run = mapped(emulator, client, kind, [{"n": 0}])
            assert (await held(emulator, run, [{"n": 0}]))["ok"] == 1
            emulator.faults.add(Fault.reset(late=True), endpoint=CREATES, times=1)
            emulator.faults.add(Fault.status(400), endpoint=LISTINGS[kind])
            result = await mapped(emulator, client, kind, [{"n": 1}]).collect()
            assert isinstance(result.errors["0"], OutcomeUnknownError)
            assert len(emulator.submitted) == 2

    @both_kinds
    async def test_what_others_submit_is_not_taken_for_ours(self, kind: str) -> None:
        """Executions of other calls of this client are not taken, even if their inputs are the same."""
        async with stage() as (emulator, client):
            if kind == "workflow":
                await client.workflows.trigger(emulator.workflow_ids[0], "v1", {"n": 0})
            else:
                await client.predictions.create(emulator.models.select()[0]["slug"], {"n": 0})
            emulator.faults.add(Fault.reset(), endpoint=CREATES, times=1)
            result = await mapped(emulator, client, kind, [{"n": 0}]).collect()
            assert isinstance(result.errors["0"], OutcomeUnknownError)

    async def test_a_lost_input_is_not_given_the_execution_of_a_larger_one(self) -> None:
        """Of two lost inputs only the larger was executed; its inputs contain all of the smaller one's."""
        inputs = [{"n": 0}, {"n": 0, "m": 1}]

        def one(seen: RecordedRequest) -> bool:
            return "m" not in seen.json()["input"]

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.reset(), endpoint=CREATES, when=one)
            emulator.faults.add(Fault.reset(late=True), endpoint=CREATES)
            result = await mapped(emulator, client, "prediction", inputs).collect()
            assert isinstance(result.errors["0"], OutcomeUnknownError)
            assert given(result.values["1"]) == inputs[1]


class TestWatching:
    @both_kinds
    async def test_a_service_that_is_away_for_a_while_is_asked_again(self, kind: str) -> None:
        """Failed checks do not end the map; they follow each other more and more slowly."""
        watched = ("workflow_executions.list", "predictions.get")
        async with stage() as (emulator, client):
            rule = emulator.faults.add(Fault.status(503), endpoint=watched, times=17)
            result = await mapped(emulator, client, kind, numbered(3)).collect()
            assert len(result.values) == 3
            assert rule.fired == 17

    @both_kinds
    async def test_what_was_created_just_now_may_not_be_found_yet(self, kind: str) -> None:
        """A 404 within the first seconds is ignored."""

        def hidden(answer: Any, seen: RecordedRequest) -> Any:
            return {**answer, "executions": [], "total_count": 0} if rule.fired < 3 else answer

        async with stage() as (emulator, client):
            gets = ("predictions.get", "workflow_executions.get")
            rule = emulator.faults.add(Fault.status(404), endpoint=gets, times=3)
            emulator.faults.add(Fault.edit(hidden), endpoint="workflow_executions.list")
            result = await mapped(emulator, client, kind, numbered(2, seconds=0.1)).collect()
            assert len(result.values) == 2

    @both_kinds
    async def test_what_is_not_found_for_long_is_an_outcome(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A deleted execution is an outcome with a `NotFoundError`, and its slot becomes free."""
        monkeypatch.setattr("eachlabs_async.jobs.map_watcher.GRACE_S", 0.0)
        async with stage() as (emulator, client):
            run = mapped(emulator, client, kind, numbered(2, seconds=30))
            task = asyncio.create_task(run.collect())
            await until(lambda: len(emulator.submitted) == 2)
            for one in emulator.submitted:
                if kind == "workflow":
                    emulator.workflow_executions[one.target].remove(one.id)
                else:
                    emulator.predictions.remove(one.id)
            result = await task
            assert {type(error) for error in result.errors.values()} == {NotFoundError}
            assert slots_held(run) == 0

    @both_kinds
    async def test_one_that_cannot_be_asked_for_holds_up_no_other(self, kind: str) -> None:
        """The other executions end while requests for one of them fail."""
        gets = ("predictions.get", "workflow_executions.get")

        def bad(seen: RecordedRequest) -> bool:
            return bool(emulator.submitted) and seen.path.endswith(emulator.submitted[0].id)

        def hidden(answer: Any, seen: RecordedRequest) -> Any:
            rows = [row for row in answer["executions"] if row["execution_id"] != emulator.submitted[0].id]
            return {**answer, "executions": rows, "total_count": len(rows)}

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.edit(hidden), endpoint="workflow_executions.list")
            rule = emulator.faults.add(Fault.status(500), endpoint=gets, when=bad)
            run = mapped(emulator, client, kind, numbered(4))
            async with run as outcomes, asyncio.timeout(20):
                seen = []
                async for outcome in outcomes:
                    seen.append(outcome.unwrap())
                    if len(seen) == 3:
                        emulator.faults.remove(rule)
            assert len(seen) == 4

    @both_kinds
    @pytest.mark.parametrize("listed", ["listed", "hidden"])
    async def test_one_that_cannot_be_read_is_an_outcome(self, kind: str, listed: str) -> None:
        """A record that cannot be decoded is the outcome of its input only."""

        def broken(answer: Any, seen: RecordedRequest) -> Any:
            ours = emulator.submitted and answer.get("id", answer.get("execution_id")) == emulator.submitted[0].id
            return {**answer, "status": 5} if ours else answer

        def hidden(answer: Any, seen: RecordedRequest) -> Any:
            rows = [row for row in answer["executions"] if row["execution_id"] != emulator.submitted[0].id]
            return {**answer, "executions": rows, "total_count": len(rows)}

        async with stage() as (emulator, client):
            if listed == "hidden":
                emulator.faults.add(Fault.edit(hidden), endpoint="workflow_executions.list")
            emulator.faults.add(Fault.edit(broken), endpoint=("predictions.get", "workflow_executions.get"))
            result = await mapped(emulator, client, kind, numbered(3)).collect()
            assert len(result.errors) == 1
            assert len(result.values) == 2
            assert "status" in str(next(iter(result.errors.values())))

    @pytest.mark.parametrize("rows", [[{"execution_id": 5}], []])
    async def test_a_listing_that_makes_no_sense_does_not_hide_what_runs(self, rows: list[Any]) -> None:
        """Each execution is then requested by its id."""

        def broken(answer: Any, seen: RecordedRequest) -> Any:
            return {**answer, "executions": rows, "total_count": 20}

        async with stage() as (emulator, client):
            emulator.faults.add(Fault.edit(broken), endpoint="workflow_executions.list")
            result = await mapped(emulator, client, "workflow", numbered(20)).collect()
            assert len(result.values) == 20

    async def test_an_execution_that_cannot_be_read_whole_ends_as_the_services_error(self) -> None:
        """It was executed once, and its slot becomes free."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(500), endpoint="workflow_executions.get")
            run = mapped(emulator, client, "workflow", numbered(2))
            result = await run.collect()
            assert {type(error) for error in result.errors.values()} == {ServerError}
            assert slots_held(run) == 0

    @both_kinds
    async def test_an_input_that_never_left_is_told_so(self, kind: str) -> None:
        """A status after which there is certainly no execution is each input's outcome; nothing is looked up."""
        async with stage() as (emulator, client):
            emulator.faults.add(Fault.status(409), endpoint=CREATES)
            run = mapped(emulator, client, kind, numbered(3))
            result = await run.collect()
            assert len(result.errors) == 3
            assert not any(isinstance(error, OutcomeUnknownError | BadRequestError) for error in result.errors.values())
            assert slots_held(run) == 0
