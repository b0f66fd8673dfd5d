"""Tests of an archive against a server in another process that shares no code with the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from contents import query

from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive
from eachlabs_async.hosts import Hosts, Service

sys.path.append(str(Path(__file__).parents[1] / "pagination"))

from executions_server import KEY, running


def client_of(server: Any, edition: Any = "unified") -> EachLabs:
    service = Service(f"{server.url}/v1", "bearer")
    hosts = Hosts(api=service, workflows=service, flows=service, runs=Service(server.url), edition=edition)
    return EachLabs(KEY, hosts=hosts)


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 1500},
        {"rows": 2300, "v2": False, "ties": 300},
        {"rows": 1500, "inclusive": False},
        {"rows": 1500, "whole_seconds": True, "spacing_s": 0.3},
        {"rows": 1500, "clamp": 40},
        {"rows": 900, "fault_rate": 0.05},
        {"rows": 900, "shuffled": True, "v1": False},
        {"rows": 1200, "v1": False, "cursor_life": 6},
        {"rows": 700, "empty_every": 3, "v1": False},
        {"rows": 600, "misstated": [3, 300, 301], "unreadable": [5]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_the_archive_is_what_the_server_says(options: dict[str, Any], edition: str, tmp_path: Path) -> None:
    """After each sync, while rows come and go in between, the ids are those of the server's own account."""
    path = tmp_path / "executions.db"
    odd = {f"exec-{number:08d}" for name in ("misstated", "unreadable") for number in options.get(name, [])}
    async with running(**options) as server, client_of(server, edition) as client, Archive(path) as archive:
        await archive.sync(client)
        await server.reset(inserts=7, deletes=0)
        await client.executions.list(max_rows=1, on_unreadable=print).first()
        await server.reset(inserts=0)
        await archive.sync(client)
        account = await server.account()
        rows = query(path, "SELECT id FROM executions WHERE deleted_at IS NULL")
        assert sorted(row["id"] for row in rows) == sorted(set(account["ids"]) - odd)
        assert {row["id"] for row in query(path, "SELECT id FROM unreadable_rows")} == odd
        await server.reset(deletes=9)
        await client.executions.list(max_rows=1, on_unreadable=print).first()
        await server.reset(deletes=0)
        stats = await archive.sync(client, verify=True)
        account = await server.account()
        rows = query(path, "SELECT id FROM executions WHERE deleted_at IS NULL")
        assert sorted(row["id"] for row in rows) == sorted(set(account["ids"]) - odd)
        gone = {row["id"] for row in query(path, "SELECT id FROM executions WHERE deleted_at IS NOT NULL")}
        assert gone == set(account["vanished"]) - odd
        assert stats.deleted == len(gone)


async def test_rows_that_move_during_a_sync(tmp_path: Path) -> None:
    """Rows enter and leave at every request; a sync at rest afterwards shows exactly what is there."""
    path = tmp_path / "executions.db"
    async with (
        running(rows=1500, inserts=2, deletes=1) as server,
        client_of(server) as client,
        Archive(path) as archive,
    ):
        for _ in range(3):
            await archive.sync(client)
        await server.reset(inserts=0, deletes=0)
        await archive.sync(client, verify=True)
        account = await server.account()
        rows = query(path, "SELECT id FROM executions WHERE deleted_at IS NULL")
        assert sorted(row["id"] for row in rows) == sorted(account["ids"])
        gone = {row["id"] for row in query(path, "SELECT id FROM executions WHERE deleted_at IS NOT NULL")}
        assert gone <= set(account["vanished"])
        assert len(gone) > 5
