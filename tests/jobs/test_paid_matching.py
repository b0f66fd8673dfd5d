"""Tests of whose execution it is: after lost or wrong answers nobody is given another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from map_jobs import given
from paid_jobs import KINDS, Paid, mapped, paid

from eachlabs_async import EachLabs, OutcomeUnknownError

both_kinds = pytest.mark.parametrize("kind", KINDS)
single_calls = pytest.mark.parametrize("way", ["single", "map"])
LOSE: dict[str, Any] = {"act": "lose"}
LOSE_BEFORE: dict[str, Any] = {"act": "lose_before"}
P: dict[str, Any] = {"p": "a"}


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of look-ups, and the lag after which a listing shows everything."""
    monkeypatch.setattr("eachlabs_async.jobs.map_recovery.LOOKUP_DELAYS_S", (0.0, 0.03, 0.06))
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.1)


async def sent(service: Paid, count: int) -> None:
    """Wait until the service has received so many creating requests."""
    async with asyncio.timeout(5):
        while (await service.verdict())["requests"].get("creating", 0) < count:
            await asyncio.sleep(0.01)


async def one(client: EachLabs, kind: str, way: str, inputs: Any) -> str | OutcomeUnknownError:
    """Run one input by a single call that reconciles, or by a map; return its id, or the error of an unknown end."""
    try:
        if way == "map":
            found = [outcome async for outcome in mapped(client, kind, [inputs])]
            assert len(found) == 1
            found[0].unwrap()
            return found[0].id
        if kind == "workflow":
            return (await client.workflows.trigger("w", "v", inputs, reconcile=True)).execution_id
        return (await client.predictions.create("m", inputs, reconcile=True)).id
    except OutcomeUnknownError as exc:
        return exc


class TestTwoCallsOfOneClient:
    @both_kinds
    @pytest.mark.parametrize(("first", "second"), [("map", "map"), ("single", "map"), ("map", "single")])
    async def test_do_not_share_an_execution(self, kind: str, first: str, second: str) -> None:
        """While one is answered late, the other's equal input is lost and not executed: it is unknown."""
        faults = [{"act": "delay", "s": 0.3}, LOSE_BEFORE]
        async with paid(faults=faults) as service, service.client() as client:
            late = asyncio.create_task(one(client, kind, first, P))
            await sent(service, 1)
            lost = await one(client, kind, second, P)
            assert isinstance(lost, OutcomeUnknownError)
            assert list(await service.executed()) == [await late]

    async def test_do_not_share_one_that_is_waited_for_by_the_service(self) -> None:
        """`run` is answered when the prediction has ended."""
        async with paid(faults=[{"act": "delay", "s": 0.3}, LOSE_BEFORE]) as service, service.client() as client:
            late = asyncio.create_task(client.predictions.run("m", P))
            await sent(service, 1)
            assert isinstance(await one(client, "prediction", "single", P), OutcomeUnknownError)
            assert list(await service.executed()) == [(await late).id]

    async def test_do_not_share_one_of_a_bulk(self) -> None:
        """The bulk's answer is late; the map's bulk with equal inputs is not executed."""
        async with paid(faults=[{"act": "delay", "s": 0.3}, LOSE_BEFORE]) as service, service.client() as client:
            late = asyncio.create_task(client.workflows.bulk_trigger("w", "v", [P]))
            await sent(service, 1)
            assert isinstance(await one(client, "workflow", "map", P), OutcomeUnknownError)
            assert list(await service.executed()) == [(await late).executions[0].execution_id]

    @both_kinds
    @single_calls
    async def test_get_both_of_their_executions_if_both_are_lost(self, kind: str, way: str) -> None:
        """Which of the two belongs to which cannot matter, for their inputs are equal."""
        async with paid(faults=[LOSE, LOSE]) as service, service.client() as client:
            found = await asyncio.gather(one(client, kind, way, P), one(client, kind, way, P))
            assert sorted(map(str, found)) == sorted(await service.executed())

    @both_kinds
    @single_calls
    async def test_an_id_that_another_call_has_is_not_accepted(self, kind: str, way: str) -> None:
        """It is looked up: the right execution is found."""
        async with paid() as service, service.client() as client:
            before = await one(client, kind, way, {"p": "before"})
            await service.control(faults=[{"act": "claimed"}])
            found = await one(client, kind, way, P)
            executed = await service.executed()
            assert found != before
            assert executed[str(found)] == P

    @both_kinds
    @single_calls
    async def test_an_id_that_another_call_has_is_an_error_if_nothing_is_found(self, kind: str, way: str) -> None:
        """The listing does not show the right one, so the outcome is unknown."""
        async with paid() as service, service.client() as client:
            await one(client, kind, way, {"p": "before"})
            await service.control(faults=[{"act": "claimed"}], rules={"listing_lag_s": [60, 60]})
            found = await one(client, kind, way, P)
            assert isinstance(found, OutcomeUnknownError)
            assert "already belongs to another call" in str(found)


class TestWhatMatches:
    @pytest.mark.parametrize(
        ("kind", "way", "ours", "theirs"),
        [
            ("workflow", "single", P, {**P, "seed": 5}),
            ("prediction", "map", P, {**P, "seed": 5}),
            ("prediction", "single", {}, {"any": "thing"}),
            ("workflow", "map", {}, {"any": "thing"}),
            ("workflow", "single", {"hd": True}, {"hd": 1}),
            ("prediction", "map", {"hd": True}, {"hd": 1}),
            ("prediction", "single", {"s": "e\u0301"}, {"s": "\u00e9"}),
            ("workflow", "map", {"a": {"b": []}}, {"a": {"b": {}}}),
        ],
    )
    async def test_other_inputs_do_not(self, kind: str, way: str, ours: Any, theirs: Any) -> None:
        """Another client's execution at the same moment has more keys, or a value of another type."""
        faults = [{**LOSE_BEFORE, "s": 0.1}]
        async with paid(faults=faults) as service, service.client() as client:
            call = asyncio.create_task(one(client, kind, way, ours))
            await sent(service, 1)
            bulk = kind == "workflow" and way == "map"
            await service.control(foreign={"kind": kind, "inputs": theirs, "bulk": bulk})
            assert isinstance(await call, OutcomeUnknownError)

    @both_kinds
    @single_calls
    async def test_what_was_created_before_the_call_does_not(self, kind: str, way: str) -> None:
        """Not even one and a half seconds before, by the service's clock."""
        async with paid(faults=[LOSE_BEFORE], skew_s=3600) as service, service.client() as client:
            bulk = kind == "workflow" and way == "map"
            await service.control(foreign={"kind": kind, "inputs": P, "bulk": bulk, "ago_s": 1.5})
            assert isinstance(await one(client, kind, way, P), OutcomeUnknownError)

    async def test_a_bulk_with_other_members_does_not(self) -> None:
        """A bulk of A and C is not that of A alone, by `bulk_trigger` or in a map."""
        foreign = {"kind": "workflow", "inputs": [P, {"p": "c"}], "bulk": True}
        for way in ("bulk", "map"):
            async with paid(faults=[{**LOSE_BEFORE, "s": 0.1}]) as service, service.client() as client:
                call = (
                    client.workflows.bulk_trigger("w", "v", [P], reconcile=True)
                    if way == "bulk"
                    else one(client, "workflow", "map", P)
                )
                task = asyncio.ensure_future(call)
                await sent(service, 1)
                await service.control(foreign=foreign)
                if way == "bulk":
                    with pytest.raises(OutcomeUnknownError):
                        await task
                else:
                    assert isinstance(await task, OutcomeUnknownError)

    @single_calls
    async def test_a_bulk_s_member_is_no_single_trigger_and_the_other_way_round(self, way: str) -> None:
        """A trigger does not take the only member of another client's bulk; a map does not take a trigger's."""
        async with paid(faults=[{**LOSE_BEFORE, "s": 0.1}]) as service, service.client() as client:
            call = asyncio.create_task(one(client, "workflow", way, P))
            await sent(service, 1)
            await service.control(foreign={"kind": "workflow", "inputs": P, "bulk": way == "single"})
            assert isinstance(await call, OutcomeUnknownError)

    @both_kinds
    @single_calls
    async def test_a_lone_match_is_confirmed_when_the_listing_may_have_shown_ours(
        self, kind: str, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another client's equal execution shows first; ours comes later: none is taken, both are candidates."""
        monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.4)
        faults = [{"act": "lose", "s": 0.15}]
        async with paid(faults=faults, listing_lag_s=[0.35, 0.35]) as service, service.client() as client:
            call = asyncio.create_task(one(client, kind, way, P))
            await sent(service, 1)
            bulk = kind == "workflow" and way == "map"
            await service.control(rules={"listing_lag_s": [0, 0]}, foreign={"kind": kind, "inputs": P, "bulk": bulk})
            lost = await call
            assert isinstance(lost, OutcomeUnknownError)
            said = await service.verdict()
            assert set(lost.candidates) == {found["id"] for found in said["executions"]}
            assert "2 candidates" in str(lost)

    @both_kinds
    @single_calls
    async def test_is_compared_as_it_was_sent(self, kind: str, way: str) -> None:
        """Tuples are sent as arrays and whole numbers as keys are sent as strings."""
        inputs = {"t": (1, (2,)), "k": {1: "x", "y": None}, "f": 1.0}
        async with paid(faults=[LOSE]) as service, service.client() as client:
            assert [await one(client, kind, way, inputs)] == list(await service.executed())

    @both_kinds
    @single_calls
    async def test_defaults_that_an_earlier_execution_shows_do_not_hinder(self, kind: str, way: str) -> None:
        """The service added the same to an earlier execution; what it did not add there is not taken for a default."""
        async with paid(defaults={"seed": 5}) as service, service.client() as client:
            await one(client, kind, way, {"p": "before"})
            await service.control(faults=[LOSE])
            found = await one(client, kind, way, P)
            assert (await service.executed())[str(found)] == P
            await service.control(faults=[{**LOSE_BEFORE, "s": 0.1}])
            call = asyncio.create_task(one(client, kind, way, {"p": "b"}))
            await sent(service, 3)
            bulk = kind == "workflow" and way == "map"
            await service.control(foreign={"kind": kind, "inputs": {"p": "b", "more": 1}, "bulk": bulk})
            assert isinstance(await call, OutcomeUnknownError)

    @both_kinds
    async def test_with_defaults_the_most_specific_input_comes_first(self, kind: str) -> None:
        """Of two lost inputs, one with a key more, each gets its own; with only one executed, the other is unknown."""
        small, large = P, {**P, "q": 1}
        async with paid(defaults={"seed": 5}) as service, service.client() as client:
            await one(client, kind, "map", {"p": "before"})
            await service.control(faults=[LOSE, LOSE])
            found = await asyncio.gather(one(client, kind, "map", small), one(client, kind, "map", large))
            executed = await service.executed()
            assert [executed[str(identity)] for identity in found] == [small, large]

    @both_kinds
    @single_calls
    async def test_rows_without_inputs_are_read_in_full(self, kind: str, way: str) -> None:
        """The listing leaves them out and shows the execution late; the service's clock is an hour slow."""
        rules = {"omit_inputs": 1.0, "listing_lag_s": [0.03, 0.03], "detail_late_s": [0.03, 0.03], "skew_s": -3600}
        async with paid(faults=[LOSE], **rules) as service, service.client() as client:
            assert [await one(client, kind, way, P)] == list(await service.executed())


class TestAnAnswerInAnotherOrder:
    @pytest.mark.parametrize("act", ["short", "reverse"])
    @pytest.mark.parametrize("bare", [0.0, 1.0])
    async def test_gives_no_input_the_execution_of_another(self, act: str, bare: float) -> None:
        """Each outcome's execution has its inputs, and none is lost."""
        inputs = [{"n": number, "seconds": 0.01 * (number % 3)} for number in range(20)]
        faults = [{"act": act, "times": 2}]
        async with paid(faults=faults, omit_inputs=bare) as service, service.client() as client:
            async with mapped(client, "workflow", inputs) as outcomes:
                found = [outcome async for outcome in outcomes]
            executed = await service.executed()
            assert sorted(outcome.index for outcome in found) == list(range(20))
            for outcome in found:
                assert given(outcome.unwrap()) == inputs[outcome.index]
                assert executed[outcome.id] == inputs[outcome.index]
            assert len(executed) == 20

    async def test_is_recognized_among_inputs_that_contain_each_other(self) -> None:
        """The service adds defaults, and an input is part of the next one."""
        inputs = [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}]
        rules = {"faults": [{"act": "reverse"}], "defaults": {"seed": 5}}
        async with paid(**rules) as service, service.client() as client:
            found = [outcome async for outcome in mapped(client, "workflow", inputs)]
            executed = await service.executed()
            assert [executed[outcome.id] for outcome in sorted(found, key=lambda one: one.index)] == inputs

    async def test_is_unknown_where_it_is_short_and_not_reconciled(self) -> None:
        """A bulk trigger's answer with fewer entries than inputs says which execution belongs to none of them."""
        async with paid(faults=[{"act": "short", "times": 2}]) as service, service.client() as client:
            with pytest.raises(OutcomeUnknownError):
                await client.workflows.bulk_trigger("w", "v", [P, {"p": "b"}])
            answer = await client.workflows.bulk_trigger("w", "v", [{"p": "c"}, {"p": "d"}], reconcile=True)
            executed = await service.executed()
            assert [executed[str(entry.execution_id)] for entry in answer.executions] == [{"p": "c"}, {"p": "d"}]


class TestWhatIsRead:
    @both_kinds
    async def test_is_kept_as_it_was_when_it_was_read(self, kind: str) -> None:
        """The caller's generator goes on to change the one object that it yields."""

        async def source() -> AsyncIterator[dict[str, Any]]:
            box: dict[str, Any] = {"deep": {}}
            for number in range(25):
                box["n"] = box["deep"]["n"] = number
                yield box

        async with paid() as service, service.client() as client:
            found = [outcome async for outcome in mapped(client, kind, source())]
            executed = await service.executed()
            for outcome in found:
                assert executed[outcome.id] == {"n": outcome.index, "deep": {"n": outcome.index}}
            assert len(found) == len(executed) == 25

    @both_kinds
    @pytest.mark.parametrize("journaled", [False, True])
    async def test_is_that_input_s_failure_if_it_cannot_be_encoded(
        self, kind: str, journaled: bool, tmp_path: Any
    ) -> None:
        """Too deep, a loop, no JSON, no object: the other inputs are executed."""
        deep: dict[str, Any] = {}
        for _ in range(100_000):
            deep = {"d": deep}
        loop: dict[str, Any] = {}
        loop["loop"] = loop
        bad: list[Any] = [deep, loop, {"o": object()}, {"x": float("nan")}, 5, {1: 2}]

        def source() -> Iterator[Any]:
            for number, one_bad in enumerate(bad):
                yield {"n": number}
                yield one_bad

        async with paid() as service, service.client() as client:
            journal = tmp_path / "journal" if journaled else None
            found = [outcome async for outcome in mapped(client, kind, source(), journal=journal)]
            assert sorted(outcome.index for outcome in found if outcome.ok) == [0, 2, 4, 6, 8, 10]
            wrong = [outcome.error for outcome in found if not outcome.ok]
            assert len(wrong) == 6
            assert all(isinstance(error, TypeError | ValueError) for error in wrong)
            assert len(await service.executed()) == 6


class TestALookUp:
    @both_kinds
    @single_calls
    @pytest.mark.parametrize("created_at", [False, True])
    async def test_has_a_bound(self, kind: str, way: str, created_at: bool) -> None:
        """Thousands of rows, with or without the time of their creation: the error says why it is unknown."""
        async with (
            paid(faults=[{**LOSE_BEFORE, "s": 0.3}], created_at=created_at) as service,
            service.client() as client,
        ):
            many = [{"n": number} for number in range(1500)]
            call = asyncio.create_task(one(client, kind, way, P))
            await sent(service, 1)
            await service.control(foreign={"kind": kind, "inputs": many})
            lost = await call
            assert isinstance(lost, OutcomeUnknownError)
            asked = (await service.verdict())["requests"]["reading"]
            assert asked <= 310
            if kind == "workflow":
                assert asked <= 105 if created_at else asked <= 10
                assert "look-up" in str(lost)
                assert "created" in str(lost) or "rows" in str(lost)
