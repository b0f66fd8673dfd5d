"""The journal of a map on disk: which inputs were sent, as which executions, and which outcomes were delivered.

The intent to send is written before anything is sent. A job that was killed at any point can therefore tell, when it is
restarted, whether each input was certainly sent, perhaps sent, or not sent. The store is SQLite: a write torn by a
crash is rolled back when the file is opened again. `map_sender` decides what follows from an entry.

Beside the journal lies a second file, `<journal>-lock`: of any number of processes or threads exactly one can have a
journal open (see `sqlite.lock_file`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, Literal

from attrs import frozen

from ..errors import JournalError
from ..sqlite.database import Database, checked_file
from ..sqlite.file_kind import FileKind

State = Literal["sending", "running", "unknown", "refused"]
KIND: Final = FileKind(
    name="journal",
    application_id=0x4541434A,  # "EACJ"
    version=3,
    user="another job",
    retry="start the job again",
)
OPEN_TIMEOUT_S: Final = 0.5
"""Seconds to wait for a lock: a run of this process that was abandoned a moment ago is still closing its journal."""

_SCHEMA: Final = """
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


def _failed(text: str, path: str) -> JournalError:
    return JournalError(text, path=path)


class Journal:
    """A journal in one file, open in one job at a time.

    The file belongs to one job, which `binding` names, and to the account that `account` describes.
    """

    def __init__(self, path: str | PathLike[str], binding: str, account: str) -> None:
        self.path = checked_file("journal", path)
        self._binding = binding
        self._account = account
        self._database = Database(self.path, KIND, _failed)

    async def open(self) -> None:
        """Open or create the file.

        Raises `JournalError` if it belongs to another job or account, is no journal, is in use or cannot be written.
        """
        database = self._database
        await database.run(lambda: database.open_exclusively(_SCHEMA, OPEN_TIMEOUT_S, self._bind))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()

    async def entries(self, numbers: Sequence[int]) -> dict[int, JournalEntry]:
        """Return the entries of these inputs, by number."""
        return await self._database.run(lambda: self._entries(numbers))

    async def claimed(self) -> set[str]:
        """Return the ids of all executions that belong to an input."""
        query = "SELECT execution_id FROM inputs WHERE execution_id IS NOT NULL"
        return {row[0] for row in await self._database.run(lambda: self._connection.execute(query).fetchall())}

    async def in_doubt(self) -> list[tuple[int, str, float]]:
        """Return the number, the digest and the time of each input that was perhaps sent."""
        query = "SELECT number, digest, sent_at FROM inputs WHERE state IN ('sending', 'unknown')"
        return await self._database.run(lambda: self._connection.execute(query).fetchall())

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

        await self._database.run(write)

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
        return self._database.connection

    async def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def write() -> None:
            with self._connection:
                self._connection.executemany(statement, rows)

        await self._database.run(write)

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
