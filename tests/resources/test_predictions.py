"""Tests for predictions and of sent webhooks: what is sent, what is returned, and what is refused."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import ONCE, QUICK, Act, RawServer, RecordedRequest, answer, client_of, hosts_at, reset, stall

from eachlabs_async import EachLabs, Poll, State, Timeouts
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import (
    APIConnectionError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
)

EAGER = Poll(first_s=0.01, cap_s=0.02)


def created() -> Callable[[RecordedRequest], Act]:
    """Return a script that answers with one new prediction after the other."""
    numbers = itertools.count(1)
    said = {"status": "success", "message": "ok"}
    return lambda seen: answer(json={**said, "predictionID": f"p-{next(numbers)}"})


def body(server: RawServer) -> Any:
    return json.loads(server.requests[-1].body)


async def test_a_creation_names_a_version_where_its_edition_wants_one() -> None:
    """The compat edition sends `0.0.1` if the caller names no version; the unified one sends none."""
    async with RawServer(then=created()) as server:
        async with client_of(server) as client:
            made = await client.predictions.create("m", {"a": 1}, webhook_url="https://me/", webhook_secret="s")
            assert body(server) == {
                "model": "m",
                "version": "0.0.1",
                "input": {"a": 1},
                "webhook_url": "https://me/",
                "webhook_secret": "s",
            }
            await client.predictions.create("m", {}, version="2")
            assert body(server)["version"] == "2"
        async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
            await client.predictions.create("m", {"a": 1})
            assert body(server) == {"model": "m", "input": {"a": 1}}
    assert made.id == made.predictionID == "p-1"
    assert server.targets[0] == "/api/prediction"


@pytest.mark.parametrize(
    ("model", "given", "error", "said"),
    [
        ("", {}, ValueError, "model must not be empty"),
        (None, {}, TypeError, "model must be a str, not NoneType"),
        (1, {}, TypeError, "model must be a str, not int"),
        ("m", [], TypeError, "input must be a mapping"),
        ("m", {"a": {1}}, TypeError, "input must be a value that JSON can represent"),
    ],
)
async def test_what_the_service_would_refuse_is_refused_at_the_call(
    model: Any, given: Any, error: type[Exception], said: str
) -> None:
    """A wrong argument is an error that names it, and nothing is sent."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match=said):
            await client.predictions.create(model, given)
        with pytest.raises(error, match=said):
            await client.predictions.run(model, given)
    assert not server.requests


@pytest.mark.parametrize("selector", ["a", "7", "any-image", "a-1-b", "x" * 50])
async def test_a_fallback_chain_is_named_in_the_request(selector: str) -> None:
    """It is sent as it is in both editions, and absent if none is given."""
    async with RawServer(then=created()) as server:
        for unified in (False, True):
            async with client_of(server, hosts=hosts_at(server.url, unified=unified)) as client:
                await client.predictions.create("m", {}, fallback_selector=selector)
                assert body(server)["fallback_selector"] == selector
                await client.predictions.create("m", {})
                assert "fallback_selector" not in body(server)


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        *((word, ValueError) for word in ("", "A", "a_b", "-a", "a-", "a--b", "a b", "é", "x" * 51, "a\n", "٣")),
        (7, TypeError),
        (["a"], TypeError),
    ],
)
async def test_a_name_that_no_chain_can_have_is_refused_at_the_call(selector: Any, error: type[Exception]) -> None:
    """`create` and `map` raise an error with the argument's name and range before anything is sent."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match="fallback_selector must be"):
            await client.predictions.create("m", {}, fallback_selector=selector)
        with pytest.raises(error, match="fallback_selector must be"):
            client.predictions.map("m", [{}], fallback_selector=selector)
    assert not server.requests


async def test_what_a_fallback_did_is_an_open_object() -> None:
    """It keeps whatever fields came; if it is absent or null it is None."""
    said = {"any": {"thing": [1, None]}}
    rows = [{"id": "p", "status": "processing", **more} for more in ({"fallback": said}, {"fallback": None}, {})]
    async with RawServer(*(answer(json=row) for row in rows)) as server, client_of(server) as client:
        assert [(await client.predictions.get("p")).fallback for _ in rows] == [said, None, None]


async def test_a_fallback_takes_over_in_the_emulator() -> None:
    """A failing prediction succeeds with the chain's model and is billed twice; an unknown chain is refused."""
    async with Emulator(executions=0, step_seconds=0.01) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            for given, used, attempts in (({"fail": True}, True, 2), ({}, False, 1)):
                made = await client.predictions.create("flux-1-1-pro", given, fallback_selector="any-image")
                done = await client.predictions.wait(made, poll=EAGER)
                assert done.fallback == {"selector": "any-image", "model": "nano-banana-pro", "used": used}
                assert done.metrics is not None
                assert done.metrics.cost == pytest.approx(0.0125 * attempts)
            inputs = [{"fail": True, "n": number} for number in range(5)]
            async with client.predictions.map("flux-1-1-pro", inputs, fallback_selector="any-image") as outcomes:
                assert [outcome.ok async for outcome in outcomes] == [True] * 5
            with pytest.raises(BadRequestError, match="unknown fallback_selector"):
                await client.predictions.create("flux-1-1-pro", {}, fallback_selector="nothing")
            emulator.fallbacks_enabled = False
            with pytest.raises(PermissionDeniedError):
                await client.predictions.create("flux-1-1-pro", {}, fallback_selector="any-image")


async def test_a_prediction_is_read_cancelled_and_read_in_bulk() -> None:
    """One is fetched, several are fetched as outcomes, and cancelling twice does no harm."""
    async with Emulator(executions=5) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        made = [await client.predictions.create("flux-1-1-pro", {"n": n, "seconds": 30}) for n in range(3)]
        ids = [one.id for one in made]
        assert (await client.predictions.get(ids[0])).input == {"n": 0, "seconds": 30}
        fetched = await client.predictions.get_many([*ids, "nothing"], ordered=True).collect()
        assert list(fetched.values) == ids
        assert isinstance(fetched.errors["nothing"], NotFoundError)
        for _ in range(2):
            assert (await client.predictions.cancel(ids[0])).state is State.CANCELLED
        assert (await client.predictions.get(ids[0])).state is State.CANCELLED
        with pytest.raises(NotFoundError):
            await client.predictions.cancel("nothing")


async def test_cancelling_is_tried_again() -> None:
    """Cancelling twice does no harm, so it is retried after a lost answer."""
    gone = answer(json={"status": "cancelled", "predictionID": "p"})
    async with RawServer(reset(), answer(502), gone) as server, client_of(server) as client:
        assert (await client.predictions.cancel("p")).id == "p"
    assert len(server.requests) == 3


@pytest.mark.parametrize("lost", [reset(), answer(503)], ids=["reset", "503"])
@pytest.mark.parametrize("refused", [404, 409, 400])
async def test_a_cancellation_whose_first_answer_was_lost_is_looked_up(lost: Act, refused: int) -> None:
    """If the second attempt is refused because the first one took effect, the prediction shows that it did."""
    gone = answer(json={"id": "p", "status": "cancelled"})
    async with RawServer(lost, answer(refused), gone) as server, client_of(server) as client:
        assert (await client.predictions.cancel("p")).state is State.CANCELLED
    assert [seen.method for seen in server.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    ("script", "policy", "error", "methods"),
    [
        ([answer(409)], QUICK, ConflictError, ["POST"]),
        ([reset(), answer(409), answer(json={"id": "p", "status": "success"})], QUICK, ConflictError, None),
        ([reset(), answer(409), answer(404)], QUICK, ConflictError, None),
        ([reset(), answer(404)], ONCE, APIConnectionError, ["POST", "GET"]),
    ],
    ids=["refused at once", "it succeeded", "it is not found", "not tried again"],
)
async def test_a_cancellation_that_took_no_effect_is_an_error(
    script: list[Act], policy: Any, error: type[Exception], methods: list[str] | None
) -> None:
    """The failure of the cancellation is raised, whatever the look shows; a plain refusal costs no look."""
    async with RawServer(*script) as server, client_of(server, retry=policy) as client:
        with pytest.raises(error) as failed:
            await client.predictions.cancel("p")
    assert [seen.method for seen in server.requests] == (methods or ["POST", "POST", "GET"])
    assert failed.value.__context__ is None


async def test_a_look_after_a_lost_answer_keeps_the_deadline_of_the_call() -> None:
    """A service that answers nothing any more ends the call at its deadline, with the failure of the cancellation."""
    async with RawServer(reset(), answer(409), stall()) as server:
        async with client_of(server, timeouts=Timeouts(deadline_s=0.3)) as client:
            async with asyncio.timeout(2):
                with pytest.raises(ConflictError):
                    await client.predictions.cancel("p")
    assert [seen.method for seen in server.requests] == ["POST", "POST", "GET"]


async def test_a_run_ends_in_the_answer() -> None:
    """If the model allows it, one request runs it to its end and returns the record; other models are refused."""
    async with Emulator(executions=5) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        done = await client.predictions.run("eachlabs-llm-router", {"prompt": "x"})
        assert (done.state, done.id) == (State.SUCCEEDED, emulator.submitted[0].id)
        with pytest.raises(BadRequestError):
            await client.predictions.run("flux-1-1-pro", {"prompt": "x"})
        emulator.balance_low = True
        with pytest.raises(PaymentRequiredError):
            await client.predictions.run("eachlabs-llm-router", {"prompt": "x"})
    lost = {"status": "failed", "predictionID": "p", "error": "e"}
    async with RawServer(answer(json=lost), then=answer(500)) as server, client_of(server) as client:
        done = await client.predictions.run("m", {})
        assert (done.state, done.error, done.id) == (State.FAILED, "e", "p")
        with pytest.raises(OutcomeUnknownError) as unknown:
            await client.predictions.run("m", {})
        assert unknown.value.lookup["model"] == "m"
        assert len(server.requests) == 2


async def test_webhooks_that_were_sent_are_listed() -> None:
    """The organization's webhooks are listed without attempts, and one is read with them."""
    async with Emulator(executions=5) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        url = "https://example.com/hook"  # The emulator calls loopback alone: the attempt fails at once.
        ids: list[str] = []
        for number in range(3):
            made = await client.predictions.create("flux-1-1-pro", {"n": number}, webhook_url=url)
            await client.predictions.wait(made, poll=EAGER)
            ids.append(made.id)
        assert [hook.execution_id for hook in await client.webhook_deliveries.list(limit=2).collect()] == ids[::-1]
        async with asyncio.timeout(5):
            while "FAILED" not in [
                attempt.status for attempt in (await client.webhook_deliveries.get(ids[0])).attempts or []
            ]:
                await asyncio.sleep(0.005)
        assert client.webhooks is client.webhook_deliveries  # its other name
        hook = await client.webhook_deliveries.get(ids[0])
        assert hook.url == url
        assert hook.attempts
        assert hook.attempts[0].status_code is None
        assert hook.attempts[0].error_message
        with pytest.raises(NotFoundError):
            await client.webhook_deliveries.get("nothing")
        with pytest.raises(ValueError, match="limit must be"):
            client.webhook_deliveries.list(limit=0)


async def test_webhooks_without_an_execution_are_all_given() -> None:
    """Rows whose execution is null are distinguished by what they deliver."""
    hooks = [{"execution_id": None, "url": "u", "request": str(number), "source": "s"} for number in range(3)]
    async with RawServer(then=answer(json={"webhooks": hooks, "limit": 100, "offset": 0})) as server:
        async with client_of(server) as client:
            rows = await client.webhook_deliveries.list(max_rows=3).collect()
    assert [row.request for row in rows] == ["0", "1", "2"]
