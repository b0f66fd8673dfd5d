"""Wait for executions that run already: print each as it ends, with a live view, and say what still runs at Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from ..codec.strict import to_dict
from ..errors import EachLabsError
from ..transport.tasks import gather_or_cancel
from .context import Context, Rows
from .continuing import continued
from .failures import FAILED, OK, failure_of
from .fetch import is_one_id
from .ids import read_ids
from .live.board import Board
from .live.facts import reason_of
from .live.live_view import LiveView
from .live.showing import live_view
from .output.fields import View

__all__ = ["FOREVER_S", "wait_for_each"]

FOREVER_S: Final = 10 * 365 * 86_400.0
"""The time-out of a wait without one, in seconds."""
_AT_ONCE: Final = 64
_NAMED: Final = 5

Wait = Callable[[str, Callable[[Any], object]], Awaitable[Any]]
"""Waits for the execution of an id, and calls back with its record each time that it has changed."""


async def wait_for_each(context: Context, given: Sequence[str], wait: Wait, view: View, *, title: str) -> int:
    """Wait for the executions of ids, print their records as they end, and return the exit code.

    `given` are ids, `-` or `@FILE`. Up to 64 are watched at once. The table of `view` may have a column `result`: the
    first URL of the output, or why there is none.
    """
    context.view(view)  # so that a wrong field is refused before anything is waited for
    single = is_one_id(given) and context.format == "table"
    plain_ids = [name for name in given if name != "-" and not name.startswith("@")]
    total = len(dict.fromkeys(plain_ids)) if len(plain_ids) == len(given) else None
    shown = live_view(context, Board(title, total=total))
    rows = None if single else context.rows(view, live=True)
    waits = _Waits(context, wait, shown, rows, view)
    try:
        async with shown:
            ids, one_at_a_time = _unique(read_ids(given)), asyncio.Lock()
            workers = _AT_ONCE if total is None else min(total, _AT_ONCE)
            await gather_or_cancel(waits.work(ids, one_at_a_time) for _ in range(workers))
    except asyncio.CancelledError:
        _say_what_still_runs(context, shown.board.open_keys(), waits.ended)
        raise
    finally:
        if rows is not None:
            rows.end()
    for record in waits.kept:
        context.record(to_dict(record), view)
    if not single:
        context.note(f"{title}: {shown.summary()}")
    return waits.code()


class _Waits:
    """The waits of one command, and how they ended."""

    def __init__(self, context: Context, wait: Wait, shown: LiveView, rows: Rows | None, view: View) -> None:
        self._context = context
        self._wait = wait
        self._shown = shown
        self._rows = rows
        self.kept: list[Any] = []
        self.ended: set[str] = set()
        self._succeeded = 0
        self._codes: set[int] = set()

    async def work(self, ids: AsyncIterator[str], one_at_a_time: asyncio.Lock) -> None:
        """Take one id after another, and wait for it."""
        while True:
            async with one_at_a_time:
                name = await anext(ids, None)
            if name is None:
                return
            await self._wait_for(name)

    async def _wait_for(self, name: str) -> None:
        self._shown.started(name)
        try:
            record = await self._wait(name, lambda now: self._shown.updated(name, now))
        except EachLabsError as error:
            record = getattr(error, "record", None)
            failure = failure_of(error)
            self._codes.add(failure.code)
            self._shown.ended(name, record, failed=True, note=reason_of(error))
            if record is None or self._rows is None:
                # The errors of a wait name the execution themselves, those of a call only in the URL.
                about = "" if getattr(error, "execution_id", None) else f"{name}: "
                self._shown.say(f"eachlabs: {about}{failure.text}")
            result = reason_of(error)
        else:
            self._succeeded += 1
            result = next(iter(record.urls), "")
            self._shown.ended(name, record)
        self.ended.add(name)
        if record is None:
            return
        if self._rows is None:
            self.kept.append(record)
        else:
            self._rows.write({**to_dict(record), "result": result})

    def code(self) -> int:
        """Return the exit code: 1 if some failed, that of the error if all failed for one reason."""
        if not self._codes:
            return OK
        return self._codes.pop() if not self._succeeded and len(self._codes) == 1 else FAILED


async def _unique(ids: AsyncIterator[str]) -> AsyncIterator[str]:
    seen: set[str] = set()
    async for name in ids:
        if name not in seen:
            seen.add(name)
            yield name


def _say_what_still_runs(context: Context, running: Sequence[str], ended: set[str]) -> None:
    if running:
        more = f" and {len(running) - _NAMED:,} more" if len(running) > _NAMED else ""
        context.warn(f"still running: {', '.join(running[:_NAMED])}{more}")
    left = [argument for argument in context.arguments if argument not in ended]
    context.warn(f"go on with: {continued(left, context.replaced)}")
