"""Tests for a job's journal: what is on disk at which moment, and how damaged and foreign files are handled."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from eachlabs_async.jobs.journal import Journal, JournalEntry


async def opened(path: Path, binding: str = "job") -> Journal:
    journal = Journal(path, binding)
    await journal.open()
    return journal


async def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    """Intents, executions, unknown outcomes and deliveries survive the process that wrote them."""
    path = tmp_path / "job.sqlite"
    first = await opened(path)
    await first.intend([(0, "a"), (1, "b"), (2, "c")], 5.0)
    await first.answered([(0, "exec-0")], [2])
    await first.unknown([1], "who knows")
    await first.intend([(3, "a"), (4, "a"), (5, "d")], 6.0)
    await first.forget([5])
    await first.delivered(0, "a")
    await first.delivered(7, "")
    await first.delivered(4, "a")
    await first.undelivered(4)
    await first.close()
    second = await opened(path)
    assert await second.entries([0, 1, 2, 3, 4, 5, 7]) == {
        0: JournalEntry(0, "a", "running", "exec-0", 5.0, None, True),
        1: JournalEntry(1, "b", "unknown", None, 5.0, "who knows", False),
        3: JournalEntry(3, "a", "sending", None, 6.0, None, False),
        4: JournalEntry(4, "a", "sending", None, 6.0, None, False),
        7: JournalEntry(7, "", "refused", None, 0.0, None, True),
    }
    assert await second.claimed() == {"exec-0"}
    assert await second.in_doubt() == [(1, "b", 5.0), (3, "a", 6.0), (4, "a", 6.0)]
    await second.close()


async def test_a_torn_last_record_is_rolled_back(tmp_path: Path) -> None:
    """A write that a crash interrupts has no effect, and the journal can be used again."""
    path = tmp_path / "job.sqlite"
    first = await opened(path)
    await first.intend([(0, "a")], 1.0)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    before = len(kept["job.sqlite-wal"])
    await first.intend([(1, "b")], 2.0)
    torn = (tmp_path / "job.sqlite-wal").read_bytes()
    kept["job.sqlite-wal"] = torn[: before + (len(torn) - before) // 2]
    await first.close()
    there = tmp_path / "crashed"
    there.mkdir()
    for name, content in kept.items():
        (there / name).write_bytes(content)
    second = await opened(there / "job.sqlite")
    assert set(await second.entries([0, 1])) == {0}
    await second.intend([(1, "b")], 3.0)
    assert set(await second.entries([0, 1])) == {0, 1}
    await second.close()


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
async def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    """A foreign or damaged file is a clear error, and the file is not changed."""
    path = tmp_path / "job.sqlite"
    path.write_bytes(content)
    journal = Journal(path, "job")
    with pytest.raises(ValueError, match="job.sqlite"):
        await journal.open()
    await journal.close()
    assert path.read_bytes() == content


async def test_a_journal_belongs_to_one_job(tmp_path: Path) -> None:
    """Another workflow, version or edition is refused, and so is a second job on the same file."""
    path = tmp_path / "job.sqlite"
    first = await opened(path, "workflow a")
    second = Journal(path, "workflow a")
    with pytest.raises(ValueError, match="open"):
        await second.open()
    await second.close()
    await first.close()
    third = Journal(path, "workflow b")
    with pytest.raises(ValueError, match="another job"):
        await third.open()
    await third.close()


async def test_a_write_is_seen_through_although_its_waiter_is_cancelled(tmp_path: Path) -> None:
    """A write that is queued behind another one is not dropped either, and closing waits for both."""
    path = tmp_path / "job.sqlite"
    journal = await opened(path)
    writes = [asyncio.create_task(journal.intend([(number, "a")], 1.0)) for number in range(5)]
    await asyncio.sleep(0)
    for write in writes:
        write.cancel()
    await asyncio.wait(writes)
    assert all(write.cancelled() for write in writes)
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    again = await opened(path)
    assert len(await again.entries(range(5))) == 5
    await again.close()


async def test_a_journal_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A missing folder is a clear error too."""
    journal = Journal(tmp_path / "nowhere" / "job.sqlite", "job")
    with pytest.raises(ValueError, match="cannot be opened"):
        await journal.open()
    await journal.close()


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("", ValueError, "journal must not be empty"),
        (5, TypeError, "journal must be a path, not int"),
        (b"job.sqlite", TypeError, "journal must be a path, not bytes"),
    ],
)
def test_what_is_no_path_is_refused(path: Any, error: type[Exception], says: str) -> None:
    """An empty path is refused too: SQLite would use a temporary file that is deleted on closing."""
    with pytest.raises(error, match=says):
        Journal(path, "job")


async def test_a_name_that_sqlite_keeps_for_itself_is_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intents survive the job whatever the file is called, so nothing is sent twice."""
    monkeypatch.chdir(tmp_path)
    first = await opened(Path(":memory:"))
    await first.intend([(0, "a")], 1.0)
    await first.close()
    second = await opened(Path(":memory:"))
    assert set(await second.entries([0])) == {0}
    await second.close()


async def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    """A journal of a later version is not interpreted."""
    path = tmp_path / "job.sqlite"
    await (await opened(path)).close()
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    db.close()
    journal = Journal(path, "job")
    with pytest.raises(ValueError, match="version 99"):
        await journal.open()
    await journal.close()
