"""A lock for any number of processes and threads: an empty SQLite file with an open write transaction.

Exactly one can hold that, and a process that dies releases it. The lock of the data file itself would not do: in WAL
mode, those that open it at once can get in each other's way, and a lock would have to be held over many transactions.
"""

from __future__ import annotations

import os
import sqlite3


def create_private(path: str) -> None:
    """Create a file that only its owner can read, unless it exists. SQLite gives the files beside it the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


class LockFile:
    """The lock at a path. All methods block."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None

    def acquire(self, timeout_s: float) -> None:
        """Take the lock. Raises `sqlite3.OperationalError` if another one still holds it after `timeout_s` seconds."""
        create_private(self.path)
        db = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            db.close()
            raise
        self._db = db

    def release(self) -> None:
        """Give the lock back, if it is held."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
