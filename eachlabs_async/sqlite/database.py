"""A SQLite file that is used in one thread of its own, so that waiting for the disk does not block the event loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Final, TypeVar, cast

from ..transport.tasks import run_to_end
from .file_kind import FileKind
from .lock_file import LockFile, create_private

R = TypeVar("R")

MEMORY: Final = ":memory:"
"""The path of a database that is no file."""


def checked_file(name: str, path: object) -> str:
    """Return the path of a file, made absolute. SQLite would take `""` and `":memory:"` for no file at all."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    if path == "":
        raise ValueError(f"{name} must not be empty")
    return str(Path(cast("str | PathLike[str]", path)).absolute())  # Absolute, ":memory:" names a file.


class Database:
    """A file of one kind. `failed` makes an error of a text and the path. `closed` is whether it was closed for good.

    Beside the file lies a second one, `<path>-lock`; see `LockFile`.
    """

    def __init__(self, path: str, kind: FileKind, failed: Callable[[str, str], Exception]) -> None:
        self.path = path
        self._kind = kind
        self._failed = failed
        self.closed = False
        self._db: sqlite3.Connection | None = None
        self.lock = LockFile(f"{path}-lock")
        # A single thread: the calls keep their order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"eachlabs-{kind.name}")

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection; only for work in the thread."""
        if self._db is None:
            raise RuntimeError(f"the {self._kind.name} is closed")
        return self._db

    async def run(self, work: Callable[[], R]) -> R:
        """Run blocking work in the thread. It is finished even if the caller is cancelled.

        Raises the error that `failed` makes, if SQLite cannot use the file.
        """
        if self.closed:
            raise RuntimeError(f"the {self._kind.name} is closed")
        try:
            return await run_to_end(work, self._thread)
        except sqlite3.Error as exc:
            problem = self._kind.why_unusable(exc)
        raise self.failure(problem)

    def failure(self, problem: str) -> Exception:
        """Return the error about a problem with the file."""
        return self._failed(f"{self._kind.name} {self.path} {problem}", self.path)

    async def close(self) -> None:
        """Close the file and end the thread."""
        try:
            await self.run(self.close_now)
        finally:
            self.closed = True
            self._thread.shutdown(wait=False)

    # ---- in the thread

    def open_exclusively(self, schema: str, timeout_s: float, bind: Callable[[sqlite3.Connection], str]) -> None:
        """Open or create the file for this process alone, until it is closed. Every commit is on disk when it returns.

        `schema` are the statements that make the tables if they are not there. `bind` returns what is wrong with the
        content, or an empty string. Raises the error that `failed` makes.
        """

        def opened() -> str:
            self.lock.acquire(timeout_s)
            db = self._connect(timeout_s)
            if problem := self._kind.what_else(db):
                return problem
            self._set(db, "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL")
            return self._create(db, schema, bind)

        self._opening(opened)

    def open_shared(self, schema: str, timeout_s: float) -> None:
        """Open or create the file, which others can read meanwhile, and write between this one's transactions.

        A commit survives the end of the process, and of the machine perhaps not: the file then is as it was some
        commits earlier. Raises the error that `failed` makes.
        """

        def opened() -> str:
            db = self._connect(timeout_s)
            problem = self._kind.what_else(db)
            if not problem and self._kind.is_new(db):
                problem = self._create_first(db, schema, timeout_s)
            if not problem:
                self._set(db, "synchronous = NORMAL", "cache_size = -32768", "wal_autocheckpoint = 8192")
            return problem

        self._opening(opened)

    def _opening(self, opened: Callable[[], str]) -> None:
        try:
            problem = opened()
        except sqlite3.Error as exc:
            problem = self._kind.why_unusable(exc)
        except OSError as exc:
            problem = f"cannot be opened ({exc.strerror}): it must be a file in a folder that exists and is writable"
        if problem:
            self.close_now()
            raise self.failure(problem)

    def _connect(self, timeout_s: float) -> sqlite3.Connection:
        if self.path != MEMORY:
            create_private(self.path)
        self._db = sqlite3.connect(self.path, timeout=timeout_s, check_same_thread=False)
        return self._db

    def _create_first(self, db: sqlite3.Connection, schema: str, timeout_s: float) -> str:
        """Create the tables, unless another process did meanwhile."""
        if self.path == MEMORY:
            return self._create(db, schema, _nothing_wrong)
        self.lock.acquire(timeout_s)  # Switching to WAL is no transaction, so those that try at once would fail.
        try:
            problem = self._kind.what_else(db)
            if problem or not self._kind.is_new(db):
                return problem
            self._set(db, "journal_mode = WAL")
            return self._create(db, schema, _nothing_wrong)
        finally:
            self.lock.release()

    def _create(self, db: sqlite3.Connection, schema: str, bind: Callable[[sqlite3.Connection], str]) -> str:
        with db:
            db.executescript("BEGIN IMMEDIATE;" + self._kind.mark() + schema)
            return bind(db)

    @staticmethod
    def _set(db: sqlite3.Connection, *pragmas: str) -> None:
        for pragma in pragmas:
            db.execute(f"PRAGMA {pragma}")

    def close_now(self) -> None:
        """Close the file, and release the lock if it is held."""
        # The file first: whoever gets the lock then finds it closed.
        db, self._db = self._db, None
        if db is not None:
            db.close()
        self.lock.release()


def _nothing_wrong(db: sqlite3.Connection) -> str:
    return ""
