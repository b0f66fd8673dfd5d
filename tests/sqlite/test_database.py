"""Tests for the files of SQLite: what is said of a file that cannot be used, and who gets one that others want."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from eachlabs_async.sqlite.database import Database
from eachlabs_async.sqlite.file_kind import FileKind
from eachlabs_async.sqlite.lock_file import LockFile

KIND = FileKind(name="ledger", application_id=77, version=2, user="somebody", retry="try again")


def database(path: Path) -> Database:
    return Database(str(path), KIND, lambda text, where: ValueError(f"{text} ({where})"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (sqlite3.OperationalError("database is locked"), "somebody has it open"),
        (sqlite3.OperationalError("database or disk is full"), "free some space, then try again"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
        (sqlite3.OperationalError("unable to open database file"), "folder must exist"),
        (sqlite3.OperationalError("disk I/O error"), "check the disk, then try again"),
        (sqlite3.DatabaseError("file is not a database"), "is not a ledger"),
    ],
)
def test_what_sqlite_says_becomes_advice(error: sqlite3.Error, says: str) -> None:
    """The words are those of the kind of file."""
    assert says in KIND.why_unusable(error)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    """The second one waits for as long as it was told to, and gets it once it is given back."""
    path = str(tmp_path / "lock")
    first, second = LockFile(path), LockFile(path)
    first.acquire(0)
    began = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.acquire(0.1)
    assert 0.05 < time.monotonic() - began < 2
    first.release()
    first.release()
    second.acquire(0)
    second.release()


async def test_work_runs_in_one_thread_and_in_order(tmp_path: Path) -> None:
    """The event loop goes on, and work whose waiter is cancelled is finished before later work."""
    opened = database(tmp_path / "file")
    await opened.run(lambda: opened.open_shared("CREATE TABLE t (x);", 1))
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.05)
        done.append(number)
        return threading.get_ident()

    first = asyncio.create_task(opened.run(lambda: work(1)))
    await asyncio.sleep(0.01)
    first.cancel()
    thread = await opened.run(lambda: work(2))
    assert done == [1, 2]
    assert thread != threading.get_ident()
    with pytest.raises(asyncio.CancelledError):
        await first
    await opened.close()
    with pytest.raises(RuntimeError):
        await opened.run(lambda: opened.connection)


async def test_a_file_that_was_opened_exclusively_is_refused_to_others(tmp_path: Path) -> None:
    """It is free again once it is closed, and a bad content closes it too."""
    path = tmp_path / "file"
    first, second = database(path), database(path)
    await first.run(lambda: first.open_exclusively("CREATE TABLE IF NOT EXISTS t (x);", 0.1, lambda db: ""))
    with pytest.raises(ValueError, match=r"ledger .*file is in use"):
        await second.run(lambda: second.open_exclusively("", 0.1, lambda db: ""))
    await first.close()
    with pytest.raises(ValueError, match=r"ledger .*file is no good"):
        await second.run(lambda: second.open_exclusively("", 0.1, lambda db: "is no good"))
    third = database(path)
    await third.run(lambda: third.open_exclusively("", 0.1, lambda db: ""))
    await third.close()
    await second.close()
