"""Bring a local archive up to date, with progress."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .context import Context
from .failures import FAILED, OK
from .output.fields import view_of_names

if TYPE_CHECKING:
    from ..archive import SyncStats
    from ..client import EachLabs

_FIGURES = ("rows", "new", "changed", "deleted", "unreadable", "requests", "elapsed_s")


async def sync_archive(
    context: Context,
    client: EachLabs,
    path: Path,
    since: datetime | None,
    until: datetime | None,
    *,
    new_key: bool = False,
) -> int:
    """Sync the archive at `path`, print the figures, and return the exit code: 1 if rows could not be read."""
    from ..archive import Archive

    with context.progress(path.name) as progress:

        def show(stats: SyncStats) -> None:
            progress.update(stats.rows, note=f"{stats.new:,} new, {stats.changed:,} changed")

        try:
            async with Archive(path) as archive:
                stats = await archive.sync(
                    client,
                    since=since,
                    until=until,
                    # The emulator of a command listens at another port each time.
                    new_key=new_key or context.options.emulator,
                    on_progress=show,
                )
        except asyncio.CancelledError:
            progress.stop()
            context.warn(f"stopped; the archive keeps what was read\ngo on with: {context.continued()}")
            raise
    view = view_of_names(_FIGURES, dict.fromkeys(_FIGURES, "number"))
    context.record({name: getattr(stats, name) for name in _FIGURES}, view)
    return FAILED if stats.unreadable else OK
