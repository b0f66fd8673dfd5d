"""Tests for submitted work at the emulator: it runs, ends as its inputs say, and is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async.emulator import Emulator, Fault, RecordedRequest

ROWS = 12
EDITIONS = ("compat", "unified")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(ROWS, virtual_time=True, step_seconds=10) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def caller(emulator: Emulator, session: aiohttp.ClientSession) -> Caller:
    return Caller(emulator, session)


async def trigger(
    caller: Caller, inputs: Any = None, *, edition: str = "unified", bulk: bool = False, workflow: str = "workflow-1"
) -> tuple[int, Any]:
    """Trigger version `v1` of a workflow, in the way of an edition."""
    word = "bulk-trigger" if bulk else "trigger"
    path = f"/{workflow}/{word}" if edition == "compat" else f"/workflows/{word}/{workflow}/v1"
    body = {} if inputs is None else {"inputs": inputs}
    return await caller.ask("workflows", path, edition=edition, method="POST", json=body)


async def execution(caller: Caller, execution_id: str, *, edition: str = "unified") -> Any:
    prefix = "" if edition == "compat" else "/workflows"
    return await caller.good("workflows", f"{prefix}/executions/{execution_id}", edition=edition)


class TestATriggeredExecution:
    @pytest.mark.parametrize("edition", EDITIONS)
    async def test_runs_step_by_step_to_its_end(self, emulator: Emulator, caller: Caller, edition: str) -> None:
        """It is at the top of the listing at once, its steps run in order, and at its end it has output and cost."""
        status, queued = await trigger(caller, {"prompt": "a"}, edition=edition)
        assert (status, queued["status"]) == (202, "queued")
        assert ("started_at" in queued) == (edition == "compat")
        execution_id = queued["execution_id"]
        page = await caller.good("workflows", "/workflows/workflow-1/executions", edition=edition)
        assert page["executions"][0]["execution_id"] == execution_id
        seen: list[tuple[str, ...]] = []
        for _ in range(3):
            row = await execution(caller, execution_id, edition=edition)
            seen.append((row["status"], *(step["status"] for step in row["step_outputs"].values())))
            emulator.clock.advance(10)
        assert seen == [
            ("running", "running", "queued"),
            ("running", "completed", "running"),
            ("completed", "completed", "completed"),
        ]
        row = await execution(caller, execution_id, edition=edition)
        assert row["inputs"] == {"prompt": "a"}
        assert row["output"] == row["step_outputs"]["step2"]["output"]
        assert row["workflow_output"] == {"image": row["output"][0]}
        assert row["total_cost"] > 0
        assert row["completed_at"] > row["started_at"]
        assert emulator.running == 0
        workflow = await caller.good("workflows", "/workflows/workflow-1", edition=edition)
        assert workflow["trigger_count"] == workflow["versions"][0]["trigger_count"] == 1

    async def test_shows_its_steps_among_the_models_executions(self, emulator: Emulator, caller: Caller) -> None:
        """Each step is a row in the list of executions, with its workflow and execution."""
        _, queued = await trigger(caller, {"fail": 2})
        emulator.clock.advance(15)
        filters = {"workflow_execution_id": queued["execution_id"]}
        page = await caller.good("api", "/executions", **filters)
        assert [row["status"] for row in page["executions"]] == ["starting", "success"]
        assert page["executions"][0]["workflow_id"] == emulator.workflow_ids[0]
        emulator.clock.advance(15)
        page = await caller.good("api", "/executions", error_classification="provider_error", **filters)
        assert [row["status"] for row in page["executions"]] == ["error"]
        row = await execution(caller, queued["execution_id"])
        assert row["step_outputs"]["step1"]["metadata"]["prediction_id"] in emulator.executions

    @pytest.mark.parametrize(
        ("fail", "steps"),
        [
            (True, ["completed", "failed"]),
            (1, ["failed", "cancelled"]),
            (7, ["completed", "failed"]),
            ("step1", ["failed", "cancelled"]),
            ("content_moderation", ["completed", "failed"]),
        ],
    )
    async def test_fails_where_its_input_says(
        self, emulator: Emulator, caller: Caller, fail: Any, steps: list[str]
    ) -> None:
        """It then has error and cause, no output, and the later steps are cancelled."""
        _, queued = await trigger(caller, {"fail": fail})
        emulator.clock.advance(20)
        row = await execution(caller, queued["execution_id"])
        assert row["status"] == "failed"
        assert [step["status"] for step in row["step_outputs"].values()] == steps
        assert "output" not in row
        failed = steps.index("failed") + 1
        assert row["error"] == "ExecutionFailed"
        assert row["error_cause"].startswith(f"Step 'step{failed}' failed: The model failed: ")
        assert ("content moderation" in row["error_cause"]) == (fail == "content_moderation")

    async def test_takes_as_long_as_its_input_says(self, emulator: Emulator, caller: Caller) -> None:
        """`seconds` is for all steps together; a value that is not a number is an input like any other."""
        quick = (await trigger(caller, {"seconds": 1}))[1]["execution_id"]
        slow = (await trigger(caller, {"seconds": 100}))[1]["execution_id"]
        usual = (await trigger(caller, {"seconds": "x"}))[1]["execution_id"]
        ended: dict[str, float] = {}
        while emulator.running:
            emulator.clock.advance(1)
            for one in (quick, slow, usual):
                if (await execution(caller, one))["status"] == "completed":
                    ended.setdefault(one, emulator.clock.seconds)
        assert ended == {quick: 1, usual: 20, slow: 100}

    async def test_ends_without_a_clock_to_turn(self, session: aiohttp.ClientSession) -> None:
        """In real time it ends after its steps; a share of executions fails, the same ones for a seed."""
        fates: list[list[str]] = []
        for _ in range(2):
            async with Emulator(ROWS, step_seconds=0.01, fail_rate=0.5) as emulator:
                caller = Caller(emulator, session)
                ids = [(await trigger(caller, {"n": n}))[1]["execution_id"] for n in range(8)]
                async with asyncio.timeout(5):
                    while emulator.running:
                        await asyncio.sleep(0.005)
                fates.append([emulator.workflow_executions.get(one)["status"] for one in ids])
        assert fates[0] == fates[1]
        assert set(fates[0]) == {"completed", "failed"}

    async def test_stays_where_a_test_leaves_it(self, emulator: Emulator, caller: Caller) -> None:
        """An execution that a test removes or cancels does not run on."""
        ids = [(await trigger(caller, {"n": n}))[1]["execution_id"] for n in range(3)]
        emulator.executions.remove(0, 1, 2)
        emulator.workflow_executions.remove(ids[0])
        emulator.workflow_executions.change(ids[1], status="cancelled")
        emulator.clock.advance(30)
        assert emulator.running == 0
        assert ids[0] not in emulator.workflow_executions
        assert (await execution(caller, ids[1]))["status"] == "cancelled"
        assert (await execution(caller, ids[2]))["status"] == "completed"

    async def test_is_held_until_it_ends(self, emulator: Emulator, caller: Caller) -> None:
        """The compat edition's long poll answers when the clock reaches the end."""
        emulator.hold_unfinished = 1
        _, queued = await trigger(caller)
        held = asyncio.create_task(execution(caller, queued["execution_id"], edition="compat"))
        while emulator.in_flight < 1:
            await asyncio.sleep(0.001)
        emulator.clock.advance(20)
        assert (await held)["status"] == "completed"


class TestABulkTrigger:
    @pytest.mark.parametrize("edition", EDITIONS)
    async def test_makes_one_execution_for_each_input(self, emulator: Emulator, caller: Caller, edition: str) -> None:
        """They have a common bulk id, which filters the listing, and are in the order of the inputs."""
        inputs = [{"n": n} for n in range(10)]
        status, answer = await trigger(caller, inputs, edition=edition, bulk=True)
        assert status == 202
        ids = [one["execution_id"] for one in answer["executions"]]
        assert [emulator.workflow_executions.get(one)["inputs"] for one in ids] == inputs
        page = await caller.good(
            "workflows", "/workflows/workflow-1/executions", edition=edition, bulk_id=answer["bulk_id"]
        )
        assert [row["execution_id"] for row in page["executions"]] == ids[::-1]
        assert (await execution(caller, ids[0], edition=edition))["bulk_id"] == answer["bulk_id"]

    @pytest.mark.parametrize("inputs", [None, [], [{}] * 11, [{}, "x"], {"n": 1}])
    async def test_takes_one_to_ten_objects(self, emulator: Emulator, caller: Caller, inputs: Any) -> None:
        """Anything else is a 400, and nothing is created."""
        assert (await trigger(caller, inputs, bulk=True))[0] == 400
        assert emulator.submitted == []

    async def test_names_the_inputs_that_it_refuses(self, emulator: Emulator, caller: Caller) -> None:
        """The other inputs are queued, each at its index."""
        status, answer = await trigger(caller, [{"n": 1}, {"invalid": "too rude"}, {"n": 2}], bulk=True)
        assert status == 202
        assert [one["status"] for one in answer["executions"]] == ["queued", "failed", "queued"]
        assert answer["executions"][1] == {"status": "failed", "message": "invalid input: too rude"}
        assert [one.inputs for one in emulator.submitted] == [{"n": 1}, {"n": 2}]


class TestTheAccount:
    async def test_counts_what_it_took_on(self, emulator: Emulator, caller: Caller) -> None:
        """`submitted` lists everything in order, with its inputs; `running` and `max_running` count."""
        await trigger(caller, {"n": 1})
        _, answer = await trigger(caller, [{"n": 2}, {"n": 3}], bulk=True)
        emulator.clock.advance(5)
        body = {"model": "flux-1-1-pro", "input": {"n": 4}}
        created = await caller.good("api", "/prediction", method="POST", json=body)
        assert [one.inputs["n"] for one in emulator.submitted] == [1, 2, 3, 4]
        assert [one.kind for one in emulator.submitted] == ["workflow"] * 3 + ["prediction"]
        assert [one.target for one in emulator.submitted] == [emulator.workflow_ids[0]] * 3 + ["flux-1-1-pro"]
        assert [one.bulk_id for one in emulator.submitted] == [None, *[answer["bulk_id"]] * 2, None]
        assert [one.version for one in emulator.submitted] == ["v1"] * 3 + [None]
        assert [one.seconds for one in emulator.submitted] == [0, 0, 0, 5]
        assert emulator.submitted[3].id == created["predictionID"]
        assert emulator.running == 4
        emulator.clock.advance(100)
        assert (emulator.running, emulator.max_running, len(emulator.submitted)) == (0, 4, 4)
        emulator.reset_counters()
        assert (emulator.max_running, len(emulator.submitted)) == (0, 4)

    async def test_has_a_cap_on_what_runs_at_once(self, emulator: Emulator, caller: Caller) -> None:
        """Beyond it is a 429 that names it and creates nothing; a slot is free when one has ended."""
        emulator.account_cap = 2
        emulator.cap_retry_after = 3
        await trigger(caller, {"seconds": 5})
        await trigger(caller, {"seconds": 50})
        for refused in (await trigger(caller), await trigger(caller, [{}], bulk=True)):
            assert refused[0] == 429
            assert refused[1]["details"]["limit"] == 2
        body = {"model": "flux-1-1-pro", "input": {}}
        url = emulator.hosts.api.base_url + "/prediction"
        async with caller.session.post(url, json=body, headers={"X-API-Key": emulator.api_key}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
        assert len(emulator.submitted) == 2
        emulator.clock.advance(5)
        assert (await trigger(caller))[0] == 202
        assert emulator.max_running == 2

    async def test_refuses_a_bulk_that_does_not_fit_as_a_whole(self, emulator: Emulator, caller: Caller) -> None:
        """With `partial_bulks`, it accepts the part that fits and fails the other entries."""
        emulator.account_cap = 3
        await trigger(caller)
        inputs = [{"n": 1}, {"invalid": "no"}, {"n": 2}, {"n": 3}]
        assert (await trigger(caller, inputs, bulk=True))[0] == 429
        assert len(emulator.submitted) == 1
        emulator.partial_bulks = True
        status, answer = await trigger(caller, inputs, bulk=True)
        assert status == 202
        assert [one["status"] for one in answer["executions"]] == ["queued", "failed", "queued", "failed"]
        assert "limit" in answer["executions"][3]["message"]
        assert (await trigger(caller, inputs, bulk=True))[0] == 429
        emulator.account_cap = None
        assert (await trigger(caller, inputs, bulk=True))[0] == 202

    async def test_can_be_out_of_money(self, emulator: Emulator, caller: Caller) -> None:
        """Every submission is then a 402, and reading still works."""
        emulator.balance_low = True
        assert (await trigger(caller))[0] == 402
        assert (await trigger(caller, [{}], bulk=True))[0] == 402
        body = {"model": "flux-1-1-pro", "input": {}}
        assert (await caller.ask("api", "/prediction", method="POST", json=body))[0] == 402
        await caller.good("api", "/executions")
        assert emulator.submitted == []

    async def test_reserves_an_estimate_for_what_runs(self, emulator: Emulator, caller: Caller) -> None:
        """What the remaining balance does not cover is a 402 with the amounts, until something has ended."""
        emulator.balance, emulator.estimate = 1.0, 0.4
        await trigger(caller, {"seconds": 5})
        status, answer = await trigger(caller, [{}, {}], bulk=True)
        assert (status, answer["error"]) == (402, "insufficient balance")
        assert answer["details"] == {"reserved": 0.4, "available": 0.6, "required": 0.8}
        emulator.partial_bulks = True
        status, answer = await trigger(caller, [{"seconds": 5}, {}], bulk=True)
        assert [one["status"] for one in answer["executions"]] == ["queued", "failed"]
        assert answer["executions"][1]["message"] == "insufficient balance"
        body = {"model": "flux-1-1-pro", "input": {}}
        assert (await caller.ask("api", "/prediction", method="POST", json=body))[0] == 402
        emulator.clock.advance(5)
        spent = sum(emulator.workflow_executions[one.target].get(one.id)["total_cost"] for one in emulator.submitted)
        assert emulator.balance == pytest.approx(1.0 - spent)
        assert (await caller.ask("api", "/prediction", method="POST", json=body))[0] == 200
        emulator.clock.advance(10)
        assert emulator.balance == pytest.approx(1.0 - spent - 0.0125)
        assert len(emulator.submitted) == 3

    async def test_blocks_a_burst_until_nobody_tries_for_a_while(self, emulator: Emulator, caller: Caller) -> None:
        """Too many starts in a second are a 429 without a time; each try during the block prolongs it."""
        emulator.burst, emulator.burst_silence = 3, 90
        assert (await trigger(caller, [{}, {}, {}], bulk=True))[0] == 202
        assert not emulator.blocked
        for _ in range(4):
            status, answer = await trigger(caller)
            assert (status, answer["error"]) == (429, "too many executions were started at once")
            assert emulator.blocked
            emulator.clock.advance(89)
        await caller.good("api", "/executions")
        emulator.clock.advance(1)
        assert not emulator.blocked
        assert (await trigger(caller, [{}, {}], bulk=True))[0] == 202
        emulator.clock.advance(1)
        assert (await trigger(caller, [{}, {}], bulk=True))[0] == 202
        assert len(emulator.submitted) == 7

    def test_checks_its_arguments(self) -> None:
        """A share is 0..1, and an unknown keyword is a `TypeError`."""
        with pytest.raises(ValueError, match="fail_rate"):
            Emulator(1, fail_rate=2)
        with pytest.raises(TypeError):
            Emulator(1, nonsense=1)


async def lost(fault: Fault) -> Emulator:
    """Trigger once with a fault that loses the answer, and return the emulator."""
    async with aiohttp.ClientSession() as session, Emulator(ROWS, virtual_time=True) as emulator:
        emulator.faults.add(fault, endpoint="workflows.trigger", times=1)
        asking = asyncio.create_task(trigger(Caller(emulator, session), {"n": 1}))
        while not asking.done() and not (fault.kind.startswith("stalled") and emulator.faults.injected):
            await asyncio.sleep(0.001)
        asking.cancel()
        (outcome,) = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(outcome, BaseException) or outcome[0] == 503
        assert emulator.faults.injected.total() == 1
        return emulator


class TestAFaultStrikes:
    @pytest.mark.parametrize(
        "make",
        [
            Fault.reset,
            Fault.stalled_answer,
            Fault.html,
            lambda **late: Fault.status(503, **late),
            lambda **late: Fault.html(200, **late),
        ],
    )
    async def test_before_or_after_the_state_has_changed(self, make: Callable[..., Fault]) -> None:
        """By default nothing is carried out; with `late=True` it is, and only the answer is lost."""
        assert (await lost(make())).submitted == []
        emulator = await lost(make(late=True))
        assert [one.inputs for one in emulator.submitted] == [{"n": 1}]
        assert emulator.running == 1

    @pytest.mark.parametrize("fault", [Fault.cut_headers(), Fault.cut_body(), Fault.stalled_body()], ids=repr)
    async def test_after_it_where_the_answer_breaks_half_way(self, fault: Fault) -> None:
        """A cut or stalled answer belongs to a request that was carried out."""
        assert fault.late
        assert len((await lost(fault)).submitted) == 1

    async def test_at_random_after_it_too(self, emulator: Emulator, caller: Caller) -> None:
        """Random faults may be late: a request answered with 503 was carried out."""
        emulator.faults.random(0.5, [Fault.status(503, late=True)], endpoint="workflows.trigger")
        answers = [(await trigger(caller, {"n": n}))[0] for n in range(20)]
        assert set(answers) == {202, 503}
        assert [one.inputs["n"] for one in emulator.submitted] == list(range(20))

    async def test_an_answer_of_any_success(self, emulator: Emulator, caller: Caller) -> None:
        """An edit also applies to a 202, and rows in a bare array can be null."""

        def reworded(answer: Any, seen: RecordedRequest) -> Any:
            return {**answer, "status": "waiting", "asked": seen.json()["inputs"]}

        emulator.faults.add(Fault.edit(reworded), endpoint="workflows.trigger")
        status, answer = await trigger(caller, {"n": 1})
        assert (status, answer["status"], answer["asked"]) == (202, "waiting", {"n": 1})
        emulator.faults.add(Fault.null_rows())
        assert await caller.good("api", "/models") is None


def test_the_end_of_the_block_ends_all_that_runs() -> None:
    """No task is left, and unfinished work goes on when the emulator is entered again."""

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            emulator = Emulator(ROWS, step_seconds=0.05)
            async with emulator:
                await trigger(Caller(emulator, session))
            before = len(asyncio.all_tasks())
            await asyncio.sleep(0.15)
            assert emulator.running == 1
            assert len(asyncio.all_tasks()) == before
            async with emulator, asyncio.timeout(5):
                while emulator.running:
                    await asyncio.sleep(0.005)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
