"""Print the rows of a listing as they come, with progress, and say how to go on if the walk stops early."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Literal

from ..errors import EachLabsError
from ..pagination.pager import Pager
from ..pagination.pages import UnreadableRow, WalkOptions, WalkStats
from .context import SCREEN_ROWS, Context
from .failures import FAILED, OK, UsageError
from .output.fields import View

Limit = int | Literal["all"] | None


async def print_listing(
    context: Context,
    make_pager: Callable[[WalkOptions], Pager[Any]],
    view: View,
    *,
    title: str,
    limit: Limit = None,
    resume: str | None = None,
    look_ahead: int = 4,
) -> int:
    """Print a listing and return the exit code: 1 if a row could not be read.

    `limit` is how many rows are printed. None is all of them, but a terminal that shows a table gets `SCREEN_ROWS`.
    """
    return await Walk(context, view, title, limit, resume, look_ahead).run(make_pager)


class Walk:
    """One listing on its way to the output."""

    def __init__(
        self, context: Context, view: View, title: str, limit: Limit, resume: str | None, look_ahead: int
    ) -> None:
        if isinstance(limit, int) and limit < 0:
            raise UsageError(f"--limit must be at least 0, or all, not {limit}")
        self._context = context
        self._view = view
        self._title = title
        self._resume = resume
        self._asked = limit if isinstance(limit, int) else None
        self._on_screen = limit is None and context.format == "table" and sys.stdout.isatty()
        self._max_rows = SCREEN_ROWS if self._on_screen else self._asked
        self._look_ahead = 0 if self._max_rows is not None and self._max_rows <= 100 else look_ahead
        self._unreadable = 0

    async def run(self, make_pager: Callable[[WalkOptions], Pager[Any]]) -> int:
        """Print the rows."""
        from ..codec.strict import to_dict

        context = self._context
        rows = context.rows(self._view, header=self._resume is None)
        with context.progress(self._title, prints_rows=True) as progress:

            def show(stats: WalkStats) -> None:
                total = stats.total if self._max_rows is None else min(self._max_rows, stats.total or self._max_rows)
                progress.update(stats.rows, total, total_is_exact=stats.total_is_exact or self._max_rows == total)

            pager = make_pager(
                {
                    # One row more tells whether there are more than the screen gets.
                    "max_rows": self._max_rows if not self._on_screen else SCREEN_ROWS + 1,
                    "look_ahead": self._look_ahead,
                    "resume": self._resume,
                    "on_progress": show,
                    "on_unreadable": lambda row: self._report(row, progress.say),
                }
            )
            checkpoint, more = None, False
            try:
                async with pager:
                    async for row in pager:
                        if self._on_screen and rows.rows == SCREEN_ROWS:
                            more = True
                            break
                        rows.write(to_dict(row))
                        checkpoint = None
            except asyncio.CancelledError:
                checkpoint = pager.checkpoint
                raise
            except EachLabsError as error:
                checkpoint = error.checkpoint if rows.rows else None  # Nothing was begun that could go on.
                raise
            finally:
                rows.end()
                if checkpoint is not None:
                    progress.stop()
                    self._say_how_to_go_on(checkpoint, rows.rows + self._unreadable)
        self._say_what_is_missing(rows, more=more)
        return FAILED if self._unreadable else OK

    def _report(self, row: UnreadableRow, say: Callable[[str], None]) -> None:
        self._unreadable += 1
        say(f"eachlabs: row {row.id or row.position} cannot be read: {row.error}")

    def _say_how_to_go_on(self, checkpoint: str, done: int) -> None:
        left = None if self._asked is None else str(max(0, self._asked - done))
        replaced = {"resume": checkpoint, **({} if left is None else {"limit": left})}
        self._context.warn(
            f"stopped after {done:,} rows\ncheckpoint: {checkpoint}\ngo on with: {self._context.continued(**replaced)}"
        )

    def _say_what_is_missing(self, rows: Any, *, more: bool) -> None:
        if more:
            self._context.note(f"the first {SCREEN_ROWS} rows; --limit 500 shows more, --limit all shows all")
        if not rows.rows and self._context.format == "table":
            self._context.note("no rows")
