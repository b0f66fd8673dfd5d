"""Print what a followed listing gives, each row at once, and say how to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from ..codec.strict import to_dict
from ..errors import EachLabsError
from ..pagination.follow import Follow
from ..pagination.pages import UnreadableRow
from ..records import Execution, State
from .context import Context
from .failures import FAILED, OK, UsageError
from .live.board import Board, Counts, Money
from .live.facts import cost_of
from .live.showing import live_view
from .output.fields import View


async def print_followed(
    context: Context,
    follow: Callable[[Callable[[UnreadableRow], object]], Follow[Execution]],
    view: View,
    *,
    limit: int | None,
    resumed: bool,
) -> int:
    """Print the rows of a `Follow` until Ctrl-C, or until there were `limit` of them, and return the exit code.

    `follow` makes it, with the callback for rows that cannot be read.
    """
    if limit is not None and limit < 0:
        raise UsageError(f"--limit must be at least 0, not {limit}")
    rows = context.rows(view, live=True, header=not resumed)
    unreadable: list[str] = []

    def report(row: UnreadableRow) -> None:
        unreadable.append(str(row.id))
        context.warn(f"eachlabs: row {row.id or row.position} cannot be read: {row.error}")

    stream = follow(report)
    checkpoint: str | None = None
    seen = _Seen(stream)
    try:
        # The rows themselves tell what happens, so that plain lines beside them would tell nothing more.
        async with live_view(context, seen.board, refresh=seen.refresh, only_live=True), stream:
            if limit != 0:
                async for row in stream:
                    seen.add(row)
                    rows.write(to_dict(row))
                    if rows.rows == limit:
                        break
            checkpoint = stream.checkpoint
    except asyncio.CancelledError:
        checkpoint = stream.checkpoint
        raise
    except EachLabsError as error:
        checkpoint = error.checkpoint or stream.checkpoint
        raise
    finally:
        rows.end()
        if checkpoint is not None:
            left = None if limit is None else str(limit - rows.rows)
            if left != "0":
                again = context.continued(resume=checkpoint, limit=left)
                context.warn(f"stopped after {rows.rows:,} rows\ncheckpoint: {checkpoint}\ngo on with: {again}")
            else:
                context.note(f"checkpoint: {checkpoint}")
    return FAILED if unreadable else OK


class _Seen:
    """What a live view shows of the executions that were followed so far."""

    def __init__(self, stream: Follow[Execution]) -> None:
        self._stream = stream
        self._rows = 0
        self._failed = 0
        self._spent = Decimal(0)
        self.board = Board("executions, as they come")

    def add(self, row: Execution) -> None:
        """Count an execution."""
        self._rows += 1
        self._failed += row.state is State.FAILED
        self._spent += cost_of(row) or 0

    def refresh(self) -> None:
        """Bring the board up to date."""
        stats = self._stream.stats
        self.board.counted(Counts(self._rows, self._failed, stats.open, word="seen"), Money(self._spent))
        self.board.note = "the service does not answer; it is asked again" if stats.failing else ""
