"""Tests for the emulator's two listings of executions over plain HTTP: v1 with its depth, v2 with its cursors.

Expected results are computed here, from the rows alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from attrs import define
from internals import selections_remembered

from eachlabs_async.emulator import Emulator, Fault, Move

NOW = datetime(2026, 9, 10, tzinfo=UTC)
ROWS = 230
EDITIONS = ("compat", "unified")
INVALID = (400, {"error": "invalid cursor"})
TOLD = '{"error":"V1 execution pagination is limited to %d rows; use GET /v2/executions with cursor pagination"}'


@define
class Asked:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.json()["executions"]]


@define
class Asker:
    """Requests executions, with a path and a header that are written out here."""

    emulator: Emulator
    session: aiohttp.ClientSession

    async def ask(
        self, version: int, *, edition: str = "unified", headers: dict[str, str] | None = None, **query: Any
    ) -> Asked:
        base = {"unified": "/unified", "compat": "/compat/api"}[edition]
        key = self.emulator.api_key
        told = {"Authorization": f"Bearer {key}"} if edition == "unified" else {"X-API-Key": key}
        url = f"{self.emulator.url}{base}/v{version}/executions"
        async with self.session.get(url, params=query, headers=told if headers is None else headers) as answer:
            return Asked(answer.status, dict(answer.headers), await answer.read())

    async def good(self, version: int, **options: Any) -> Asked:
        asked = await self.ask(version, **options)
        assert asked.status == 200, asked.body
        return asked

    async def refused(self, version: int, **options: Any) -> tuple[int, Any]:
        asked = await self.ask(version, **options)
        return asked.status, asked.json()

    async def walk(self, **query: Any) -> list[str]:
        """Follow the cursors to the end."""
        ids: list[str] = []
        while True:
            page = await self.good(2, **query)
            ids += page.ids
            if not page.json()["has_more"]:
                assert page.json()["next_cursor"] is None
                return ids
            query["cursor"] = page.json()["next_cursor"]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def asker(session: aiohttp.ClientSession) -> AsyncIterator[Asker]:
    async with Emulator(ROWS, now=NOW, unfinished=0.2, failed=0.3, workflow_executions=6) as emulator:
        yield Asker(emulator, session)


@pytest.mark.parametrize("edition", EDITIONS)
class TestTheDepth:
    async def test_is_a_thousand_rows(self, session: aiohttp.ClientSession, edition: str) -> None:
        """The last page by offset ends at row 1,000; one further is a 400 in the service's words; counts go beyond."""
        async with Emulator(1200, workflow_executions=0) as emulator:
            asker = Asker(emulator, session)
            for limit, last in ((100, 900), (1, 999), (7, 993), (None, 980)):
                sized = {} if limit is None else {"limit": limit}
                page = await asker.good(1, edition=edition, offset=last, **sized)
                assert page.ids == emulator.executions.ids()[last:1000]
                assert page.json()["total_count"] == 1200
                refused = await asker.ask(1, edition=edition, offset=last + 1, **sized)
                assert (refused.status, refused.body.decode()) == (400, TOLD % 1000)
            # What is below is reached by the time of the last row.
            end = emulator.executions.get(emulator.executions.ids()[999])["created_at"]
            assert (await asker.good(1, edition=edition, limit=100, offset=101, to=end)).json()["total_count"] == 201

    async def test_can_be_another_or_none(self, asker: Asker, edition: str) -> None:
        """It can be changed at any time, and the message states it."""
        asker.emulator.v1_depth = 30
        assert (await asker.ask(1, edition=edition, offset=11)).body.decode() == TOLD % 30
        assert len((await asker.good(1, edition=edition, offset=10)).ids) == 20
        asker.emulator.v1_depth = None
        assert (await asker.good(1, edition=edition, offset=ROWS - 3)).ids == asker.emulator.executions.ids()[-3:]

    async def test_counts_with_the_limit_that_is_applied(self, asker: Asker, edition: str) -> None:
        """A server that returns fewer rows than requested reaches as far."""
        asker.emulator.v1_depth = 100
        asker.emulator.faults.add(Fault.clamped_limit(10))
        assert len((await asker.good(1, edition=edition, limit=50, offset=90)).ids) == 10
        assert (await asker.ask(1, edition=edition, limit=50, offset=91)).status == 400

    async def test_marks_each_answer_as_deprecated(self, asker: Asker, edition: str) -> None:
        """Every answer of v1 is marked, refusals included, unless there is no depth; no answer of v2 is."""
        options: list[dict[str, Any]] = [{}, {"offset": 5000}, {"limit": 0}, {"headers": {}}]
        for more in options:
            headers = (await asker.ask(1, edition=edition, **more)).headers
            assert headers["Deprecation"] == "@1788480000"
            link, *words = headers["Link"].split("; ")
            assert link.startswith("<https://")
            assert words == ['rel="deprecation"', 'type="text/html"']
        assert "Deprecation" not in (await asker.ask(2, edition=edition)).headers
        asker.emulator.v1_depth = None
        for more in options:
            assert not {"Deprecation", "Link"} & (await asker.ask(1, edition=edition, **more)).headers.keys()


def test_options_out_of_range_are_refused() -> None:
    """A depth of 0 rows, a lifetime of 0 seconds and an unknown way to authenticate are errors at once."""
    for name, value in (("v1_depth", 0), ("cursor_lifetime", 0), ("v2_auth", "x-api-key")):
        options: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=name):
            Emulator(1, **options)


@pytest.mark.parametrize("edition", EDITIONS)
class TestPagesByCursor:
    @pytest.mark.parametrize("limit", [1, 7, 100])
    async def test_join_to_the_whole_listing(self, asker: Asker, edition: str, limit: int) -> None:
        """They come newest first, in v1's order, without gap or repetition, and are full while there are more rows."""
        assert await asker.walk(edition=edition, limit=limit) == asker.emulator.executions.ids()
        times = [datetime.fromisoformat(row["created_at"]) for row in asker.emulator.executions]
        assert times == sorted(times, reverse=True)

    async def test_have_v1_s_rows_and_no_total(self, asker: Asker, edition: str) -> None:
        """The envelope has the limit applied (20 by default), whether there are more rows, and the cursor."""
        page = (await asker.good(2, edition=edition)).json()
        assert page.keys() == {"executions", "limit", "has_more", "next_cursor"}
        assert (page["limit"], page["has_more"]) == (20, True)
        assert page["executions"] == (await asker.good(1, edition=edition)).json()["executions"]
        page = (await asker.good(2, edition=edition, model="none", limit=3)).json()
        assert page == {"executions": [], "limit": 3, "has_more": False, "next_cursor": None}

    async def test_end_where_the_last_page_is_full(self, asker: Asker, edition: str) -> None:
        """A last page with exactly `limit` rows has no page after it."""
        assert ROWS % 23 == 0
        before = asker.emulator.requests["executions.list_by_cursor"]
        await asker.walk(edition=edition, limit=23)
        assert asker.emulator.requests["executions.list_by_cursor"] - before == ROWS // 23

    async def test_keep_to_the_filters(self, asker: Asker, edition: str) -> None:
        """Each filter of v1, and the time window, select rows on every page."""
        rows = list(asker.emulator.executions)
        some = next(row for row in rows if row["workflow_id"])
        since, until = rows[150]["created_at"], rows[40]["created_at"]
        cases: list[tuple[dict[str, str], Callable[[Any], bool]]] = [
            ({"status": "success,error"}, lambda row: row["status"] in ("success", "error")),
            ({"model": some["model"]}, lambda row: row["model"] == some["model"]),
            ({"workflow_id": some["workflow_id"]}, lambda row: row["workflow_id"] == some["workflow_id"]),
            (
                {"workflow_execution_id": some["workflow_execution_id"], "status": "success"},
                lambda row: (row["workflow_execution_id"], row["status"]) == (some["workflow_execution_id"], "success"),
            ),
            ({"from": since, "to": until}, lambda row: since <= row["created_at"] <= until),
        ]
        for query, kept in cases:
            wanted = [row["id"] for row in rows if kept(row)]
            assert wanted
            assert await asker.walk(edition=edition, limit=3, **query) == wanted
        found = await asker.walk(edition=edition, limit=2, error_classification="unknown,provider_error")
        assert 0 < len(found) < ROWS
        assert all(asker.emulator.executions.get(one)["status"] == "error" for one in found)

    async def test_refuse_what_is_out_of_range(self, asker: Asker, edition: str) -> None:
        """Limits, times and words of closed sets are checked, the statuses in both editions."""
        wrong = {
            "limit": ["0", "101", "x"],
            "status": ["running", "success,cancelled"],
            "error_classification": ["nonsense"],
            "from": ["yesterday", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
            "to": ["2026-01-01", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:00"],
        }
        for name, values in wrong.items():
            for value in values:
                status, body = await asker.refused(2, edition=edition, **{name: value})
                assert status == 400
                assert name in body["error"]


class TestACursor:
    async def test_says_nothing(self, asker: Asker) -> None:
        """Neither it nor its decoded form contains the row, its time or the query, and no two are equal."""
        cursors: set[str] = set()
        for query in ({"limit": 10}, {"limit": 11}, {"limit": 10, "status": "success"}):
            page = (await asker.good(2, **query)).json()
            last, cursor = page["executions"][-1], page["next_cursor"]
            for text in (cursor.encode(), base64.urlsafe_b64decode(cursor)):
                for told in (last["id"], last["created_at"], "success", asker.emulator.api_key):
                    assert told.encode() not in text
            cursors.add(cursor)
        assert len(cursors) == 3

    async def test_gives_the_same_page_each_time(self, asker: Asker) -> None:
        """While no row moves, repeating a request returns the same bytes."""
        cursor = (await asker.good(2)).json()["next_cursor"]
        first, second = [(await asker.good(2, cursor=cursor)).body for _ in range(2)]
        assert first == second
        assert (await asker.good(2, edition="compat", cursor=cursor)).body == first

    async def test_is_bound_to_all_that_it_was_made_with(self, asker: Asker, session: aiohttp.ClientSession) -> None:
        """It is bound to the filters, to the window as given, to the limit applied and to the organization."""
        row = next(row for row in asker.emulator.executions if row["workflow_id"])
        query = {
            "limit": 2,
            "status": "success,error",
            "from": "2026-01-01T00:00:00Z",
            "to": "2026-12-31T00:00:00Z",
        }
        cursor = (await asker.good(2, **query)).json()["next_cursor"]
        good = {**query, "cursor": cursor}
        assert len((await asker.good(2, **good)).ids) == 2
        others: list[dict[str, Any]] = [
            {"limit": 3},
            {"status": "success"},
            {"status": "error,success"},
            {"from": "2026-01-01T00:00:01Z"},
            {"to": "2026-12-31T01:00:00+01:00"},
            {"model": row["model"]},
            {"workflow_id": row["workflow_id"]},
            {"workflow_execution_id": row["workflow_execution_id"]},
            {"error_classification": "unknown"},
            {"cursor": cursor[:-1] + ("A" if cursor[-1] != "A" else "B")},
            {"cursor": row["id"]},
        ]
        for change in others:
            assert await asker.refused(2, **{**good, **change}) == INVALID
        for name in ("status", "from", "to"):
            assert await asker.refused(2, **{key: value for key, value in good.items() if key != name}) == INVALID
        async with Emulator(ROWS, now=NOW, workflow_executions=6) as other:
            assert await Asker(other, session).refused(2, **good) == INVALID
        asker.emulator.api_key = "of-another-organisation"
        assert await asker.refused(2, **good) == INVALID

    @pytest.mark.parametrize("query", [{}, {"status": "success,error"}])
    async def test_names_a_row_not_a_count(self, asker: Asker, query: dict[str, str]) -> None:
        """Whatever rows are inserted or removed above, even the row that it names, the rows below come."""
        rows = asker.emulator.executions
        there = await asker.walk(limit=100, **query)
        page = await asker.good(2, limit=10, **query)
        following = {"limit": 10, "cursor": page.json()["next_cursor"], **query}
        rows.insert(13)
        assert (await asker.good(2, **following)).ids == there[10:20]
        rows.remove(*there[:10])
        assert (await asker.good(2, **following)).ids == there[10:20]
        rows.insert(1, 5, status="success")
        rows.remove(there[10], there[12])
        assert (await asker.good(2, **following)).ids == [there[11], *there[13:22]]

    async def test_can_expire(self, session: aiohttp.ClientSession) -> None:
        """Cursors expire by age, on the emulator's clock, or all at once; new ones work, expired ones never do."""
        async with Emulator(60, virtual_time=True, cursor_lifetime=30.0) as emulator:
            asker = Asker(emulator, session)
            cursor = (await asker.good(2)).json()["next_cursor"]
            emulator.clock.advance(30)
            await asker.good(2, cursor=cursor)
            emulator.clock.advance(0.5)
            assert await asker.refused(2, cursor=cursor) == INVALID
            emulator.cursor_lifetime = None
            await asker.good(2, cursor=cursor)
            emulator.expire_cursors()
            assert await asker.refused(2, cursor=cursor) == INVALID
            fresh = (await asker.good(2)).json()["next_cursor"]
            await asker.good(2, cursor=fresh)
            assert await asker.refused(2, cursor=cursor) == INVALID

    async def test_is_forgotten_when_there_are_too_many(self, asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
        """The number of cursors is bounded: the oldest is dropped first."""
        monkeypatch.setattr("eachlabs_async.emulator.cursors._REMEMBERED", 2)
        first, second = [(await asker.good(2, limit=limit)).json()["next_cursor"] for limit in (1, 2)]
        assert (await asker.good(2, limit=1)).json()["next_cursor"] == first
        await asker.good(2, limit=3)
        await asker.good(2, limit=1, cursor=first)
        assert await asker.refused(2, limit=2, cursor=second) == INVALID


class TestRowsOfOneMoment:
    async def test_page_rightly(self, session: aiohttp.ClientSession) -> None:
        """3,000 rows of one second come once, in v1's order, while some of them are inserted and removed."""
        async with Emulator(400, workflow_executions=0, unfinished=0.0, v1_depth=None) as emulator:
            asker, rows = Asker(emulator, session), emulator.executions
            before = rows.ids()
            moment = rows.get(before[200])["created_at"]
            # Wherever it is said that they go, they go where their time has them.
            made = rows.insert(3000, 0, created_at=moment)
            start = rows.ids().index(made[0])
            assert start in (200, 201)
            assert rows.ids() == [*before[:start], *made, *before[start:]]
            times = [row["created_at"] for row in rows]
            assert times == sorted(times, reverse=True)
            there = rows.ids()
            assert await asker.walk(limit=97) == there
            assert await asker.walk(limit=100, **{"from": moment, "to": moment}) == sorted(
                [*made, before[200]], key=there.index
            )
            found: list[str] = []
            while page := (await asker.good(1, limit=100, offset=len(found))).ids:
                found += page
            assert found == there
            # Before each request one row enters in the midst of them, and one that was read long ago goes.
            emulator.moves.add(Move.insert(1, 1000, created_at=moment), endpoint="executions.list_by_cursor")
            emulator.moves.add(Move.remove(300), endpoint="executions.list_by_cursor", after=10)
            emulator.reset_counters()
            walked = await asker.walk(limit=100)
            assert len(walked) == len(set(walked))
            assert [one for one in walked if one in set(there)] == there
            requests = emulator.requests["executions.list_by_cursor"]
            assert emulator.moves.made == {"insert": requests, "remove": requests - 10}
            assert requests > 34

    async def test_are_not_all_the_names_of_one_place(self, asker: Asker) -> None:
        """Rows inserted at a position that their time allows stay there, and every cursor agrees."""
        rows = asker.emulator.executions
        moment = rows.get(rows.ids()[50])["created_at"]
        first = rows.insert(3, 51, created_at=moment)
        second = rows.insert(2, 52, created_at=moment)
        third = rows.insert(2, 10_000 % len(rows), created_at=moment)
        assert rows.ids()[51:58] == [first[0], *second, *first[1:], *third]
        assert await asker.walk(limit=1) == rows.ids()
        rows.change(rows.ids()[3], created_at=moment)
        rows.change(rows.ids()[-1], created_at=rows.get(rows.ids()[5])["created_at"])
        assert await asker.walk(limit=1) == rows.ids()
        times = [row["created_at"] for row in rows]
        assert times == sorted(times, reverse=True)


class TestTheWork:
    async def test_of_a_request_is_a_search_not_a_scan(self, session: aiohttp.ClientSession) -> None:
        """Of 20,000 rows each window reads the times of a few, and leaves no selection in memory."""
        async with Emulator(20_000, workflow_executions=0) as emulator:
            asker, rows = Asker(emulator, session), emulator.executions
            times = [row["created_at"] for row in rows.select()[::500]]
            for until in times:
                for version in (1, 2):
                    page = await asker.good(version, limit=100, to=until)
                    assert len(page.ids) == 100
            read = sum("_age" in row for row in rows.select())
            assert read < len(times) * 30
            assert selections_remembered(rows) == 0
            for until in times:
                await asker.good(2, limit=1, to=until, status="success")
            assert selections_remembered(rows) == 1


@pytest.mark.parametrize("mode", ["any", "bearer"])
async def test_v2_is_told_the_key(asker: Asker, mode: Any) -> None:
    """It is a bearer token; in the compat edition the edition's own header works too, unless switched off."""
    asker.emulator.v2_auth = mode
    key = asker.emulator.api_key
    bearer, plain = {"Authorization": f"Bearer {key}"}, {"X-API-Key": key}
    refused = (401, {"error": "Invalid or missing API key"})
    assert (await asker.ask(2, headers=bearer)).status == 200
    assert await asker.refused(2, headers=plain) == refused
    assert (await asker.ask(2, edition="compat", headers=bearer)).status == 200
    assert (await asker.ask(2, edition="compat", headers=plain)).status == (200 if mode == "any" else 401)
    for edition in EDITIONS:
        for wrong in ({}, {"X-API-Key": "guess"}, {"Authorization": "Bearer guess"}):
            assert await asker.refused(2, edition=edition, headers=wrong) == refused
    # v1 of the compat edition is what it was.
    assert (await asker.ask(1, edition="compat", headers=plain)).status == 200
    assert (await asker.ask(1, edition="compat", headers=bearer)).status == 401
    assert not asker.emulator.wrong_keys


@pytest.mark.parametrize("edition", EDITIONS)
async def test_either_listing_can_be_switched_off(asker: Asker, edition: str) -> None:
    """At any time; the route then does not exist, whatever the key."""
    for version, name in ((1, "v1_executions"), (2, "v2_executions")):
        setattr(asker.emulator, name, False)
        for headers in (None, {}):
            answer = await asker.ask(version, edition=edition, headers=headers)
            assert (answer.status, answer.json()) == (404, {"error": "route not found"})
            assert "Deprecation" not in answer.headers
        await asker.good(3 - version, edition=edition)
        setattr(asker.emulator, name, True)
        await asker.good(version, edition=edition)


class TestTheClock:
    async def test_dates_the_answers(self, session: aiohttp.ClientSession) -> None:
        """Every answer's `Date` is the emulator's time, unless it sets a `Date` of its own."""
        zone = datetime.fromisoformat("2026-09-10T12:00:00+03:00")
        async with Emulator(5, now=zone, virtual_time=True) as emulator:
            asker = Asker(emulator, session)
            for options in ({}, {"limit": 0}, {"headers": {}}):
                for version in (1, 2):
                    asked = await asker.ask(version, **options)
                    assert parsedate_to_datetime(asked.headers["Date"]) == zone
            emulator.clock.advance(86_400)
            emulator.faults.add(Fault.status(503), times=1)
            asked = await asker.ask(1)
            assert asked.headers["Date"] == "Fri, 11 Sep 2026 09:00:00 GMT"
            assert asked.status == 503
            own = "Thu, 01 Jan 2026 00:00:00 GMT"
            emulator.faults.add(Fault.status(503, headers={"Date": own}), times=1)
            assert (await asker.ask(1)).headers["Date"] == own
            async with session.get(emulator.url + "/nowhere") as answer:
                assert answer.headers["Date"] == "Fri, 11 Sep 2026 09:00:00 GMT"

    async def test_begins_the_window_ninety_days_ago(self, session: aiohttp.ClientSession) -> None:
        """Without `from`, it begins 90 days before `to`, or before the emulator's time."""
        async with Emulator(100, now=NOW, span_days=60, virtual_time=True) as emulator:
            asker = Asker(emulator, session)
            emulator.clock.advance(50 * 86_400)
            edge = NOW - timedelta(days=40)
            times = {row["id"]: datetime.fromisoformat(row["created_at"]) for row in emulator.executions}
            wanted = [one for one, time in times.items() if time >= edge]
            assert 0 < len(wanted) < 100
            assert await asker.walk() == wanted
            assert (await asker.good(1)).json()["total_count"] == len(wanted)
            until = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
            assert len(await asker.walk(to=until)) == 100
            assert (await asker.good(1, to=until)).json()["total_count"] == 100


class TestFaults:
    async def test_strike_by_the_endpoint_s_name(self, asker: Asker) -> None:
        """A fault of one listing does not affect the other."""
        faults, name = asker.emulator.faults, "executions.list_by_cursor"
        faults.add(Fault.status(503, retry_after=2), endpoint=name, times=1)
        asked = await asker.ask(2)
        assert (asked.status, asked.headers["Retry-After"]) == (503, "2")
        for fault in (Fault.reset(), Fault.cut_headers(), Fault.cut_body()):
            # Where no answer came aiohttp asks once more by itself, so that once would not be seen.
            rule = faults.add(fault, endpoint=name)
            await asker.good(1)
            with pytest.raises(aiohttp.ClientError):
                await asker.ask(2)
            faults.remove(rule)
        faults.add(Fault.latency(0.01), endpoint=name)
        faults.add(Fault.capped_total(10))
        assert len((await asker.good(2)).ids) == 20
        assert (await asker.good(1)).json()["total_capped"] is True
        kinds = {"status", "reset", "cut_headers", "cut_body", "latency", "capped_total"}
        assert faults.injected.keys() == kinds

    @pytest.mark.parametrize("stated", [True, False])
    async def test_clamp_the_limit(self, asker: Asker, stated: bool) -> None:
        """Pages have fewer rows than requested and go on, whether the answer states the limit or not."""
        asker.emulator.faults.add(Fault.clamped_limit(9, stated=stated))
        page = await asker.good(2, limit=50)
        assert (len(page.ids), page.json()["limit"], page.json()["has_more"]) == (9, 9 if stated else 50, True)
        assert await asker.walk(limit=50) == asker.emulator.executions.ids()

    async def test_shorten_pages_that_go_on(self, asker: Asker) -> None:
        """A short page and an empty one have `has_more`, and following their cursors misses and repeats nothing."""
        name = "executions.list_by_cursor"
        asker.emulator.faults.add(Fault.short_page(3), endpoint=name, after=1, times=2)
        asker.emulator.faults.add(Fault.short_page(), endpoint=name, after=4, times=2)
        sizes: list[int] = []
        cursors: list[str] = []
        ids: list[str] = []
        query: dict[str, Any] = {"limit": 50}
        while True:
            page = await asker.good(2, **query)
            ids += page.ids
            sizes.append(len(page.ids))
            if not page.json()["has_more"]:
                break
            query["cursor"] = page.json()["next_cursor"]
            cursors.append(query["cursor"])
        assert sizes == [50, 3, 3, 50, 0, 0, 50, 50, 24]
        assert len(set(cursors)) == len(cursors)
        assert ids == asker.emulator.executions.ids()

    async def test_say_more_at_the_end(self, asker: Asker) -> None:
        """The last rows, or an empty page, come with `has_more`; the next page ends the listing, even an empty one."""
        asker.emulator.faults.add(Fault.short_page(100), after=2, times=2)
        sizes: list[int] = []
        query: dict[str, Any] = {"limit": 100}
        for _ in range(5):
            page = await asker.good(2, **query)
            sizes.append(len(page.ids))
            query["cursor"] = page.json()["next_cursor"]
        assert sizes == [100, 100, 30, 0, 0]
        assert query["cursor"] is None
        asker.emulator.faults.add(Fault.short_page(), times=1)
        page = await asker.good(2)
        assert await asker.walk(cursor=page.json()["next_cursor"]) == asker.emulator.executions.ids()

    async def test_lose_the_cursor(self, asker: Asker) -> None:
        """There are more rows, but no cursor."""
        asker.emulator.faults.add(Fault.lost_cursor(), times=2)
        page = (await asker.good(2)).json()
        assert (page["has_more"], page["next_cursor"], len(page["executions"])) == (True, None, 20)
        assert "next_cursor" not in (await asker.good(1)).json()
        assert (await asker.good(2)).json()["next_cursor"]

    def test_cannot_give_less_than_no_rows(self) -> None:
        """A negative number of rows is an error at once."""
        with pytest.raises(ValueError):
            Fault.short_page(-1)


async def test_rows_move_by_the_endpoint_s_name(asker: Asker) -> None:
    """Moves for the listing by cursor are triggered by its requests only, and change the rows of both."""
    rule = asker.emulator.moves.add(Move.insert(2), endpoint="executions.list_by_cursor", after=1)
    assert (await asker.good(1)).json()["total_count"] == ROWS
    await asker.good(2)
    page = await asker.good(2)
    assert rule.fired == 1
    assert page.ids == asker.emulator.executions.ids()[:20]
    assert (await asker.good(1)).json()["total_count"] == ROWS + 2
