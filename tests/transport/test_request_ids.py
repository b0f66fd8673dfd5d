"""Holds the id of requests: each try carries its own, and errors and log lines name it for the vendor's support."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from raw_server import (
    ONCE,
    Act,
    RawServer,
    answer,
    client_of,
    close,
    cut_body,
    free_port,
    hosts_at,
    redirect,
    reset,
    stall,
)

from eachlabs_async import EachLabs, Timeouts
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    EachLabsError,
    NotFoundError,
    OutcomeUnknownError,
    ResponseDecodeError,
)

NAME = "x-request-id"
METHODS: list[Any] = ["GET", "PUT", "POST", "GET"]
SERVICES: list[Any] = ["api", "runs"]


def ids_of(server: RawServer) -> list[str]:
    """Return the ids as they stood in the heads that arrived."""
    return [seen.headers[NAME] for seen in server.requests]


async def test_every_try_has_an_id_of_its_own(session: aiohttp.ClientSession | None) -> None:
    """Of calls, of tries, of views and of clients: no two requests carry the same, and each has the form of a UUID."""
    then = answer(json=1)
    async with RawServer(answer(503), reset(), cut_body(), then=then) as server:
        for _ in range(2):
            async with client_of(server, session=session) as client:
                view = client.with_options(timeouts=Timeouts(deadline_s=9))
                for method in METHODS:
                    await client.request("api", method, "/x", json=None if method == "GET" else {})
                    await view.request("runs", "GET", "/x")
                    await client.request("flows", "POST", "/x", json={})
    assert len(server.requests) == 2 * 12 + 3
    assert len({str(UUID(one)) for one in ids_of(server)}) == len(server.requests)
    assert all(UUID(one).version == 4 for one in ids_of(server))


async def test_errors_of_calls_side_by_side_name_each_its_own(session: aiohttp.ClientSession | None) -> None:
    """However many are on their way at once, no call is told the id of another."""
    async with RawServer(then=answer(404, delay_s=0.02)) as server:
        async with client_of(server, session=session) as client:
            calls = [client.request(SERVICES[n % 2], METHODS[n % 3], f"/{n}") for n in range(60)]
            failures = await asyncio.gather(*calls, return_exceptions=True)
    sent = {seen.target.rpartition("/")[2]: seen.headers[NAME] for seen in server.requests}
    assert len(set(sent.values())) == 60
    for number, failure in enumerate(failures):
        assert isinstance(failure, NotFoundError)
        assert failure.request_id == sent[str(number)]


async def test_calls_without_a_key_and_bulk_reads_have_one_too() -> None:
    """Whatever its service, edition and kind: each request of a client names itself."""
    async with Emulator(executions=12) as emulator:
        for hosts in (emulator.hosts, emulator.unified_hosts):
            async with EachLabs(emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key) as client:
                await client.models.list(limit=5).collect()
                ids = [row.id for row in await client.runs.list(size=5, look_ahead=2).collect()]
                await client.runs.get_many(ids).collect()
                await client.flow_executions.get_many("workflow-1", ["a", "b"]).collect()
        seen = [one.headers.get(NAME) for one in emulator.log]
    assert len(seen) > 20
    assert None not in seen
    assert len(set(seen)) == len(seen)


async def test_a_redirect_within_a_try_keeps_its_id() -> None:
    """It is the same try, and the next try has the next id."""
    async with RawServer(redirect("/api/y"), answer(503), redirect("/api/y"), answer(json=7)) as server:
        async with client_of(server) as client:
            assert await client.request("api", "GET", "/x") == 7
    one, two, three, four = ids_of(server)
    assert one == two != three == four


async def test_a_storage_is_shown_none() -> None:
    """A presigned URL is another host's: what names our requests to the service is no matter of its."""
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            await client.files.upload(b"bytes", "image/png")
        presigned, put = emulator.log
    assert put.endpoint == "storage.put"
    assert NAME in presigned.headers
    assert NAME not in put.headers


class TestErrors:
    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            (lambda: answer(404, json={"error": "no"}), NotFoundError),
            (lambda: answer(500), APIStatusError),
            (lambda: answer(body="<html>"), ResponseDecodeError),
            (lambda: redirect("https://example.com/"), APIConnectionError),
            (reset, APIConnectionError),
            (close, APIConnectionError),
            (cut_body, APIConnectionError),
            (stall, APITimeoutError),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_name_the_request_of_the_last_try(
        self, session: aiohttp.ClientSession | None, kind: Callable[[], Act], error: type[EachLabsError], method: Any
    ) -> None:
        """The id that was sent, where the answer tells none or there is no answer; it pickles, and the text has it."""
        async with RawServer(then=kind()) as server:
            async with client_of(server, session=session, timeouts=Timeouts(read_s=0.05, connect_s=0.04)) as client:
                with pytest.raises((error, OutcomeUnknownError)) as caught:
                    await client.request("api", method, "/x", json=None)
        found = caught.value
        assert found.request_id == ids_of(server)[-1]
        assert f"[request {found.request_id}]" in str(found)
        assert pickle.loads(pickle.dumps(found)).request_id == found.request_id
        if isinstance(found, OutcomeUnknownError):
            assert found.reason is not None
            assert found.reason.request_id == found.request_id

    @pytest.mark.parametrize(
        ("name", "status"), [("X-Request-Id", 404), ("X-Execution-ID", 503), ("x-request-id", 200)]
    )
    async def test_give_the_services_own_id_where_it_tells_one(self, name: str, status: int) -> None:
        """Its support finds that one in its logs, also where the body of a success cannot be read."""
        async with RawServer(then=answer(status, body="x", headers={name: "theirs"})) as server:
            async with client_of(server, retry=ONCE) as client:
                with pytest.raises((APIStatusError, ResponseDecodeError)) as caught:
                    await client.request("api", "GET", "/x")
        assert caught.value.request_id == "theirs"

    @pytest.mark.parametrize("told", ["a\x1b[31m\x08b\u202e", "ab" + "c" * 500])
    async def test_tell_only_what_a_line_can_hold(self, told: str) -> None:
        """Of what the peer sends: printable characters, and not too many."""
        echo = answer(404, headers={"X-Request-Id": told})
        async with RawServer(then=echo) as server, client_of(server) as client:
            with pytest.raises(EachLabsError) as caught:
                await client.request("api", "GET", "/x")
        found = caught.value.request_id or ""
        assert found.isprintable()
        assert len(found) <= 200

    async def test_of_a_connection_that_never_was_name_it_too(self) -> None:
        """The last id that would have gone out."""
        async with EachLabs("k", hosts=hosts_at(f"http://127.0.0.1:{free_port()}"), retry=ONCE) as client:
            with pytest.raises(APIConnectionError) as caught:
                await client.request("api", "GET", "/x")
        assert UUID(caught.value.request_id)

    async def test_of_what_was_never_tried_name_none(self) -> None:
        """Without a key nothing goes out, and there is nothing to name."""
        async with EachLabs(hosts=hosts_at("http://127.0.0.1:1")) as client:
            with pytest.raises(ConfigurationError) as caught:
                await client.request("api", "GET", "/x")
        assert caught.value.request_id is None

    async def test_of_an_id_that_a_bulk_answer_left_out_name_the_chunk(self) -> None:
        """And rows that cannot be read name the request that brought them."""
        body = {"executions": [{"execution_id": "b", "status": 1}]}
        async with RawServer(then=answer(json=body)) as server, client_of(server) as client:
            result = await client.flow_executions.get_many("w", ["a", "b"]).collect()
        for error in result.errors.values():
            assert isinstance(error, EachLabsError)
            assert error.request_id == ids_of(server)[0]
        assert {type(error) for error in result.errors.values()} == {ResponseDecodeError, NotFoundError}


async def test_lines_name_the_try(caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG each try's id, INFO that of the try that failed; the service's own where it tells one."""
    caplog.set_level(logging.DEBUG, "eachlabs_async")
    script = (reset(), answer(503), answer(503, headers={"X-Request-Id": "theirs"}))
    async with RawServer(*script, then=answer(json=1)) as server, client_of(server) as client:
        await client.request("api", "GET", "/x")
    first, second, _, fourth = ids_of(server)
    lines = [(one.levelname, one.getMessage()) for one in caplog.records if one.name == "eachlabs_async"]
    told = [(level, re.findall(r"\[request ([^ ]+)\]$", line)) for level, line in lines]
    tries = [first, first, second, second, "theirs", "theirs", fourth]
    assert told == [(("DEBUG", "INFO")[number % 2], [one]) for number, one in enumerate(tries)]


class TestASessionThatWasPassedIn:
    @pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id"])
    async def test_gives_its_own_id_where_it_has_one(self, name: str) -> None:
        """What its owner chose goes out once, and is what errors tell."""
        async with aiohttp.ClientSession(headers={name: "mine"}) as session, RawServer(then=answer(500)) as server:
            async with client_of(server, session=session) as client:
                for method in METHODS[1:3]:
                    with pytest.raises(EachLabsError) as caught:
                        await client.request("api", method, "/x")
                    assert caught.value.request_id == "mine"
        assert set(ids_of(server)) == {"mine"}

    async def test_keeps_its_own_headers_as_they_were(self) -> None:
        """Ours are said with each request: its owner's requests carry none of them."""
        async with aiohttp.ClientSession() as session, RawServer() as server:
            async with client_of(server, session=session) as client:
                await client.request("api", "GET", "/x")
            async with session.get(server.url):
                pass
            assert NAME not in session.headers
        assert [NAME in seen.headers for seen in server.requests] == [True, False]

    async def test_tells_no_key_that_stands_in_its_id(self) -> None:
        """Struck out of errors, as everywhere; a key of the other vendor does not go out at all, and ours does."""
        async with (
            aiohttp.ClientSession(headers={"X-Request-Id": "for labs-key"}) as session,
            RawServer(then=answer(500)) as server,
        ):
            async with client_of(server, session=session, retry=ONCE) as client:
                found: list[str | None] = []
                for service in SERVICES:
                    with pytest.raises(EachLabsError) as caught:
                        await client.request(service, "GET", "/x")
                    found.append(caught.value.request_id)
        assert found == ["for ***", ids_of(server)[1]]
        assert UUID(ids_of(server)[1])


async def test_the_emulator_gives_back_the_id_that_came() -> None:
    """As the service does: what an error tells is in the emulator's log."""
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            with pytest.raises(NotFoundError) as caught:
                await client.workflow_executions.get("none")
        assert caught.value.request_id == emulator.log[0].headers[NAME]
