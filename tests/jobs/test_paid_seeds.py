"""Random scenarios against the paid service: a bill of one for each input, each index once, nobody another's result.

`EACHLABS_PAID_SEEDS=300` tries so many seeds of each family, from `EACHLABS_PAID_FIRST` (0) on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from paid_jobs import Paid, mapped, paid

from eachlabs_async import EachLabs, ExecutionFailedError, OutcomeUnknownError

FIRST, COUNT = int(os.environ.get("EACHLABS_PAID_FIRST", "0")), int(os.environ.get("EACHLABS_PAID_SEEDS", "3"))
seeds = pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
Given = tuple[str, dict[str, Any]]
"""An id that a call returned, and what was sent."""


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of look-ups, and the lag after which a listing shows everything."""
    monkeypatch.setattr("eachlabs_async.jobs.map_recovery.LOOKUP_DELAYS_S", (0.0, 0.05, 0.1, 0.2))
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.3)


def rules_of(chance: random.Random) -> dict[str, Any]:
    """Return the rules of one scenario. No other client sends the same where ours may not be executed."""
    twins = chance.random() < 0.3
    return {
        "seed": chance.randrange(10**6),
        "takes_s": [0.01, chance.choice([0.02, 0.2])],
        "listing_lag_s": [0.0, chance.choice([0.0, 0.1, 0.2])],
        "detail_late_s": [0.0, chance.choice([0.0, 0.05, 0.3])],
        "detail_lag_s": [0.0, chance.choice([0.0, 0.2])],
        "defaults": chance.choice([{}, {}, {"seed": 5}, {"q": 1, "deep": {"x": [1]}}]),
        "omit_inputs": chance.choice([0.0, 0.5, 1.0]),
        "omit_in_detail": 0.0,
        "skew_s": chance.choice([0.0, -7200.0, 3600.4]),
        "whole_seconds": chance.random() < 0.2,
        "cap": chance.choice([0, 0, 12]),
        "lose": chance.choice([0.05, 0.2]),
        "lose_before": 0.0 if twins else chance.choice([0.0, 0.15]),
        "short": chance.choice([0.0, 0.1]),
        "reverse": chance.choice([0.0, 0.2]),
        "delay": 0.2,
        "delay_s": [0.0, 0.3],
        "twins": 0.3 if twins else 0.0,
    }


def inputs_of(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Return inputs of which some are equal and some contain others."""
    names = chance.choice([3, count, 10 * count])
    return [
        {"n": chance.randrange(names), **chance.choice([{}, {}, {"q": 1}, {"q": 2, "fail": True}])}
        for _ in range(count)
    ]


class Scenario:
    """What was sent and what came of it, over all calls of one client."""

    def __init__(self, service: Paid, client: EachLabs, kind: str, chance: random.Random, folder: Path) -> None:
        self.service = service
        self.client = client
        self.kind = kind
        self.chance = chance
        self.folder = folder
        self.sent: list[dict[str, Any]] = []
        self.got: list[Given] = []
        self.unknown = 0

    async def map(self, number: int, *, cut: bool) -> None:
        """Run a map to its end; with `cut` it is cancelled and resumed at random times."""
        inputs = inputs_of(self.chance, self.chance.randint(5, 25))
        self.sent += inputs
        seen: Counter[int] = Counter()
        in_hand: int | None = None
        journal = self.folder / f"journal-{number}" if cut or self.chance.random() < 0.3 else None

        async def go() -> None:
            nonlocal in_hand
            again, in_hand = in_hand, None
            ordered = self.chance.random() < 0.3
            async with mapped(self.client, self.kind, inputs, journal=journal, ordered=ordered) as outcomes:
                async for outcome in outcomes:
                    in_hand = outcome.index
                    if outcome.index == again:
                        continue  # It was in the hands of the loop that was cancelled, so it may come again.
                    seen[outcome.index] += 1
                    if isinstance(outcome.error, OutcomeUnknownError):
                        self.unknown += 1
                    else:
                        failed = isinstance(outcome.error, ExecutionFailedError)
                        assert failed == ("fail" in inputs[outcome.index]), outcome.error
                        self.got.append((outcome.id, inputs[outcome.index]))

        for _ in range(3 if cut else 0):
            job = asyncio.create_task(go())
            await asyncio.wait([job], timeout=self.chance.uniform(0.02, 0.5))
            job.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await job
        await go()
        assert sorted(seen.elements()) == list(range(len(inputs))), "an outcome is missing, or came twice"

    async def singles(self) -> None:
        """Create one after the other by single calls that reconcile."""
        for inputs in inputs_of(self.chance, 4):
            self.sent.append(inputs)
            await asyncio.sleep(self.chance.uniform(0.0, 0.2))
            try:
                if self.kind == "workflow":
                    found = (await self.client.workflows.trigger("w", "v", inputs, reconcile=True)).execution_id
                else:
                    found = (await self.client.predictions.create("m", inputs, reconcile=True)).id
            except OutcomeUnknownError:
                self.unknown += 1
            else:
                self.got.append((found, inputs))

    async def bulk(self) -> None:
        """Trigger a bulk that reconciles."""
        inputs = inputs_of(self.chance, self.chance.randint(1, 4))
        self.sent += inputs
        try:
            answer = await self.client.workflows.bulk_trigger("w", "v", inputs, reconcile=True)
        except OutcomeUnknownError:
            self.unknown += len(inputs)
            return
        self.got += [(str(one.execution_id), given) for one, given in zip(answer.executions, inputs, strict=True)]

    async def judge(self, defaults: dict[str, Any]) -> None:
        """Assert what holds whatever happened; inputs that differ by no more than `defaults` count as equal."""
        said = await self.service.verdict()
        mine = {one["id"]: one["given"] for one in said["executions"] if one["name"] == "me"}
        wanted = Counter(map(repr, self.sent))
        executed = Counter(map(repr, mine.values()))
        assert not executed - wanted, "an input was billed twice"
        assert len({identity for identity, _ in self.got}) == len(self.got), "two calls were given one execution"
        for identity, given in self.got:
            assert identity in mine, f"another client's execution {identity} was given to this one, for {given}"
            assert {**defaults, **mine[identity]} == {**defaults, **given}, (
                f"the execution {identity} of {mine[identity]} was given for {given}"
            )
        assert len(self.got) + self.unknown == len(self.sent)
        assert len(mine) >= len(self.got)


@seeds
@pytest.mark.parametrize("kind", ["workflow", "prediction"])
async def test_whatever_happens(kind: str, seed: int, tmp_path: Path) -> None:
    """Two maps and single calls of one client at once, with equal inputs, faults and other clients."""
    chance = random.Random(f"{kind}{seed}")
    rules = rules_of(chance)
    if kind == "workflow" and rules["reverse"]:
        rules["twins"] = 0.0
    async with paid(**rules) as service, service.client() as client:
        await service.control(foreign={"kind": kind, "inputs": inputs_of(chance, 20), "ago_s": 5.0})
        scenario = Scenario(service, client, kind, chance, tmp_path)
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(scenario.map(0, cut=chance.random() < 0.5))
            group.create_task(scenario.map(1, cut=False))
            group.create_task(scenario.singles())
            if kind == "workflow" and not rules["reverse"]:  # By itself an answer in another order cannot be told.
                group.create_task(scenario.bulk())
        # After an answer in another order, inputs that defaults make equal cannot be told apart.
        await scenario.judge(rules["defaults"] if rules["reverse"] and kind == "workflow" else {})
