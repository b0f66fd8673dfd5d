"""Tests for workflows, public workflows and models: what each edition sends, what it returns, and which key it uses."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from raw_server import ONCE, RawServer, answer, client_of, hosts_at

from eachlabs_async import EachLabs, Poll, State
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    EachLabsError,
    ExecutionFailedError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnprocessableEntityError,
)

STEPS = {"version": "v1", "steps": [{"step_id": "a", "type": "model", "model": "flux-1-1-pro", "params": {}}]}
QUEUED = answer(202, json={"execution_id": "e-1", "status": "queued"})


def body(server: RawServer) -> Any:
    return json.loads(server.requests[-1].body)


# ---- what goes out


async def test_a_trigger_says_the_version_where_its_edition_wants_it() -> None:
    """The compat edition sends the version in the body, or none; the unified one has it in the path."""
    async with RawServer(then=QUEUED) as server:
        async with client_of(server) as client:
            await client.workflows.trigger("wf 1", "v1", {"a": 1}, webhook_url="https://me.example/hook")
            assert server.targets[-1] == "/workflows/wf%201/trigger"
            assert body(server) == {"version_id": "v1", "inputs": {"a": 1}, "webhook_url": "https://me.example/hook"}
        async with client_of(server) as client:
            triggered = await client.workflows.trigger("wf")
            assert body(server) == {"inputs": {}}
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            await client.workflows.trigger("wf", "v/1", {"a": 1}, webhook_url="http://me/", webhook_secret="shh")
            assert server.targets[-1] == "/api/workflows/trigger/wf/v%2F1"
            assert body(server) == {"inputs": {"a": 1}, "webhook_url": "http://me/", "webhook_secret": "shh"}
            with pytest.raises(ValueError, match="version_id must be given"):
                await client.workflows.trigger("wf")
    assert (triggered.execution_id, triggered.state) == ("e-1", State.PENDING)


async def test_a_bulk_trigger_sends_one_to_ten_inputs() -> None:
    """Path and body follow the edition, the answer is in the order of the inputs, and a failed entry has its reason."""
    bulk = {"bulk_id": "b", "executions": [{"execution_id": "e", "status": "queued"}, {"status": "failed"}]}
    async with RawServer(then=answer(202, json=bulk)) as server:
        async with client_of(server) as client:
            done = await client.workflows.bulk_trigger("wf", "v1", [{"a": 1}, {}])
            assert server.targets[-1] == "/workflows/wf/bulk-trigger"
            assert body(server) == {"version_id": "v1", "inputs": [{"a": 1}, {}]}
            assert [(entry.execution_id, entry.state) for entry in done.executions] == [
                ("e", State.PENDING),
                (None, State.FAILED),
            ]
            for wrong, error in (([], ValueError), ([{}] * 11, ValueError), ({}, TypeError), ("ab", TypeError)):
                with pytest.raises(error, match="inputs must"):
                    await client.workflows.bulk_trigger("wf", "v1", wrong)
            with pytest.raises(TypeError, match=r"inputs\[1\] must be a mapping, not int"):
                await client.workflows.bulk_trigger("wf", "v1", [{}, 1])
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            await client.workflows.bulk_trigger("wf", "v1", [{}, {}])
            assert server.targets[-1] == "/api/workflows/bulk-trigger/wf/v1"
            assert body(server) == {"inputs": [{}, {}]}


async def test_a_workflow_is_made_as_its_edition_wants() -> None:
    """The compat edition sends a description and requires a definition; the unified one does neither."""
    made = answer(201, json={"workflow_id": "w"})
    async with RawServer(then=made) as server:
        async with client_of(server) as client:
            await client.workflows.create("N", STEPS)
            assert body(server) == {"name": "N", "description": "", "definition": STEPS}
            await client.workflows.create("N", STEPS, description="D")
            assert body(server)["description"] == "D"
            with pytest.raises(ValueError, match="definition must be given in the compat edition"):
                await client.workflows.create("N")
            with pytest.raises(TypeError, match="description must be a str"):
                await client.workflows.create("N", STEPS, description=1)
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            assert (await client.workflows.create("N")).workflow_id == "w"
            assert body(server) == {"name": "N"}
            with pytest.raises(ValueError, match="description is part of the compat edition only"):
                await client.workflows.create("N", description="D")
            with pytest.raises(TypeError, match="name must be a str, not NoneType"):
                await client.workflows.create(None)
            with pytest.raises(TypeError, match="name must be a str, not NoneType"):
                await client.workflows.rename("w", None)


async def test_a_version_is_put_as_its_edition_wants() -> None:
    """The compat edition requires the definition and repeats the version; the unified one sends a patch."""
    async with RawServer(then=answer(json={"version_id": "v2"})) as server:
        async with client_of(server) as client:
            await client.workflows.put_version("w", "v2", STEPS, locked=False)
            assert body(server) == {"definition": STEPS, "locked": False, "version_id": "v2"}
            with pytest.raises(ValueError, match="definition must be given"):
                await client.workflows.put_version("w", "v2")
            with pytest.raises(ValueError, match="published is part of the unified edition only"):
                await client.workflows.put_version("w", "v2", STEPS, published=True)
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            await client.workflows.put_version("w", "v2", output_mapping={}, allowed_to_share=True)
            assert body(server) == {"output_mapping": {}, "allowed_to_share": True}
            with pytest.raises(TypeError, match="locked must be a bool, not str"):
                await client.workflows.put_version("w", "v2", locked="yes")


async def test_a_map_names_the_version_that_its_inputs_run_with() -> None:
    """The latest version could change while inputs are sent."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(TypeError, match="version_id must be a str, not NoneType: pass the version that all inputs"):
            client.workflows.map("w", None, [{}])
        with pytest.raises(ValueError, match="version_id must not be empty"):
            client.workflows.map("w", "", [{}])


UNSENDABLE = "webhook_secret must be text that an HTTP header can carry"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"inputs": [1]}, TypeError, "inputs must be a mapping, not list"),
        ({"inputs": {1: 2}}, TypeError, "inputs must have str keys, not int"),
        ({"inputs": {"a": object()}}, TypeError, "inputs must be a value that JSON can represent"),
        ({"inputs": {"a": float("nan")}}, ValueError, "inputs must be a value that JSON can represent"),
        ({"webhook_url": "ftp://x"}, ValueError, "webhook_url must be an absolute"),
        ({"webhook_url": "https://[x"}, ValueError, "webhook_url must be an absolute"),
        ({"webhook_secret": "s"}, ValueError, "webhook_secret is part of the unified edition only"),
        ({"webhook_secret": 1}, TypeError, "webhook_secret must be a str"),
        ({"webhook_secret": ""}, ValueError, "webhook_secret must not be empty"),
        *(
            ({"webhook_secret": text}, ValueError, UNSENDABLE)
            for text in ("a\n", "a\r\nb", " a", "a\t", "\x00", "\x85", "\ud800")
        ),
        ({"version_id": ""}, ValueError, "version_id must not be empty"),
    ],
)
async def test_what_the_service_would_refuse_is_refused_at_the_call(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """A wrong argument is an error that names it, and nothing is sent."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match=said):
            await client.workflows.trigger("wf", **arguments)
    assert not server.requests


async def test_every_call_with_a_webhook_refuses_a_secret_that_no_header_can_carry() -> None:
    """A secret with the line break of its file could never come back as it is, so nothing is created with it."""
    hook: dict[str, Any] = {"webhook_url": "https://me/", "webhook_secret": "s3cret\n"}
    async with RawServer() as server, client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
        for call in (
            lambda: client.workflows.trigger("w", "v", **hook),
            lambda: client.workflows.bulk_trigger("w", "v", [{}], **hook),
            lambda: client.public_workflows.trigger("n", "s", "v", **hook),
            lambda: client.predictions.create("m", {}, **hook),
        ):
            with pytest.raises(ValueError, match=UNSENDABLE) as refused:
                await call()
            assert "s3cret" not in str(refused.value)
        with pytest.raises(ValueError, match=UNSENDABLE):
            client.workflows.map("w", "v", [{}], **hook)
        with pytest.raises(ValueError, match=UNSENDABLE):
            client.predictions.map("m", [{}], **hook)
        assert not server.requests
        server.then = answer(json={"status": "success", "predictionID": "p"})
        await client.predictions.create("m", {}, webhook_url="https://me/", webhook_secret="schl\u00fcssel mit Raum")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"sort_key": "name"}, ValueError, "must be given together"),
        ({"sort_direction": "asc"}, ValueError, "must be given together"),
        ({"sort_key": "size", "sort_direction": "asc"}, ValueError, "sort_key must be one of"),
        ({"sort_key": "name", "sort_direction": "up"}, ValueError, "sort_direction must be"),
        ({"node_based": 1}, TypeError, "node_based must be a bool"),
        ({"limit": 101}, ValueError, "limit must be between 1 and 100"),
    ],
)
async def test_a_listing_refuses_what_the_service_would(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """Sorting takes a field and a direction from closed sets."""
    async with RawServer() as server, client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
        with pytest.raises(error, match=said):
            client.workflows.list(**arguments)


async def test_an_accepted_trigger_that_failed_is_an_error() -> None:
    """The compat edition may accept a trigger and then refuse its inputs: there is no execution."""
    failed = answer(202, json={"status": "failed", "message": "missing 'prompt'"})
    async with RawServer(failed, answer(202, json={"status": "queued"}), then=QUEUED) as server:
        async with client_of(server) as client:
            with pytest.raises(ExecutionFailedError, match="not triggered: missing 'prompt'") as refused:
                await client.workflows.trigger("wf")
            assert refused.value.error == "missing 'prompt'"
            with pytest.raises(OutcomeUnknownError, match=r"\$.execution_id: is missing"):
                await client.workflows.trigger("wf")
    assert len(server.requests) == 2


ROWS: list[tuple[int, type[APIStatusError]]] = [
    (400, BadRequestError),
    (401, AuthenticationError),
    (402, PaymentRequiredError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (408, APIStatusError),
    (409, ConflictError),
    (413, APIStatusError),
    (422, UnprocessableEntityError),
    (429, RateLimitError),
    (500, ServerError),
    (502, ServerError),
    (503, ServerError),
    (504, ServerError),
]


@pytest.mark.parametrize(("status", "kind"), ROWS)
async def test_every_documented_error_has_its_class(status: int, kind: type[APIStatusError]) -> None:
    """Each status has its class and the body's message; a trigger that may have been carried out has an own error."""
    told = {"error": "because", "status": status, "code": "CODE", "details": {"a": 1}}
    refusal = answer(status, json=told, headers={"Retry-After": "0", "X-Request-Id": "r"})
    async with RawServer(then=refusal) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(kind) as failed:
            await client.workflows.get("w")
        error = failed.value
        assert type(error) is kind
        assert (error.status, error.message, error.code, error.details) == (status, "because", "CODE", {"a": 1})
        assert (error.retry_after_s, error.request_id) == (0.0, "r")
        with pytest.raises(EachLabsError) as refused:
            await client.workflows.trigger("w")
        if status == 408 or status >= 500:
            assert isinstance(refused.value, OutcomeUnknownError)
            assert type(refused.value.reason) is kind
        else:
            assert type(refused.value) is kind


# ---- against the emulator


@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_a_workflow_lives_through_both_editions(edition: str) -> None:
    """A workflow is created, renamed, given a version and triggered, and ends; each mistake raises its own error."""
    async with Emulator(executions=10) as emulator:
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        async with EachLabs(emulator.api_key, hosts=hosts, retry=ONCE) as client:
            made = await client.workflows.create("First", STEPS)
            renamed = await client.workflows.rename(made.workflow_id, "Second")
            assert (made.slug, renamed.slug) == ("first", "second")
            await client.workflows.create("First", STEPS)
            with pytest.raises(ConflictError):
                await client.workflows.rename(made.workflow_id, "First")
            version = await client.workflows.put_version(made.workflow_id, "v2", STEPS, locked=True)
            assert version.locked
            with pytest.raises(PermissionDeniedError):
                await client.workflows.put_version(made.workflow_id, "v2", STEPS)
            seen = await client.workflows.get("second")
            assert [one.version_id for one in seen.versions or []] == ["v1", "v2"]
            triggered = await client.workflows.trigger(made.workflow_id, "v2", {"prompt": "x"})
            done = await client.workflow_executions.wait(triggered, poll=Poll(first_s=0.01, cap_s=0.02))
            assert (done.status, done.inputs) == ("completed", {"prompt": "x"})
            with pytest.raises(NotFoundError):
                await client.workflows.get("nothing")
            with pytest.raises(NotFoundError):
                await client.workflows.trigger("nothing", "v1", {})
            if edition == "compat":
                with pytest.raises(ConfigurationError, match="not part of the compat edition"):
                    client.workflows.list()
            else:
                rows = await client.workflows.list(limit=2, sort_key="name", sort_direction="asc").collect()
                assert [row.name for row in rows] == sorted(str(row.name) for row in rows)
                assert len(rows) == len(emulator.workflows)
        assert not emulator.wrong_keys


async def test_models_are_walked_without_a_total() -> None:
    """A bare array is walked page by page, with any limit and look-ahead, and can be resumed."""
    async with Emulator(executions=0, models=7) as emulator, EachLabs(hosts=emulator.hosts) as client:
        everything = [model.slug for model in await client.models.list().collect()]
        assert len(everything) == 7
        assert [one.slug for one in await client.models.list(limit=3).collect()] == everything
        assert [one.slug async for one in client.models.list(limit=7, look_ahead=2)] == everything
        pager = client.models.list(limit=2, max_rows=3)
        assert [one.slug for one in await pager.collect()] == everything[:3]
        resumed = client.models.list(limit=2, resume=pager.checkpoint)
        assert [one.slug for one in await resumed.collect()] == everything[3:]
        model = await client.models.get(everything[0])
        assert model.request_schema is not None
        named = await client.models.list(name=str(model.title)[:4].upper()).collect()
        assert model.slug in [one.slug for one in named]
        with pytest.raises(NotFoundError):
            await client.models.get("nothing")
        with pytest.raises(TypeError, match="slug must be a str"):
            await client.models.get(None)
        with pytest.raises(ValueError, match="limit must be between 1 and 500"):
            client.models.list(limit=501)


# ---- keys


@pytest.mark.parametrize("given", [False, True], ids=["own session", "passed session"])
async def test_a_public_read_sends_no_key_at_all(given: bool) -> None:
    """Neither our key nor one in a passed session's defaults is sent; a client without a key can read."""
    session = aiohttp.ClientSession(headers={"X-API-Key": "default", "Authorization": "d"}, cookies={"k": "default"})
    async with session, RawServer(then=answer(json={"slug": "m", "workflow_id": "w"})) as server:
        hosts = hosts_at(server.url, unified=True)
        async with client_of(server, hosts=hosts, session=session if given else None) as client:
            await client.models.get("m")
            await client.public_workflows.get("nick", "slug", "v1")
            assert server.targets == ["/api/models/m", "/api/public/@nick/workflows/slug/versions/v1"]
        async with EachLabs(hosts=hosts) as client:
            await client.models.get("m")
            with pytest.raises(ConfigurationError, match="needs a key"):
                await client.workflows.get("w")
            with pytest.raises(ConfigurationError, match="needs a key"):
                await client.public_workflows.trigger("nick", "slug", "v1")
    for seen in server.requests:
        assert not {"x-api-key", "authorization", "cookie"} & set(seen.headers)


async def test_a_public_trigger_sends_the_key_in_the_body_alone() -> None:
    """The key is sent as `api_key` in the body, over a connection of its own, and is in no header and no error."""
    echo = answer(400, json={"error": "bad key labs-key"})
    async with RawServer(QUEUED, echo, then=answer(500)) as server:
        async with aiohttp.ClientSession() as session:
            async with client_of(server, hosts=hosts_at(server.url, unified=True), session=session) as client:
                done = await client.public_workflows.trigger("nick", "slug", "v1", {"a": 1}, webhook_secret="shh")
                assert body(server) == {"api_key": "labs-key", "inputs": {"a": 1}, "webhook_secret": "shh"}
                with pytest.raises(Exception, match=r"bad key \*\*\*"):
                    await client.public_workflows.trigger("nick", "slug", "v1")
                with pytest.raises(OutcomeUnknownError) as unknown:
                    await client.public_workflows.trigger("nick", "slug", "v1")
    assert done.execution_id == "e-1"
    assert unknown.value.lookup == {}
    assert not any({"x-api-key", "authorization"} & set(seen.headers) for seen in server.requests)
    assert len({seen.connection for seen in server.requests}) == 3


async def test_a_closed_passed_session_is_a_closed_client() -> None:
    """A call without a key beside a closed passed session raises the error of a closed client."""
    session = aiohttp.ClientSession()
    await session.close()
    async with RawServer() as server, client_of(server, session=session) as client:
        with pytest.raises(ConfigurationError, match="session is closed"):
            await client.models.get("m")


# ---- runs


async def test_runs_of_a_workflow_are_listed_and_stopped() -> None:
    """A workflow's runs are walked like all runs, and stopping one returns its new state."""
    async with Emulator(executions=40) as emulator:
        async with EachLabs(hosts=emulator.hosts, runs_api_key=emulator.runs_api_key) as client:
            runs = await client.runs.list().collect()
            workflow = str(runs[0].workflow_id)
            wanted = [run.id for run in runs if run.workflow_id == workflow]
            assert [run.id for run in await client.runs.list_for_workflow(workflow, size=3).collect()] == wanted
            stopped = await client.runs.stop(next(run.id for run in runs if not run.is_finished))
            assert stopped.state is State.CANCELLED
            with pytest.raises(ValueError, match="size must be"):
                client.runs.list_for_workflow(workflow, size=0)
        assert not emulator.wrong_keys
