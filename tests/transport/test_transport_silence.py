"""Tests for the pause after a 429 on a creating call that states no time while nothing of this client runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest
from raw_server import ONCE, Act, RawServer, RecordedRequest, answer, client_of, hosts_at

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.errors import PaymentRequiredError, RateLimitError

BUSY = answer(429, json={"error": "Too Many Requests"})
BURST = answer(429, json={"error": "too many executions were started at once"})
MADE = answer(json={"status": "success", "message": "", "predictionID": "p1"})
_NUMBERS = itertools.count(2)


def made_anew(seen: RecordedRequest) -> Act:
    """Create another prediction for each request."""
    return answer(json={"status": "success", "message": "", "predictionID": f"p{next(_NUMBERS)}"})


SHORT = RetryPolicy(base_s=0.01, creating_pause_s=0.3)


def prediction(status: str) -> Act:
    return answer(json={"id": "p1", "status": status})


def by_method(post: Callable[[RecordedRequest], Act] | Act, get: Act) -> Callable[[RecordedRequest], Act]:
    def script(seen: RecordedRequest) -> Act:
        if seen.method == "GET":
            return get
        return post if isinstance(post, Act) else post(seen)

    return script


async def create(client: EachLabs) -> Any:
    return await client.predictions.create("m", {"a": 1})


def posts(server: RawServer) -> list[float]:
    return [seen.at for seen in server.requests if seen.method == "POST"]


async def test_by_default_the_call_fails_at_once_and_nothing_is_created_for_90_s() -> None:
    """Creating calls of every view and service fail with the rest of the pause, without a request; reads go on."""
    async with RawServer(then=by_method(BUSY, answer(json=1))) as server:
        async with client_of(server, retry=RetryPolicy()) as client, asyncio.timeout(5):
            with pytest.raises(RateLimitError) as first:
                await create(client)
            assert (first.value.retry_after_s, first.value.attempts) == (90, 1)
            view = client.with_options(retry=ONCE)
            others = (
                lambda: create(client),
                lambda: create(view),
                lambda: client.workflows.trigger("w", "v", {}),
                lambda: client.request("workflows", "POST", "/x"),
                lambda: client.predictions.run("m", {}),
            )
            for other in others:
                with pytest.raises(RateLimitError, match="Too Many Requests") as later:
                    await other()
                assert later.value is not first.value
                assert 80 < (later.value.retry_after_s or 0) <= 90
                assert later.value.attempts == 0
            for service in ("api", "workflows", "flows"):
                assert await client.request(service, "GET", "/x") == 1
    assert len(posts(server)) == 1


async def test_another_vendor_knows_no_such_silence() -> None:
    """Its runs neither wait for such a pause nor start one."""
    async with RawServer(BUSY, BUSY, then=answer(json=1)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(RateLimitError) as refused:
            await client.request("runs", "POST", "/x")
        assert refused.value.retry_after_s is None
        with pytest.raises(RateLimitError) as refused:
            await client.request("api", "POST", "/x")
        assert refused.value.retry_after_s is not None
        assert await client.request("runs", "POST", "/x") == 1


async def test_a_policy_with_room_waits_it_out() -> None:
    """The call is then sent again; calls made meanwhile wait too."""
    async with RawServer(BUSY, then=made_anew) as server, client_of(server, retry=SHORT) as client:
        first = asyncio.ensure_future(create(client))
        await server.seen(1)
        await asyncio.sleep(0.05)
        await asyncio.gather(first, create(client), client.request("workflows", "POST", "/x"))
    at = posts(server)
    assert len(at) == 4
    assert 0.3 - 0.002 <= at[1] - at[0] < 5


@pytest.mark.parametrize("short", ["deadline", "policy"])
async def test_a_call_without_room_for_the_rest_fails_at_once(short: str) -> None:
    """Its deadline or its policy ends before the pause; another call waits for the same pause."""
    hasty: dict[str, Any] = {"timeouts": Timeouts(deadline_s=0.2)}
    if short == "policy":
        hasty = {"retry": RetryPolicy(max_elapsed_s=0.2)}
    async with RawServer(BUSY, then=made_anew) as server, client_of(server, retry=SHORT) as client:
        first = asyncio.ensure_future(create(client))
        await server.seen(1)
        await asyncio.sleep(0.02)
        began = monotonic()
        with pytest.raises(RateLimitError) as caught:
            await create(client.with_options(**hasty))
        assert monotonic() - began < 0.15
        assert 0.2 < (caught.value.retry_after_s or 0) <= 0.3
        await first
    assert len(posts(server)) == 2


async def test_silences_in_a_row_grow_and_start_anew_after_a_creation() -> None:
    """Each is a third of the first longer, up to twice the first."""
    script = (BUSY, BUSY, BUSY, BUSY, BUSY, MADE, prediction("success"), BUSY)
    policy = RetryPolicy(base_s=0, max_attempts=9, creating_pause_s=0.15)
    async with RawServer(*script, then=made_anew) as server:
        async with client_of(server, retry=policy) as client:
            await create(client)
            await client.predictions.get("p1")
            await create(client)
    at = posts(server)
    gaps = [later - earlier for earlier, later in pairwise(at)]
    for gap, least in zip(gaps[:5], (0.15, 0.2, 0.25, 0.3, 0.3), strict=True):
        assert least - 0.002 <= gap < least + 0.15
    assert 0.15 - 0.002 <= gaps[6] < 0.3


class TestWhatRuns:
    @pytest.mark.parametrize("how", ["created", "triggered", "bulk"])
    async def test_makes_a_429_the_cap(self, how: str) -> None:
        """It is retried by the policy, since the limit clears when an execution ends."""
        queued = {"execution_id": "p1", "status": "queued"}
        first = {
            "created": MADE,
            "triggered": answer(202, json=queued),
            "bulk": answer(202, json={"bulk_id": "b", "executions": [queued]}),
        }[how]
        async with RawServer(first, BUSY, BUSY, then=made_anew) as server:
            async with client_of(server, retry=RetryPolicy(base_s=0.01)) as client, asyncio.timeout(5):
                if how == "created":
                    await create(client)
                elif how == "triggered":
                    await client.workflows.trigger("w", "v", {})
                else:
                    await client.workflows.bulk_trigger("w", "v", [{}])
                await create(client)
        assert len(posts(server)) == 4

    @pytest.mark.parametrize("how", ["got", "waited", "cancelled"])
    async def test_no_longer_once_it_was_seen_to_end(self, how: str) -> None:
        """Then nothing of this client runs."""

        def post(seen: RecordedRequest) -> Act:
            if seen.target.endswith("cancel"):
                return answer(json={"status": "cancelled", "message": "", "predictionID": "p1"})
            return MADE if len(posts(server)) == 0 else BUSY

        async with RawServer(then=by_method(post, prediction("success"))) as server:
            async with client_of(server, retry=RetryPolicy(base_s=0.01, max_attempts=2)) as client, asyncio.timeout(5):
                created = await create(client)
                with pytest.raises(RateLimitError) as refused:
                    await create(client)
                assert refused.value.retry_after_s is None
                if how == "got":
                    await client.predictions.get("p1")
                elif how == "waited":
                    await client.predictions.wait(created)
                else:
                    await client.predictions.cancel("p1")
                with pytest.raises(RateLimitError) as refused:
                    await create(client)
                assert refused.value.retry_after_s == 90

    async def test_is_still_running_when_it_was_read_so(self) -> None:
        """A read of a running execution does not end it."""
        async with RawServer(MADE, then=by_method(BUSY, prediction("processing"))) as server:
            async with client_of(server, retry=ONCE) as client:
                await create(client)
                await client.predictions.get("p1")
                with pytest.raises(RateLimitError) as refused:
                    await create(client)
        assert refused.value.retry_after_s is None

    async def test_an_execution_of_a_workflow_that_was_got_has_ended(self) -> None:
        """The same holds for a prediction."""
        got = answer(json={"execution_id": "e1", "status": "failed"})
        queued = answer(202, json={"execution_id": "e1", "status": "queued"})
        async with RawServer(queued, then=by_method(BUSY, got)) as server, client_of(server, retry=ONCE) as client:
            await client.workflows.trigger("w", "v", {})
            await client.workflow_executions.get("e1")
            with pytest.raises(RateLimitError) as refused:
                await client.workflows.trigger("w", "v", {})
        assert refused.value.retry_after_s == 90

    async def test_what_was_run_to_its_end_does_not_run(self) -> None:
        """The response of its call had the end."""
        ran = answer(json={"status": "success", "message": "", "predictionID": "p1", "output": "x"})
        async with RawServer(ran, then=BUSY) as server, client_of(server, retry=ONCE) as client:
            await client.predictions.run("m", {})
            with pytest.raises(RateLimitError) as refused:
                await create(client)
        assert refused.value.retry_after_s == 90

    async def test_a_call_under_way_may_be_running_something(self) -> None:
        """Only the last one finds that nothing else runs; a call that waits for a retry is not under way."""
        slow = answer(json={"predictionID": "p1"}, delay_s=0.3)

        def post(seen: RecordedRequest) -> Act:
            return slow if b'"slow"' in seen.body else BUSY

        async with RawServer(then=post) as server, client_of(server, retry=ONCE) as client:
            under_way = asyncio.ensure_future(client.predictions.create("m", {"a": "slow"}))
            await server.seen(1)
            with pytest.raises(RateLimitError) as refused:
                await create(client)
            assert refused.value.retry_after_s is None
            await under_way
        async with RawServer(then=BUSY) as server:
            async with client_of(server, retry=RetryPolicy(base_s=0.2)) as client, asyncio.timeout(5):
                results = await asyncio.gather(*(create(client) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, RateLimitError) for one in results)
        assert len(posts(server)) == 5, "something was sent during the silence"


async def test_a_burst_that_is_named_is_no_cap_whatever_runs() -> None:
    """By its message, the end of an execution would change nothing."""
    async with RawServer(MADE, then=BURST) as server, client_of(server, retry=RetryPolicy()) as client:
        await create(client)
        with pytest.raises(RateLimitError) as refused:
            await create(client)
    assert refused.value.retry_after_s == 90


async def test_several_that_the_named_cap_does_not_fit_are_no_burst() -> None:
    """Fewer may fit, so there is no pause."""
    capped = answer(429, json={"error": "concurrent execution limit reached"})
    async with RawServer(capped, then=made_anew) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(RateLimitError) as refused:
            await client.workflows.bulk_trigger("w", "v", [{}, {}])
        assert refused.value.retry_after_s is None
        await create(client)


@pytest.mark.parametrize("what", ["workflow", "upload"])
async def test_what_creates_no_execution_begins_no_silence(what: str) -> None:
    """A 429 there has another reason."""
    async with RawServer(then=BUSY) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=True), retry=ONCE) as client:
            with pytest.raises(RateLimitError) as refused:
                if what == "workflow":
                    await client.workflows.create("n", {})
                else:
                    await client.files.presign("image/png")
    assert refused.value.retry_after_s is None


async def test_a_policy_can_go_without(caplog: pytest.LogCaptureFixture) -> None:
    """Such a 429 is then retried like any other."""
    caplog.set_level(logging.INFO, "eachlabs_async")
    policy = RetryPolicy(base_s=0.01, creating_pause_s=0)
    async with RawServer(BUSY, BUSY, then=made_anew) as server, client_of(server, retry=policy) as client:
        async with asyncio.timeout(5):
            await create(client)
    assert len(posts(server)) == 3
    assert "pausing all creating" not in caplog.text


async def test_it_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """There is one line at INFO, with the length and without the key."""
    echo = answer(429, json={"error": "slow down, labs-key", "details": {"key": "labs-key", "cap": "burst"}})
    caplog.set_level(logging.INFO, "eachlabs_async")
    async with RawServer(then=echo) as server, client_of(server, retry=RetryPolicy()) as client:
        for _ in range(3):
            with pytest.raises(RateLimitError) as refused:
                await create(client)
            assert '{"key": "***", "cap": "burst"}' in str(refused.value)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["pausing all creating requests for 90 s after HTTP 429: slow down, ***"]


async def test_a_402_of_a_single_call_tells_what_is_reserved() -> None:
    """It is raised at once, with the details in its text."""
    broke = answer(402, json={"error": "insufficient balance", "details": {"reserved": 0.5, "available": 0.01}})
    async with RawServer(then=broke) as server, client_of(server) as client:
        with pytest.raises(PaymentRequiredError, match=r'\{"reserved": 0\.5, "available": 0\.01\}'):
            await create(client)
    assert len(server.requests) == 1
