"""Tests for `Pager` over real sockets: every dialect and edition, all ways to iterate, errors, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listings import KINDS, Reached, id_of, ids_of, reached
from raw_server import Act, RawServer, RecordedRequest, answer, client_of

from eachlabs_async import (
    APIStatusError,
    DriftError,
    EachLabsError,
    NotFoundError,
    PaginationError,
    ResponseDecodeError,
    WalkStats,
)
from eachlabs_async.emulator import Fault, Move

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("drift", ["resync", "raise"])
async def test_every_listing_gives_every_row_once_and_in_order(kind: str, look_ahead: int, drift: str) -> None:
    """In each drift mode, with and without look-ahead, without a superfluous request."""
    async with reached(kind, 95) as listing:
        pager = listing.list(20, look_ahead=look_ahead, drift=drift)
        assert ids_of([row async for row in pager]) == listing.rows.ids()
        assert listing.requests == pager.stats.requests == 5
        assert (pager.stats.rows, pager.stats.duplicates, pager.stats.drift_seen) == (95, 0, 0)


@every_kind
@pytest.mark.parametrize(("rows", "limit"), [(0, 20), (1, 1), (7, 1), (20, 20), (40, 20), (101, 100)])
async def test_sizes_at_the_edges(kind: str, rows: int, limit: int) -> None:
    """No rows, one row, a limit of one, a total that is a whole number of pages."""
    async with reached(kind, rows) as listing:
        assert ids_of(await listing.list(limit).collect()) == listing.rows.ids()
        assert listing.requests == max(1, -(-rows // limit))


@every_kind
async def test_pages_tell_what_they_are(kind: str) -> None:
    """A page has its number, the offset of its first row, the rows requested, the total, and the body as received."""
    async with reached(kind, 45) as listing:
        pages = [page async for page in listing.list(20).pages()]
        asked = 20 if listing.endpoint == "runs.list" else 21  # By offset, a page begins at the last row before it.
        assert [(page.number, page.offset, page.requested, len(page.rows)) for page in pages] == [
            (1, 0, 20, 20),
            (2, 20, asked, 20),
            (3, 40, asked, 5),
        ]
        assert all(page.total == 45 and page.total_is_exact for page in pages)
        rows = json.loads(pages[1].raw).get("executions") or json.loads(pages[1].raw)["items"]
        assert [row.get("execution_id") or row["id"] for row in rows][asked - 20 :] == ids_of(pages[1].rows)
        assert "raw" not in repr(pages[1])


@every_kind
async def test_first_costs_one_request(kind: str) -> None:
    """The newest row, requested with the given limit; None if the listing is empty."""
    async with reached(kind, 45) as listing:
        assert id_of(await listing.list(3, look_ahead=4).first()) == listing.rows.ids()[0]
        assert listing.requests == 1
        listing.rows.remove(*listing.rows.ids())
        assert await listing.list(3).first() is None


@every_kind
@pytest.mark.parametrize("look_ahead", [0, 4])
@pytest.mark.parametrize(("most", "requests"), [(0, 0), (1, 1), (20, 1), (21, 2), (45, 3), (99, 3)])
async def test_max_rows_bounds_the_walk(kind: str, look_ahead: int, most: int, requests: int) -> None:
    """No further row and no superfluous request; the last page is shortened."""
    async with reached(kind, 45) as listing:
        rows = [row async for row in listing.list(20, max_rows=most, look_ahead=look_ahead)]
        assert ids_of(rows) == listing.rows.ids()[:most]
        assert listing.requests == requests
        assert ids_of(await listing.list(20, max_rows=30).collect(max_rows=most)) == listing.rows.ids()[: min(30, most)]
        pages = [page async for page in listing.list(20, max_rows=most).pages()]
        assert sum(len(page.rows) for page in pages) == min(most, 45)


@every_kind
async def test_a_start_in_the_middle(kind: str) -> None:
    """An offset, or a page number, is where the walk begins."""
    async with reached(kind, 45) as listing:
        start: dict[str, Any] = {"page": 3} if listing.endpoint == "runs.list" else {"offset": 20}
        assert ids_of(await listing.list(10, **start).collect()) == listing.rows.ids()[20:]


@every_kind
@pytest.mark.parametrize("clamp", [Fault.clamped_limit(7), Fault.clamped_limit(7, stated=False)])
@pytest.mark.parametrize("look_ahead", [0, 3])
async def test_a_clamped_limit_loses_no_row(kind: str, clamp: Fault, look_ahead: int) -> None:
    """If the server returns fewer rows than requested, stated or not, each row comes once."""
    async with reached(kind, 45) as listing:
        listing.emulator.faults.add(clamp)
        pager = listing.list(20, look_ahead=look_ahead)
        assert ids_of(await pager.collect()) == listing.rows.ids()
        assert pager.stats.longest_page == 7


async def test_a_capped_total_ends_nothing_early() -> None:
    """The walk continues past a total that is only a lower bound; the stats mark it as inexact."""
    for exact_at_last in (True, False):
        async with reached(KINDS[0], 45) as listing:
            listing.emulator.faults.add(Fault.capped_total(15, exact_on_last_page=exact_at_last))
            pager = listing.list(10)
            seen = [(page.total, page.total_is_exact) async for page in pager.pages()]
            assert seen[0] == (15, False)
            assert (pager.stats.rows, pager.stats.total_is_exact) == (45, exact_at_last)


async def test_negative_totals_count_as_none() -> None:
    """An invalid total is ignored."""
    async with reached(KINDS[4], 25) as listing:
        listing.emulator.faults.add(Fault.edit(lambda answer, _: {**answer, "total": -1}))
        pages = [page async for page in listing.list(10).pages()]
        assert [row for page in pages for row in ids_of(page.rows)] == listing.rows.ids()
        assert {(page.total, page.total_is_exact) for page in pages} == {(None, False)}


def strict_pages(rows: list[str], then: Callable[[int], None]) -> Callable[[RecordedRequest], Act]:
    """Serve models by offset and runs by page; a page without rows is a 404. `then` is called after each answer."""
    answered = 0

    def act(seen: RecordedRequest) -> Act:
        nonlocal answered
        query = {name: int(value) for name, value in parse_qsl(seen.target.partition("?")[2])}
        size = query.get("limit") or query["size"]
        first = query["offset"] if "offset" in query else (query["page"] - 1) * size
        part, total = rows[first : first + size], len(rows)
        answered += 1
        then(answered)
        if not part:
            return answer(404)
        if "offset" in query:
            return answer(json=[{"slug": row} for row in part])
        items = [{"id": row, "status": "completed"} for row in part]
        return answer(json={"items": items, "total": total, "page": query["page"], "size": size})

    return act


@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("kind", ["models", "runs"])
@pytest.mark.parametrize("left", [20, 15, 11])
async def test_a_last_page_that_vanishes_ends_the_walk(kind: str, left: int, look_ahead: int) -> None:
    """If the rows of the last pages are deleted during the walk, the 404 for one of them is no error."""
    rows = [f"r-{number}" for number in range(30)]

    def shrink(answered: int) -> None:
        if answered == 2:
            del rows[left:]

    async with RawServer(then=strict_pages(rows, shrink)) as server, client_of(server) as client:
        if kind == "models":
            found = [model.slug for model in await client.models.list(limit=10, look_ahead=look_ahead).collect()]
        else:
            found = [run.id for run in await client.runs.list(size=10, look_ahead=look_ahead).collect()]
    assert set(rows) <= set(found)
    assert len(found) == len(set(found))


async def test_a_404_before_the_last_page_is_an_error() -> None:
    """It is no end where the total says that there are more rows, and none on the first page."""
    rows = [{"id": f"r-{number}", "status": "completed"} for number in range(10)]
    first = answer(json={"items": rows, "total": 30, "page": 1, "size": 10})
    async with RawServer(first, then=answer(404)) as server, client_of(server) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.runs.list(size=10).collect()
        assert len(caught.value.partial) == 10
        with pytest.raises(NotFoundError):
            await client.models.list(offset=10).collect()


@every_kind
async def test_missing_rows_are_an_error(kind: str) -> None:
    """An answer without rows is an error."""
    async with reached(kind, 25) as listing:
        listing.emulator.faults.add(Fault.status(200, body={"total": 0, "total_count": 0}))
        with pytest.raises(ResponseDecodeError):
            await listing.list(10).collect()


@every_kind
async def test_a_server_that_ignores_where_it_is_asked_to_begin_is_an_error(kind: str) -> None:
    """Page one again and again is a PaginationError, which carries the rows so far."""
    async with reached(kind, 45) as listing:
        first: list[Any] = []

        def always_first(answer: Any, _: object) -> Any:
            first.append(answer)
            return first[0]

        listing.emulator.faults.add(Fault.edit(always_first))
        with pytest.raises(PaginationError, match="answers in a row brought no new row") as caught:
            await listing.list(10).collect()
        assert ids_of(caught.value.partial) == listing.rows.ids()[:10]
        assert listing.requests == 18


@every_kind
async def test_an_error_of_the_walk_itself_says_which_answer_it_is_about(kind: str) -> None:
    """The error has the method, URL and attempts of the request whose answer caused it."""
    async with reached(kind, 45) as listing:
        listing.emulator.moves.add(Move.insert(2), after=2, times=1)
        with pytest.raises(DriftError) as caught:
            await listing.list(10, drift="raise").collect()
        error = caught.value
        assert (error.method, error.attempts) == ("GET", 1)
        assert str(error.url).endswith(list(listing.emulator.log)[-1].target)
        assert str(error.url) in str(error)


@every_kind
@pytest.mark.parametrize("look_ahead", [0, 3])
async def test_killed_at_every_request_a_walk_goes_on_from_its_error(kind: str, look_ahead: int) -> None:
    """The error of any failed request has a checkpoint; the rest comes once, even if rows are inserted meanwhile."""
    async with reached(kind, 43) as listing:
        there = listing.rows.ids()
        for failing in range(6):
            rule = listing.emulator.faults.add(Fault.status(400), after=failing, times=1)
            rows: list[Any] = []
            try:
                async for row in listing.list(9, look_ahead=look_ahead):
                    rows.append(row)
            except APIStatusError as exc:
                checkpoint = exc.checkpoint
            else:
                assert failing == 5
                continue
            assert rule.fired
            if rows:
                listing.rows.insert(failing + 1)
            rest = await listing.list(7, look_ahead=look_ahead, resume=checkpoint).collect()
            assert ids_of(rows + rest) == there
            there = listing.rows.ids()


@every_kind
@pytest.mark.parametrize("drift", ["resync"])
async def test_a_checkpoint_holds_at_every_row(kind: str, drift: str) -> None:
    """The row delivered last counts as done, within a page too."""
    async with reached(kind, 23) as listing:
        there = listing.rows.ids()
        pager = listing.list(5, look_ahead=2, drift=drift)
        checkpoints = [pager.checkpoint]
        async for _ in pager:
            checkpoints.append(pager.checkpoint)
        checkpoints.append(pager.checkpoint)
        for done, checkpoint in enumerate(checkpoints):
            rest = await listing.list(4, drift=drift, resume=checkpoint).collect()
            assert ids_of(rest) == there[min(done, 23) :]


@every_kind
async def test_a_checkpoint_of_pages_counts_whole_pages(kind: str) -> None:
    """A page counts as done when it is delivered; if max_rows shortened it, up to its last row."""
    async with reached(kind, 23) as listing:
        there = listing.rows.ids()
        pager = listing.list(5)
        done = 0
        async for page in pager.pages():
            done += len(page.rows)
            assert ids_of(await listing.list(5, resume=pager.checkpoint).collect()) == there[done:]
        cut = listing.list(5, max_rows=8)
        await cut.collect()
        rest = listing.list(5, resume=cut.checkpoint, max_rows=9)
        assert ids_of(await rest.collect()) == there[8:17]
        assert ids_of(await listing.list(5, resume=rest.checkpoint).collect()) == there[17:]


@every_kind
async def test_the_stats_are_kept_up_to_date(kind: str) -> None:
    """on_progress receives the same object after each page."""
    async with reached(kind, 45) as listing:
        seen: list[tuple[int, int]] = []

        def note(stats: WalkStats) -> None:
            seen.append((stats.requests, stats.rows))

        listing.emulator.moves.add(Move.insert(3), after=1, times=1)
        pager = listing.list(20, on_progress=note)
        await pager.collect()
        assert seen == [(1, 20), (2, 37), (3, 45)]
        stats = pager.stats
        assert (stats.duplicates, stats.drift_seen) == (3, 1)
        assert stats.longest_page == (20 if listing.endpoint == "runs.list" else 21)
        assert (stats.total, stats.total_is_exact) == (48, True)
        assert repr(pager) == f"<Pager of {listing.endpoint}: 45 rows so far>"


async def test_a_pager_is_walked_once() -> None:
    """A second iteration of any kind is a RuntimeError; creating a pager sends nothing."""
    async with reached(KINDS[0], 5) as listing:
        pager = listing.list()
        assert not listing.requests
        await pager.collect()
        for again in (pager.collect, pager.first):
            with pytest.raises(RuntimeError, match="walked once"):
                await again()
        for iterate in (pager.__aiter__, pager.pages):
            with pytest.raises(RuntimeError, match="walked once"):
                iterate()


async def test_arguments_are_checked_at_the_call() -> None:
    """Arguments out of range are rejected before anything is sent."""
    async with reached(KINDS[0], 5) as listing:
        for wrong in ({"max_rows": -1}, {"look_ahead": -1}, {"drift": "nonsense"}, {"limit": 0}, {"limit": 101}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                listing.list(**wrong)
        for wrong in ({"max_rows": 1.5}, {"look_ahead": "1"}, {"nonsense": 1}, {"resume": 1}):
            with pytest.raises(TypeError, match=next(iter(wrong))):
                listing.list(**wrong)
        with pytest.raises(ValueError, match="max_rows"):
            await listing.list().collect(max_rows=-1)
        assert not listing.requests


@every_kind
async def test_raise_says_so_and_its_checkpoint_goes_on(kind: str) -> None:
    """The first movement is a DriftError; resync continues from its checkpoint."""
    async with reached(kind, 45) as listing:
        there = listing.rows.ids()
        listing.emulator.moves.add(Move.insert(2), after=2, times=1)
        with pytest.raises(DriftError) as caught:
            await listing.list(10, drift="raise").collect()
        rest = await listing.list(10, drift="resync", resume=caught.value.checkpoint).collect()
        assert ids_of(caught.value.partial + rest) == there


@settings(max_examples=15)
@given(st.sampled_from(KINDS), st.integers(0, 40), st.integers(1, 15), st.integers(0, 6), st.integers(0, 40))
async def test_collect_is_what_a_walk_gives(kind: str, rows: int, limit: int, look_ahead: int, most: int) -> None:
    """Rows, pages and collect agree for all numbers."""
    async with reached(kind, rows) as listing:
        options: dict[str, Any] = {"limit": limit, "look_ahead": look_ahead, "max_rows": most}
        collected = ids_of(await listing.list(**options).collect())
        assert collected == ids_of([row async for row in listing.list(**options)])
        assert collected == [id_of(row) async for page in listing.list(**options).pages() for row in page.rows]
        assert collected == listing.rows.ids()[:most]


async def test_an_error_before_the_first_answer_has_a_checkpoint_too(listing: Reached) -> None:
    """Resuming from the checkpoint is a walk from the start; `partial` is an empty list."""
    listing.emulator.faults.add(Fault.status(404), times=1)
    with pytest.raises(EachLabsError) as caught:
        await listing.list(10).collect()
    assert caught.value.partial == []
    rest = await listing.list(10, resume=caught.value.checkpoint).collect()
    assert ids_of(rest) == listing.rows.ids()


@pytest.fixture
async def listing() -> Any:
    async with reached(KINDS[0], 25) as found:
        yield found
