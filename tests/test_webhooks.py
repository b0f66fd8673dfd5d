"""Receiving webhooks: only who knows the secret is believed, and what arrives twice can be told."""

from __future__ import annotations

import asyncio
import json
import pickle
from email.message import Message
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import eachlabs_async
from eachlabs_async import EachLabs, State, webhooks
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import ResponseDecodeError, WebhookVerificationError

PREDICTION = {"exec_id": "p", "flow_id": None, "status": "failed", "output": [{"error": "boom"}], "error": ""}
WORKFLOW = {"execution_id": "e", "workflow_id": "w", "bulk_id": "b", "status": "completed", "inputs": {}, "new": 1}
SECRET = {"x-webhook-secret": "s3cret"}


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---- parse


def test_both_kinds_are_read() -> None:
    """A prediction's delivery and a workflow's are records of their own kind, with a state and a key."""
    prediction = webhooks.parse(SECRET, raw(PREDICTION), secret="s3cret")
    assert isinstance(prediction, eachlabs_async.PredictionWebhook)
    assert (prediction.state, prediction.output, prediction.key) == (
        State.FAILED,
        [{"error": "boom"}],
        "prediction:p:failed",
    )
    workflow = webhooks.parse(SECRET, json.dumps(WORKFLOW), secret="s3cret")
    assert isinstance(workflow, eachlabs_async.WorkflowWebhook)
    assert isinstance(workflow, eachlabs_async.WorkflowExecution)
    assert (workflow.state, workflow.bulk_id, workflow.key) == (State.SUCCEEDED, "b", "workflow:e:completed")
    assert workflow.key == webhooks.parse({}, raw(WORKFLOW)).key


@pytest.mark.parametrize("name", ["X-Webhook-Secret", "x-webhook-secret", "X-WEBHOOK-SECRET"])
def test_the_header_is_found_in_any_case(name: str) -> None:
    """A plain dict is as good as a framework's headers."""
    assert webhooks.parse({"A": "b", name: "s3cret"}, raw(WORKFLOW), secret="s3cret")


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "is missing"),
        ({"X-Webhook-Secret": ""}, "is missing"),
        ({"X-Webhook-Secret": "S3cret"}, "is wrong"),
        ({"X-Webhook-Secret": "s3cret "}, "is wrong"),
        ({"X-Webhook-Secret": "s3cr\udce9t"}, "is wrong"),
    ],
)
def test_a_delivery_without_the_secret_is_not_believed(headers: dict[str, str], said: str) -> None:
    """A missing or wrong secret is a `WebhookVerificationError` that says nothing of it, before the body is read."""
    with pytest.raises(WebhookVerificationError, match=said) as refused:
        webhooks.parse(headers, b"not even JSON", secret="s3cret")
    assert pickle.loads(pickle.dumps(refused.value)).message == refused.value.message
    frame = refused.value.__traceback__
    while (frame := frame.tb_next if frame is not None else None) is not None:
        assert "s3cret" not in repr(frame.tb_frame.f_locals).lower()


def test_a_secret_that_is_no_ascii_is_compared_too() -> None:
    """A header is bytes on the wire: a secret in UTF-8 is the same secret."""
    assert webhooks.parse({"X-Webhook-Secret": "schlüssel"}, raw(WORKFLOW), secret="schlüssel")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", "$"),
        (b"<html>", "$"),
        (b"[]", "$"),
        (b'{"status": "x"}', "$"),
        (b'{"exec_id": 1, "status": "x"}', "$.exec_id"),
        (b'{"execution_id": "e"}', "$.status"),
    ],
)
def test_a_body_that_is_none_of_the_two_is_refused(body: bytes, path: str) -> None:
    """What cannot be read is a `ResponseDecodeError` that says where."""
    with pytest.raises(ResponseDecodeError) as refused:
        webhooks.parse({}, body)
    assert refused.value.path == path


@pytest.mark.parametrize(("secret", "error"), [("", ValueError), (1, TypeError)])
def test_an_empty_secret_is_no_secret(secret: Any, error: type[Exception]) -> None:
    """An empty secret would let an empty header pass: it is refused where it is given."""
    with pytest.raises(error, match="secret must"):
        webhooks.parse({}, b"{}", secret=secret)
    with pytest.raises(error, match="secret must"):
        webhooks.aiohttp_handler(pytest.fail, secret=secret)


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ([("X-Webhook-Secret", "s3cret")], b"{}", "headers must be a mapping, not list"),
        ({}, None, "body must be bytes or a str, not NoneType"),
        ({}, {"exec_id": "p"}, "body must be bytes or a str, not dict"),
    ],
)
def test_what_is_no_delivery_is_refused_by_name(headers: Any, body: Any, says: str) -> None:
    """Headers and body of another form, such as a body that was parsed already, are a `TypeError`."""
    with pytest.raises(TypeError, match=says):
        webhooks.parse(headers, body)


def test_headers_need_not_be_a_mapping_by_name() -> None:
    """Those of the standard library's servers are none, and are read all the same."""
    headers: Any = Message()
    headers["X-Webhook-Secret"] = "s3cret"
    assert webhooks.parse(headers, raw(PREDICTION), secret="s3cret").key == "prediction:p:failed"


# ---- the handler


class Receiver:
    """A server with the ready handler."""

    def __init__(self, **options: Any) -> None:
        self.events: list[webhooks.WebhookEvent] = []
        self.failure: Exception | None = None
        self.options: dict[str, Any] = {"secret": "s3cret", **options}

    async def _take(self, event: webhooks.WebhookEvent) -> None:
        self.events.append(event)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    async def __aenter__(self) -> Receiver:
        app = web.Application()
        app.router.add_post("/hook", webhooks.aiohttp_handler(self._take, **self.options))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def post(self, body: Any, headers: dict[str, str] | None = None) -> int:
        headers = SECRET if headers is None else headers
        async with aiohttp.ClientSession() as session:
            async with session.post(self.url, data=body, headers=headers) as answered:
                return answered.status


async def test_the_handler_hands_on_what_is_genuine() -> None:
    """A genuine delivery is handed on and answered with 204; others are refused with their status."""

    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 100

    async with Receiver(max_bytes=500) as receiver:
        assert await receiver.post(raw(WORKFLOW)) == 204
        assert await receiver.post(raw(PREDICTION)) == 204
        assert await receiver.post(raw(WORKFLOW), {}) == 401
        assert await receiver.post(b"{}") == 400
        assert await receiver.post(b" " * 501) == 413
        assert await receiver.post(chunks()) == 413
        assert await receiver.post(b"", {"X-Webhook-Secret": "wrong"}) == 401
    assert [event.key for event in receiver.events] == ["workflow:e:completed", "prediction:p:failed"]


async def test_a_callback_that_fails_asks_for_another_delivery(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the callback is a 500, so that the service tries again."""
    async with Receiver() as receiver:
        receiver.failure = RuntimeError("no room")
        assert await receiver.post(raw(WORKFLOW)) == 500
        assert await receiver.post(raw(WORKFLOW)) == 204
    assert len({event.key for event in receiver.events}) == 1
    assert len(receiver.events) == 2


def test_a_handler_needs_something_to_call() -> None:
    """It is told when the handler is made, not when a delivery has come."""
    with pytest.raises(TypeError, match="callback must be callable, not NoneType"):
        webhooks.aiohttp_handler(None, secret="s")


def test_a_limit_of_nothing_is_refused() -> None:
    """`max_bytes` is a number from 1."""
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        webhooks.aiohttp_handler(pytest.fail, secret="s", max_bytes=0)


async def test_deliveries_of_the_emulator_arrive() -> None:
    """Both kinds of executions report to the handler, twice where the service does, and equal keys tell."""
    async with Receiver() as receiver, Emulator(executions=5, duplicate_deliveries=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            hook: dict[str, Any] = {"webhook_url": receiver.url, "webhook_secret": "s3cret"}
            steps = {"steps": [{"step_id": "a", "type": "model", "model": "flux-1-1-pro", "params": {}}]}
            workflow = (await client.workflows.create("W", steps)).workflow_id
            first = await client.workflows.trigger(workflow, "v1", {"prompt": "x"}, **hook)
            second = await client.predictions.create("flux-1-1-pro", {"fail": True}, **hook)
            bulk = await client.workflows.bulk_trigger(workflow, "v1", [{"prompt": "y"}], **hook)
            async with asyncio.timeout(5):
                while len(receiver.events) < 6:
                    await asyncio.sleep(0.005)
    by_key = {event.key: event for event in receiver.events}
    third = bulk.executions[0].execution_id
    assert set(by_key) == {
        f"workflow:{first.execution_id}:completed",
        f"workflow:{third}:completed",
        f"prediction:{second.id}:failed",
    }
    told = by_key[f"workflow:{third}:completed"]
    assert isinstance(told, eachlabs_async.WorkflowWebhook)
    assert told.bulk_id == bulk.bulk_id
