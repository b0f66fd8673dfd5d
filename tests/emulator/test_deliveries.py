"""Tests for how the emulator reports the end of an execution: to which URL, how often, and what it records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from emulator_caller import Caller
from event_loop import until

from eachlabs_async.emulator import Emulator


class Receiver:
    """A server of the caller: it keeps what arrives and answers with the given statuses, and with 200 after them."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.stalls = False
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        self.came.append((dict(request.headers), await request.json()))
        if self.stalls:
            await asyncio.get_running_loop().create_future()
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, text="thanks", headers={"Location": "/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_post("/hook", found.receive)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    found.url = f"http://{host}:{port}/hook"
    yield found
    await runner.cleanup()


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(2, step_seconds=0, retry_seconds=0.01) as running:
        yield running


@pytest.fixture
async def caller(emulator: Emulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(emulator, session)


async def trigger(caller: Caller, url: str, inputs: Any = None, *, bulk: bool = False, **more: Any) -> Any:
    body = {"inputs": inputs or {}, "webhook_url": url, **more}
    path = f"/workflows/{'bulk-trigger' if bulk else 'trigger'}/workflow-1/v1"
    return await caller.good("workflows", path, edition="unified", method="POST", json=body)


async def attempts(caller: Caller, execution_id: str, count: int) -> list[Any]:
    """Return the attempts of a webhook once there are `count` and the last one has ended."""

    async def read() -> list[Any]:
        status, row = await caller.ask("api", f"/webhooks/{execution_id}")
        return row["attempts"] if status == 200 else []

    async with asyncio.timeout(5):
        while len(found := await read()) < count or found[-1]["status"] == "PENDING":
            await asyncio.sleep(0.001)
    return found


class TestADelivery:
    @pytest.mark.parametrize(("inputs", "status"), [({}, "completed"), ({"fail": True}, "failed")])
    async def test_of_a_workflow_is_what_its_get_says(
        self, caller: Caller, receiver: Receiver, inputs: Any, status: str
    ) -> None:
        """The secret is sent verbatim in its header, and the webhook is listed with its one attempt."""
        queued = await trigger(caller, receiver.url, inputs, webhook_secret="s e c r e t")
        (attempt,) = await attempts(caller, queued["execution_id"], 1)
        (headers, payload) = receiver.came[0]
        assert headers["X-Webhook-Secret"] == "s e c r e t"
        assert headers["Content-Type"] == "application/json"
        assert payload["status"] == status
        path = f"/workflows/executions/{queued['execution_id']}"
        assert payload == await caller.good("workflows", path, edition="unified")
        assert (attempt["status"], attempt["status_code"], attempt["response"]) == ("SUCCESS", 200, "thanks")
        page = await caller.good("api", "/webhooks")
        assert (page["total_count"], page["limit"], page["offset"]) == (1, 50, 0)
        assert json.loads(page["webhooks"][0]["request"]) == payload
        assert "attempts" not in page["webhooks"][0]
        assert "s e c r e t" not in json.dumps(await caller.good("api", f"/webhooks/{queued['execution_id']}"))

    async def test_of_a_bulk_trigger_is_one_each(self, caller: Caller, receiver: Receiver) -> None:
        """Each has the bulk's id, and without a secret there is no header."""
        answer = await trigger(caller, receiver.url, [{"n": 1}, {"n": 2}], bulk=True)
        await until(lambda: len(receiver.came) == 2)
        assert {payload["bulk_id"] for _, payload in receiver.came} == {answer["bulk_id"]}
        assert all("X-Webhook-Secret" not in headers for headers, _ in receiver.came)

    async def test_of_a_prediction_has_its_own_words(self, caller: Caller, receiver: Receiver) -> None:
        """It has the output, or the reasons for having none in a list; a cancelled one is not reported."""
        ids: list[str] = []
        for inputs in ({}, {"fail": "provider_error"}, {"seconds": 5}):
            body = {"model": "flux-1-1-pro", "input": inputs, "webhook_url": receiver.url}
            created = await caller.good("api", "/prediction", method="POST", json=body)
            ids.append(created["predictionID"])
        await caller.good("api", f"/prediction/{ids[2]}/cancel", method="POST")
        await until(lambda: len(receiver.came) == 2)
        good, bad = sorted((payload for _, payload in receiver.came), key=lambda one: one["status"], reverse=True)
        assert (good["exec_id"], good["status"], good["error"]) == (ids[0], "succeeded", "")
        assert good["output"].startswith("https://")
        assert (bad["exec_id"], bad["status"], bad["flow_id"]) == (ids[1], "failed", None)
        assert bad["output"][0]["error"] == "The model failed: provider error"

    async def test_may_be_asked_for_in_the_query(self, caller: Caller, receiver: Receiver) -> None:
        """The older way still works; the URL in the body takes precedence."""
        path = "/workflows/trigger/workflow-1/v1"
        await caller.good("workflows", path, edition="unified", method="POST", json={}, webhook_url=receiver.url)
        await until(lambda: receiver.came)


class TestTryingAgain:
    async def test_goes_on_until_it_arrives(self, caller: Caller, receiver: Receiver) -> None:
        """A refused delivery and a redirect are failed attempts, which record the answer."""
        receiver.statuses = [500, 302]
        queued = await trigger(caller, receiver.url)
        found = await attempts(caller, queued["execution_id"], 3)
        assert [one["status"] for one in found] == ["FAILED", "FAILED", "SUCCESS"]
        assert [one["status_code"] for one in found] == [500, 302, 200]
        assert found[0]["created_at"] < found[1]["created_at"] < found[2]["created_at"]

    @pytest.mark.parametrize(
        ("url", "word"), [("http://127.0.0.1:1/", "127.0.0.1:1"), ("https://example.com/hook", "loopback")]
    )
    async def test_ends_after_three(self, emulator: Emulator, caller: Caller, url: str, word: str) -> None:
        """This holds if nobody listens, and for any host but loopback, which is never called."""
        queued = await trigger(caller, url)
        found = await attempts(caller, queued["execution_id"], 3)
        await asyncio.sleep(0.03)
        assert len(emulator.webhooks.get(queued["execution_id"])["attempts"]) == 3
        assert [one["status"] for one in found] == ["FAILED"] * 3
        assert all(word in one["error_message"] for one in found)

    async def test_waits_for_the_clock(self, receiver: Receiver) -> None:
        """In virtual time, the second attempt comes when the clock is advanced."""
        receiver.statuses = [503]
        async with aiohttp.ClientSession() as session, Emulator(1, virtual_time=True, retry_seconds=10) as emulator:
            caller = Caller(emulator, session)
            queued = await trigger(caller, receiver.url)
            emulator.clock.advance(1)
            assert len(await attempts(caller, queued["execution_id"], 1)) == 1
            emulator.clock.advance(10)
            assert len(await attempts(caller, queued["execution_id"], 2)) == 2

    async def test_can_be_once_more_than_needed(self, emulator: Emulator, caller: Caller, receiver: Receiver) -> None:
        """The same delivery arrives twice if a test asks for it."""
        emulator.deliveries.duplicates = True
        queued = await trigger(caller, receiver.url)
        await attempts(caller, queued["execution_id"], 2)
        assert receiver.came[0][1] == receiver.came[1][1]


class TestWebhooks:
    async def test_are_paged(self, caller: Caller, receiver: Receiver) -> None:
        """The newest come first, and an unknown one is a 404."""
        ids = [(await trigger(caller, receiver.url))["execution_id"] for _ in range(3)]
        await until(lambda: len(receiver.came) == 3)
        page = await caller.good("api", "/webhooks", limit=2, offset=1)
        assert len(page["webhooks"]) == 2
        assert {row["execution_id"] for row in page["webhooks"]} < set(ids)
        assert (await caller.ask("api", "/webhooks/none"))[0] == 404

    async def test_can_be_taken_away_and_not_put(self, emulator: Emulator, caller: Caller, receiver: Receiver) -> None:
        """A test may remove a webhook during its delivery, but not insert one: they come from executions only."""
        receiver.stalls = True
        queued = await trigger(caller, receiver.url)
        await until(lambda: receiver.came)
        emulator.webhooks.remove(queued["execution_id"])
        assert len(emulator.webhooks) == 0
        with pytest.raises(TypeError):
            emulator.webhooks.insert()

    async def test_that_lost_their_row_are_delivered(
        self, emulator: Emulator, caller: Caller, receiver: Receiver
    ) -> None:
        """A webhook whose row was removed is delivered like any other."""
        receiver.statuses = [500]
        emulator.deliveries.retry_seconds = 0.05
        queued = await trigger(caller, receiver.url)
        await attempts(caller, queued["execution_id"], 1)
        emulator.webhooks.remove(queued["execution_id"])
        await until(lambda: len(receiver.came) == 2)


def test_the_end_of_the_block_ends_the_deliveries() -> None:
    """A hanging delivery is cut off, and one that waits for its next attempt is left to the clock."""

    async def scenario() -> None:
        found = Receiver()
        found.stalls = True
        app = web.Application()
        app.router.add_post("/hook", found.receive)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        async with aiohttp.ClientSession() as session, Emulator(1, step_seconds=0, retry_seconds=60) as emulator:
            caller = Caller(emulator, session)
            await trigger(caller, url)
            queued = await trigger(caller, "http://127.0.0.1:1/")
            await until(lambda: found.came)
            await attempts(caller, queued["execution_id"], 1)
        await runner.cleanup()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
