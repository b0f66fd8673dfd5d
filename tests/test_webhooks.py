"""Tests for receiving webhooks: signed deliveries are accepted and decoded, and repeated ones can be recognized."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Callable
from email.message import Message
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

import eachlabs_async
from eachlabs_async import EachLabs, State, webhooks
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import ResponseDecodeError
from eachlabs_async.webhooks import UNVERIFIED

PREDICTION = {"exec_id": "p", "flow_id": None, "status": "failed", "output": [{"error": "boom"}], "error": ""}
WORKFLOW = {"execution_id": "e", "workflow_id": "w", "bulk_id": "b", "status": "completed", "inputs": {}, "new": 1}


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


def signed(body: bytes, secret: str = "s3cret", *, age_s: float = 0) -> dict[str, str]:
    """Sign as the service does, now or `age_s` seconds ago."""
    stamp = str(int(time.time() - age_s))
    signature = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()
    return {
        "x-webhook-secret": secret,
        "x-webhook-timestamp": stamp,
        "x-webhook-signature": f"sha256={signature}",
    }


# ---- parse


def test_both_kinds_are_read() -> None:
    """Deliveries of predictions and workflows are records of their own kind, with a state and a key."""
    prediction = webhooks.parse(signed(raw(PREDICTION)), raw(PREDICTION), secret="s3cret")
    assert isinstance(prediction, eachlabs_async.PredictionWebhook)
    assert (prediction.state, prediction.output, prediction.key) == (
        State.FAILED,
        [{"error": "boom"}],
        "prediction:p:failed",
    )
    workflow = webhooks.parse(signed(raw(WORKFLOW)), raw(WORKFLOW), secret="s3cret")
    assert isinstance(workflow, eachlabs_async.WorkflowWebhook)
    assert isinstance(workflow, eachlabs_async.WorkflowExecution)
    assert (workflow.state, workflow.bulk_id, workflow.key) == (State.SUCCEEDED, "b", "workflow:e:completed")
    assert workflow.key == webhooks.parse({}, raw(WORKFLOW), secret=UNVERIFIED).key


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_body_is_bytes_of_any_kind(kind: Any) -> None:
    """Frameworks pass the raw body in different types."""
    assert webhooks.parse(signed(raw(WORKFLOW)), kind(raw(WORKFLOW)), secret="s3cret").key == "workflow:e:completed"


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ([{"error": "boom"}], "boom"),
        ([{"error": {"message": "boom", "code": "PROVIDER_FAILED"}}], "boom"),
        ([{"error": {"error": {"message": "boom"}}}], "boom"),
        ([{"error": {"code": "PROVIDER_FAILED", "message": None}}], "PROVIDER_FAILED"),
        ([{"error": "", "error_message": "boom"}], "boom"),
        ([{"error": None, "error_code": "WORKER_LOST"}], "WORKER_LOST"),
        ({"error": "boom"}, "boom"),
        (["boom", "bang"], "boom"),
        ("boom", "boom"),
        ([{"error": {"reasons": ["boom"]}}], ""),
        ([{"error": 7}], ""),
        ([{"error": {"error": {"error": {"error": "too deep"}}}}], ""),
        ([[]], ""),
        ([], ""),
        (None, ""),
    ],
)
def test_a_failed_prediction_says_why(output: Any, error: str) -> None:
    """Its reason, an object or a text, is in `error`; the output is unchanged."""
    event = webhooks.parse({}, raw({**PREDICTION, "output": output}), secret=UNVERIFIED)
    assert isinstance(event, eachlabs_async.PredictionWebhook)
    assert (event.error, event.output) == (error, output)


@pytest.mark.parametrize(
    ("more", "error"),
    [({"status": "succeeded"}, ""), ({"error": "said here"}, "said here"), ({"error": None}, "boom")],
)
def test_an_error_is_read_only_where_one_is_missing(more: dict[str, Any], error: str) -> None:
    """The output of a success is not an error, and a value in the field itself takes precedence."""
    event = webhooks.parse({}, raw({**PREDICTION, **more}), secret=UNVERIFIED)
    assert event.error == error


@pytest.mark.parametrize("written", [str.lower, str.upper, str.title])
def test_the_headers_are_found_in_any_case(written: Callable[[str], str]) -> None:
    """A plain dict works like a framework's headers."""
    found = {written(name): value for name, value in signed(raw(WORKFLOW)).items()}
    assert webhooks.parse({"A": "b", **found}, raw(WORKFLOW), secret="s3cret")


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
    """It is a `ResponseDecodeError` with the path."""
    with pytest.raises(ResponseDecodeError) as refused:
        webhooks.parse({}, body, secret=UNVERIFIED)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("headers", "body", "says"),
    [
        ([("X-Webhook-Secret", "s3cret")], b"{}", "headers must be a mapping, not list"),
        ({}, None, "body must be bytes, not NoneType"),
        ({}, {"exec_id": "p"}, "body must be bytes, not dict"),
        ({}, "{}", "body must be bytes, not str: the signature is over the raw bytes"),
    ],
)
def test_what_is_no_delivery_is_refused_by_name(headers: Any, body: Any, says: str) -> None:
    """Headers and a body of wrong types, such as a parsed body, are a `TypeError`."""
    with pytest.raises(TypeError, match=says):
        webhooks.parse(headers, body, secret=UNVERIFIED)


def test_headers_need_not_be_a_mapping_by_name() -> None:
    """The headers of the standard library's servers are no mapping, and are read all the same."""
    headers: Any = Message()
    for name, value in signed(raw(PREDICTION)).items():
        headers[name] = value
    assert webhooks.parse(headers, raw(PREDICTION), secret="s3cret").key == "prediction:p:failed"


# ---- the handler


class Receiver:
    """A server with the package's handler."""

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

    async def post(self, body: Any, headers: Any = None) -> int:
        if headers is None:
            headers = signed(body if isinstance(body, bytes) else b"")
        async with aiohttp.ClientSession() as session:
            async with session.post(self.url, data=body, headers=headers) as answered:
                return answered.status


async def test_the_handler_hands_on_what_is_genuine() -> None:
    """A genuine delivery is passed to the callback and answered with 204; others are refused with their status."""

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
        assert await receiver.post(raw(WORKFLOW), signed(raw(PREDICTION))) == 401
        assert await receiver.post(raw(WORKFLOW), signed(raw(WORKFLOW), "wrong")) == 401
        assert await receiver.post(raw(WORKFLOW), {"X-Webhook-Secret": "s3cret"}) == 401
        assert await receiver.post(raw(WORKFLOW), signed(raw(WORKFLOW), age_s=400)) == 401
        twice = [*signed(raw(WORKFLOW)).items(), ("X-Webhook-Signature", "sha256=" + "0" * 64)]
        assert await receiver.post(raw(WORKFLOW), CIMultiDict(twice)) == 401
    assert [event.key for event in receiver.events] == ["workflow:e:completed", "prediction:p:failed"]


async def test_the_handler_is_as_strict_as_it_is_told() -> None:
    """It takes several secrets for rotation, another tolerance, and the plain secret if that is accepted."""
    async with Receiver(secret=["new", "s3cret"], tolerance_s=None, accept_plain_secret=True) as receiver:
        assert await receiver.post(raw(WORKFLOW), signed(raw(WORKFLOW), "new", age_s=1e6)) == 204
        assert await receiver.post(raw(WORKFLOW), {"X-Webhook-Secret": "s3cret"}) == 204
        assert await receiver.post(raw(WORKFLOW), {"X-Webhook-Secret": "old"}) == 401
        assert await receiver.post(raw(WORKFLOW), signed(raw(WORKFLOW), "old")) == 401
    async with Receiver(secret=UNVERIFIED) as receiver:
        assert await receiver.post(raw(WORKFLOW), {}) == 204


class Sender:
    """A raw connection to a receiver, for deliveries that no HTTP client sends."""

    def __init__(self, receiver: Receiver, headers: dict[str, str]) -> None:
        self.port = int(receiver.url.split(":")[2].split("/")[0])
        self.head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    async def __aenter__(self) -> Sender:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"POST /hook HTTP/1.1\r\nHost: x\r\n{self.head}\r\n".encode())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def status(self) -> int:
        return int((await self.reader.readuntil(b"\r\n")).split()[1])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Webhook-Secret": "s3cret"},
        {"X-Webhook-Signature": "sha256=no", "X-Webhook-Timestamp": "1"},
        signed(b"", age_s=400),
    ],
    ids=["none", "the secret alone", "no signature", "old"],
)
async def test_the_headers_are_looked_at_before_the_body_is_read(headers: dict[str, str]) -> None:
    """What cannot be genuine is refused at once, although no byte of its body has come."""
    async with Receiver() as receiver, Sender(receiver, {**headers, "Content-Length": "1000"}) as sender:
        async with asyncio.timeout(2):
            assert await sender.status() == 401
        sender.writer.write(b" " * 1000)  # aiohttp waits a while for the rest before it closes a connection.


async def test_a_body_that_is_announced_too_large_is_not_read() -> None:
    """Its length is looked at too."""
    async with (
        Receiver(max_bytes=500) as receiver,
        Sender(receiver, {**signed(b""), "Content-Length": "501"}) as sender,
    ):
        async with asyncio.timeout(2):
            assert await sender.status() == 413
        sender.writer.write(b" " * 501)


async def test_senders_without_the_secret_share_their_room() -> None:
    """Thirty who send a signature that could be genuine, and no secret, hold twice the largest body at most."""
    forged = signed(b"")
    del forged["x-webhook-secret"]
    async with Receiver(max_bytes=1000) as receiver, contextlib.AsyncExitStack() as stack:
        senders = [
            await stack.enter_async_context(Sender(receiver, {**forged, "Content-Length": "1000"})) for _ in range(30)
        ]
        for sender in senders:
            sender.writer.write(b" " * 900)
        asked = [asyncio.ensure_future(sender.status()) for sender in senders]
        async with asyncio.timeout(5):
            while sum(one.done() for one in asked) < 28:
                await asyncio.sleep(0.01)
            assert await receiver.post(raw(WORKFLOW)) == 204
            for sender in senders:
                sender.writer.write(b" " * 100)
            statuses = sorted(await asyncio.gather(*asked))
        assert statuses == [401] * 2 + [503] * 28
        unsigned = signed(raw(WORKFLOW))
        del unsigned["x-webhook-secret"]
        assert await receiver.post(raw(WORKFLOW), unsigned) == 204


@pytest.mark.parametrize("chunked", [False, True])
async def test_senders_who_leave_are_no_error(chunked: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A sender who leaves in the middle of the body is not logged as a failure of the application."""
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "1000"}
    async with Receiver() as receiver:
        async with Sender(receiver, {**signed(b""), **framing}) as sender:
            sender.writer.write(b"5\r\n12345\r\n")
            await sender.writer.drain()
            await asyncio.sleep(0.05)
        assert await receiver.post(raw(WORKFLOW)) == 204
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


async def test_a_callback_that_fails_asks_for_another_delivery(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the callback is a 500, so the service tries again."""
    async with Receiver() as receiver:
        receiver.failure = RuntimeError("no room")
        assert await receiver.post(raw(WORKFLOW)) == 500
        assert await receiver.post(raw(WORKFLOW)) == 204
    assert len({event.key for event in receiver.events}) == 1
    assert len(receiver.events) == 2


def test_a_handler_needs_something_to_call() -> None:
    """The error is raised when the handler is created rather than at the first delivery."""
    with pytest.raises(TypeError, match="callback must be callable, not NoneType"):
        webhooks.aiohttp_handler(None, secret="s")


@pytest.mark.parametrize("secret", [None, ...])
def test_a_secret_has_to_be_given(secret: Any) -> None:
    """An unset variable accepts nobody: who wants no verification says so, with `UNVERIFIED`."""
    given = {} if secret is ... else {"secret": secret}
    with pytest.raises(TypeError, match="secret"):
        webhooks.parse({}, raw(WORKFLOW), **given)
    with pytest.raises(TypeError, match="secret"):
        webhooks.aiohttp_handler(pytest.fail, **given)
    if secret is None:
        with pytest.raises(TypeError, match="pass UNVERIFIED to accept every delivery"):
            webhooks.parse({}, raw(WORKFLOW), **given)


def test_a_limit_of_nothing_is_refused() -> None:
    """`max_bytes` is a number from 1."""
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        webhooks.aiohttp_handler(pytest.fail, secret="s", max_bytes=0)


async def test_deliveries_of_the_emulator_arrive() -> None:
    """Executions of both kinds report to the handler, twice if the service does, and equal keys show that."""
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
    failed = by_key[f"prediction:{second.id}:failed"]
    assert failed.error == "The model failed: provider error"
    told = by_key[f"workflow:{third}:completed"]
    assert isinstance(told, eachlabs_async.WorkflowWebhook)
    assert told.bulk_id == bulk.bulk_id
