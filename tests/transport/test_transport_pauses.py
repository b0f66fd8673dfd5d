"""Holds the pause that a service asks for: a floor for all its requests, for nobody else, and with no place held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any

import aiohttp
import pytest
from raw_server import ONCE, Act, RawServer, RecordedRequest, answer, client_of, hosts_at, redirect

from eachlabs_async import RetryPolicy, Timeouts
from eachlabs_async.errors import (
    APIStatusError,
    APITimeoutError,
    OutcomeUnknownError,
    RateLimitError,
    ServerError,
)
from eachlabs_async.transport.service import Pause

PAUSE_S = 0.25
POLICY = RetryPolicy(base_s=0.01)


def held(status: int = 429, seconds: float | str = PAUSE_S) -> Act:
    return answer(status, json={"error": "later"}, headers={"Retry-After": str(seconds)})


def first_gets(act: Act) -> Callable[[RecordedRequest], Act]:
    """Make a script in which the very first request meets `act` and all others an answer that takes a moment."""
    state = {"first": True}

    def script(seen: RecordedRequest) -> Act:
        if state["first"]:
            state["first"] = False
            return act
        return answer(json=1, delay_s=0.01)

    return script


@pytest.mark.parametrize("status", [429, 503])
async def test_no_request_of_the_service_is_early(status: int) -> None:
    """Whatever the jitter: calls under way, calls that queue and calls made later all wait for the pause to end."""
    async with RawServer(then=first_gets(held(status))) as server:
        async with client_of(server, max_concurrency=3, retry=POLICY) as client:
            first = asyncio.ensure_future(client.request("api", "GET", "/first"))
            await server.seen(1)
            answered = monotonic()
            await asyncio.sleep(0.05)
            others = [asyncio.ensure_future(client.request("api", "GET", f"/{n}")) for n in range(20)]
            assert await asyncio.gather(first, *others) == [1] * 21
    later = [seen.at - answered for seen in server.requests[1:]]
    assert len(later) == 21
    assert min(later) >= PAUSE_S - 0.002
    assert max(later) < PAUSE_S + 5


async def test_they_do_not_all_set_out_at_once() -> None:
    """Positive jitter spreads those who wait; it never takes from the pause."""
    async with RawServer(then=first_gets(held())) as server:
        async with client_of(server, retry=RetryPolicy(base_s=0.4)) as client:
            first = asyncio.ensure_future(client.request("api", "GET", "/first"))
            await server.seen(1)
            answered = monotonic()
            await asyncio.sleep(0.02)
            await asyncio.gather(first, *(client.request("api", "GET", "/x") for _ in range(30)))
    later = sorted(seen.at - answered for seen in server.requests[1:])
    assert later[0] >= PAUSE_S - 0.002
    assert later[-1] - later[0] > 0.1


async def test_a_date_is_a_pause_too() -> None:
    """Held against the answer's own clock."""
    wrong_clock = datetime.now(UTC) + timedelta(days=3)
    dates = {
        "Date": format_datetime(wrong_clock, usegmt=True),
        "Retry-After": format_datetime(wrong_clock + timedelta(seconds=1), usegmt=True),
    }
    async with RawServer(answer(429, headers=dates)) as server, client_of(server, retry=POLICY) as client:
        await client.request("api", "GET", "/x")
    assert 0.99 <= server.requests[1].at - server.requests[0].at < 5


@pytest.mark.parametrize("max_concurrency", [1, 64])
async def test_other_services_go_on_and_no_place_is_held(max_concurrency: int) -> None:
    """With a single place for all services, the paused calls leave it to others."""
    async with RawServer(held(429, 30)) as server:
        async with client_of(server, max_concurrency=max_concurrency, retry=POLICY) as client:
            paused = [asyncio.ensure_future(client.request("api", "GET", "/x")) for _ in range(5)]
            await server.seen(1)
            await asyncio.sleep(0.02)
            async with asyncio.timeout(5):
                for service in ("workflows", "flows", "runs"):
                    await client.request(service, "GET", "/x")
            for task in paused:
                task.cancel()
            await asyncio.gather(*paused, return_exceptions=True)
    assert len([target for target in server.targets if target.startswith("/api")]) <= max_concurrency


async def test_services_on_one_base_share_a_pause() -> None:
    """In the unified edition `api` and `workflows` are one service to pause."""
    async with RawServer(then=first_gets(held())) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=True), retry=POLICY) as client:
            first = asyncio.ensure_future(client.request("api", "GET", "/x"))
            await server.seen(1)
            answered = monotonic()
            await asyncio.sleep(0.02)
            await client.request("workflows", "GET", "/x")
            assert monotonic() - answered >= PAUSE_S - 0.002
            await first


async def test_a_view_waits_for_the_pause_that_another_met() -> None:
    """The pause is the client's, whichever view was told."""
    async with RawServer(held(), then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
        with pytest.raises(RateLimitError):
            await client.with_options(retry=ONCE).request("api", "GET", "/x")
        await client.request("api", "GET", "/x")
    assert server.requests[1].at - server.requests[0].at >= PAUSE_S - 0.002


async def test_a_longer_pause_holds_and_a_shorter_one_does_not_cut_it() -> None:
    """Of two that were asked for at about the same time the longer one counts."""
    script = (held(429, 0.4), held(429, 0.05))
    async with RawServer(*script, then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
        await asyncio.gather(client.request("api", "GET", "/a"), client.request("api", "GET", "/b"))
    assert all(seen.at - server.requests[1].at >= 0.39 for seen in server.requests[2:])


@pytest.mark.parametrize("creating", [False, True])
def test_a_pause_is_never_shortened(creating: bool) -> None:
    """What was asked for last counts only where it reaches further; what is over is forgotten, and no more."""
    pause, first, second = Pause(), ServerError("first"), ServerError("second")
    pause.extend(20.0, first, creating=creating)
    pause.extend(10.0, second, creating=creating)
    pause.clear_ended(19.9)
    assert pause.for_call(creating=True) == (20.0, first)
    assert pause.for_call(creating=False)[0] == (0.0 if creating else 20.0)
    pause.extend(30.0, second, creating=creating)
    assert pause.for_call(creating=True) == (30.0, second)
    pause.extend(40.0, first, creating=not creating)
    assert pause.for_call(creating=True) == (40.0, first)
    pause.clear_ended(40.0)
    assert pause.for_call(creating=True)[0] == 0.0


@pytest.mark.parametrize("seconds", ["60.1", "3600", "99999999999999"])
async def test_a_pause_that_is_too_long_is_neither_waited_for_nor_shared(seconds: str) -> None:
    """The call fails at once, and the next one is sent at once."""
    async with RawServer(held(503, seconds), then=answer(json=1)) as server, client_of(server) as client:
        async with asyncio.timeout(5):
            with pytest.raises(ServerError, match="later") as caught:
                await client.request("api", "GET", "/x")
            assert await client.request("api", "GET", "/x") == 1
    assert caught.value.attempts == 1
    assert caught.value.retry_after_s == float(seconds)


async def test_a_status_that_is_not_retried_asks_for_no_pause() -> None:
    """`Retry-After` on a 404 is kept in the error and holds nobody up."""
    async with RawServer(held(404, 30), then=answer(json=1)) as server, client_of(server) as client:
        async with asyncio.timeout(5):
            with pytest.raises(APIStatusError) as caught:
                await client.request("api", "GET", "/x")
            assert await client.request("api", "GET", "/x") == 1
    assert caught.value.retry_after_s == 30


@pytest.mark.parametrize("max_concurrency", [1, 8])
async def test_a_deadline_inside_a_pause_fails_at_once_with_its_cause(max_concurrency: int) -> None:
    """The caller learns why, what is left of the pause, and that nothing of its own was sent."""
    async with RawServer(held(503, 20), then=answer(json=1)) as server:
        async with client_of(
            server, timeouts=Timeouts(deadline_s=10), max_concurrency=max_concurrency, retry=POLICY
        ) as client:
            began = monotonic()
            with pytest.raises(ServerError, match="later") as first:
                await client.request("api", "GET", "/first")
            for method in ("GET", "POST"):
                with pytest.raises(ServerError, match="later") as caught:
                    await client.request("api", method, "/second")
                assert caught.value is not first.value
                assert (caught.value.attempts, caught.value.method) == (0, method)
                assert caught.value.url == f"{server.url}/api/second"
                assert caught.value.retry_after_s is not None
                assert 15 < caught.value.retry_after_s <= 20
            assert monotonic() - began < 3
            assert first.value.url == f"{server.url}/api/first"
            assert first.value.attempts == 1
            await client.request("runs", "GET", "/x")
    assert len(server.requests) == 2


async def test_the_cause_of_a_pause_brings_nothing_of_the_walk_that_met_it() -> None:
    """The rows, checkpoint and notes on a failed walk's error are not on the error of a call that the pause stops."""
    page = answer(json={"executions": [{"id": "a", "status": "success"}], "total_count": 2, "total_capped": False})
    async with RawServer(page, held(503, 20)) as server:
        async with client_of(server, timeouts=Timeouts(deadline_s=10), retry=POLICY) as client:
            with pytest.raises(ServerError) as first:
                await client.executions.list(limit=1).collect()
            first.value.add_note("of the walk")
            with pytest.raises(ServerError) as second:
                await client.request("api", "GET", "/x")
    assert len(first.value.partial) == 1
    assert (second.value.checkpoint, second.value.partial) == (None, None)
    assert not hasattr(second.value, "__notes__")


async def test_a_pause_that_ends_in_time_is_waited_for() -> None:
    """The deadline goes on meanwhile."""
    async with RawServer(held(), then=answer(json=1, end="stall", delay_s=9)) as server:
        async with client_of(server, timeouts=Timeouts(deadline_s=PAUSE_S + 0.2), retry=POLICY) as client:
            began = monotonic()
            with pytest.raises(APITimeoutError) as caught:
                await client.request("api", "GET", "/x")
    assert PAUSE_S + 0.19 <= monotonic() - began < 5
    assert caught.value.attempts == 2


class TestCreating:
    async def test_a_429_holds_creations_only(self) -> None:
        """It is a cap on executions: reads of the same service go on, other creations wait."""
        async with RawServer(held(), then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
            first = asyncio.ensure_future(client.request("api", "POST", "/create"))
            await server.seen(1)
            await asyncio.sleep(0.02)
            answered = server.requests[0].at
            second = asyncio.ensure_future(client.request("api", "POST", "/create"))
            await client.request("api", "GET", "/read")
            assert monotonic() - answered < PAUSE_S
            await asyncio.gather(first, second)

        creations = [seen.at - answered for seen in server.requests if seen.method == "POST"]
        assert len(creations) == 3
        assert min(creations[1:]) >= PAUSE_S - 0.002

    async def test_a_503_holds_everything(self) -> None:
        """The outcome of the creation is unknown, and reads wait as well."""
        async with RawServer(held(503), then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.request("api", "POST", "/create")
            await client.request("api", "GET", "/read")
        assert server.requests[1].at - server.requests[0].at >= PAUSE_S - 0.002

    async def test_a_429_of_a_read_holds_creations_too(self) -> None:
        """A limit on all requests is one on creations."""
        async with RawServer(held(), then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
            read = asyncio.ensure_future(client.request("api", "GET", "/read"))
            await server.seen(1)
            await asyncio.sleep(0.02)
            await client.request("api", "POST", "/create")
            await read
        assert min(seen.at for seen in server.requests[1:]) - server.requests[0].at >= PAUSE_S - 0.002

    async def test_a_pause_that_others_met_leaves_no_outcome_open(self) -> None:
        """A creation that was refused and then held by another call's 503 was certainly not carried out."""
        policy = RetryPolicy(base_s=0.1, cap_s=0.1, creating_pause_s=0)

        def script(seen: RecordedRequest) -> Act:
            return answer(429) if seen.method == "POST" else held(503, 50)

        async with RawServer(then=script) as server:
            async with client_of(server, retry=policy, timeouts=Timeouts(deadline_s=20)) as client:
                create = asyncio.ensure_future(client.request("api", "POST", "/create"))
                await server.seen(1)
                with pytest.raises(ServerError):
                    await client.request("api", "GET", "/read")
                async with asyncio.timeout(5):
                    with pytest.raises(ServerError, match="later") as caught:
                        await create
        assert caught.value.attempts == 1
        assert [seen.method for seen in server.requests] == ["POST", "GET"]


async def test_a_cancelled_wait_leaves_the_pause_to_others() -> None:
    """Who gives up waiting changes nothing for those who wait on."""
    async with RawServer(held(), then=answer(json=1)) as server, client_of(server, retry=POLICY) as client:
        tasks: list[asyncio.Task[Any]] = []
        for _ in range(3):
            tasks.append(asyncio.ensure_future(client.request("api", "GET", "/x")))
            await server.seen(1)
            await asyncio.sleep(0.02)
        tasks[0].cancel()
        tasks[1].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in results] == [True, True, False]
    assert server.requests[1].at - server.requests[0].at >= PAUSE_S - 0.002


class TestRedirects:
    @pytest.mark.parametrize("passed", [False, True])
    async def test_a_hop_waits_for_a_pause_that_began_meanwhile(self, passed: bool) -> None:
        """A redirect is one more request to the service: it is not sent while the service asked for none."""
        acts = {"/api/a": redirect("/api/c"), "/api/b": held(503), "/api/c": answer(json=7)}

        def script(seen: RecordedRequest) -> Act:
            act = acts[seen.target]
            return Act(act.sent, delay_s=0.1) if seen.target == "/api/a" else act

        async with RawServer(then=script) as server, aiohttp.ClientSession() as own:
            async with client_of(server, retry=POLICY, session=own if passed else None) as client:
                hop = asyncio.ensure_future(client.request("api", "GET", "/a"))
                await server.seen(1)
                with pytest.raises(ServerError):
                    await client.with_options(retry=ONCE).request("api", "GET", "/b")
                assert await hop == 7
        assert server.targets == ["/api/a", "/api/b", "/api/c"]
        assert server.requests[2].at - server.requests[1].at >= PAUSE_S - 0.002

    async def test_a_hop_that_its_deadline_does_not_let_wait_fails_with_the_cause(self) -> None:
        """As any request does whose deadline lies inside a pause."""
        script = (Act(redirect("/api/c").sent, delay_s=0.1), held(503, 30))
        async with RawServer(*script) as server, client_of(server, timeouts=Timeouts(deadline_s=20)) as client:
            hop = asyncio.ensure_future(client.request("api", "GET", "/a"))
            await server.seen(1)
            with pytest.raises(ServerError):
                await client.with_options(retry=ONCE).request("api", "GET", "/b")
            async with asyncio.timeout(5):
                with pytest.raises(ServerError, match="later") as caught:
                    await hop
        assert (caught.value.attempts, server.targets) == (1, ["/api/a", "/api/b"])

    async def test_redirects_use_up_no_attempts(self) -> None:
        """`attempts` counts tries, each with all its hops, and each try may be redirected as often as the first."""
        hops = [redirect(f"/api/{n}") for n in range(5)]
        script = [*hops, answer(503), *hops, answer(503), *hops, answer(503)]
        policy = RetryPolicy(max_attempts=3, base_s=0.001)
        async with RawServer(*script, then=answer(json=1)) as server, client_of(server, retry=policy) as client:
            with pytest.raises(ServerError) as caught:
                await client.request("api", "GET", "/x")
            assert (caught.value.attempts, len(server.requests)) == (3, 18)
            server.script = [*hops, answer(503), *hops]
            assert await client.request("api", "GET", "/x") == 1
        assert server.targets[::6] == ["/api/x"] * 5

    async def test_a_hop_does_not_shorten_the_wait_between_tries(self) -> None:
        """The wait after a try grows with the tries, not with their hops."""
        policy = RetryPolicy(max_attempts=2, base_s=0.05, cap_s=10)
        async with RawServer(*[redirect("/api/y")] * 5, answer(503), then=answer(json=1)) as server:
            async with client_of(server, retry=policy) as client:
                assert await client.request("api", "GET", "/x") == 1
        assert 0.024 <= server.requests[6].at - server.requests[5].at < 0.5
