"""Tests for walks of executions against a server that shares no code with the package and does its own bookkeeping."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from typing import Any

import attrs
import pytest
from executions_server import KEY, Running, running

from eachlabs_async import (
    COMPAT,
    UNIFIED,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DriftError,
    EachLabs,
    Hosts,
    NotFoundError,
    PaginationError,
    RetryPolicy,
    Service,
)

both_ways = pytest.mark.parametrize("edition", ["compat", "unified"])
ahead_or_not = pytest.mark.parametrize("look_ahead", [0, 8])


def hosts(server: Running, edition: str, by: Any = "auto") -> Hosts:
    base = COMPAT if edition == "compat" else UNIFIED
    return attrs.evolve(base, api=Service(f"{server.url}/v1", base.api.auth), executions_by=by)


def client_of(server: Running, edition: str, by: Any = "auto", key: str = KEY) -> EachLabs:
    return EachLabs(key, hosts=hosts(server, edition, by), retry=RetryPolicy(max_attempts=12, base_s=0.001))


async def walked(server: Running, edition: str, by: Any = "auto", **options: Any) -> list[str]:
    async with client_of(server, edition, by) as client:
        return [row.id for row in await client.executions.list(**options).collect()]


QUIRKS: list[dict[str, Any]] = [
    {},
    {"inclusive": False},
    {"whole_seconds": True},
    {"spacing_s": 0.05},
    {"spacing_s": 0.001},
    {"clamp": 30},
    {"capped": True},
    {"depth": 237},
    {"depth": 70},
    {"depth": None},
    {"empty_every": 3},
    {"cursor_life": 1},
    {"ignores_to": True, "depth": None},
    {"untimed": True},
    {"v2": False},
    {"v1": False},
    {"ties": 900},
    {"ties": 3000},
    {"fault_rate": 0.05},
]


@both_ways
@ahead_or_not
@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: json.dumps(quirk))
async def test_every_row_comes_once_and_in_order(edition: str, look_ahead: int, quirk: dict[str, Any]) -> None:
    """For every treatment of times, limits, cursors and totals by the service, with a bounded number of requests."""
    async with running(rows=3000, **quirk) as server:
        rows = await walked(server, edition, look_ahead=look_ahead)
        account = await server.account()
        assert rows == account["ids"]
        pages = -(-len(rows) // quirk.get("clamp", 100))
        tight = not {"spacing_s", "ties", "empty_every", "ignores_to", "untimed", "depth", "cursor_life"} & quirk.keys()
        faults = account["answered"].get("0", 0) + sum(account["answered"].get(str(at), 0) for at in (500, 502, 503))
        most = pages * (1.3 if tight else 5) + 3 * look_ahead + 2 + faults
        assert sum(account["asked"].values()) <= most
        assert account["most_in_flight"] <= look_ahead + 1
        assert not account["wrong_keys"]


@both_ways
@ahead_or_not
async def test_ten_thousand_rows_take_a_page_each_hundred(edition: str, look_ahead: int) -> None:
    """There is one request per page, some more where spans are estimated, and none extra for deep rows."""
    async with running(rows=10_000) as server:
        assert len(await walked(server, edition, look_ahead=look_ahead)) == 10_000
        asked = (await server.account())["asked"]
        assert asked == {"v1": asked["v1"]} if edition == "compat" else {"v2": asked["v2"]}
        assert sum(asked.values()) <= (
            (110 if look_ahead else 103) if edition == "compat" else 130 if look_ahead else 101
        )


@ahead_or_not
@pytest.mark.parametrize("ways", [["compat"], ["unified"], ["compat", "unified"]], ids=" to ".join)
@pytest.mark.parametrize(
    "quirk",
    [{}, {"fault_rate": 0.05, "inserts": 1}, {"inclusive": False, "cursor_life": 2}, {"ties": 700}],
    ids=lambda quirk: json.dumps(quirk),
)
async def test_a_walk_that_breaks_off_goes_on_by_either_listing(
    look_ahead: int, ways: list[str], quirk: dict[str, Any]
) -> None:
    """If the walk is interrupted every few requests and resumed, in either edition, each row comes once."""
    async with running(rows=4000, **quirk) as server:
        old = set((await server.account())["ids"])
        rows: list[str] = []
        checkpoint, lives, done = None, 0, False
        while not done:
            async with client_of(server, ways[lives % len(ways)]) as client:
                pager = client.executions.list(look_ahead=look_ahead, resume=checkpoint)
                done = True
                async with pager:
                    async for row in pager:
                        rows.append(row.id)
                        if pager.stats.requests >= 12:
                            done = False
                            break
                checkpoint = pager.checkpoint
            lives += 1
            assert lives < 100
        assert lives > 2
        assert len(rows) == len(set(rows))
        assert old <= set(rows)


@pytest.mark.parametrize(("edition", "drift"), [("compat", "resync"), ("unified", "resync")])
async def test_rows_that_stay_come_whatever_vanishes(edition: str, drift: Any) -> None:
    """A row is deleted with each request. By cursor, no row that stays is missed in any drift mode."""
    async with running(rows=3000, deletes=1) as server:
        rows = await walked(server, edition, look_ahead=4, drift=drift)
        assert len(rows) == len(set(rows))
        assert set((await server.account())["ids"]) <= set(rows)


@both_ways
async def test_offset_passes_rows_over(edition: str) -> None:
    """Rows before the start that cannot be skipped by offset are read and not delivered."""
    async with running(rows=2500) as server:
        ids = (await server.account())["ids"]
        for offset in (0, 1, 250, 900, 901, 1750, 2499, 2500, 9999):
            assert await walked(server, edition, offset=offset) == ids[offset:]
        assert await walked(server, edition, offset=1750, max_rows=150, look_ahead=4) == ids[1750:1900]


@both_ways
async def test_max_rows_asks_for_no_more_than_it_needs(edition: str) -> None:
    """Two and a half pages take three requests, with look-ahead too."""
    async with running(rows=2500) as server:
        ids = (await server.account())["ids"]
        assert await walked(server, edition, max_rows=250, look_ahead=8) == ids[:250]
        assert sum((await server.account())["asked"].values()) <= 4


@both_ways
async def test_a_filter_goes_with_every_request(edition: str) -> None:
    """Blocks, spans and cursors are all requested with the same filters."""
    async with running(rows=4000) as server:
        rows = await walked(server, edition, status="success", look_ahead=4)
        assert rows == [row for row in (await server.account())["ids"] if int(row[5:]) % 3]
        assert all('"status": "success"' in line for line in (await server.account())["log"])


@both_ways
@ahead_or_not
async def test_no_request_goes_beyond_the_times_asked_for(edition: str, look_ahead: int) -> None:
    """`until` and `since` bound every block and span, even where an overlap extends a request by a second."""
    async with running(rows=3000, cursor_life=2) as server:
        async with client_of(server, edition) as client:
            rows = await client.executions.list(max_rows=2900).collect()
            until, since = rows[0].created_at, rows[2800].created_at
            assert until is not None
            assert since is not None
            await server.reset()
            found = await client.executions.list(since=since, until=until, look_ahead=look_ahead).collect()
        assert [row.id for row in found] == [row.id for row in rows[:2801]]
        asked = [json.loads(line[3:]) for line in (await server.account())["log"]]
        assert len(asked) >= 28
        assert all(datetime.fromisoformat(query["to"]) <= until for query in asked)
        assert all(datetime.fromisoformat(query["from"]) >= since for query in asked)


@both_ways
async def test_the_last_ninety_days_stay_the_same_ninety(edition: str) -> None:
    """Without `since`, the service goes back 90 days from now, and the walk goes no further."""
    async with running(rows=3000, spacing_s=3600.0) as server:  # 125 days
        async with client_of(server, "unified", "cursor") as client:
            wanted = [row.id for row in await client.executions.list().collect()]
        assert 2000 < len(wanted) < 2300
        for look_ahead in (0, 8):
            assert await walked(server, edition, look_ahead=look_ahead) == wanted
        await server.reset(cursor_life=0)  # Every cursor is refused: each page begins anew at the time of a row.
        assert await walked(server, edition) == wanted
        await server.reset(cursor_life=None)
        everything = (await server.account())["ids"]
        assert await walked(server, edition, since="2000-01-01T00:00:00Z", look_ahead=8) == everything


async def test_rows_that_share_a_second_need_the_cursor() -> None:
    """Without cursors, or if the caller selected seeking, an error says so. Its checkpoint resumes by cursor."""
    async with running(rows=2000, ties=1500, ties_at=1000) as server:
        ids = (await server.account())["ids"]
        with pytest.raises(PaginationError, match="share the second of .* only /v2/executions") as caught:
            await walked(server, "compat", "seek")
        got = [row.id for row in caught.value.partial]
        assert got == ids[: len(got)]
        rest = await walked(server, "unified", resume=caught.value.checkpoint)
        assert got + rest == ids
        await server.reset(v2=False)
        with pytest.raises(PaginationError, match="the service refused that listing: HTTP 404"):
            await walked(server, "compat")


class TestWhichListing:
    async def test_the_edition_chooses_and_the_client_learns(self, caplog: pytest.LogCaptureFixture) -> None:
        """A missing listing is tried once per client, and logged at INFO."""
        caplog.set_level(logging.INFO, "eachlabs_async")
        async with running(rows=250, v2=False) as server, client_of(server, "unified") as client:
            for _ in range(3):
                assert len(await client.executions.list().collect()) == 250
            assert (await server.account())["asked"] == {"v2": 1, "v1": 9}
            lines = [record for record in caplog.records if "continuing with" in record.getMessage()]
            assert len(lines) == 1
            assert re.search("/v2/executions.*/v1/executions", lines[0].getMessage())

    async def test_it_is_changed_in_the_middle_of_a_walk(self) -> None:
        """If a listing disappears during a walk, the other one continues from the same row."""
        async with running(rows=3000) as server:
            ids = (await server.account())["ids"]
            for edition, gone in (("unified", "v2"), ("compat", "v1")):
                await server.reset(v1=True, v2=True)
                async with client_of(server, edition) as client:
                    rows: list[str] = []
                    async for row in client.executions.list():
                        rows.append(row.id)
                        if len(rows) == 1250:
                            await server.reset(**{gone: False})
                    assert rows == ids

    async def test_v2_that_takes_no_x_api_key_is_left(self) -> None:
        """With `X-API-Key`, a 401 of v2 means the header, and the walk seeks. With a bearer token, it means the key."""
        async with running(rows=1200, v2_auth="bearer", v1=False) as server:
            with pytest.raises(AuthenticationError):
                await walked(server, "compat")
            await server.reset(v1=True)
            assert len(await walked(server, "compat")) == 1200
        async with running(rows=10) as server, client_of(server, "unified", key="wrong") as client:
            with pytest.raises(AuthenticationError):
                await client.executions.list().collect()
            assert (await server.account())["asked"] == {"v2": 1}

    async def test_without_either_the_error_is_the_services(self) -> None:
        """If both are missing, the walk raises NotFoundError after trying each once."""
        async with running(rows=10, v1=False, v2=False) as server, client_of(server, "compat") as client:
            with pytest.raises(NotFoundError):
                await client.executions.list().collect()
            assert (await server.account())["asked"] == {"v1": 1, "v2": 1}

    @pytest.mark.parametrize(("by", "asked"), [("cursor", "v2"), ("seek", "v1")])
    async def test_hosts_choose_by_hand(self, by: str, asked: str) -> None:
        """The other listing is then never requested, even if the selected one is refused."""
        async with running(rows=1200) as server:
            for edition in ("compat", "unified"):
                assert len(await walked(server, edition, by)) == 1200
            assert set((await server.account())["asked"]) == {asked}
            await server.reset(**{asked: False})
            with pytest.raises(NotFoundError):
                await walked(server, "compat", by)
            assert (await server.account())["asked"] == {asked: 1}

    def test_another_word_is_refused(self) -> None:
        """The error names the field."""
        with pytest.raises(ConfigurationError, match="executions_by must be"):
            attrs.evolve(COMPAT, executions_by="offset")


class TestEndsInAnError:
    async def test_a_cursor_that_comes_again(self) -> None:
        """It is an error instead of an endless loop."""
        async with running(rows=1000, same_cursor=True) as server:
            with pytest.raises(PaginationError, match="for the second time"):
                await walked(server, "unified")
            assert (await server.account())["asked"]["v2"] <= 3

    @both_ways
    async def test_a_bad_filter(self, edition: str) -> None:
        """A 400 for the first request is the caller's error; it does not mean that the listing is refused."""
        async with running(rows=10) as server, client_of(server, edition) as client:
            with pytest.raises(BadRequestError, match="invalid model"):
                await client.executions.list(model="refused").collect()
            assert sum((await server.account())["asked"].values()) == 1

    async def test_an_old_checkpoint_whose_rows_are_gone(self) -> None:
        """It has ids but no time: they are searched to the end, then an error says that they are gone."""
        async with running(rows=1500) as server:
            old = {"v": 1, "endpoint": "executions.list", "edition": "compat", "filters": {}, "start": 0}
            text = json.dumps({**old, "place": 1200, "total": 1500, "last": ["gone"]})
            for edition in ("compat", "unified"):
                with pytest.raises(DriftError, match="none of the rows recorded"):
                    await walked(server, edition, resume=text)


@both_ways
@pytest.mark.parametrize("next_offset", [300, 950, 1400, 2950])
async def test_an_old_checkpoint_is_resumed_wherever_it_stands(edition: str, next_offset: int) -> None:
    """It was written without times, in either edition: its rows are found, and the rest comes once."""
    async with running(rows=3000, inserts=1) as server:
        ids = (await server.account())["ids"]
        old = {
            "v": 1,
            "endpoint": "executions.list",
            "edition": "compat",
            "filters": {},
            "start": 0,
            "place": next_offset,
        }
        text = json.dumps({**old, "total": 3000, "last": ids[next_offset - 8 : next_offset]})
        assert await walked(server, edition, resume=text) == ids[next_offset:]


@both_ways
@pytest.mark.parametrize("v1", [True, False])
async def test_windows_are_walked_whole_however_they_are_counted(edition: str, v1: bool) -> None:
    """Windows are counted by `/v1/executions`, or split by density if it is missing. Every row comes once, in order."""
    async with running(rows=4000, v1=v1, spacing_s=600.0) as server, client_of(server, edition) as client:
        first = await client.executions.list(max_rows=1).collect()
        created = first[0].created_at
        assert created is not None
        since, until = "2026-01-01T00:00:00Z", created.isoformat()
        ids = [row.id for row in await client.executions.list(since=since, until=until).collect()]
        await server.reset()
        windows = await client.executions.windows(since, until, parts=3)
        asked = (await server.account())["asked"]
        assert sum(asked.values()) <= 3 * 8 + 2
        assert 2 <= len(windows) <= 3
        assert all((window.rows is None) is not v1 for window in windows)
        rows = [row.id async for row in client.executions.walk_windows(windows)]
        # A window excludes `until`; the listing may include it.
        assert rows == [row for row in ids if row in set(rows)]
        assert len(ids) - 1 <= len(rows) <= len(ids)


@both_ways
async def test_a_snapshot_lets_nothing_in(edition: str) -> None:
    """Executions created during the walk are not among the rows."""
    async with running(rows=2500, inserts=2) as server:
        old = set((await server.account())["ids"])
        rows = await walked(server, edition, snapshot=True, look_ahead=4)
        assert set(rows) <= old
        # The view ends a second before the service's time, in whole seconds: the newest few rows may be missing.
        assert len(rows) == len(set(rows)) >= len(old) - 20


async def test_the_deprecation_of_what_nobody_chose_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The emulator marks `/v1/executions` as deprecated; only callers that selected it are warned."""
    from eachlabs_async.emulator import Emulator

    async with Emulator(20) as emulator:
        for by, warnings in (("auto", 0), ("seek", 1)):
            caplog.clear()
            async with EachLabs(emulator.api_key, hosts=attrs.evolve(emulator.hosts, executions_by=by)) as client:
                for _ in range(2):
                    await client.executions.list().collect()
            assert sum(record.levelno == logging.WARNING for record in caplog.records) == warnings
