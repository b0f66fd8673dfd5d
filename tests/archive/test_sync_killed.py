"""Tests for a sync that is killed at any moment and started again, against a server that knows nothing of the package.

`EACHLABS_KILLS` is the number of kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from contents import query

sys.path.append(str(Path(__file__).parents[1] / "pagination"))

from executions_server import running

KILLS = int(os.environ.get("EACHLABS_KILLS", "20"))
JOB = """
import asyncio, json, sys
from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive, execution_sync
from eachlabs_async.hosts import Hosts, Service

execution_sync.BATCH_ROWS = 300  # So that there are many transactions to be killed in.

async def main(origin, edition, path):
    service = Service(f"{origin}/v1", "bearer")
    hosts = Hosts(api=service, workflows=service, flows=service, runs=Service(origin), edition=edition)
    async with EachLabs("the-key", hosts=hosts) as client, Archive(path) as archive:
        print("open", flush=True)
        stats = await archive.sync(client, on_progress=lambda stats: print("progress", flush=True))
        print(json.dumps([stats.new, stats.rows, stats.requests]), flush=True)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def sync(arguments: list[Any], seconds: float | None) -> list[int] | None:
    """Sync in another process, which is killed some time after it has opened the archive; return what it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", JOB, json.dumps(arguments), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        async with asyncio.timeout(seconds):
            told = await process.stdout.read()
    except TimeoutError:
        process.kill()
        await process.communicate()
        return None
    await process.wait()
    assert process.returncode == 0
    found: list[int] = json.loads(told.decode().splitlines()[-1])
    return found


@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_a_sync_that_was_killed_often_has_exactly_the_rows_that_are_there(edition: str, tmp_path: Path) -> None:
    """No row is missing or there twice, and what was written is not read again."""
    chance = random.Random(edition)
    path = tmp_path / "executions.db"
    async with running(rows=6000, latency_s=0.01, v1=edition == "compat", v2=edition == "unified") as server:
        arguments = [server.url, edition, str(path)]
        kills, written = 0, [0]
        while kills < KILLS / 2:
            if await sync(arguments, chance.uniform(0.0, 0.25)) is not None:
                path.unlink()
                written = [0]
                continue
            kills += 1
            written.append(query(path, "SELECT count(*) AS rows FROM executions")[0]["rows"])
        assert written == sorted(written)
        await server.reset()
        told = await sync(arguments, None)
        ids = (await server.account())["ids"]
        asked = sum((await server.account())["asked"].values())
        rows = query(path, "SELECT * FROM executions ORDER BY created_at DESC, id DESC")
        assert [row["id"] for row in rows] == ids
        assert all(row["deleted_at"] is None for row in rows)
        assert query(path, "PRAGMA integrity_check") == [{"integrity_check": "ok"}]
        assert told is not None
        assert told[0] == len(ids) - written[-1]
        assert asked <= (len(ids) - written[-1]) / 100 * 1.5 + 20
