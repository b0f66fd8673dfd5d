"""Report the pages that a walk accepts to the hooks of its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..hooks import Hooks, PageTaken
from ..transport.arguments import checked_callback
from .pages import WalkStats


def page_reporter(
    hooks: Hooks | None, endpoint: str, on_progress: Callable[[WalkStats], object] | None
) -> Callable[[WalkStats], object] | None:
    """Return a function to call after each page: it reports the page and calls `on_progress`.

    Raises `TypeError` if `on_progress` is not callable.
    """
    on_progress = checked_callback("on_progress", on_progress)
    if hooks is None:
        return on_progress

    before = 0

    def report(stats: WalkStats) -> Any:
        nonlocal before
        new_rows, before = stats.rows - before, stats.rows
        hooks.emit(
            PageTaken(
                endpoint=endpoint,
                new_rows=new_rows,
                requests=stats.requests,
                rows=stats.rows,
                total=stats.total,
                duplicates=stats.duplicates,
                drift_seen=stats.drift_seen,
            )
        )
        if on_progress is not None:
            on_progress(stats)

    return report
