"""Tests for creating calls: each is sent once, and after a lost answer a look-up finds its execution or reports it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from raw_server import Act, RawServer, RecordedRequest, answer, client_of, hosts_at, reset

from eachlabs_async import EachLabs, Poll, RetryPolicy, Timeouts, to_dict
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import OutcomeUnknownError, RateLimitError, ServerError

QUICK = RetryPolicy(base_s=0.01, cap_s=0.02)
LOST = [Fault.reset(late=True), Fault.status(503, late=True), Fault.cut_body(0.3), Fault.html(200, late=True)]


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the lag after which a listing shows everything."""
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 0.02)


@pytest.fixture(params=["compat", "unified"])
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client_for(emulator: Emulator, edition: str = "compat", **options: Any) -> EachLabs:
    hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
    return EachLabs(emulator.api_key, hosts=hosts, **{"retry": QUICK, **options})


def workflow_of(emulator: Emulator) -> tuple[str, str]:
    workflow = next(iter(emulator.workflows))["workflow_id"]
    return workflow, emulator.workflows.get(workflow)["versions"][0]["version_id"]


def model_of(emulator: Emulator) -> str:
    return str(next(iter(emulator.models))["slug"])


# ---- against the emulator


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: str(fault.kind))
async def test_a_lost_answer_is_found_again(fault: Fault, edition: str) -> None:
    """A trigger that was carried out and whose answer is lost returns its execution; it was sent once."""
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        workflow, version = workflow_of(emulator)
        await client.workflows.trigger(workflow, version, {"prompt": "other"})
        emulator.faults.add(fault, endpoint="workflows.trigger", times=1)
        found = await client.workflows.trigger(workflow, version, {"prompt": "mine"}, reconcile=True)
        assert found.execution_id == emulator.submitted[-1].id
        assert [one.inputs["prompt"] for one in emulator.submitted] == ["other", "mine"]
        done = await client.workflow_executions.wait(found, poll=Poll(first_s=0.01, cap_s=0.02))
        assert done.inputs == {"prompt": "mine"}


async def test_a_lost_bulk_is_found_again_whole(edition: str) -> None:
    """A bulk trigger whose answer is lost returns its bulk in the order of the inputs, equal inputs included."""
    inputs = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}]
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        workflow, version = workflow_of(emulator)
        emulator.faults.add(Fault.reset(late=True), endpoint="workflows.bulk_trigger", times=1)
        found = await client.workflows.bulk_trigger(workflow, version, inputs, reconcile=True)
        by_id = {one.id: one for one in emulator.submitted}
        assert [by_id[str(one.execution_id)].inputs for one in found.executions] == inputs
        assert {one.bulk_id for one in emulator.submitted} == {found.bulk_id}
        assert len(by_id) == 3


async def test_a_lost_prediction_is_found_again(edition: str) -> None:
    """A prediction that was created and whose answer is lost returns its id; others of the same model are not taken."""
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        model = model_of(emulator)
        await client.predictions.create(model, {"prompt": "other"})
        emulator.faults.add(Fault.reset(late=True), endpoint="predictions.create", times=1)
        found = await client.predictions.create(model, {"prompt": "mine"}, reconcile=True)
        assert found.id == emulator.submitted[-1].id
        assert found.status is None
        assert len(emulator.submitted) == 2


async def test_what_was_not_carried_out_is_not_found(edition: str) -> None:
    """If nothing was created, the error has no candidates and says where to look."""
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        workflow, version = workflow_of(emulator)
        emulator.faults.add(Fault.reset(), endpoint=["workflows.trigger", "predictions.create"], times=2)
        before = datetime.now(UTC)
        with pytest.raises(OutcomeUnknownError, match="found no candidates") as unknown:
            await client.workflows.trigger(workflow, version, {"prompt": "mine"}, reconcile=True)
        lookup = unknown.value.lookup
        assert lookup["workflow_id"] == workflow
        assert datetime.fromisoformat(lookup["since"]) < before < datetime.fromisoformat(lookup["until"])
        assert (unknown.value.candidates, unknown.value.attempts) == ((), 1)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await client.predictions.create(model_of(emulator), {"prompt": "mine"}, reconcile=True)
        assert await client.executions.list(**unknown.value.lookup).collect() == []
        assert not emulator.submitted


async def test_of_two_alike_none_is_taken(edition: str) -> None:
    """Executions of another client with the same inputs at the same moment are candidates; none of them is chosen."""
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        async with client_for(emulator, edition) as other:
            workflow, version = workflow_of(emulator)
            await other.workflows.trigger(workflow, version, {"prompt": "mine"})
            emulator.faults.add(Fault.reset(late=True), endpoint="workflows.trigger", times=1)
            with pytest.raises(OutcomeUnknownError, match="found 2 candidates") as unknown:
                await client.workflows.trigger(workflow, version, {"prompt": "mine"}, reconcile=True)
            assert set(unknown.value.candidates) == {one.id for one in emulator.submitted}


async def test_what_this_client_knows_is_not_taken_for_the_lost_one(edition: str) -> None:
    """Of equal inputs that one client sends at once, each lost one gets an execution that no other call has."""
    async with Emulator(executions=20) as emulator, client_for(emulator, edition) as client:
        workflow, version = workflow_of(emulator)
        emulator.faults.add(Fault.reset(late=True), endpoint="workflows.trigger", times=1, after=1)
        calls = [client.workflows.trigger(workflow, version, {"prompt": "x"}, reconcile=True) for _ in range(4)]
        found = await asyncio.gather(*calls)
        assert sorted(one.execution_id for one in found) == sorted(one.id for one in emulator.submitted)
        model = model_of(emulator)
        emulator.faults.add(Fault.reset(late=True), endpoint="predictions.create", times=1, after=1)
        made = await asyncio.gather(
            *(client.predictions.create(model, {"prompt": "x"}, reconcile=True) for _ in range(4))
        )
        assert sorted(one.id for one in made) == sorted(one.id for one in emulator.submitted[4:])


async def test_without_reconcile_nothing_is_looked_for() -> None:
    """The error is raised without a look-up, with its reason and where to look."""
    async with Emulator(executions=20) as emulator, client_for(emulator) as client:
        emulator.faults.add(Fault.status(503, late=True), endpoint=["predictions.create", "workflows.create"])
        with pytest.raises(OutcomeUnknownError) as unknown:
            await client.predictions.create(model_of(emulator), {"prompt": "x"})
        assert isinstance(unknown.value.reason, ServerError)
        assert unknown.value.lookup["model"] == model_of(emulator)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await client.workflows.create("N", {"steps": [{}]})
        assert unknown.value.lookup == {}
        assert sum(emulator.requests.values()) == 2


async def test_a_cap_is_no_unknown_outcome() -> None:
    """A 429 created nothing: the call is retried until a slot is free, or raises the error."""
    async with Emulator(executions=5, account_cap=1, step_seconds=0.05) as emulator, client_for(emulator) as client:
        model = model_of(emulator)
        await client.predictions.create(model, {"prompt": "a"})
        await client.with_options(retry=RetryPolicy(base_s=0.03, max_attempts=20)).predictions.create(
            model, {"prompt": "b"}
        )
        with pytest.raises(RateLimitError) as refused:
            await client.with_options(retry=RetryPolicy.none()).predictions.create(model, {"prompt": "c"})
        assert refused.value.details["limit"] == 1
        assert len(emulator.submitted) == 2


# ---- against a scripted server


def server_date(shift: timedelta = timedelta()) -> dict[str, str]:
    return {"Date": format_datetime(datetime.now(UTC) + shift, usegmt=True)}


class Service:
    """A workflows and an api service whose clock is shifted and whose listings show lost executions late."""

    def __init__(self, *, shift_s: float = 0.0, late: int = 0, rows: Callable[[], list[dict[str, Any]]]) -> None:
        self.shift = timedelta(seconds=shift_s)
        self.late = late
        self.rows = rows
        self.looks = 0

    def __call__(self, seen: RecordedRequest) -> Act:
        if seen.method == "POST":
            return reset()
        if "limit=1&" in seen.target:
            self.looks += 1
            return answer(json={"executions": [], "total_count": 0}, headers=server_date(self.shift))
        shown = self.rows() if self.looks > self.late else []
        if "/executions/" in seen.target or "/prediction/" in seen.target:
            name = seen.target.rpartition("/")[2].partition("?")[0]
            row = next((row for row in self.rows() if name in (row.get("execution_id"), row.get("id"))), None)
            return answer(json=row) if row is not None else answer(404)
        page = shown[int(seen.target.partition("offset=")[2]) :][:100]
        return answer(json={"executions": page, "total_count": len(shown), "total_capped": False})


def row(number: int, created: datetime, **more: Any) -> dict[str, Any]:
    at = created.isoformat().replace("+00:00", "Z")
    base = {"execution_id": f"e-{number}", "id": f"e-{number}", "status": "running", "created_at": at}
    return {**base, "inputs": {"a": number}, "version_id": "v1", **more}


async def test_the_service_s_clock_bounds_the_look() -> None:
    """Of executions with the same inputs, only the one from the time of the call counts, by the service's clock."""
    shift = timedelta(hours=3)
    now = datetime.now(UTC)
    rows = [row(1, now + shift + timedelta(seconds=0.1)), row(2, now, inputs={"a": 1}), row(3, now - timedelta(days=1))]
    async with RawServer(then=Service(shift_s=shift.total_seconds(), rows=lambda: rows)) as server:
        async with client_of(server, retry=QUICK) as client:
            found = await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)
    assert found.execution_id == "e-1"


async def test_a_row_may_be_late() -> None:
    """A listing that does not show the execution at once is read again, a few times."""
    began = datetime.now(UTC)
    service = Service(late=2, rows=lambda: [row(1, began)])
    async with RawServer(then=service) as server, client_of(server, retry=QUICK) as client:
        assert (await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)).execution_id == "e-1"
        assert service.looks == 3
        service.late, service.looks = 99, 0
        with pytest.raises(OutcomeUnknownError):
            await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)
        assert service.looks == 5
        service.looks = 0
        hurried = client.with_options(retry=RetryPolicy(base_s=0.2), timeouts=Timeouts(deadline_s=0.5))
        with pytest.raises(OutcomeUnknownError):
            await hurried.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)
        assert service.looks == 2


async def test_only_new_executions_of_the_version_are_read() -> None:
    """The look-up stops at the first page from before the call; a listing in ascending order is read to its end."""
    old = datetime.now(UTC) - timedelta(hours=1)
    many = [row(number, old - timedelta(seconds=number)) for number in range(2, 300)]
    ours = row(1, datetime.now(UTC), version_id="v1")
    others = [row(0, datetime.now(UTC), version_id="v2", inputs={"a": 1}), row(9, datetime.now(UTC), created_at=None)]
    service = Service(rows=lambda: [*others, ours, *many])
    async with RawServer(then=service) as server, client_of(server, retry=QUICK) as client:
        assert (await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)).execution_id == "e-1"
        read = [target for target in server.targets if "limit=100" in target]
        one_look = [
            "/workflows/workflows/wf/executions?limit=100&offset=0",
            "/workflows/workflows/wf/executions?limit=100&offset=99",
        ]
        assert read == one_look * 2, "the second look confirms the match"
        last = row(1, datetime.now(UTC), execution_id="e-last")
        service.rows = lambda: [*reversed(many), last]
        assert (await client.workflows.trigger("wf", None, {"a": 1}, reconcile=True)).execution_id == "e-last"


async def test_inputs_that_the_listing_leaves_out_are_read_once() -> None:
    """If a row has no inputs, the execution is read, and a later look-up does not read it again."""
    bare = row(1, datetime.now(UTC))
    shown = [{name: value for name, value in bare.items() if name != "inputs"}]
    service = Service(rows=lambda: shown)
    full = {"execution_id": "e-1", "status": "running", "inputs": {"a": 2}}

    def script(seen: RecordedRequest) -> Act:
        return answer(json=full) if "/executions/e-1" in seen.target else service(seen)

    async with RawServer(then=script) as server, client_of(server, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)
        assert len([target for target in server.targets if "/executions/e-1" in target]) == 1
        found = await client.workflows.trigger("wf", "v1", {"a": 2}, reconcile=True)
        assert found.execution_id == "e-1"


async def test_a_prediction_that_is_not_there_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction that is listed before it can be read is read by the next look-up."""
    monkeypatch.setattr("eachlabs_async.jobs.reconcile.LISTING_LAG_S", 1.0)  # so long that the second look is within it
    made = row(1, datetime.now(UTC), input={"a": 1}, status="starting")
    listed = [made, row(2, datetime.now(UTC), input={"a": 1}, workflow_id="w")]
    service = Service(rows=lambda: listed)

    def script(seen: RecordedRequest) -> Act:
        return answer(404) if "/prediction/" in seen.target and service.looks < 2 else service(seen)

    async with RawServer(then=script) as server, client_of(server, retry=QUICK) as client:
        found = await client.predictions.create("m", {"a": 1}, reconcile=True)
    assert (found.id, service.looks) == ("e-1", 3), "the third look confirms the match"


async def test_a_look_that_fails_leaves_the_outcome_unknown() -> None:
    """The trigger's error is raised, and says that the look-up failed too."""

    def script(seen: RecordedRequest) -> Act:
        return reset() if seen.method == "POST" else answer(403, json={"error": "not yours"})

    async with RawServer(then=script) as server, client_of(server, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError, match="the look-up failed: not yours") as unknown:
            await client.workflows.trigger("wf", "v1", {"a": 1}, reconcile=True)
        assert unknown.value.method == "POST"

    rows = Service(rows=lambda: [row(1, datetime.now(UTC))])

    def other(seen: RecordedRequest) -> Act:
        return answer(500) if "/prediction/" in seen.target else rows(seen)

    async with RawServer(then=other) as server, client_of(server, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError, match="the look-up failed"):
            await client.predictions.create("m", {"a": 1}, reconcile=True)


async def test_a_bulk_that_is_not_whole_is_not_taken() -> None:
    """A bulk with a missing row is only a candidate, and so is each of two bulks with the same inputs."""
    now = datetime.now(UTC)
    rows = [row(1, now, bulk_id="b")]
    async with RawServer(then=Service(rows=lambda: rows)) as server, client_of(server, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError, match=r"found 1 candidate \(") as unknown:
            await client.workflows.bulk_trigger("wf", "v1", [{"a": 1}, {"a": 2}], reconcile=True)
        assert unknown.value.candidates == ("e-1",)
        rows.append(row(2, now, bulk_id="c"))
        with pytest.raises(OutcomeUnknownError, match="found 2 candidates"):
            await client.workflows.bulk_trigger("wf", "v1", [{"a": 1}, {"a": 2}], reconcile=True)
        rows[1:] = [row(2, now, bulk_id="b"), row(3, now, bulk_id=None, inputs={"a": 1})]
        found = await client.workflows.bulk_trigger("wf", "v1", [{"a": 2}, {"a": 1}], reconcile=True)
        assert [one.execution_id for one in found.executions] == ["e-2", "e-1"]
        assert json.dumps(to_dict(found))


async def test_a_webhook_s_secret_is_in_no_traceback() -> None:
    """The frames of a failed trigger show neither the key nor the webhook's secret."""
    async with RawServer(then=reset()) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            for call in (
                client.workflows.trigger("wf", "v1", webhook_secret="s3cret"),
                client.workflows.bulk_trigger("wf", "v1", [{}], webhook_secret="s3cret"),
                client.public_workflows.trigger("n", "s", "v1", webhook_secret="s3cret"),
                client.predictions.create("m", {}, webhook_secret="s3cret"),
            ):
                with pytest.raises(OutcomeUnknownError) as unknown:
                    await call
                frame = unknown.value.__traceback__
                frame = frame.tb_next if frame is not None else None  # not this test's own
                while frame is not None:
                    shown = repr(frame.tb_frame.f_locals)
                    assert "s3cret" not in shown
                    assert "labs-key" not in shown
                    frame = frame.tb_next
