"""Add up what the executions of an archive cost, and say which part of the time it does not have."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..costs.report import CostReport
from ..costs.tally import CostTally
from ..sqlite.database import Database
from ..transport.arguments import rfc3339
from .archive_rows import ArchiveRows
from .spans import TimeSpan
from .store import Store


async def costs_of(
    database: Database,
    rows: ArchiveRows,
    by: str | Iterable[str],
    *,
    since: datetime | None,
    until: datetime | None,
) -> CostReport:
    """Return the costs of the rows, which are those created from `since` on and before `until`."""
    tally = CostTally(by)
    async with rows:
        async for execution in rows:
            tally.add(execution)
    return tally.report(since=since, until=until, notes=await database.run(lambda: _notes(database, since, until)))


def _notes(database: Database, since: datetime | None, until: datetime | None) -> list[str]:
    store = Store(lambda: database.connection)
    earliest = store.earliest()
    if earliest is None:
        return ["the archive was never synced in full"]
    notes: list[str] = []
    first = earliest if since is None else since
    # Without an end, what is newer than the last sync is not meant.
    missing = [gap for gap in store.gaps(TimeSpan(first, until)) if gap.until is not None and gap.until > gap.since]
    if missing:
        spans = ", ".join(f"{rfc3339(gap.since)} to {rfc3339(gap.until)}" for gap in missing[::-1] if gap.until)
        notes.append(f"the archive does not have the executions created from {spans}: sync it")
    unreadable = database.connection.execute("SELECT count(*) FROM unreadable_rows").fetchone()[0]
    if unreadable:
        notes.append(f"{unreadable:,} rows of the archive could not be read and are not included")
    return notes
