"""Tests for reading an archive: the order of the rows, their filters, and what is made of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eachlabs_async import EachLabs, Execution, State, to_dict
from eachlabs_async.archive import Archive
from eachlabs_async.emulator import Emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=2300, seed=5) as emulator:
        yield emulator


@pytest.fixture
async def rows(emulator: Emulator) -> list[Execution]:
    async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        return await client.executions.list().collect()


@pytest.fixture
async def archive(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Archive]:
    async with (
        EachLabs(emulator.api_key, hosts=emulator.hosts) as client,
        Archive(tmp_path / "executions.db") as archive,
    ):
        await archive.sync(client)
        yield archive


def in_order(rows: list[Execution]) -> list[Execution]:
    return sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)


async def test_the_rows_are_the_records_of_the_listing(archive: Archive, rows: list[Execution]) -> None:
    """Every field has the same value and type, newest first."""
    assert [row async for row in archive.rows()] == in_order(rows)
    assert await archive.count() == 2300


def wanted(name: str, value: Any, row: Execution) -> bool:
    if name == "since":
        return row.created_at is not None and row.created_at >= datetime.fromisoformat(value)
    if name == "until":
        return row.created_at is not None and row.created_at < datetime.fromisoformat(value)
    if name == "status":
        return row.status in value or row.state in value
    return bool(getattr(row, name) == value)


@pytest.mark.parametrize("name", ["since", "until", "model", "workflow_id", "status"])
async def test_each_filter_keeps_what_it_says(name: str, archive: Archive, rows: list[Execution]) -> None:
    """Rows and count agree with a filter in Python; so do both bounds of a span at a row's own time."""
    moment = str(rows[900].created_at)
    value = {
        "since": moment,
        "until": moment,
        "model": rows[0].model,
        "workflow_id": next(row.workflow_id for row in rows if row.workflow_id),
        "status": ["error", "created"],
    }[name]
    kept = [row for row in in_order(rows) if wanted(name, value, row)]
    assert 0 < len(kept) < 2300
    filters: dict[str, Any] = {name: value}
    assert [row async for row in archive.rows(**filters)] == kept
    assert await archive.count(**filters) == len(kept)


@pytest.mark.parametrize(
    ("status", "states"),
    [
        ("success", {"succeeded"}),
        ("failed", {"failed"}),
        (State.FAILED, {"failed"}),
        ("completed", {"succeeded"}),
        ("cancelled,error", {"cancelled", "failed"}),
        ([State.PENDING, "success"], {"pending", "succeeded"}),
    ],
)
async def test_a_status_may_be_a_state(status: Any, states: set[str], archive: Archive, rows: list[Execution]) -> None:
    """Words of any service that mean one are taken too."""
    expected = sum(row.state.value in states for row in rows)
    assert expected
    assert await archive.count(status=status) == expected


async def test_wrong_filters_are_refused_at_once(archive: Archive) -> None:
    """A misspelt word gives no empty result, but an error with the word that was meant."""
    with pytest.raises(ValueError, match=r"status must be one of .*not 'sucess': did you mean 'success'"):
        archive.rows(status="sucess")
    with pytest.raises(ValueError, match="since must have a time zone"):
        archive.rows(since="2026-01-01T00:00:00")
    with pytest.raises(ValueError, match="model must not be empty"):
        await archive.count(model="")
    with pytest.raises(ValueError, match="max_rows must be at least 0"):
        archive.rows(max_rows=-1)


async def test_deleted_rows_are_left_out_unless_wanted(archive: Archive, emulator: Emulator) -> None:
    """They are kept, and come in their place."""
    ids = [row["id"] for row in emulator.executions if row["status"] == "success"]
    emulator.executions.remove(*ids[:7])
    async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        await archive.sync(client, verify=True)
    assert await archive.count() == 2293
    found = [row.id async for row in archive.rows(deleted=True)]
    assert len(found) == 2300
    assert set(ids[:7]) < set(found)


@pytest.mark.parametrize("taken", [0, 1, 999, 1000, 1001, 2300])
async def test_reading_resumes_after_the_row_that_was_read_last(
    taken: int, archive: Archive, rows: list[Execution]
) -> None:
    """No row is missing or there twice, at the border of a batch too."""
    first = archive.rows(max_rows=taken)
    found = [row async for row in first]
    assert len(found) == taken
    found += [row async for row in archive.rows(resume=first.checkpoint)]
    assert found == in_order(rows)


async def test_a_checkpoint_of_other_filters_is_refused(archive: Archive) -> None:
    """So is what is no checkpoint of an archive."""
    checkpoint = archive.rows(model="a").checkpoint
    with pytest.raises(ValueError, match="other filters"):
        archive.rows(model="b", resume=checkpoint)
    for text in ("{}", '{"v": 2, "endpoint": "executions.list"}', "[]", "nonsense"):
        with pytest.raises(ValueError, match="resume is not a checkpoint"):
            archive.rows(resume=text)


async def test_rows_are_read_once(archive: Archive) -> None:
    """A second iteration says what to do, instead of giving the rest."""
    rows = archive.rows()
    async for _ in rows:
        break
    with pytest.raises(RuntimeError, match=r"call rows\(\) again"):
        _ = [row async for row in rows]


async def test_a_cancelled_wait_loses_no_row(archive: Archive, rows: list[Execution]) -> None:
    """The next wait goes on at the same row; and leaving the block early ends the rows."""
    found: list[Execution] = []
    async with archive.rows() as reading:
        each = aiter(reading)
        while True:
            waiting = asyncio.ensure_future(anext(each, None))
            if len(found) % 500 == 0:
                await asyncio.sleep(0)
                waiting.cancel()
            try:
                row = await waiting
            except asyncio.CancelledError:
                row = await anext(each, None)
            if row is None:
                break
            found.append(row)
    assert found == in_order(rows)
    async with archive.rows() as reading:
        async for _ in reading:
            break
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(archive.rows(max_rows=0)))


async def test_rows_become_tables_and_files(archive: Archive, rows: list[Execution], tmp_path: Path) -> None:
    """The exports are those of a listing, of the same record."""
    table = await archive.rows(status="success").to_arrow()
    assert table.num_rows == sum(row.status == "success" for row in rows)
    assert len(await archive.rows().to_pandas()) == len(await archive.rows().to_polars()) == 2300
    batches = [batch async for batch in archive.rows().arrow_batches(rows=1500)]
    assert [batch.num_rows for batch in batches] == [1500, 800]
    done = await archive.rows(max_rows=1200).write_jsonl(tmp_path / "rows.jsonl")
    lines = [json.loads(line) for line in done.path.read_text().splitlines()]
    assert lines == [to_dict(row) for row in in_order(rows)[:1200]]
    assert (await archive.rows().write_csv(tmp_path / "rows.csv")).rows == 2300
    assert (await archive.rows().write_parquet(tmp_path / "rows.parquet")).rows == 2300


async def test_an_export_goes_on_where_it_ended(
    archive: Archive, rows: list[Execution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its partial file has the checkpoint of the rows of the archive."""
    from eachlabs_async.codec.row_formats import JSONLines

    encode, calls = JSONLines.encode, 0

    def fail_at_the_second(self: JSONLines, some: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("no more")
        return encode(self, some)

    monkeypatch.setattr(JSONLines, "encode", fail_at_the_second)
    with pytest.raises(OSError, match="no more"):
        await archive.rows().write_jsonl(tmp_path / "rows.jsonl")
    done = await archive.rows().write_jsonl(tmp_path / "rows.jsonl")
    assert (done.rows, done.resumed_rows) == (2300, 1000)
    ids = [json.loads(line)["id"] for line in done.path.read_text().splitlines()]
    assert ids == [row.id for row in in_order(rows)]


async def test_rows_of_one_moment_are_told_apart(emulator: Emulator, tmp_path: Path) -> None:
    """A thousand rows of one time do not confuse the place of a reader, or a page of the listing."""
    moment = datetime.fromisoformat(next(iter(emulator.executions))["created_at"]) - timedelta(days=1)
    same = emulator.executions.insert(950)
    for identity in same:
        emulator.executions.change(identity, created_at=moment.isoformat())
    async with (
        EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client,
        Archive(tmp_path / "other.db") as archive,
    ):
        await archive.sync(client)
        found = [row.id async for row in archive.rows()]
        assert sorted(found) == sorted(emulator.executions.ids())
