"""Tests for a job's journal: what is on disk at which moment, and how damaged and foreign files are handled."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from internals import limit_pages, make_read_only

from eachlabs_async import JournalError
from eachlabs_async.jobs.journal import KIND, Journal, JournalEntry


async def opened(path: Path, binding: str = "job", account: str = "account") -> Journal:
    journal = Journal(path, binding, account)
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
    await first.delivered([(0, "a"), (7, "")])
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
    journal = Journal(path, "job", "account")
    with pytest.raises(ValueError, match="job.sqlite"):
        await journal.open()
    await journal.close()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"]
)
async def test_the_database_of_another_program_is_left_as_it_is(statement: str, tmp_path: Path) -> None:
    """It is refused, and nothing is added to it."""
    path = tmp_path / "theirs.sqlite"
    db = sqlite3.connect(path)
    db.execute(statement)
    db.close()
    content = path.read_bytes()
    journal = Journal(path, "job", "account")
    with pytest.raises(JournalError, match="another program"):
        await journal.open()
    await journal.close()
    assert path.read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_only_its_owner_can_read_a_journal(tmp_path: Path) -> None:
    """It names executions and holds error texts; the files beside it are as private."""
    path = tmp_path / "job.sqlite"
    journal = await opened(path)
    await journal.intend([(0, "a")], 1.0)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"job.sqlite", "job.sqlite-lock", "job.sqlite-wal"} <= set(modes)
    await journal.close()


async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    """The error names the path and what to do."""
    journal = Journal(tmp_path, "job", "account")
    with pytest.raises(JournalError, match="must be a file") as caught:
        await journal.open()
    await journal.close()
    assert str(tmp_path) in str(caught.value)


async def test_a_journal_belongs_to_one_job(tmp_path: Path) -> None:
    """Another workflow, version or edition is refused, and so is a second job on the same file."""
    path = tmp_path / "job.sqlite"
    first = await opened(path, "workflow a")
    second = Journal(path, "workflow a", "account")
    with pytest.raises(ValueError, match="open"):
        await second.open()
    await second.close()
    await first.close()
    third = Journal(path, "workflow b", "account")
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
    journal = Journal(tmp_path / "nowhere" / "job.sqlite", "job", "account")
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
        Journal(path, "job", "account")


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
    db.execute("PRAGMA user_version = 99")
    db.close()
    journal = Journal(path, "job", "account")
    with pytest.raises(ValueError, match="version 99"):
        await journal.open()
    await journal.close()


async def test_a_journal_belongs_to_one_account_and_host(tmp_path: Path) -> None:
    """Another account could not find the executions: each input would end as an error for good."""
    path = tmp_path / "job.sqlite"
    await (await opened(path, account="https://one, key with fingerprint 1")).close()
    journal = Journal(path, "job", "https://one, key with fingerprint 2")
    with pytest.raises(JournalError, match=r"another account or host: .* 1, not .* 2: open it with the key"):
        await journal.open()
    await journal.close()


async def test_of_many_that_open_a_journal_at_once_exactly_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are told that it is in use, in every one of many rounds, also for a file that is new."""
    monkeypatch.setattr("eachlabs_async.jobs.journal.OPEN_TIMEOUT_S", 0.02)
    for number in range(20):
        path = tmp_path / str(number // 2)  # Every other round finds the file there.
        journals = [Journal(path, "job", "account") for _ in range(8)]
        found = await asyncio.gather(*(journal.open() for journal in journals), return_exceptions=True)
        assert [type(one) for one in found].count(type(None)) == 1
        assert all(one is None or "another job has it open" in str(one) for one in found)
        for journal in journals:
            await journal.close()


OPENER = """
import asyncio, sys
from eachlabs_async.jobs import journal

journal.OPEN_TIMEOUT_S = 0.05

async def main(path):
    opened = journal.Journal(path, "job", "account")
    sys.stdin.readline()
    try:
        await opened.open()
    except ValueError as exc:
        print("refused" if "another job has it open" in str(exc) else exc, flush=True)
    else:
        print("open", flush=True)
    sys.stdin.readline()
    await opened.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_of_many_processes_exactly_one_gets_a_journal(tmp_path: Path) -> None:
    """A process that is killed leaves the journal to the next one."""
    for number in range(3):
        openers = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                OPENER,
                str(tmp_path / str(number // 2)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(6)
        ]
        for one in openers:
            assert one.stdin is not None
            one.stdin.write(b"\n")
        said = [await one.stdout.readline() for one in openers if one.stdout is not None]
        for one in openers:
            one.kill()
            await one.communicate()
        assert sorted(said) == [b"open\n", *[b"refused\n"] * 5]


async def test_a_full_disk_says_so(tmp_path: Path) -> None:
    """The error names the file and the remedy; what was written before is still there."""
    path = tmp_path / "job.sqlite"
    journal = await opened(path)
    await journal.intend([(0, "a")], 1.0)
    limit_pages(journal, 4)
    with pytest.raises(JournalError, match=r"job\.sqlite cannot be written: .* full .*free some space") as caught:
        await journal.intend([(number, "a" * 1000) for number in range(1, 100)], 1.0)
    assert caught.value.path == str(path)
    await journal.close()
    again = await opened(path)
    assert set(await again.entries(range(100))) == {0}
    await again.close()


async def test_a_file_that_is_read_only_says_so(tmp_path: Path) -> None:
    """Nothing is sent with a journal that cannot record it."""
    path = tmp_path / "job.sqlite"
    await (await opened(path)).close()
    journal = await opened(path)
    make_read_only(journal)
    with pytest.raises(JournalError, match="read-only .*make both writable"):
        await journal.intend([(0, "a")], 1.0)
    await journal.close()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (sqlite3.OperationalError("database is locked"), "another job has it open"),
        (sqlite3.OperationalError("database or disk is full"), "free some space"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "read-only"),
        (sqlite3.OperationalError("unable to open database file"), "folder must exist"),
        (sqlite3.OperationalError("disk I/O error"), "check the disk"),
        (sqlite3.DatabaseError("file is not a database"), "is not a journal"),
    ],
)
def test_what_sqlite_says_becomes_advice(error: sqlite3.Error, says: str) -> None:
    """Each way in which a file can be unusable has its own advice."""
    assert says in KIND.why_unusable(error)
