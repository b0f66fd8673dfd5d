"""What is in an archive, read with sqlite3 alone, and what should be in it, from the rows of a service as JSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

TIMES = ("created_at", "started_at", "completed_at")
FIELDS = (
    "id",
    "status",
    "model",
    "requested_model",
    "workflow_id",
    "workflow_execution_id",
    "execution_cost",
    "run_time",
    *TIMES,
    "output",
)


def query(path: Path, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query, by another connection than the archive's."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(statement, values)]


def comparable(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a row, with its times as times: the service writes fewer digits than the archive."""
    return tuple(
        (datetime.fromisoformat(row[name]) if row.get(name) else None) if name in TIMES else row.get(name)
        for name in FIELDS
    )


def archived(path: Path) -> dict[str, tuple[Any, ...]]:
    """Return the executions of an archive that are not marked as deleted, by id."""
    rows = query(path, "SELECT * FROM executions WHERE deleted_at IS NULL")
    found = {row["id"]: comparable(row) for row in rows}
    assert len(found) == len(rows), "an id is in the archive twice"
    return found


def deleted(path: Path) -> set[str]:
    """Return the ids that are marked as deleted."""
    return {row["id"] for row in query(path, "SELECT id FROM executions WHERE deleted_at IS NOT NULL")}


def listed(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return what an archive of these rows of a service has, by id."""
    return {row["id"]: comparable(row) for row in rows}
