"""Print what a followed listing gives, each row at once, and say how to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..codec.strict import to_dict
from ..errors import EachLabsError
from ..pagination.follow import Follow
from ..pagination.pages import UnreadableRow
from ..records import Execution
from .context import Context
from .failures import FAILED, OK, UsageError
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
    try:
        async with stream:
            if limit != 0:
                async for row in stream:
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
