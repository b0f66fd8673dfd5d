"""Tests for a sync: what it brings into the archive, what it costs, and how it tells deleted rows from changed ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contents import archived, deleted, listed, query

from eachlabs_async import EachLabs, UnreadableRow
from eachlabs_async.archive import Archive, ArchiveError, SyncStats
from eachlabs_async.emulator import Emulator, Fault

UNFINISHED = ("created", "starting")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=730, seed=3) as emulator:
        yield emulator


@pytest.fixture(params=["compat", "unified"])
async def client(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[EachLabs]:
    hosts = emulator.hosts if request.param == "compat" else emulator.unified_hosts
    async with EachLabs(emulator.api_key, hosts=hosts) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "executions.db"


async def synced(path: Path, client: EachLabs, **options: Any) -> SyncStats:
    """Open the archive, sync it, and close it again."""
    async with Archive(path) as archive:
        return await archive.sync(client, **options)


def at(row: dict[str, Any], **shift: float) -> str:
    moment = datetime.fromisoformat(row["created_at"]) + timedelta(**shift)
    return moment.isoformat().replace("+00:00", "Z")


def add(emulator: Emulator, **shift: float) -> str:
    """Let a row appear that was created some time before or after the newest one."""
    newest = next(iter(emulator.executions))
    moment = at(newest, **shift)
    (identity,) = emulator.executions.insert(1)
    emulator.executions.change(identity, created_at=moment)
    return identity


async def test_the_first_sync_brings_every_row(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """The archive has the rows of the listing, each once and with every value, for a request a page."""
    stats = await synced(path, client)
    assert archived(path) == listed(emulator.executions)
    assert (stats.rows, stats.new, stats.changed, stats.deleted) == (730, 730, 0, 0)
    assert stats.requests == len(emulator.log) <= 20


async def test_a_sync_without_news_costs_few_requests(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """It asks for the newest rows, and for those of the unfinished ones that still run, by status."""
    await synced(path, client)
    emulator.reset_counters()
    stats = await synced(path, client)
    assert (stats.new, stats.changed, stats.deleted) == (0, 0, 0)
    assert stats.requests == len(emulator.log) <= 4


async def test_a_later_sync_brings_what_is_new_and_what_has_ended(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """Both are there with all values, and counted, for few requests; what did not change is not counted."""
    await synced(path, client)
    new = emulator.executions.insert(120, model="a-new-model")
    open_ones = [row["id"] for row in emulator.executions if row["status"] in UNFINISHED and row["id"] not in new]
    for identity in open_ones[:3]:
        emulator.executions.change(identity, status="success", execution_cost=0.25, completed_at="2026-01-01T00:00:00Z")
    emulator.reset_counters()
    stats = await synced(path, client)
    assert archived(path) == listed(emulator.executions)
    assert (stats.new, stats.changed, stats.deleted) == (120, 3, 0)
    assert len(emulator.log) <= 3 + 3 + 4
    ended = query(path, "SELECT id FROM executions WHERE changed_at IS NOT NULL")
    assert {row["id"] for row in ended} == set(open_ones[:3])


async def test_a_row_that_shows_up_late_is_brought(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """It was created before the newest row that the archive has, within the overlap."""
    emulator.executions.insert(5)
    await synced(path, client)
    late = add(emulator, seconds=-280)
    assert (await synced(path, client)).new == 1
    assert late in archived(path)
    older = add(emulator, seconds=-3000)
    assert (await synced(path, client)).new == 0
    assert (await synced(path, client, verify=True)).new == 1
    assert older in archived(path)


async def test_an_unfinished_row_that_is_gone_is_marked(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """It is looked for where it was; the rows around it stay as they are."""
    await synced(path, client)
    gone = next(row["id"] for row in emulator.executions if row["status"] in UNFINISHED)
    emulator.executions.remove(gone)
    stats = await synced(path, client)
    assert (stats.deleted, deleted(path)) == (1, {gone})
    assert archived(path) == listed(emulator.executions)


async def test_verifying_tells_deleted_rows_from_changed_ones(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """Without it, finished rows are not read again; with it, deleted rows are marked and kept, and changed ones new."""
    await synced(path, client)
    ids = [row["id"] for row in emulator.executions if row["status"] == "success"]
    gone, changed = {ids[5], ids[300], ids[-1]}, {ids[7], ids[8]}
    before = archived(path)
    emulator.executions.remove(*gone)
    for identity in changed:
        emulator.executions.change(identity, execution_cost=123.0)
    plain = await synced(path, client)
    assert (plain.changed, plain.deleted) == (0, 0)
    stats = await synced(path, client, verify=True)
    assert (stats.new, stats.changed, stats.deleted) == (0, 2, 3)
    assert deleted(path) == gone
    assert archived(path) == listed(emulator.executions)
    kept = {row["id"]: row for row in query(path, "SELECT * FROM executions WHERE deleted_at IS NOT NULL")}
    assert {identity: row["execution_cost"] for identity, row in kept.items()} == {
        identity: before[identity][6] for identity in gone
    }
    assert (await synced(path, client, verify=True)).deleted == 0


async def test_verifying_a_span_leaves_the_others_alone(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """Rows outside of it are neither marked nor read, but for a second on each side."""
    await synced(path, client)
    rows = [row for row in emulator.executions if row["status"] == "success"]
    since, until = at(rows[400]), at(rows[200])
    emulator.executions.remove(rows[200]["id"], rows[201]["id"], rows[400]["id"], rows[401]["id"])
    stats = await synced(path, client, since=since, until=until, verify=True)
    assert deleted(path) == {rows[201]["id"], rows[400]["id"]}
    assert stats.rows < 300


async def test_a_deleted_row_that_is_back_is_no_longer_marked(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """A listing may have left it out for a while; it counts as changed."""
    await synced(path, client)
    row = next(row for row in emulator.executions if row["status"] == "success")
    emulator.executions.remove(row["id"])
    await synced(path, client, verify=True)
    emulator.executions.add(row)
    stats = await synced(path, client, verify=True)
    assert (stats.new, stats.changed, deleted(path)) == (0, 1, set())
    assert archived(path) == listed(emulator.executions)


async def test_spans_are_walked_once(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """An earlier `since` fetches only what is missing, and a hole between two spans is filled by a later sync."""
    rows = list(emulator.executions)
    since, middle, until = at(rows[-1], seconds=-5), at(rows[500]), at(rows[200])
    await synced(path, client, since=until)
    first = await synced(path, client, since=since, until=middle)
    assert (first.new, len(archived(path))) == (229, 201 + 229)
    emulator.reset_counters()
    stats = await synced(path, client)
    assert archived(path) == listed(emulator.executions)
    assert stats.new == 300
    assert stats.rows < 300 + 120
    assert stats.since == datetime.fromisoformat(since)


async def test_a_sync_that_fails_goes_on_where_it_was(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """The rows before the error are in the archive, and the next sync reads few of them again."""
    emulator.faults.add(Fault.status(403), endpoint="executions.list", after=4)
    emulator.faults.add(Fault.status(403), endpoint="executions.list_by_cursor", after=4)
    with pytest.raises(Exception, match="403"):
        await synced(path, client, look_ahead=0)
    before = len(archived(path))
    assert 0 < before < 730
    emulator.faults.clear()
    stats = await synced(path, client)
    assert archived(path) == listed(emulator.executions)
    assert stats.new == 730 - before
    assert stats.rows <= 730 - before + 160


async def test_a_slow_service_is_written_as_it_goes(
    client: EachLabs, emulator: Emulator, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows do not wait until there are enough of them for a transaction, so that a kill costs seconds at most."""
    monkeypatch.setattr("eachlabs_async.archive.execution_sync.BATCH_S", 0.01)
    emulator.faults.add(Fault.latency(0.02))
    told: list[int] = []
    await synced(path, client, look_ahead=0, on_progress=lambda stats: told.append(stats.rows))
    assert len(set(told)) > 5


async def test_a_cancelled_sync_ends_at_once_and_goes_on_later(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """Wherever it is cancelled, no task is left, and the rows are all there after the next one."""
    for delay in (0.0, 0.005, 0.02, 0.05):
        async with Archive(path) as archive:
            sync = asyncio.create_task(archive.sync(client))
            await asyncio.sleep(delay)
            sync.cancel()
            async with asyncio.timeout(1):
                await asyncio.wait([sync])
    await synced(path, client)
    assert archived(path) == listed(emulator.executions)


async def test_unreadable_rows_do_not_end_a_sync(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """They are kept in a table of their own, reported, and not taken for deleted; once readable they move."""
    await synced(path, client)
    row = next(row for row in emulator.executions if row["status"] == "success")
    emulator.executions.change(row["id"], run_time="long", api_key="secret")
    told: list[UnreadableRow] = []
    stats = await synced(path, client, verify=True, on_unreadable=told.append)
    assert (stats.unreadable, stats.deleted, deleted(path)) == (1, 0, set())
    assert [one.id for one in told] == [row["id"]]
    (kept,) = query(path, "SELECT * FROM unreadable_rows")
    assert (kept["id"], "run_time" in kept["error"], "secret" in kept["row"]) == (row["id"], True, False)
    emulator.executions.change(row["id"], run_time=1.5)
    assert (await synced(path, client, verify=True)).changed == 1
    assert query(path, "SELECT * FROM unreadable_rows") == []


async def test_nothing_is_taken_for_deleted_while_a_row_cannot_be_told(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """A row without an id may be any row of the archive."""
    await synced(path, client)
    ids = [row["id"] for row in emulator.executions if row["status"] == "success"]
    emulator.executions.change(ids[3], id=7)
    emulator.executions.remove(ids[10])
    stats = await synced(path, client, verify=True)
    assert (stats.unreadable, stats.deleted) == (1, 0)


async def test_odd_texts_are_kept(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """A NUL ends no text, and characters beyond the first 65,536 are themselves."""
    ids = emulator.executions.ids()
    emulator.executions.change(ids[0], output="a\0b", model="\U0001f980")
    await synced(path, client)
    found = archived(path)[ids[0]]
    assert (found[-1], found[2]) == ("a\0b", "\U0001f980")


async def test_a_row_from_the_future_does_not_hide_the_later_ones(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """One wrong clock at the service must not make the archive believe that it has all until then."""
    future = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    emulator.executions.change(emulator.executions.ids()[0], created_at=future)
    await synced(path, client)
    middle = emulator.executions.ids()[1]
    emulator.executions.insert(3, 1, created_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    assert (await synced(path, client)).new == 3
    assert middle in archived(path)


async def test_progress_is_told(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """The statistics grow, and the last ones are those that are returned, but for the time."""
    told: list[SyncStats] = []
    stats = await synced(path, client, on_progress=told.append)
    assert told
    assert [one.rows for one in told] == sorted(one.rows for one in told)
    assert (told[-1].rows, told[-1].new, told[-1].requests) == (stats.rows, stats.new, stats.requests)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"since": "yesterday"}, ValueError, "since must be RFC 3339"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, ValueError, "until must not be before"),
        ({"overlap_s": -1}, ValueError, "overlap_s must be at least 0"),
        ({"look_ahead": -1}, ValueError, "look_ahead must be at least 0"),
        ({"on_progress": 5}, TypeError, "on_progress must be callable"),
    ],
)
async def test_wrong_arguments_are_refused(options: Any, error: type[Exception], says: str) -> None:
    """Nothing is sent, and the archive is as it was."""
    async with EachLabs("key") as client, Archive(":memory:") as archive:
        with pytest.raises(error, match=says):
            await archive.sync(client, **options)


async def test_one_sync_at_a_time(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """A second one is refused, from the same archive or from another one of the file; reading goes on."""
    emulator.faults.add(Fault.latency(2.0))
    async with Archive(path) as archive, Archive(path) as other:
        first = asyncio.create_task(archive.sync(client))
        await asyncio.sleep(0.05)
        with pytest.raises(ArchiveError, match="synced by another task"):
            await archive.sync(client)
        with pytest.raises(ArchiveError, match=r"executions\.db is in use"):
            await other.sync(client)
        assert await other.count() == 0
        first.cancel()
        await asyncio.wait([first])
        emulator.faults.clear()
        await other.sync(client)
        assert await archive.count() == 730


async def test_an_archive_in_memory_does_all_of_it(client: EachLabs, emulator: Emulator) -> None:
    """It has no file and no lock."""
    async with Archive(":memory:") as archive:
        assert (await archive.sync(client)).new == 730
        assert (await archive.sync(client)).new == 0
        assert [row.id async for row in archive.rows()] == emulator.executions.ids()
