"""Where a live view of a command is shown: on the terminal that has the rows, on standard error, or as plain lines."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from ..context import Context
from .board import Board
from .live_view import LiveView, Mode, is_live_terminal

__all__ = ["live_view"]


def live_view(
    context: Context,
    board: Board,
    *,
    refresh: Callable[[], object] | None = None,
    lists_each: bool = True,
    only_live: bool = False,
) -> LiveView:
    """Return the view of a board that fits the output of a command. With `only_live` there are no plain lines.

    The other options are those of `LiveView`.
    """
    mode: Mode = "hidden" if only_live else "plain"
    console = context.console
    if context.options.quiet:
        mode = "hidden"
    elif context.format == "table" and is_live_terminal(sys.stdout):
        mode = "live"  # The same console prints the rows, so that they appear above the view.
    elif is_live_terminal(sys.stderr) and not sys.stdout.isatty():
        mode = "live"
        board.shows_recent = True
        console = Console(file=sys.stderr, highlight=False)
    return LiveView(board, console, sys.stderr, mode, refresh=refresh, lists_each=lists_each)
