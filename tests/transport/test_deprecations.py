"""Tests for warnings about deprecations by a service: once, for calls that the caller chose, with a link."""

from __future__ import annotations

import logging
import time
from typing import Any

import aiohttp
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from internals import transport_of
from raw_server import Act, RawServer, answer, client_of

from eachlabs_async import EachLabs, Execution
from eachlabs_async.errors import EachLabsError
from eachlabs_async.records import ExecutionList
from eachlabs_async.transport.endpoints import LIST_EXECUTIONS
from eachlabs_async.transport.wire import deprecation_link

AT = "@1788480000"
PAGE = "https://docs.example.com/deprecations/v1-executions"
LINK = f'<{PAGE}>; rel="deprecation"; type="text/html"'


def deprecated(status: int = 200, link: str | None = LINK, since: str = AT, body: Any = None) -> Act:
    headers = {"Deprecation": since} | ({} if link is None else {"Link": link})
    return answer(status, json={"executions": [], "total_count": 0} if body is None else body, headers=headers)


def choosing(server: RawServer, **options: Any) -> EachLabs:
    """Yield a client that was told to list by `/v1/executions`: only then is there a warning."""
    return client_of(server, hosts=attrs.evolve(server.hosts, executions_by="seek"), **options)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """Return the function that returns the warnings so far."""
    caplog.set_level(logging.DEBUG, "eachlabs_async")

    def lines() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]

    return lines


async def test_what_is_deprecated_is_told_once(told: Any, session: aiohttp.ClientSession | None) -> None:
    """There is one line for the endpoint with its link, whatever the arguments, pages and views."""
    async with RawServer(then=deprecated()) as server, choosing(server, session=session) as client:
        await client.executions.list().collect()
        await client.executions.list(model="m", limit=5).collect()
        await client.with_options().executions.list().collect()
    assert told() == [f"GET /executions (executions.list) is deprecated by the service: see {PAGE}"]


async def test_each_endpoint_and_each_client_has_its_own_line(told: Any) -> None:
    """Another call has a line of its own; a path with an id is logged as its template."""
    async with RawServer(then=deprecated(404, body={"error": "gone"})) as server:
        for _ in range(2):
            async with client_of(server) as client:
                for identity in ("a", "b"):
                    with pytest.raises(EachLabsError):
                        await client.runs.get(identity)
                await client.predictions.get_many(["a", "b"]).collect()
    line = f"is deprecated by the service: see {PAGE}"
    once = [f"GET /runs/{{run_id}} (runs.get) {line}", f"GET /prediction/{{prediction_id}} (predictions.get) {line}"]
    assert told() == once * 2


async def test_what_the_library_chose_is_told_to_nobody(told: Any) -> None:
    """A call that the library chose logs nothing, and a later one that the caller chose still does."""
    async with RawServer(then=deprecated()) as server, choosing(server) as client:
        for chosen in (False, True):
            call = transport_of(client).call(LIST_EXECUTIONS, "/executions", chosen_by_caller=chosen)
            await transport_of(client).get(call, ExecutionList)
            assert len(told()) == chosen


@pytest.mark.parametrize("since", ["false", "?0", ""])
async def test_a_header_that_says_no_is_no_deprecation(told: Any, since: str) -> None:
    """The same holds for an empty header."""
    async with RawServer(then=deprecated(since=since)) as server, choosing(server) as client:
        await client.executions.list().collect()
    assert told() == []


async def test_without_the_header_nothing_is_told(told: Any) -> None:
    """A link alone does not mean a deprecation."""
    async with RawServer(then=answer(json={"executions": []}, headers={"Link": LINK})) as server:
        async with client_of(server) as client:
            assert await client.executions.list().collect() == list[Execution]()
    assert told() == []


class TestARequestByPath:
    async def test_is_told_once_for_a_link(self, told: Any) -> None:
        """Paths contain ids, so requests with the same link count as one endpoint."""
        async with RawServer(then=deprecated()) as server, choosing(server) as client:
            for path in ("/things/1", "/things/2"):
                await client.request("api", "GET", path)
        assert told() == [f"GET /api/things/1 is deprecated by the service: see {PAGE}"]

    async def test_is_told_once_for_a_path_without_one(self, told: Any) -> None:
        """The number of lines of one client is bounded."""
        async with RawServer(then=deprecated(link=None)) as server, choosing(server) as client:
            for number in (*range(300), 1):
                await client.request("api", "GET", f"/things/{number}")
        lines = told()
        assert lines[:2] == [f"GET /api/things/{number} is deprecated by the service" for number in (0, 1)]
        assert len(lines) == len(set(lines)) == 256


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("<https://h/labs-key?k=runs%2dkey>; rel=deprecation", "https://h/***?k=***"),
        ("<https://h/\x1b[31m\x08red>; rel=deprecation", "https://h/\\x1b[31m\\x08red"),
        (f"<https://h/{'x' * 1000}>; rel=deprecation", "https://h/" + "x" * 290),
    ],
)
async def test_a_link_is_told_as_a_line_can_hold_it(told: Any, link: str, shown: str) -> None:
    """The line has no key and no control character, and its length is bounded."""
    async with RawServer(then=deprecated(link=link)) as server, choosing(server) as client:
        await client.executions.list().collect()
    assert told() == [f"GET /executions (executions.list) is deprecated by the service: see {shown}"]


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ([LINK], PAGE),
        (["<a>; rel=next", LINK], PAGE),
        ([f"<a>; rel=next, {LINK}"], PAGE),
        (['<a>; rel="sunset Deprecation"'], "a"),
        (["<a>;rel=deprecation;type=x"], "a"),
        (["<a> ; type=x ; REL = deprecation"], "a"),
        (['<a>; title="x; rel=deprecation"; rel=next'], None),
        (["<a>; rel=next; rel=deprecation"], None),
        (["<a>; anchor; rel=deprecation"], "a"),
        (["<a,b;c>; rel=deprecation"], "a,b;c"),
        (["<a>; rel=predeprecation"], None),
        (["<a>"], None),
        (["a; rel=deprecation"], None),
        (["<a; rel=deprecation"], None),
        ([""], None),
        ([], None),
    ],
)
def test_links_are_read_as_they_are_written(links: list[str], found: str | None) -> None:
    """There may be several in one or more headers, quoted or not, and others between them."""
    assert deprecation_link(links) == found


@given(st.lists(st.text('<>;=," relationdp\t')))
def test_no_text_breaks_the_reading_of_links(links: list[str]) -> None:
    """For any text, either a link is found or none is."""
    found = deprecation_link(links)
    assert found is None or f"<{found}>" in ",".join(links)


def test_a_long_header_is_read_in_no_time() -> None:
    """No text of a header's length makes the parser slow."""
    began = time.process_time()
    for part in ("<a>; rel=", "<a> ", ";a", '<a>;a="', "<", "; ", "<a>" + " " * 50):
        assert deprecation_link([part * (64_000 // len(part))]) is None
    assert time.process_time() - began < 2
