"""What a sync of a workflow's executions reads from the tables of an archive and writes to them. All methods block.

The listing of a workflow has no span of time. Once it was walked in full, a later walk *stops* at rows that are known.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from .schema import UNFINISHED
from .values import now_text, time_of


@frozen
class WorkflowWalk:
    """A walk under way. `checkpoint` is None if no row was written yet. `stops` is whether it ends at known rows."""

    number: int
    workflow_id: str
    stops: bool
    checkpoint: str | None = None


class WorkflowStore:
    """The tables of an archive, as a sync of a workflow uses them."""

    def __init__(self, connection: Callable[[], sqlite3.Connection]) -> None:
        self._connection = connection

    def walks(self, workflow_id: str) -> list[WorkflowWalk]:
        """Return the walks that an earlier sync did not end."""
        rows = self._connection().execute(
            "SELECT number, stops, checkpoint FROM walks WHERE workflow_id = ? ORDER BY number", (workflow_id,)
        )
        return [WorkflowWalk(number, workflow_id, bool(stops), checkpoint) for number, stops, checkpoint in rows]

    def begin(self, workflow_id: str, *, verify: bool) -> WorkflowWalk:
        """Begin a walk, of the whole listing if it was never walked in full, or to verify."""
        with self._connection() as db:
            found = db.execute("SELECT 1 FROM complete_workflows WHERE workflow_id = ?", (workflow_id,)).fetchone()
            stops = found is not None and not verify
            number = db.execute(
                "INSERT INTO walks (workflow_id, stops, keeps) VALUES (?, ?, ?)", (workflow_id, stops, stops)
            ).lastrowid
        assert number is not None
        return WorkflowWalk(number, workflow_id, stops)

    def settled(self, walk: WorkflowWalk, overlap: timedelta) -> datetime | None:
        """Return the time from which on rows may be new although older ones are known, None if there are no rows."""
        newest = self._connection().execute(
            "SELECT max(created_at) FROM workflow_executions WHERE listed_as = ? AND seen_by <> ?",
            (walk.workflow_id, walk.number),
        )
        time = time_of(newest.fetchone()[0])
        return None if time is None else time - overlap

    def known(self, ids: Sequence[str]) -> dict[str, bool]:
        """Return which of these executions are in the archive, and whether they had finished."""
        marks = ", ".join("?" * len(ids))
        rows = self._connection().execute(
            f"SELECT execution_id, NOT ({UNFINISHED}) FROM workflow_executions "
            f"WHERE deleted_at IS NULL AND execution_id IN ({marks})",
            list(ids),
        )
        return {identity: bool(finished) for identity, finished in rows}

    def end(self, walk: WorkflowWalk) -> int:
        """End a walk, and return how many rows it marked as deleted: those that a walk of all rows did not see."""
        mine = (walk.workflow_id,)
        deleted = 0
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            (keeps,) = db.execute("SELECT keeps FROM walks WHERE number = ?", (walk.number,)).fetchone()
            if not keeps:
                deleted = db.execute(
                    "UPDATE workflow_executions SET deleted_at = ? "
                    "WHERE deleted_at IS NULL AND listed_as = ? AND seen_by <> ?",
                    (now_text(), *mine, walk.number),
                ).rowcount
            if not walk.stops:
                db.execute("INSERT OR IGNORE INTO complete_workflows VALUES (?)", mine)
            db.execute("DELETE FROM walks WHERE number = ?", (walk.number,))
        return deleted

    def unfinished(self, workflow_id: str, since_walk: int) -> dict[str, datetime | None]:
        """Return the unfinished executions that no walk after `since_walk` saw, with their creation times."""
        rows = self._connection().execute(
            f"SELECT execution_id, created_at FROM workflow_executions "
            f"WHERE {UNFINISHED} AND listed_as = ? AND seen_by <= ?",
            (workflow_id, since_walk),
        )
        return {identity: time_of(created_at) for identity, created_at in rows}

    def mark_deleted(self, ids: Sequence[str]) -> None:
        """Mark executions as deleted."""
        now = now_text()
        with self._connection() as db:
            db.executemany(
                "UPDATE workflow_executions SET deleted_at = ? WHERE execution_id = ?", [(now, each) for each in ids]
            )
