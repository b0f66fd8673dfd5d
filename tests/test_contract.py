"""Tests for every request of the SDK, and every answer of the emulator, against the official specifications.

They are expected in `shared/openapi` beside the checkout; without them these tests are skipped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest
from attrs import evolve
from contract import DIGEST, FILES, SPECIFICATIONS, Exchange, Recorder, complaints, said_by
from contract_known import EDITIONS, KNOWN, Known
from emulator_caller import Caller
from internals import transport_of

from eachlabs_async import EachLabs
from eachlabs_async.emulator import NICKNAME, Emulator, Fault
from eachlabs_async.records import ExecutionCursorPage
from eachlabs_async.transport.endpoints import ENDPOINTS, LIST_EXECUTIONS_BY_CURSOR

pytestmark = pytest.mark.skipif(
    not all((SPECIFICATIONS / name).exists() for names in FILES.values() for name in names),
    reason="the official specifications are not beside this checkout (../shared/openapi)",
)

STEPS = {"steps": [{"step_id": "only", "model": "flux-1-1-pro"}]}


@pytest.fixture
async def emulator() -> AsyncIterator[Recorder]:
    async with Recorder(40, unfinished=0.2, step_seconds=0.01, retry_seconds=0.01) as running:
        yield running


@pytest.fixture(params=EDITIONS)
def edition(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
async def client(emulator: Recorder, edition: str) -> AsyncIterator[EachLabs]:
    hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
    async with EachLabs(emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key) as opened:
        yield opened


@pytest.fixture
async def caller(emulator: Recorder) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(emulator, session)


async def read(client: EachLabs, emulator: Emulator) -> None:
    """Read everything in both editions, with every filter."""
    workflow = emulator.workflow_ids[0]
    filters: dict[str, Any] = {"model": "veo3-fast", "workflow_id": workflow, "workflow_execution_id": "x", "offset": 1}
    for by in ("cursor", "seek"):
        by_hand = attrs.evolve(client.hosts, executions_by=by)
        async with EachLabs(emulator.api_key, hosts=by_hand) as chosen:
            executions = chosen.executions
            await executions.list(limit=7).collect()
            await executions.list(
                status=["success", "error"], since=emulator.now, until=emulator.now, **filters
            ).collect()
            await executions.list(error_classification="provider_error").collect()
            await executions.list(error_classification=["provider_error", "unknown"]).collect()
    transport = transport_of(client)
    by_cursor = transport.call(LIST_EXECUTIONS_BY_CURSOR, "/executions", "limit=7")
    assert (await transport.get(by_cursor, ExecutionCursorPage)).next_cursor
    await client.workflow_executions.list("workflow-1", limit=3, offset=1).collect()
    bulk = next(iter(emulator.bulk_ids(workflow)))
    await client.workflow_executions.list(workflow, bulk_id=bulk).collect()
    for one in emulator.workflow_executions.ids():
        await client.workflow_executions.get(one)
    flows = emulator.flow_executions[workflow].ids()
    await client.flow_executions.get(workflow, flows[0])
    await client.flow_executions.get_many(workflow, flows).collect()
    runs = await client.runs.list(page=1, size=30).collect()
    await client.runs.list_for_workflow(workflow).collect()
    await client.runs.get(runs[0].id)
    await client.runs.stop(runs[0].id)
    started = await client.runs.start(workflow, {})
    await client.runs.delete_many([started.id], dry_run=True)
    await client.runs.delete(runs[0].id)
    await client.models.list(limit=50).collect()
    await client.models.list(name="banana").collect()
    await client.models.get("nano-banana-pro")
    emulator.faults.add(Fault.status(404), endpoint="models.get", times=1)
    await client.models.get("nano-banana-pro")
    await client.models.schema("nano-banana-pro")
    await client.billing.balance()
    await client.workflows.get("workflow-1")


async def create(client: EachLabs, emulator: Emulator) -> None:
    """Create and change everything in both editions, and wait for the created jobs."""
    hook: dict[str, Any] = {"webhook_url": "http://127.0.0.1:1/hook"}
    made = await client.workflows.create("Made", STEPS)
    assert made.workflow_id
    await client.workflows.rename(made.workflow_id, "Renamed")
    await client.workflows.put_version(made.workflow_id, "v2", STEPS, locked=True, production=False)
    started: list[str] = []
    for inputs in ({"prompt": "x"}, {"fail": True}):
        queued = await client.workflows.trigger("workflow-1", "v1", inputs, **hook)
        started.append(queued.execution_id)
        await client.workflow_executions.get(queued.execution_id)
    bulk = await client.workflows.bulk_trigger("workflow-1", "v1", [{"n": 1}, {"invalid": "no"}], **hook)
    assert bulk.executions[1].message
    hook["webhook_secret"] = "secret"
    predictions = [
        (await client.predictions.create("flux-1-1-pro", inputs, **hook)).id
        for inputs in ({"prompt": "x"}, {"fail": True}, {"seconds": 60})
    ]
    backed = await client.predictions.create("flux-1-1-pro", {"fail": True}, fallback_selector="any-image")
    await client.predictions.get(backed.id)
    await client.predictions.cancel(predictions[2])
    await client.predictions.get_many(predictions).collect()
    for inputs in ({}, {"fail": "content_moderation"}):
        await client.predictions.run("openai-chatgpt-5", inputs)
    async with asyncio.timeout(5):
        while emulator.running or len(emulator.webhooks) < 5:
            await asyncio.sleep(0.005)
    await client.predictions.get_many(predictions).collect()
    await client.workflow_executions.get_many(started).collect()
    await client.workflow_executions.list("workflow-1").collect()
    await client.executions.list().collect()
    await client.webhook_deliveries.list(limit=2).collect()
    await client.webhook_deliveries.get(started[0])


async def only_compat(client: EachLabs, emulator: Emulator) -> None:
    """Use the calls that the unified edition does not have."""
    await client.workflows.create("Described", STEPS, description="Draws")
    queued = await client.workflows.trigger("described", inputs={"n": 1})
    await client.workflow_executions.get(queued.execution_id, wait_s=1)
    await client.workflows.bulk_trigger("described", None, [{"n": 2}])


async def only_unified(client: EachLabs, emulator: Emulator) -> None:
    """Use the calls that the compat edition does not have."""
    names: dict[str, Any] = {"category": "general", "keyword": "w", "node_based": False}
    await client.workflows.list(limit=2).collect()
    await client.workflows.list(sort_key="name", sort_direction="desc", **names).collect()
    await client.workflows.create("Bare")
    await client.workflows.put_version("bare", "v1", allowed_to_share=True, published=False, output_mapping={"a": "b"})
    await client.workflows.trigger("bare", "v1", webhook_url="https://example.com/", webhook_secret="secret")
    await client.public_workflows.get(NICKNAME, "workflow-1", "v1")
    await client.public_workflows.trigger(NICKNAME, "workflow-1", "v1", {"n": 1})
    file = await client.files.upload(b"png", "image/png", "image", expires_in_seconds=60)
    await client.files.delete(file.id)


def unknown(exchanges: list[Exchange], *, requests: bool = True) -> tuple[list[str], set[Known]]:
    """Return the differences that are not known, and the known ones that occurred."""
    fresh: list[str] = []
    met: set[Known] = set()
    for exchange in exchanges:
        seen = exchange.seen
        if seen.service in ("flows", "runs", ""):
            continue
        specification, found = complaints(exchange)
        if specification is None:
            found = {"absent": "no specification of this edition has it"}
        for side, words in found.items():
            if side == "request" and not requests:
                continue
            known = [
                one
                for one in KNOWN
                if (one.edition, one.side) == (seen.edition, side)
                and seen.endpoint in one.endpoints
                and re.search(one.words, words)
            ]
            met.update(known)
            if not known:
                fresh.append(f"{seen.edition} {seen.endpoint} {exchange.status} {side}: {words}")
    return sorted(set(fresh)), met


async def test_the_sdk_and_the_emulator_keep_to_the_specifications(
    client: EachLabs, emulator: Recorder, edition: str
) -> None:
    """Each request of the SDK and each answer is valid, or differs in a known way."""
    await read(client, emulator)
    await create(client, emulator)
    await (only_unified if edition == "unified" else only_compat)(client, emulator)
    fresh, met = unknown(emulator.exchanges)
    assert not fresh, "\n".join(fresh)
    answered = {one.seen.endpoint for one in emulator.exchanges if one.status < 300}
    assert {one.name for one in ENDPOINTS if one.path(edition)} <= answered
    stale = [one for one in KNOWN if one.edition == edition and one not in met and "status" not in one.words]
    assert not stale, "nothing needs these any more"


async def test_a_difference_would_be_noticed(emulator: Recorder, caller: Caller) -> None:
    """A wrong parameter, body, key, field, status or type is a violation, and so is an unknown path."""
    await caller.good("api", "/webhooks", edition="unified")
    body = {"model": "veo3-fast", "input": {}}
    await caller.good("api", "/prediction", edition="unified", method="POST", json=body)
    listed, created = emulator.exchanges
    assert complaints(listed)[1] == complaints(created)[1] == {}
    target = listed.seen.target
    changed = {
        "limit": evolve(listed, seen=evolve(listed.seen, target=f"{target}?limit=101")),
        "Security not found": evolve(listed, seen=evolve(listed.seen, headers={})),
        "total_count": evolve(listed, body=b'{"webhooks": [], "limit": 1, "offset": 0}'),
        "'x' is not of type": evolve(listed, body=b'{"webhooks": "x", "limit": 1, "offset": 0, "total_count": 0}'),
        "status: 418": evolve(listed, status=418),
        "Content": evolve(listed, content_type="text/html"),
        "'input' is a required": evolve(created, seen=evolve(created.seen, body=b'{"model": "veo3-fast"}')),
    }
    for words, exchange in changed.items():
        assert words in " ".join(complaints(exchange)[1].values())
    assert complaints(evolve(listed, seen=evolve(listed.seen, target=target + "/a/b")))[0] is None


WRONG: dict[str, list[tuple[int, str, str, str, Any]]] = {
    "unified": [
        (400, "api", "GET", "/executions?status=running", None),
        (400, "api", "GET", "/models?limit=0", None),
        (400, "api", "GET", "/model", None),
        (404, "api", "GET", "/model?slug=none", None),
        (404, "api", "GET", "/models/none", None),
        (400, "api", "POST", "/prediction", {}),
        (400, "api", "POST", "/prediction", {"model": "veo3-fast", "input": {}, "fallback_selector": "none"}),
        (400, "api", "POST", "/prediction/run", {"model": "veo3-fast", "input": {}}),
        (404, "api", "GET", "/prediction/none", None),
        (404, "api", "POST", "/prediction/none/cancel", None),
        (404, "api", "GET", "/webhooks/none", None),
        (400, "api", "POST", "/upload/presign", {}),
        (400, "api", "DELETE", "/files/none", None),
        (400, "workflows", "POST", "/workflows", {}),
        (409, "workflows", "POST", "/workflows", {"name": "Workflow 1"}),
        (404, "workflows", "GET", "/workflows/none", None),
        (409, "workflows", "PUT", "/workflows/workflow-1", {"name": "Workflow 2"}),
        (403, "workflows", "PUT", "/workflows/workflow-3", {"name": "Other"}),
        (403, "workflows", "PUT", "/workflows/workflow-3/versions/v1", {}),
        (400, "workflows", "PUT", "/workflows/workflow-1/versions/v9", {}),
        (400, "workflows", "GET", "/workflows/workflow-1/executions?bulk_id=none", None),
        (404, "workflows", "GET", "/workflows/none/executions", None),
        (404, "workflows", "GET", "/workflows/executions/none", None),
        (404, "workflows", "POST", "/workflows/trigger/none/v1", {}),
        (400, "workflows", "POST", "/workflows/bulk-trigger/workflow-1/v1", {"inputs": []}),
        (404, "workflows", "GET", f"/public/@{NICKNAME}/workflows/workflow-2/versions/v1", None),
        (401, "workflows", "POST", f"/public/@{NICKNAME}/workflows/workflow-1/versions/v1/trigger", {}),
    ],
    "compat": [
        (400, "api", "GET", "/models?limit=0", None),
        (400, "api", "GET", "/model", None),
        (404, "api", "GET", "/model?slug=none", None),
        (404, "api", "GET", "/models/none", None),
        (400, "api", "POST", "/prediction", {}),
        (404, "api", "GET", "/prediction/none", None),
        (404, "api", "GET", "/webhooks/none", None),
        (400, "workflows", "POST", "/workflows", {}),
        (404, "workflows", "GET", "/workflows/none", None),
        (403, "workflows", "PUT", "/workflows/workflow-3", {"name": "Other"}),
        (400, "workflows", "PUT", "/workflows/workflow-1/versions/v9", {}),
        (400, "workflows", "GET", "/workflows/workflow-1/executions?bulk_id=none", None),
        (404, "workflows", "GET", "/executions/none", None),
        (404, "workflows", "POST", "/none/trigger", {}),
        (202, "workflows", "POST", "/workflow-1/trigger", {"inputs": {"invalid": "no"}}),
        (400, "workflows", "POST", "/workflow-1/bulk-trigger", {"inputs": []}),
    ],
}
"""Requests that are refused: status, service, method, path and body."""


async def test_what_the_emulator_refuses_keeps_to_the_specifications(
    emulator: Recorder, caller: Caller, edition: str
) -> None:
    """Each refusal has a documented status and form, or differs in a known way."""
    emulator.workflows.change(emulator.workflow_ids[2], locked=True)
    for status, service, method, path, body in WRONG[edition]:
        got, said = await caller.ask(service, path, edition=edition, method=method, json=body)
        assert got == status, (path, said)
    trigger = "/workflow-1/trigger" if edition == "compat" else "/workflows/trigger/workflow-1/v1"
    bulk = trigger.replace("trigger", "bulk-trigger", 1)
    tries: list[tuple[str, str, Any]] = [
        ("workflows", trigger, {"inputs": {}}),
        ("workflows", bulk, {"inputs": [{}]}),
        ("api", "/prediction", {"model": "veo3-fast", "version": "0.0.1", "input": {}}),
    ]
    for name, value, expected in (("balance_low", True, 402), ("account_cap", 0, 429)):
        before = getattr(emulator, name)
        setattr(emulator, name, value)
        for service, path, body in tries:
            status, _ = await caller.ask(service, path, edition=edition, method="POST", json=body)
            assert status == expected
        setattr(emulator, name, before)
    for path in ("/webhooks", "/executions", "/billing/balance"):
        status, _ = await caller.ask("api", path, edition=edition, keyless=True)
        assert status == 401
    emulator.faults.add(Fault.status(500))
    await caller.ask("api", "/models", edition=edition)
    fresh, met = unknown(emulator.exchanges, requests=False)
    assert not fresh, "\n".join(fresh)
    stale = [one for one in KNOWN if one.edition == edition and one not in met and "status" in one.words]
    assert not stale, "nothing needs these any more"


SINCE: list[tuple[int, str, str, Any]] = [
    (200, "GET", "/v2/executions", None),
    (200, "GET", "/v2/executions?limit=3&cursor={cursor}", None),
    (200, "GET", "/v2/executions?limit=100&status=success,error&error_classification=unknown,provider_error", None),
    (200, "GET", "/v2/executions?from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00Z&model=x&workflow_id=y", None),
    (200, "GET", "/v2/executions?workflow_execution_id=x", None),
    (400, "GET", "/v2/executions?cursor=none", None),
    (401, "GET", "/v2/executions?keyless", None),
    (200, "POST", "/v1/prediction", {"model": "veo3-fast", "version": "0.0.1", "input": {"prompt": "x"}}),
    (400, "POST", "/v1/prediction", {"model": "none", "input": {}}),
    (401, "POST", "/v1/prediction?keyless", {"model": "veo3-fast", "input": {}}),
]
"""Requests that the digest of what is new knows: status, method, path and body; `{cursor}` is that of a page of 3."""


async def test_what_is_new_keeps_to_its_digest(emulator: Recorder, caller: Caller) -> None:
    """Each request and its answer, success or refusal, is valid in the unified edition."""
    page = await caller.good("api", "/executions?limit=3", edition="unified", version=2)
    for status, method, path, body in SINCE:
        version, _, below = path.removeprefix("/v").partition("/")
        target = "/" + below.format(cursor=page["next_cursor"])
        keyless = "keyless" in path
        got, said = await caller.ask(
            "api", target, edition="unified", method=method, json=body, keyless=keyless, version=int(version)
        )
        assert got == status, (path, said)
        found = said_by(DIGEST, emulator.exchanges[-1])
        if keyless and found is not None:
            assert "Security not found" in found.pop("request")
        assert found == {}, path


async def test_a_difference_from_the_digest_would_be_noticed(emulator: Recorder, caller: Caller) -> None:
    """A wrong parameter, a missing field, a wrong type, status or key is a violation; other paths are unknown to it."""
    await caller.good("api", "/executions?limit=2", edition="unified", version=2)
    (good,) = emulator.exchanges
    assert said_by(DIGEST, good) == {}
    target = good.seen.target
    changed = {
        "limit": evolve(good, seen=evolve(good.seen, target=target.replace("limit=2", "limit=101"))),
        "error_classification": evolve(good, seen=evolve(good.seen, target=target + "&error_classification=none")),
        "Security not found": evolve(good, seen=evolve(good.seen, headers={})),
        "'has_more' is a required": evolve(good, body=b'{"executions": [], "limit": 1, "next_cursor": null}'),
        "not of type 'boolean'": evolve(good, body=good.body.replace(b'"has_more":true', b'"has_more":"yes"')),
        "'id' is a required": evolve(good, body=good.body.replace(b'"id":', b'"name":')),
        "status: 418": evolve(good, status=418),
    }
    for words, exchange in changed.items():
        assert words in " ".join((said_by(DIGEST, exchange) or {}).values())
    assert said_by(DIGEST, evolve(good, seen=evolve(good.seen, target="/unified/v3/executions"))) is None
