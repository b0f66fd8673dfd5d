"""Tests for the file of an archive: whose it is, what it is, who can read it, and when it is refused."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from contents import query
from internals import limit_pages_of_archive

from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive, ArchiveError
from eachlabs_async.archive.schema import KIND
from eachlabs_async.emulator import Emulator, Fault


async def test_an_archive_belongs_to_one_account(tmp_path: Path) -> None:
    """Another key or host is refused before anything is sent; a new key of the account is accepted if it is said so."""
    path = tmp_path / "executions.db"
    async with Emulator(executions=50) as one, Emulator(executions=70, seed=2, api_key="another-key") as two:
        async with EachLabs(one.api_key, hosts=one.hosts) as client, Archive(path) as archive:
            await archive.sync(client)
        one.reset_counters()
        for key, hosts in (("another-key", one.hosts), (one.api_key, two.hosts)):
            async with EachLabs(key, hosts=hosts) as client, Archive(path) as archive:
                with pytest.raises(ArchiveError, match="belongs to another account or host") as caught:
                    await archive.sync(client)
        assert not one.log
        assert not two.log
        assert "another-key" not in str(caught.value)
        assert one.api_key not in path.read_bytes().decode("latin-1")
        one.api_key = "a-new-key"
        async with EachLabs("a-new-key", hosts=one.hosts) as client, Archive(path) as archive:
            assert (await archive.sync(client, new_key=True)).new == 0
            await archive.sync(client)


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
async def test_the_database_of_another_program_is_left_as_it_is(statement: str, tmp_path: Path) -> None:
    """It is refused, and not a byte of it is changed."""
    path = tmp_path / "theirs.sqlite"
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    content = path.read_bytes()
    with pytest.raises(ArchiveError, match="another program") as caught:
        async with Archive(path):
            pass
    assert path.read_bytes() == content
    assert caught.value.path == str(path)
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.sqlite"]


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
async def test_a_file_that_is_no_database_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    """It is refused, and not changed."""
    path = tmp_path / "executions.db"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"executions\.db is not an archive"):
        async with Archive(path):
            pass
    assert path.read_bytes() == content


async def test_an_archive_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """The error says that the package must be updated, and the file is not changed."""
    path = tmp_path / "executions.db"
    async with Archive(path):
        pass
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {KIND.version + 1}")
    db.close()
    content = path.read_bytes()
    with pytest.raises(
        ArchiveError, match=rf"of version {KIND.version + 1}, not {KIND.version}: update eachlabs-async"
    ):
        async with Archive(path):
            pass
    assert path.read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_only_its_owner_can_read_an_archive(tmp_path: Path) -> None:
    """The files that SQLite makes beside it are as private."""
    async with Emulator(executions=50) as emulator, Archive(tmp_path / "executions.db") as archive:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            await archive.sync(client)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert {"executions.db", "executions.db-wal", "executions.db-lock"} <= set(modes)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [("", ValueError, "path must not be empty"), (5, TypeError, "path must be a path, not int")],
)
def test_what_is_no_path_is_refused(path: Any, error: type[Exception], says: str) -> None:
    """An empty path is refused too: SQLite would use a temporary file that is deleted on closing."""
    with pytest.raises(error, match=says):
        Archive(path)


async def test_an_archive_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """The error names the path and what to do."""
    with pytest.raises(ArchiveError, match="folder that exists"):
        async with Archive(tmp_path / "nowhere" / "executions.db"):
            pass
    with pytest.raises(ArchiveError, match="must be a file"):
        async with Archive(tmp_path):
            pass


async def test_an_archive_is_used_within_its_block(tmp_path: Path) -> None:
    """Before and after it, and twice at once, it says what to write; it can be opened again."""
    archive = Archive(tmp_path / "executions.db")
    with pytest.raises(RuntimeError, match="use `async with Archive"):
        await archive.count()
    for _ in range(2):
        async with archive:
            with pytest.raises(RuntimeError, match="open already"):
                await archive.__aenter__()
            assert await archive.count() == 0
    with pytest.raises(RuntimeError, match="use `async with Archive"):
        archive.rows()
    with pytest.raises(TypeError, match="use `async with`"):
        with archive:  # type: ignore[attr-defined]
            pass


async def test_leaving_the_block_ends_a_sync_of_another_task(tmp_path: Path) -> None:
    """The task gets an error, no request is left running, and the file is free for the next sync."""
    path = tmp_path / "executions.db"
    async with Emulator(executions=700) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        emulator.faults.add(Fault.latency(0.1))
        async with Archive(path) as archive:
            sync = asyncio.create_task(archive.sync(client, look_ahead=0))
            await asyncio.sleep(0.15)
        with pytest.raises(RuntimeError, match="the archive is closed"):
            await sync
        emulator.faults.clear()
        async with Archive(path) as archive:
            await archive.sync(client)
            assert await archive.count() == 700


async def test_no_thread_outlives_its_block(tmp_path: Path) -> None:
    """The thread of SQLite ends, also if the archive could not be opened."""
    async with Archive(tmp_path / "executions.db") as archive:
        await archive.count()
        assert any(thread.name.startswith("eachlabs-archive") for thread in threading.enumerate())
    with pytest.raises(ArchiveError):
        async with Archive(tmp_path):
            pass
    for thread in threading.enumerate():
        if thread.name.startswith("eachlabs-archive"):
            thread.join(1)
            assert not thread.is_alive()


async def test_of_many_that_create_an_archive_at_once_each_gets_it(tmp_path: Path) -> None:
    """It is created once, and none of them is told that it is in use."""
    for number in range(5):
        path = tmp_path / str(number)
        archives = [Archive(path) for _ in range(6)]
        await asyncio.gather(*(archive.__aenter__() for archive in archives))
        assert [await archive.count() for archive in archives] == [0] * 6
        for archive in archives:
            await archive.__aexit__(None, None, None)


SYNC = """
import asyncio, json, sys
from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive
from eachlabs_async.hosts import Hosts, Service

async def main(origin, key, path):
    service = Service(origin, "bearer")
    hosts = Hosts(api=service, workflows=service, flows=service, runs=service, edition="unified")
    async with EachLabs(key, hosts=hosts) as client, Archive(path) as archive:
        try:
            print("stats", (await archive.sync(client)).new)
        except Exception as error:
            print(type(error).__name__, error)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_others_can_read_while_it_is_synced(tmp_path: Path) -> None:
    """Another process sees whole transactions and is never made to wait; a second sync is refused there."""
    path = tmp_path / "executions.db"
    async with Emulator(executions=3000) as emulator:
        emulator.faults.add(Fault.latency(0.3))
        async with (
            EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client,
            Archive(path) as archive,
        ):
            sync = asyncio.create_task(archive.sync(client, look_ahead=0))
            await asyncio.sleep(0.05)
            arguments = f'["{emulator.unified_hosts.api.base_url}", "{emulator.api_key}", "{path}"]'
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SYNC, arguments, stdout=asyncio.subprocess.PIPE
            )
            reading = 0
            while process.returncode is None and not sync.done():
                query(path, "SELECT count(*) FROM executions")
                reading += 1
                await asyncio.sleep(0.01)
            sync.cancel()
            await asyncio.wait([sync])
            told = (await process.communicate())[0].decode()
            assert reading
            assert told.startswith("ArchiveError archive"), told
            assert "another sync has it open" in told


async def test_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    """What was committed before stays, and the next sync goes on there."""
    path = tmp_path / "executions.db"
    async with Emulator(executions=2000) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        async with Archive(path) as archive:
            await limit_pages_of_archive(archive, 60)
            with pytest.raises(ArchiveError, match=r"disk is full .*then sync again"):
                await archive.sync(client)
        async with Archive(path) as archive:
            await archive.sync(client)
            assert await archive.count() == 2000
