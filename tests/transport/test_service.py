"""Tests for the URLs of one service: built as a whole, or from a template if yarl can change the path only."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from internals import session_of, transport_of
from raw_server import RawServer, client_of

from eachlabs_async.transport import service
from eachlabs_async.transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from eachlabs_async.transport.service import BoundService, Pause
from eachlabs_async.transport.wire import query, segment

BASES = ["https://h.example", "https://h.example/v1", "https://h.example:8443/a/b%20c/", "http://[::1]:81/v1"]
IDS = [
    "plain-1_~",
    "a/b",
    "a?b=c",
    "a#b",
    "50%",
    "%2F",
    "a b",
    " ",
    "é",
    "日本語",
    "😀",
    "a+b&c=d",
    "a;b:c@d",
    "..a",
    "\x00\n",
]
QUERIES = ["", "timeout=30", query({"a": "x y&z", "é": [1, "/?#%"]}), "a=%2F%3F%23%25+b"]


def bound_service(base: str) -> BoundService:
    return BoundService("api", base, None, Pause())


@pytest.fixture(params=[True, False], ids=["template", "whole"])
def keeps_query(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param and not service.KEEPS_QUERY:
        pytest.skip("this yarl cannot change the path alone")
    monkeypatch.setattr(service, "KEEPS_QUERY", request.param)
    return bool(request.param)


@pytest.mark.parametrize("given_query", QUERIES)
@pytest.mark.parametrize("base", BASES)
def test_both_ways_make_the_same_urls(keeps_query: bool, base: str, given_query: str) -> None:
    """They are equal, with the same parts and text, for ids of every kind; each id is read back from its segment."""
    where = bound_service(base)
    make = where.url_maker(given_query)
    for one in IDS:
        path = f"/things/{segment('id', one)}/more"
        url, whole = make(path), where.url(path, given_query)
        assert url == whole
        assert hash(url) == hash(whole)
        assert str(url) == str(whole) == f"{base.rstrip('/')}{path}{'?' if given_query else ''}{given_query}"
        assert (url.raw_path, url.raw_query_string, url.raw_fragment) == (whole.raw_path, given_query, "")
        assert (url.origin(), url.authority) == (whole.origin(), whole.authority)
        assert unquote(url.raw_path.split("/")[-2]) == one


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h.example/v1", "https://h.example/v2/things?a=1"),
        ("https://h.example:8443/a/api/v1/", "https://h.example:8443/a/api/v2/things?a=1"),
        ("https://h.example", "https://h.example/v2/things?a=1"),
        ("https://h.example/proxy", "https://h.example/proxy/v2/things?a=1"),
        ("https://h.example/v10", "https://h.example/v10/v2/things?a=1"),
        ("https://h.example/av1", "https://h.example/av1/v2/things?a=1"),
        ("http://[::1]:81/v1/v1", "http://[::1]:81/v1/v2/things?a=1"),
    ],
)
def test_a_path_of_the_second_version_goes_below_the_sibling_of_the_base(base: str, expected: str) -> None:
    """Only a trailing `/v1` becomes `/v2`; to any other base it is appended."""
    assert str(bound_service(base).url("/things", "a=1", 2)) == expected
    assert str(bound_service(base).url("/things", "a=1")) == f"{base.rstrip('/')}/things?a=1"


async def test_a_call_of_the_second_version_arrives_below_the_sibling() -> None:
    """The version of an endpoint is in its URL; the others stay below the base."""
    async with RawServer() as server, client_of(server) as client:
        base = session_of(client).service("api").prefix
        for endpoint in (LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR):
            await transport_of(client).send(transport_of(client).call(endpoint, "/executions", "limit=1"))
    assert server.targets == [f"{base}/executions?limit=1", f"{base.removesuffix('/v1')}/v2/executions?limit=1"]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(QUERIES), st.sampled_from(BASES))
def test_any_id_has_one_url(one: str, given_query: str, base: str) -> None:
    """It is the same, built from the template or as a whole."""
    if one in (".", ".."):
        return
    where, path = bound_service(base), "/things/" + segment("id", one)
    assert str(where.url_maker(given_query)(path)) == str(where.url(path, given_query))


@pytest.mark.parametrize("passed_ids", [IDS[:-1]])
async def test_both_ways_arrive_as_they_were_made(keeps_query: bool, passed_ids: list[str]) -> None:
    """The request target is the encoded path and query, however the URL was built."""
    async with RawServer() as server, client_of(server) as client:
        many: Any = client.workflow_executions.get_many(passed_ids, concurrency=1, ordered=True)
        await many.collect()
    found = [target.removeprefix("/workflows/executions/") for target in server.targets]
    assert [unquote(one.partition("?")[0]) for one in found] == passed_ids
    assert len({one.partition("?")[2] for one in found}) == 1


@pytest.mark.parametrize("passed", [False, True])
async def test_a_way_is_opened_once(passed: bool) -> None:
    """Each route is created once, that of creating calls is another one, and all storages share one session."""
    async with RawServer() as server, aiohttp.ClientSession() as own:
        async with client_of(server, session=own if passed else None) as client:
            session = session_of(client)
            where = session.service("api")
            ways = [session.route(where, creating=creating) for creating in (False, True, False, True)]
            assert ways[0] is ways[2] is not ways[1] is ways[3]
            storages = [
                session.storage_route(origin) for origin in (server.url, "https://a.example", "https://b.example")
            ]
            assert len({id(route.session) for route in storages}) == 1
            assert storages[0].session not in [way.session for way in ways]
