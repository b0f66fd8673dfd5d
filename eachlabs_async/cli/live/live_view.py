"""Show a board: as a live view on a terminal, redrawn in place, or as plain lines on anything else."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live

from ...transport.tasks import cancel_and_wait
from ..screen_text import screen_text
from .board import Board
from .facts import Facts, facts_of
from .layout import board_lines, counts_text, item_text, money_text

if TYPE_CHECKING:
    from ...records import Prediction, WorkflowExecution

__all__ = ["LiveView", "Mode", "is_live_terminal"]

Mode = Literal["live", "plain", "hidden"]

_EVERY_S: Final = 0.125
_PLAIN_EVERY_S: Final = 5.0
_MOST_PLAIN: Final = 20
"""Up to so many executions, each change is a line; more of them are only counted."""


def is_live_terminal(stream: TextIO) -> bool:
    """Whether lines on a stream can be rewritten in place."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


class LiveView:
    """The view of one command, from entering the block to leaving it. On a terminal it vanishes at its end.

    `console` is where a live view is drawn; rows that are printed to the same console appear above it. `stream` gets
    the plain lines: the counts every few seconds, and with `lists_each` what becomes of each execution, unless there
    are too many. `refresh` is called before each drawing, to bring the board up to date.
    """

    def __init__(
        self,
        board: Board,
        console: Console,
        stream: TextIO,
        mode: Mode,
        *,
        refresh: Callable[[], object] | None = None,
        lists_each: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board = board
        self._console = console
        self._stream = stream
        self._mode: Mode = mode
        self._refresh = refresh
        self._lists_each = lists_each
        self._clock = clock
        self._live: Live | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._said = ""
        board.began_s = clock()

    async def __aenter__(self) -> Self:
        if self._mode == "live":
            # Drawn by a task and not by a thread of rich's, so that the board never changes while it is drawn.
            self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        if self._mode != "hidden":
            self._ticker = asyncio.create_task(self._tick(_EVERY_S if self._live is not None else _PLAIN_EVERY_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._ticker is not None:
                await cancel_and_wait([self._ticker])
        finally:
            self.stop()

    def stop(self) -> None:
        """Take the view from the screen, for what is printed after it."""
        live, self._live = self._live, None
        self._mode = "hidden"
        if live is not None:
            live.stop()

    # ---- events

    def started(self, key: str) -> None:
        """Show an execution from now on."""
        self.board.started(key, self._clock())

    def updated(self, key: str, record: WorkflowExecution | Prediction) -> None:
        """Show what is known of an execution."""
        now_s = self._clock()
        before, item = self.board.updated(key, facts_of(record), now_s, datetime.now(UTC))
        if self._tells_each() and (before is None or _is_news(before.facts, item.facts)):
            self._say(item_text(item, now_s))

    def ended(
        self,
        key: str,
        record: WorkflowExecution | Prediction | None,
        *,
        failed: bool = False,
        note: str = "",
        elapsed_s: float = 0.0,
    ) -> None:
        """Count an execution, which is not shown any more; the options are those of `Board.ended`."""
        now_s = self._clock()
        is_told = self._tells_each()
        facts = None if record is None else facts_of(record)
        item = self.board.ended(key, facts, now_s, failed=failed, note=note, elapsed_s=elapsed_s)
        if is_told:
            self._say(item_text(item, now_s))

    def say(self, text: str) -> None:
        """Print a line above the view, as plain text."""
        if self._live is not None:
            self._console.print(screen_text(text), soft_wrap=True, markup=False, highlight=False, emoji=False)
        else:
            self._say(screen_text(text))

    def _tells_each(self) -> bool:
        return self._mode == "plain" and self._lists_each and len(self.board.open_keys()) <= _MOST_PLAIN

    # ---- drawing

    def summary(self) -> str:
        """Return the counts and what was spent, as a line of plain text."""
        if self._refresh is not None:
            self._refresh()
        view = self.board.snapshot(self._clock())
        return ", ".join(part for part in (counts_text(view.counts), money_text(view.money)) if part)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the board for the size that the terminal has now."""
        if self._refresh is not None:
            self._refresh()
        unicode = console.encoding.startswith("utf") and not options.legacy_windows
        # The last line stays free, so that nothing scrolls.
        height = max(1, console.size.height - 1)
        yield from board_lines(self.board.snapshot(self._clock()), options.max_width, height, unicode=unicode)

    async def _tick(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            if self._live is not None:
                self._live.refresh()
            elif self._mode == "plain":
                summary = self.summary()
                if summary != self._said:
                    self._said = summary
                    self._say(f"{screen_text(self.board.title)}: {summary}")

    def _say(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _is_news(before: Facts, after: Facts) -> bool:
    def told(facts: Facts) -> tuple[object, ...]:
        return (facts.status, facts.steps_done, facts.current_step and facts.current_step.name)

    return told(before) != told(after)
