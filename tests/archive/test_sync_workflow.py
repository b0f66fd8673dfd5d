"""Tests for syncing the executions of a workflow in full: what is fetched, what is not fetched again, what is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from contents import query

from eachlabs_async import EachLabs, NotFoundError
from eachlabs_async.archive import Archive, SyncStats
from eachlabs_async.emulator import Emulator, Fault


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=10, workflow_executions=700, seed=4) as emulator:
        yield emulator


@pytest.fixture(params=["compat", "unified"])
async def client(emulator: Emulator, request: pytest.FixtureRequest) -> AsyncIterator[EachLabs]:
    hosts = emulator.hosts if request.param == "compat" else emulator.unified_hosts
    async with EachLabs(emulator.api_key, hosts=hosts) as client:
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "executions.db"


async def synced(path: Path, client: EachLabs, workflow_id: str, **options: Any) -> SyncStats:
    async with Archive(path) as archive:
        return await archive.sync_workflow(client, workflow_id, **options)


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def without_unset_times(steps: Any) -> Any:
    """Return steps as they came, with each time as a time and without the fields that are not there."""
    return {
        name: {
            field: moment(value) if field.endswith("_at") else value
            for field, value in step.items()
            if value is not None
        }
        for name, step in steps.items()
    }


def assert_same(path: Path, emulator: Emulator, workflow_id: str) -> None:
    """Assert that the archive has what the service says of each execution of a workflow."""
    rows = {
        row["execution_id"]: row
        for row in query(
            path, "SELECT * FROM workflow_executions WHERE deleted_at IS NULL AND workflow_id = ?", workflow_id
        )
    }
    group = emulator.workflow_executions[workflow_id]
    assert set(rows) == set(group.ids())
    created = {row["execution_id"]: row["created_at"] for row in group}
    for identity, row in rows.items():
        full = group.get(identity)
        for name in ("status", "version_id", "bulk_id", "error", "error_cause", "total_cost"):
            assert row[name] == full.get(name), name
        for name in ("inputs", "output", "workflow_output"):
            assert (None if row[name] is None else json.loads(row[name])) == full.get(name), name
        for name in ("started_at", "completed_at"):
            assert moment(row[name]) == moment(full.get(name))
        assert moment(row["created_at"]) == moment(created[identity])
        steps = json.loads(row["step_outputs"])
        assert without_unset_times(steps) == without_unset_times(full["step_outputs"])


async def test_the_first_sync_brings_every_execution_with_its_steps(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """Each value is that of the service, fetched once each."""
    workflow_id = emulator.workflow_ids[0]
    count = len(emulator.workflow_executions[workflow_id])
    stats = await synced(path, client, workflow_id)
    assert_same(path, emulator, workflow_id)
    assert (stats.rows, stats.new, stats.deleted) == (count, count, 0)
    assert stats.requests == len(emulator.log) <= count + 5


async def test_a_later_sync_fetches_what_is_new_and_what_had_not_finished(
    client: EachLabs, emulator: Emulator, path: Path
) -> None:
    """The listing is read down to the first known rows; finished executions are not fetched again."""
    workflow_id = emulator.workflow_ids[0]
    group = emulator.workflow_executions[workflow_id]
    await synced(path, client, workflow_id)
    still = [row["execution_id"] for row in group if row["status"] == "running"]
    assert len(still) > 2
    group.change(still[-1], status="failed", error="Gone", completed_at="2026-01-01T00:00:00Z")
    gone = still[-2]
    group.remove(gone)
    group.insert(30)
    emulator.reset_counters()
    stats = await synced(path, client, workflow_id)
    assert_same(path, emulator, workflow_id)
    assert (stats.new, stats.changed, stats.deleted) == (30, 1, 1)
    assert len(emulator.log) <= 30 + len(still) + 3
    deleted = query(path, "SELECT execution_id FROM workflow_executions WHERE deleted_at IS NOT NULL")
    assert [row["execution_id"] for row in deleted] == [gone]


async def test_an_execution_that_shows_up_late_is_fetched(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """It stands below rows that are known, but was created within the overlap before the newest of them."""
    workflow_id = emulator.workflow_ids[0]
    group = emulator.workflow_executions[workflow_id]
    group.insert(250)
    await synced(path, client, workflow_id)
    late = group.insert(1, 220)
    assert (await synced(path, client, workflow_id, overlap_s=0)).new == 0
    assert (await synced(path, client, workflow_id)).new == 1
    assert query(path, "SELECT 1 FROM workflow_executions WHERE execution_id = ?", *late)


async def test_verifying_marks_what_is_gone(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """Only executions of this workflow; the listing is walked, nothing finished is fetched."""
    first, second = emulator.workflow_ids[:2]
    await synced(path, client, first)
    await synced(path, client, second)
    group = emulator.workflow_executions[first]
    gone = [row["execution_id"] for row in group if row["status"] == "completed"][3:200:50]
    group.remove(*gone)
    assert (await synced(path, client, first)).deleted == 0
    emulator.reset_counters()
    assert (await synced(path, client, first, verify=True)).deleted == len(gone) > 2
    assert_same(path, emulator, first)
    assert_same(path, emulator, second)
    unfinished = sum(row["status"] == "running" for row in group)
    assert len(emulator.log) <= unfinished + 5


async def test_a_sync_that_was_cut_off_goes_on(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """By a cancellation or by an error, at any moment, and new rows meanwhile do not hide a hole."""
    workflow_id = emulator.workflow_ids[0]
    group = emulator.workflow_executions[workflow_id]
    emulator.faults.add(Fault.latency(0.001))
    for number in range(12):
        async with Archive(path) as archive:
            sync = asyncio.create_task(archive.sync_workflow(client, workflow_id, concurrency=4))
            await asyncio.sleep(0.03 * number)
            sync.cancel()
            await asyncio.wait([sync])
        group.insert(number * 13 % 40)
    emulator.faults.clear()
    emulator.faults.add(Fault.status(403), endpoint="workflow_executions.get", after=20, times=1)
    with pytest.raises(Exception, match="403"):
        await synced(path, client, workflow_id)
    await synced(path, client, workflow_id)
    assert_same(path, emulator, workflow_id)


async def test_an_execution_that_cannot_be_read_is_kept_apart(client: EachLabs, emulator: Emulator, path: Path) -> None:
    """It ends no sync, and is not taken for deleted."""
    workflow_id = emulator.workflow_ids[0]
    group = emulator.workflow_executions[workflow_id]
    identity = next(row["execution_id"] for row in group if row["status"] == "running")
    await synced(path, client, workflow_id)
    group.change(identity, total_cost="much")
    stats = await synced(path, client, workflow_id, verify=True)
    assert (stats.unreadable, stats.deleted) == (1, 0)
    assert [row["id"] for row in query(path, "SELECT id FROM unreadable_rows")] == [identity]


async def test_a_workflow_that_does_not_exist_is_an_error(client: EachLabs, path: Path) -> None:
    """It is the error of the listing."""
    with pytest.raises(NotFoundError):
        await synced(path, client, "00000000-0000-4000-8000-000000000000")
