"""Tests for rows that cannot be read, and for how rows are told apart, against raw servers that share no code."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest
from executions_server import running
from raw_server import Act, RawServer, RecordedRequest, answer
from test_execution_walks import client_of

from eachlabs_async import UNIFIED, EachLabs, Pager, PaginationError, ResponseDecodeError, RetryPolicy, UnreadableRow
from eachlabs_async.codec.strict import decode_page
from eachlabs_async.pagination.row_times import with_bound
from eachlabs_async.records import ExecutionList

NO_DAY = "0000-00-00T00:00:00Z"
Rows = list[dict[str, Any]]
Walk = Callable[..., Pager[Any]]


@attrs.frozen
class Listing:
    """How one listing is called, what its answers name their rows, and what its rows must have."""

    rows: str
    identity: str
    broken: dict[str, Any]
    walk: Callable[[EachLabs], Walk]
    others: dict[str, Any] = attrs.field(factory=dict[str, Any])
    by_page: bool = False


LISTINGS = {
    "executions": Listing(
        "executions", "id", {"created_at": NO_DAY}, lambda client: client.executions.list, {"status": "success"}
    ),
    "workflow executions": Listing(
        "executions",
        "execution_id",
        {"started_at": NO_DAY},
        lambda client: lambda **walk: client.workflow_executions.list("w", **walk),
        {"status": "completed"},
    ),
    "workflows": Listing("workflows", "workflow_id", {"created_at": NO_DAY}, lambda client: client.workflows.list),
    "models": Listing("", "slug", {"title": 7}, lambda client: client.models.list),
    "webhooks": Listing(
        "webhooks", "execution_id", {"created_at": NO_DAY}, lambda client: client.webhook_deliveries.list
    ),
    "runs": Listing(
        "items",
        "id",
        {"created_at": NO_DAY},
        lambda client: lambda *, limit, **walk: client.runs.list(size=limit, **walk),
        {"status": "completed"},
        by_page=True,
    ),
    "runs of a workflow": Listing(
        "items",
        "id",
        {"created_at": NO_DAY},
        lambda client: lambda *, limit, **walk: client.runs.list_for_workflow("w", size=limit, **walk),
        {"status": "completed"},
        by_page=True,
    ),
}
every_listing = pytest.mark.parametrize("listing", LISTINGS.values(), ids=LISTINGS)


def rows_of(listing: Listing, count: int, *bad: int) -> Rows:
    rows: Rows = [{listing.identity: f"r{number}", **listing.others} for number in range(count)]
    for number in bad:
        rows[number] |= listing.broken
    return rows


def serving(listing: Listing, rows: Rows, *, extra: int = 0, **named: Any) -> Callable[[RecordedRequest], Act]:
    """Answer each request with its rows, and `extra` more."""

    def act(seen: RecordedRequest) -> Act:
        query = {name: int(value) for name, value in parse_qsl(urlsplit(seen.target).query)}
        size = query["size"] if listing.by_page else query["limit"]
        offset = (query["page"] - 1) * size if listing.by_page else query["offset"]
        page = rows[offset : offset + size + extra]
        if not listing.rows:
            return answer(json=page)
        total = {"total": len(rows)} if listing.by_page else {"total_count": len(rows), "total_capped": False}
        return answer(json={listing.rows: page, **total, **named})

    return act


def client_at(server: RawServer) -> EachLabs:
    base = attrs.evolve(server.hosts, edition=UNIFIED.edition, executions_by="seek")
    return EachLabs("key", hosts=base, runs_api_key="key", retry=RetryPolicy.none())


def names(listing: Listing, rows: list[Any]) -> list[str]:
    return [getattr(row, listing.identity) for row in rows]


@every_listing
@pytest.mark.parametrize("way", ["rows", "pages"])
async def test_a_walk_goes_on_without_a_row_that_cannot_be_read(listing: Listing, way: str) -> None:
    """The callback gets each such row once, even at the edges of pages that overlap; all other rows are delivered."""
    bad = [0, 19, 20, 150, 299]
    rows = rows_of(listing, 300, *bad)
    found: list[UnreadableRow] = []
    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        pager = listing.walk(client)(limit=20, on_unreadable=found.append)
        if way == "rows":
            got = [row async for row in pager]
        else:
            got = [row async for page in pager.pages() for row in page.rows]
    assert names(listing, got) == [row[listing.identity] for at, row in enumerate(rows) if at not in bad]
    assert [row.position for row in found] == bad
    assert [row.id for row in found] == [f"r{at}" for at in bad]
    assert [row.raw for row in found] == [rows[at] for at in bad]
    assert all(
        isinstance(row.error, ResponseDecodeError) and next(iter(listing.broken)) in row.error.path for row in found
    )
    assert found[0].error.method == "GET"
    assert (pager.stats.rows, pager.stats.unreadable) == (300, 5)
    assert pager.stats.drift_seen == 0


@every_listing
@pytest.mark.parametrize("way", ["rows", "pages", "collect"])
async def test_without_a_callback_the_error_says_how_to_go_on(listing: Listing, way: str) -> None:
    """The rows before come first; the error names the argument, and its checkpoint steps past the row."""
    rows = rows_of(listing, 60, 30, 31)
    got: list[Any] = []
    resume: str | None = None
    errors: list[ResponseDecodeError] = []
    checkpoints: list[str] = []
    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        while True:
            pager = listing.walk(client)(limit=20, resume=resume)
            try:
                if way == "rows":
                    async for row in pager:
                        got.append(row)
                elif way == "pages":
                    async for page in pager.pages():
                        got += page.rows
                else:
                    got += await pager.collect()
                break
            except ResponseDecodeError as exc:
                got += exc.partial or []
                resume = exc.checkpoint
                errors.append(exc)
                checkpoints.append(pager.checkpoint)
    assert names(listing, got) == [f"r{at}" for at in range(60) if at not in (30, 31)]
    assert len(errors) == 2
    assert [error.checkpoint for error in errors] == checkpoints
    assert all(str(error.message).endswith(". Pass on_unreadable=... to go on without such rows") for error in errors)


async def test_a_callback_that_raises_ends_the_walk() -> None:
    """Its exception comes out; the checkpoint stands after the row, or before the page in a walk by pages."""
    listing = LISTINGS["executions"]
    rows = rows_of(listing, 60, 30)

    def refuse(row: UnreadableRow) -> None:
        raise LookupError(row.id)

    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        pager = listing.walk(client)(limit=20, on_unreadable=refuse)
        with pytest.raises(LookupError, match="r30"):
            await anext(row async for row in pager if row.id == "r31")
        rest = await listing.walk(client)(limit=20, resume=pager.checkpoint).collect()
        assert names(listing, rest) == [f"r{at}" for at in range(31, 60)]
        pager = listing.walk(client)(limit=20, on_unreadable=refuse)
        with pytest.raises(LookupError, match="r30"):
            await pager.collect()
        rest = await listing.walk(client)(limit=20, resume=pager.checkpoint, on_unreadable=ignore).collect()
        assert names(listing, rest) == [f"r{at}" for at in range(20, 60) if at != 30]


def ignore(row: UnreadableRow) -> None:
    """Take a row and do nothing."""


async def test_rows_without_an_id_are_reported_too() -> None:
    """A row that is no object, or has no readable id, is reported with the id None; equal ones in one answer once."""
    rows: list[Any] = [
        {"id": "a", "status": "b"},
        7,
        {"id": 8},
        {"id": "", "status": 1},
        None,
        {"id": "c", "status": "d"},
    ]
    found: list[UnreadableRow] = []
    script = answer(json={"executions": rows, "total_count": 6, "total_capped": False})
    async with RawServer(then=script) as server, client_at(server) as client:
        got = await client.executions.list(on_unreadable=found.append).collect()
    assert [row.id for row in got] == ["a", "c"]
    assert [(row.position, row.id, row.raw) for row in found] == [
        (1, None, 7),
        (2, None, {"id": 8}),
        (3, None, {"id": "", "status": 1}),
        (4, None, None),
    ]


async def test_max_rows_counts_a_row_that_cannot_be_read() -> None:
    """It counts as delivered, as `stats.rows` says."""
    listing = LISTINGS["executions"]
    async with RawServer(then=serving(listing, rows_of(listing, 60, 3))) as server, client_at(server) as client:
        pager = listing.walk(client)(limit=20, max_rows=10, on_unreadable=ignore)
        assert names(listing, await pager.collect()) == [f"r{at}" for at in range(10) if at != 3]
        assert (pager.stats.rows, pager.stats.unreadable) == (10, 1)


async def test_a_callback_has_to_be_callable() -> None:
    """Another value is refused at once."""
    async with EachLabs("key") as client:
        wrong: Any = 7
        with pytest.raises(TypeError, match="on_unreadable"):
            client.executions.list(on_unreadable=wrong)


@pytest.mark.parametrize("edition", ["compat", "unified"])
@pytest.mark.parametrize("look_ahead", [0, 4])
@pytest.mark.parametrize("depth", [100, 1000])
async def test_executions_are_walked_past_a_time_that_does_not_exist(edition: str, look_ahead: int, depth: int) -> None:
    """By cursor and by seeking, also where the row is the last above, or the first below, the time to seek by."""
    bad = [*range(395, 410), 300, 250, 0]
    async with running(rows=600, unreadable=bad, depth=depth) as server, client_of(server, edition) as client:
        found: list[UnreadableRow] = []
        pager = client.executions.list(limit=20, look_ahead=look_ahead, on_unreadable=found.append)
        got = [row.id async for row in pager]
        every = (await server.account())["ids"]
        unreadable = [f"exec-{number:08d}" for number in bad]
        assert got == [identity for identity in every if identity not in unreadable]
        assert [row.id for row in found] == sorted(unreadable, reverse=True)
        assert pager.stats.unreadable == len(bad)
        assert [every[row.position] for row in found] == [row.id for row in found]
        resume: str | None = None
        again: list[str] = []
        for _ in range(len(bad) + 1):
            try:
                async for row in client.executions.list(limit=20, look_ahead=look_ahead, resume=resume):
                    again.append(row.id)
            except ResponseDecodeError as exc:
                resume = exc.checkpoint
        assert again == got


# ---- odd numbers, null rows, ids that are none


async def test_odd_numbers_are_read_where_nobody_needs_them() -> None:
    """NaN, Infinity and numbers out of range make neither a row nor `request()` nor a raw page unreadable."""
    odd = '{"a":NaN,"b":[-Infinity,1e999],"c":' + "9" * 5000 + "}"
    body = f'{{"executions":[{{"id":"a","status":"b","new":{odd}}}],"total_count":1,"total_capped":false,"x":NaN}}'
    async with RawServer(then=answer(body=body)) as server, client_at(server) as client:
        (page,) = [page async for page in client.executions.list().pages()]
        assert [row.id for row in page.rows] == ["a"]
        assert page.raw == body.encode()
        plain: Any = await client.request("api", "GET", "/executions")
        assert str(plain["executions"][0]["new"]) == "{'a': nan, 'b': [-inf, inf], 'c': inf}"


@pytest.mark.parametrize("listing", [each for each in LISTINGS.values() if each.rows], ids=lambda each: each.rows)
async def test_null_rows_are_no_rows_whatever_the_total_says(listing: Listing) -> None:
    """One such answer is requested again; if it never changes, the walk ends with an error, not with a gap."""
    rows = rows_of(listing, 50)
    null = answer(json={listing.rows: None, "total": 50, "total_count": 50, "total_capped": False})
    every = serving(listing, rows)
    async with RawServer(every, null, then=every) as server, client_at(server) as client:
        assert names(listing, await listing.walk(client)(limit=20).collect()) == names_of(rows, listing)
    async with RawServer(every, then=null) as server, client_at(server) as client:
        with pytest.raises(PaginationError) as caught:
            await listing.walk(client)(limit=20).collect()
        assert len(caught.value.partial) == 20
    none = answer(json={listing.rows: None, "total": 0, "total_count": 0, "total_capped": False})
    async with RawServer(then=none) as server, client_at(server) as client:
        assert await listing.walk(client)(limit=20).collect() == []


def names_of(rows: Rows, listing: Listing) -> list[str]:
    return [row[listing.identity] for row in rows]


@pytest.mark.parametrize("limit", [2, 3, 100])
@pytest.mark.parametrize(
    "ids", [[""] * 6, [None] * 6, ["a", "a", "b", "b", "c", "c"], ["a"] * 6, ["a", "b", "a", "b", "a", "b"]]
)
async def test_webhooks_are_told_apart_by_all_they_say(ids: list[str | None], limit: int) -> None:
    """Six of six come, on one page or on several, where ids are empty, or where one execution has several webhooks."""
    listing = LISTINGS["webhooks"]
    rows: Rows = [{"execution_id": each, "url": f"https://example.test/{at}"} for at, each in enumerate(ids)]
    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        pager = client.webhook_deliveries.list(limit=limit)
        assert [row.url async for row in pager] == [row["url"] for row in rows]
        resumed = client.webhook_deliveries.list(limit=limit)
        first = [row.url async for row in client.webhook_deliveries.list(limit=limit, max_rows=3)]
        async for row in resumed:
            if row.url == first[-1]:
                break
        rest = client.webhook_deliveries.list(limit=limit, resume=resumed.checkpoint)
        assert [row.url async for row in rest] == [row["url"] for row in rows[3:]]


async def test_one_webhook_comes_once_although_pages_overlap() -> None:
    """The same row at the end of one page and at the top of the next one is one row."""
    listing = LISTINGS["webhooks"]
    rows: Rows = [{"execution_id": "a", "url": f"https://example.test/{at}"} for at in range(9)]

    def act(seen: RecordedRequest) -> Act:
        done = serving(listing, rows)(seen)
        if len(rows) < 11:
            rows.insert(0, {"execution_id": "a", "url": f"https://example.test/new{len(rows)}"})
        return done

    async with RawServer(then=act) as server, client_at(server) as client:
        pager = client.webhook_deliveries.list(limit=3)
        got = [row.url async for row in pager]
    assert got == [f"https://example.test/{at}" for at in range(9)]
    assert pager.stats.duplicates >= 1


@pytest.mark.parametrize("identity", ["same", "", None])
async def test_rows_with_one_id_in_one_answer_are_one_only_if_they_are_equal(identity: str | None) -> None:
    """Executions that differ in any field are both delivered."""
    rows = [{"id": identity or "", "status": "b", "model": model} for model in ("x", "y", "x")]
    script = answer(json={"executions": rows, "total_count": 2, "total_capped": False})
    async with RawServer(then=script) as server, client_at(server) as client:
        assert [row.model for row in await client.executions.list().collect()] == ["x", "y"]


@every_listing
async def test_a_page_with_more_rows_than_requested_keeps_the_size(listing: Listing) -> None:
    """The size that is requested stays, and the rows that were not requested are used."""
    rows = rows_of(listing, 500)
    async with RawServer(then=serving(listing, rows, extra=3)) as server, client_at(server) as client:
        pager = listing.walk(client)(limit=50)
        assert names(listing, await pager.collect()) == names_of(rows, listing)
        sizes = {
            dict(parse_qsl(urlsplit(target).query))["size" if listing.by_page else "limit"] for target in server.targets
        }
    assert sizes <= {"50", "51"}
    assert pager.stats.longest_page <= 54
    assert pager.stats.requests <= 10


def test_a_row_without_a_readable_time_has_the_latest_that_it_can_have() -> None:
    """It is the time of the row above; on top of an answer the lowest so far, or that of the row below if higher."""
    times = [NO_DAY, "2026-01-03T00:00:00Z", NO_DAY, "2026-01-02T00:00:00Z"]
    rows = [{"id": str(at), "status": "b", "created_at": time} for at, time in enumerate(times)]
    body = json.dumps({"executions": rows}).encode()
    _, found = decode_page(body, ExecutionList, rows="executions", identity="id")
    assert found is not None
    third, second = datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert [row.created_at for row in found] == [None, third, third, second]
    assert [row.created_at for row in with_bound(found, second)] == [third, third, third, second]
    last = datetime(2026, 1, 4, tzinfo=UTC)
    assert [row.created_at for row in with_bound(found, last)] == [last, third, third, second]
