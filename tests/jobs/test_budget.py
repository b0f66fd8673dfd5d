"""Tests of the budget of a map: the rule as a pure simulation, and the bill of an independent paid service."""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paid_jobs import KINDS, Paid, mapped, paid

from eachlabs_async import BudgetReachedError, EachLabs, ExecutionFailedError
from eachlabs_async.bulk.outcomes import Outcome
from eachlabs_async.jobs.budget import NO_LIMIT, Budget, checked_budget

both_kinds = pytest.mark.parametrize("kind", KINDS)


class TestTheRule:
    def test_without_a_limit_it_only_counts(self) -> None:
        """Nothing is held back."""
        budget = Budget(None)
        for _ in range(100):
            budget.start()
        budget.end(0.25, has_run=True)
        assert (budget.available, budget.spent, budget.running) == (NO_LIMIT, Decimal("0.25"), 99)

    def test_one_runs_until_a_cost_is_known(self) -> None:
        """Then as many as the rest of the budget covers at the mean, rounded up."""
        budget = Budget(Decimal(1))
        assert budget.available == 1
        budget.start()
        assert budget.available == 0
        budget.end(0.3, has_run=True)
        assert budget.available == 3
        budget.start()
        assert budget.available == 2

    def test_executions_without_a_cost_count_at_the_mean(self) -> None:
        """And with costs of 0 alone, as many run at once as have ended."""
        budget = Budget(Decimal(1))
        for cost in (0.0, None, 0.0):
            budget.start()
            budget.end(cost, has_run=True)
        assert budget.available == 3
        for cost in (0.4, None):
            budget.start()
            budget.end(cost, has_run=True)
        assert budget.mean == Decimal("0.4") / 3
        assert budget.expected == Decimal("0.4") + 2 * budget.mean

    def test_what_was_refused_is_not_counted(self) -> None:
        """It never ran."""
        budget = Budget(Decimal(1))
        budget.start()
        budget.end(None, has_run=False)
        assert (budget.available, budget.running, budget.expected) == (1, 0, 0)

    def test_the_error_says_what_was_spent(self) -> None:
        """Its figures are exact, and its text says what to do."""
        budget = Budget(Decimal("0.1"))
        budget.start()
        budget.end(0.3, has_run=True)
        error = budget.reached()
        assert (error.budget_usd, error.spent_usd) == (Decimal("0.1"), Decimal("0.3"))
        assert "another budget" in str(error)

    @given(
        st.floats(0.001, 100, allow_nan=False),
        st.lists(st.none() | st.floats(0, 5, allow_nan=False), max_size=200),
        st.integers(1, 64),
        st.randoms(use_true_random=False),
    )
    def test_the_bill_exceeds_the_budget_by_no_more_than_ran_at_once(
        self, limit: float, costs: list[float | None], concurrency: int, chance: Any
    ) -> None:
        """Whatever the costs and the order in which executions end; and it ends with nothing held back."""
        budget = Budget(checked_budget(limit))
        todo, running, bill = list(costs), [], Fraction()
        while True:
            while todo and budget.available and len(running) < concurrency:
                budget.start()
                running.append(todo.pop())
                most = sum((Fraction(cost or 0.0) for cost in running), Fraction())
                assert bill <= Fraction(limit) or most == 0
            if not running:
                break
            cost = running.pop(chance.randrange(len(running)))
            bill += Fraction(cost or 0.0)
            budget.end(cost, has_run=True)
        assert budget.running == 0
        assert not todo or budget.expected >= Decimal(repr(limit))

    @pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), Decimal("NaN")])
    def test_a_budget_is_above_zero_and_finite(self, value: Any) -> None:
        with pytest.raises(ValueError, match="budget_usd"):
            checked_budget(value)

    @pytest.mark.parametrize("value", ["20", True, [20]])
    def test_a_budget_is_a_number(self, value: Any) -> None:
        with pytest.raises(TypeError, match="budget_usd"):
            checked_budget(value)

    async def test_it_is_checked_at_the_call(self) -> None:
        """Both maps refuse a wrong one before anything is sent."""
        async with EachLabs("key") as client:
            for kind in KINDS:
                with pytest.raises(ValueError, match="budget_usd"):
                    mapped(client, kind, [{}], budget_usd=0)


def priced(count: int, seed: int = 1, **more: Any) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [{"n": number, "price": chance.choice([0.01, 0.05, 0.2]), **more} for number in range(count)]


def most_at_once(executions: list[dict[str, Any]]) -> Decimal:
    """Return the largest sum of prices of executions that ran at the same time, by the service's account."""
    ends: list[tuple[float, Decimal]] = []
    now = most = Decimal()
    for one in sorted(executions, key=lambda one: one["at"]):
        while ends and ends[0][0] <= one["at"]:
            now -= heapq.heappop(ends)[1]
        price = Decimal(repr(one["given"]["price"]))
        now += price
        # The client sees an end a little later than it happens.
        heapq.heappush(ends, (one["ends"] + 1.0, price))
        most = max(most, now)
    return most


def bill_of(executions: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(repr(one["given"]["price"])) for one in executions), Decimal())


async def executions_of(service: Paid) -> list[dict[str, Any]]:
    return list((await service.verdict())["executions"])


async def outcomes_of(run: Any) -> list[Outcome[Any]]:
    async with run as outcomes:
        return [outcome async for outcome in outcomes]


class TestAgainstAPaidService:
    @both_kinds
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_sending_stops_at_the_budget(self, kind: str, ordered: bool) -> None:
        """What runs is waited for; the rest are outcomes that say so, and the stats agree with the service's bill."""
        budget = Decimal("1.5")
        async with paid() as service, service.client() as client:
            run = mapped(client, kind, priced(100), budget_usd=budget, ordered=ordered, concurrency=8)
            outcomes = await outcomes_of(run)
            executions = await executions_of(service)
        bill = bill_of(executions)
        assert budget <= bill <= budget + most_at_once(executions)
        assert Counter(outcome.index for outcome in outcomes) == Counter(range(100))
        held = [outcome for outcome in outcomes if isinstance(outcome.error, BudgetReachedError)]
        assert len(held) == 100 - len(executions)
        assert all(outcome.ok for outcome in outcomes if outcome not in held)
        assert run.stats.spent_usd == bill
        assert run.stats.budget_usd == budget
        assert run.stats.running_usd == 0
        if ordered:
            assert [outcome.index for outcome in outcomes] == list(range(100))

    @both_kinds
    async def test_a_budget_that_is_not_reached_changes_nothing(self, kind: str) -> None:
        """All inputs run."""
        async with paid() as service, service.client() as client:
            outcomes = await outcomes_of(mapped(client, kind, priced(40), budget_usd=1000))
            assert len(await executions_of(service)) == 40
        assert all(outcome.ok for outcome in outcomes)

    @both_kinds
    async def test_failed_executions_and_refused_inputs_are_counted_for_what_they_cost(self, kind: str) -> None:
        """A failure states a cost too; an input that cannot be sent costs nothing."""
        inputs = [{"n": n, "price": 0.1, "fail": n % 2} for n in range(30)] + [{"n": {1}}]
        async with paid() as service, service.client() as client:
            run = mapped(client, kind, [inputs[-1], *inputs[:-1]], budget_usd=0.95, concurrency=2)
            outcomes = await outcomes_of(run)
            executions = await executions_of(service)
        assert len(executions) in (10, 11)
        assert run.stats.spent_usd == bill_of(executions)
        kinds = Counter(type(outcome.error).__name__ for outcome in outcomes if outcome.error is not None)
        assert kinds["BudgetReachedError"] == 30 - len(executions)
        assert kinds["ExecutionFailedError"] == sum(bool(one["given"]["fail"]) for one in executions)
        assert isinstance(next(o.error for o in outcomes if isinstance(o.error, ExecutionFailedError)), Exception)

    @both_kinds
    @pytest.mark.parametrize("acknowledge", [False, True])
    async def test_a_later_run_with_the_same_journal_sends_the_rest(
        self, kind: str, acknowledge: bool, tmp_path: Path
    ) -> None:
        """Over all runs every input is executed once, and each run keeps to its own budget."""
        delivered: Counter[int] = Counter()
        async with paid() as service:
            runs, held = 0, 1
            while held:
                runs += 1
                before = bill_of(await executions_of(service))
                async with service.client() as client:
                    run = mapped(
                        client, kind, priced(60), budget_usd=1, concurrency=4, journal=tmp_path / "journal",
                        acknowledge=acknowledge,
                    )  # fmt: skip
                    held = 0
                    async with run as outcomes:
                        async for outcome in outcomes:
                            held += isinstance(outcome.error, BudgetReachedError)
                            delivered[outcome.index] += outcome.ok
                            if acknowledge:
                                await outcome.acknowledge()
                assert bill_of(await executions_of(service)) - before <= 1 + 4 * Decimal("0.2")
            executions = await executions_of(service)
        assert runs > 3
        assert Counter(one["given"]["n"] for one in executions) == Counter(range(60))
        assert delivered == Counter(range(60))

    @both_kinds
    async def test_lost_answers_do_not_make_it_exceed_the_budget(self, kind: str) -> None:
        """An execution whose answer was lost counts as soon as it is found."""
        budget = Decimal(2)
        rules = {"lose": 0.2, "lose_before": 0.1, "seed": 5}
        async with paid(**rules) as service, service.client() as client:
            await outcomes_of(mapped(client, kind, priced(80), budget_usd=budget, concurrency=4))
            executions = await executions_of(service)
        assert bill_of(executions) <= budget + most_at_once(executions)

    @both_kinds
    async def test_leaving_while_inputs_wait_for_the_budget_ends_at_once(self, kind: str) -> None:
        """No task waits on for an execution to end."""
        async with paid(takes_s=[30, 30]) as service, service.client() as client:
            run = mapped(client, kind, priced(20), budget_usd=1, leave_s=0)
            async with asyncio.timeout(10):
                async with run as outcomes:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(aiter(outcomes)), 0.5)
            assert len(await executions_of(service)) == 1


JOB = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from paid_jobs import POLICY, mapped
from eachlabs_async import EachLabs
from eachlabs_async.hosts import Hosts, Service

async def main():
    bearer = Service({origin!r} + "/v1", "bearer")
    hosts = Hosts(api=bearer, workflows=bearer, flows=bearer, runs=Service({origin!r}), edition="unified")
    async with EachLabs("me", hosts=hosts, retry=POLICY) as client:
        inputs = [{{"n": number, "price": 0.1}} for number in range(30)]
        async with mapped(client, {kind!r}, inputs, budget_usd=0.55, concurrency=3, journal={journal!r}) as outcomes:
            async for outcome in outcomes:
                pass
asyncio.run(main())
"""


@both_kinds
async def test_killed_jobs_execute_no_input_twice_and_keep_to_the_budget_of_each_run(kind: str, tmp_path: Path) -> None:
    """SIGKILL at random moments; every run may spend its own budget, and what ran at once."""
    chance = random.Random(kind)
    async with paid(takes_s=[0.05, 0.2]) as service:
        code = JOB.format(
            tests=str(Path(__file__).parent), origin=service.origin, kind=kind, journal=str(tmp_path / "journal")
        )
        before = Decimal()
        for _ in range(12):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            try:
                await asyncio.wait_for(process.wait(), chance.uniform(0.4, 2.5))
            except TimeoutError:
                process.kill()
                await process.wait()
            bill = bill_of(await executions_of(service))
            assert bill - before <= Decimal("0.55") + 3 * Decimal("0.1")
            before = bill
        counts = Counter(one["given"]["n"] for one in await executions_of(service))
    assert set(counts.values()) == {1}
    assert len(counts) > 5
