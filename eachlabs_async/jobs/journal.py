"""The journal of a map on disk: which inputs were sent, as which executions, and which outcomes were delivered.

The intent to send is written before anything is sent. A job that was killed at any point can therefore tell, when it is
restarted, whether each input was certainly sent, perhaps sent, or not sent. The store is SQLite: a write torn by a
crash is rolled back when the file is opened again. `map_sender` decides what follows from an entry.

Beside the journal lies a second file, `<journal>-lock`. It is an empty SQLite file with an open write transaction: of
any number of processes or threads exactly one can hold that, and a process that dies releases it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from attrs import frozen

from ..errors import JournalError
from ..transport.tasks import run_to_end

R = TypeVar("R")
State = Literal["sending", "running", "unknown", "refused"]
VERSION: Final = 3
APPLICATION_ID: Final = 0x4541434A
"""Marks a file as a journal, in the header of SQLite: "EACJ"."""
OPEN_TIMEOUT_S: Final = 0.5
"""Seconds to wait for a lock: a run of this process that was abandoned a moment ago is still closing its journal."""

_SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inputs (
    number INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    execution_id TEXT,
    sent_at REAL NOT NULL,
    message TEXT,
    delivered INTEGER NOT NULL DEFAULT 0
);
"""


@frozen
class JournalEntry:
    """The entry of one input.

    The states are `sending`: perhaps sent; `running`: sent, as `execution_id`; `unknown`: perhaps sent, looked up and
    not found, with the `message` of the error; `refused`: not carried out, and kept only because its outcome was
    delivered. `sent_at` is the Unix time of the request. `delivered` is True if the outcome was delivered.
    """

    number: int
    digest: str
    state: State
    execution_id: str | None
    sent_at: float
    message: str | None
    delivered: bool


def why_unusable(error: sqlite3.Error) -> str:
    """Return why SQLite cannot use a file and what to do about it."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"is in use: another job has it open ({text}); wait until that one has ended, or use another path"
    if "full" in text:
        return f"cannot be written: the disk is full ({text}); free some space, then start the job again"
    if "readonly" in text:
        return (
            f"cannot be written: the file or its folder is read-only ({text}); make both writable, or use another path"
        )
    if "unable to open" in text:
        return f"cannot be opened ({text}); its folder must exist and be writable"
    if isinstance(error, sqlite3.OperationalError):
        return f"cannot be read or written ({text}); check the disk, then start the job again"
    return f"is not a journal: {text}"


def _what_else(db: sqlite3.Connection) -> str:
    """Return what a file is if it is no journal of this version, or an empty string; this only reads it."""
    (application,), (version,) = (
        db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
    )
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID and version != VERSION:
        return f"is of version {version}, not {VERSION}: use another path"
    if application != APPLICATION_ID and (application or version or tables):
        return "is the database of another program: use another path"
    return ""


def _checked_path(path: object) -> str:
    """Return the path of the file, made absolute. SQLite would take `""` and `":memory:"` for no file at all."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"journal must be a path, not {type(path).__name__}")
    if path == "":
        raise ValueError("journal must not be empty")
    return str(Path(cast("str | PathLike[str]", path)).absolute())  # Absolute, ":memory:" names a file.


class Journal:
    """A journal in one file, open in one job at a time.

    The file belongs to one job, which `binding` names, and to the account that `account` describes.
    """

    def __init__(self, path: str | PathLike[str], binding: str, account: str) -> None:
        self.path = _checked_path(path)
        self._binding = binding
        self._account = account
        self._lock: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None
        # A single thread: waiting for the disk does not block the loop, and the calls keep their order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="eachlabs-journal")

    async def open(self) -> None:
        """Open or create the file.

        Raises `JournalError` if it belongs to another job or account, is no journal, is in use or cannot be written.
        """
        await self._run(self._open)

    async def close(self) -> None:
        """Close the file."""
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def entries(self, numbers: Sequence[int]) -> dict[int, JournalEntry]:
        """Return the entries of these inputs, by number."""
        return await self._run(lambda: self._entries(numbers))

    async def claimed(self) -> set[str]:
        """Return the ids of all executions that belong to an input."""
        query = "SELECT execution_id FROM inputs WHERE execution_id IS NOT NULL"
        return {row[0] for row in await self._run(lambda: self._connection.execute(query).fetchall())}

    async def in_doubt(self) -> list[tuple[int, str, float]]:
        """Return the number, the digest and the time of each input that was perhaps sent."""
        query = "SELECT number, digest, sent_at FROM inputs WHERE state IN ('sending', 'unknown')"
        return await self._run(lambda: self._connection.execute(query).fetchall())

    async def intend(self, inputs: Sequence[tuple[int, str]], now: float) -> None:
        """Record that these inputs (number and digest) are about to be sent; it is on disk when this returns."""
        rows = [(number, fingerprint, now) for number, fingerprint in inputs]
        await self._write(
            "INSERT OR REPLACE INTO inputs (number, digest, state, sent_at) VALUES (?, ?, 'sending', ?)", rows
        )

    async def answered(self, started: Sequence[tuple[int, str]], refused: Sequence[int] = ()) -> None:
        """Record the execution id of each started input (number and id), and delete the refused ones."""
        rows = [(identity, number) for number, identity in started]

        def write() -> None:
            with self._connection as db:
                db.executemany(
                    # An unknown outcome may have been delivered before the execution was found.
                    "UPDATE inputs SET state = 'running', execution_id = ?, delivered = 0 WHERE number = ?",
                    rows,
                )
                db.executemany("DELETE FROM inputs WHERE number = ?", [(number,) for number in refused])

        await self._run(write)

    async def unknown(self, numbers: Sequence[int], message: str) -> None:
        """Record that these inputs may have been carried out but were not found, with the error's message."""
        rows = [(message, number) for number in numbers]
        await self._write("UPDATE inputs SET state = 'unknown', message = ? WHERE number = ?", rows)

    async def forget(self, numbers: Sequence[int]) -> None:
        """Delete the entries of inputs that were certainly not carried out."""
        await self.answered((), numbers)

    async def delivered(self, inputs: Sequence[tuple[int, str]]) -> None:
        """Record that the outcomes of these inputs (number and digest) are delivered, even if one was never sent."""
        await self._write(
            "INSERT INTO inputs (number, digest, state, sent_at, delivered) VALUES (?, ?, 'refused', 0, 1) "
            "ON CONFLICT (number) DO UPDATE SET delivered = 1",
            list(inputs),
        )

    # ---- in the thread

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    async def _run(self, work: Callable[[], R]) -> R:
        try:
            # The work is finished even if the caller is cancelled, so that the next call finds it done.
            return await run_to_end(work, self._thread)
        except sqlite3.Error as exc:
            problem = why_unusable(exc)
        raise JournalError(f"journal {self.path} {problem}", path=self.path)

    async def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def write() -> None:
            with self._connection:
                self._connection.executemany(statement, rows)

        await self._run(write)

    def _open(self) -> None:
        try:
            for path in (f"{self.path}-lock", self.path):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # It holds what ran, and what it was run with.
            self._lock = sqlite3.connect(
                f"{self.path}-lock", timeout=OPEN_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            # The only lock that is taken at once by one of many: in WAL mode they can get in each other's way.
            self._lock.execute("BEGIN IMMEDIATE")
            self._db = db = sqlite3.connect(self.path, timeout=OPEN_TIMEOUT_S, check_same_thread=False)
            problem = _what_else(db)  # The file of another program is left as it is.
            if not problem:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                with db:
                    db.executescript("BEGIN IMMEDIATE;" + _SCHEMA)
                    problem = self._bind(db)
        except sqlite3.Error as exc:
            problem = why_unusable(exc)
        except OSError as exc:
            problem = f"cannot be opened ({exc.strerror}): it must be a file in a folder that exists and is writable"
        if problem:
            self._close()
            raise JournalError(f"journal {self.path} {problem}", path=self.path)

    def _bind(self, db: sqlite3.Connection) -> str:
        """Bind a new file to this job. Return what is wrong with a file of another job, or an empty string."""
        found = dict(db.execute("SELECT name, value FROM meta").fetchall())
        mine = {"job": self._binding, "account": self._account}
        if not found:
            db.executemany("INSERT INTO meta VALUES (?, ?)", list(mine.items()))
            return ""
        if found.get("job") != self._binding:
            return f"belongs to another job: {found.get('job')}, not {self._binding}"
        if found.get("account") != self._account:
            return (
                f"belongs to another account or host: {found.get('account')}, not {self._account}: open it with the "
                "key and the hosts that it was made with, or use another path"
            )
        return ""

    def _close(self) -> None:
        # The journal first: whoever gets the lock then finds it closed.
        for connection in (self._db, self._lock):
            if connection is not None:
                connection.close()
        self._db = self._lock = None

    def _entries(self, numbers: Sequence[int]) -> dict[int, JournalEntry]:
        marks = ",".join("?" * len(numbers))
        rows = self._connection.execute(
            "SELECT number, digest, state, execution_id, sent_at, message, delivered FROM inputs "
            f"WHERE number IN ({marks})",
            list(numbers),
        ).fetchall()
        return {
            number: JournalEntry(number, fingerprint, state, identity, sent_at, message, bool(delivered))
            for number, fingerprint, state, identity, sent_at, message, delivered in rows
        }
