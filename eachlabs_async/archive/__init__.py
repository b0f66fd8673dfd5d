"""A local copy of an account's executions in SQLite, which later syncs keep up to date.

from eachlabs_async.archive import Archive

async with Archive("executions.db") as archive:
    await archive.sync(client)
    async for execution in archive.rows(status="failed"):
        print(execution.id, execution.model)
"""

from .archive import Archive as Archive
from .archive_error import ArchiveError as ArchiveError
from .archive_rows import ArchiveRows as ArchiveRows
from .sync_stats import SyncStats as SyncStats

__all__ = ["Archive", "ArchiveError", "ArchiveRows", "SyncStats"]
