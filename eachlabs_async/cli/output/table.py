"""Print rows as a table that fits the screen. The first rows decide about the widths, the others come as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from ...records import State, read_state
from ..screen_text import screen_text
from .cells import bar, cell, time_in
from .fields import TableColumn, View
from .widths import GAP, Fitted, fit

if TYPE_CHECKING:
    from rich.console import Console

_FIRST_ROWS: Final = 100
"""Rows that are waited for, because their longest cells decide about the widths."""
_USUAL: Final = {"status": 9, "text": 20, "json": 30, "cost": 8, "number": 8, "integer": 6}
"""The widths of usual cells, for a table whose first row has to tell all widths."""
_BAR: Final = 20
_RIGHT: Final = frozenset({"integer", "number", "cost"})
_COLORS: Final = {
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
    State.RUNNING: "cyan",
    State.PENDING: "cyan",
    State.WAITING: "magenta",
}


class Table:
    """A table on a screen. With `live` no row is waited for: the first row and usual cells tell the widths.

    `on_left_out` is called at the end with the fields for which there was no room.
    """

    def __init__(
        self,
        console: Console,
        view: View,
        *,
        live: bool = False,
        on_left_out: Callable[[Sequence[str]], object] | None = None,
    ) -> None:
        self._console = console
        self._view = view
        self._first_rows = 1 if live else _FIRST_ROWS
        self._usual = _USUAL if live else {}
        self._on_left_out = on_left_out
        self._left_out: list[str] = []
        self._waiting: list[list[str]] = []
        self._fitted: list[Fitted] | None = None
        self.rows = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Print a row, or keep it until the widths are known."""
        self.rows += 1
        cells = [
            str(row.get(column.name) or 0.0) if column.is_bar else cell(row.get(column.name), column.content)
            for column in self._view.columns
        ]
        if self._fitted is not None:
            self._print(cells)
            return
        self._waiting.append(cells)
        if len(self._waiting) >= self._first_rows:
            self._begin()

    def end(self) -> None:
        """Print what was kept."""
        if self._fitted is None and self._waiting:
            self._begin(whole=True)
        left_out, self._left_out = self._left_out, []
        if left_out and self._on_left_out is not None:
            self._on_left_out(left_out)

    def _begin(self, *, whole: bool = False) -> None:
        """Print the head and the rows so far. If they are the `whole` table, columns without any value are dropped."""
        from rich.cells import cell_len

        drop = whole and not self._view.chosen
        kept = [
            (at, column)
            for at, column in enumerate(self._view.columns)
            if not drop or column.is_id or any(cells[at] for cells in self._waiting)
        ]
        columns = [column for _, column in kept]
        natural = [
            _BAR
            if column.is_bar
            else max(
                cell_len(column.title),
                self._usual.get("status" if column.name == "status" else column.content, 0),
                *(cell_len(cells[at]) for cells in self._waiting),
            )
            for at, column in kept
        ]
        self._fitted = fit(columns, natural, self._console.width, keep_all=self._view.chosen)
        shown = {one.column.name for one in self._fitted}
        self._left_out = [
            column.name if column.name in self._view.names else column.title
            for column in columns
            if column.name not in shown and not column.is_bar
        ]
        *others, last = self._fitted
        if self._first_rows == 1 and last.column.content not in _RIGHT:
            # Nobody knows how long the texts of the next rows are: the last column gets what is left.
            spare = self._console.width - sum(one.width + GAP for one in others) - last.width
            self._fitted = [*others, evolve(last, width=last.width + max(0, spare))]
        self._line([(one, one.column.title) for one in self._fitted], head=True)
        waiting, self._waiting = self._waiting, []
        for cells in waiting:
            self._print(cells)

    def _print(self, cells: Sequence[str]) -> None:
        by_name = dict(zip((column.name for column in self._view.columns), cells, strict=True))
        self._line([(one, by_name[one.column.name]) for one in self._fitted or ()])

    def _line(self, cells: Sequence[tuple[Fitted, str]], *, head: bool = False) -> None:
        from rich.cells import cell_len, set_cell_size
        from rich.text import Text

        line = Text(end="")
        for at, (fitted, text) in enumerate(cells):
            column, width = fitted.column, fitted.width
            if column.is_bar and not head:
                text = bar(float(text), width)
            if column.content == "time" and not head:
                text = time_in(text, width)
            if cell_len(text) > width:
                text = set_cell_size(text, width - 1).rstrip() + "…"
            padding = " " * (width - cell_len(text))
            if at:
                line.append(" " * GAP)
            if column.content in _RIGHT:
                text = padding + text
            elif at < len(cells) - 1:
                text += padding
            line.append(text, style="bold" if head else style_of(column, text))
        if self._console.is_terminal:
            self._console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)
        else:  # Rendering takes most of the time, and there is nothing to render without a style.
            self._console.file.write(f"{line.plain}\n")
            self._console.file.flush()


def style_of(column: TableColumn, text: str) -> str:
    """Return the style of a cell: the color of its state, or none."""
    if column.name not in ("status", "state"):
        return ""
    word = text.strip()
    state = State(word) if word in {*State} else read_state(word)
    return _COLORS.get(state, "")


def print_record(console: Console, values: Mapping[str, Any], view: View) -> None:
    """Print one record with a field in each line; what is nested is indented below its field."""
    from rich.cells import cell_len
    from rich.text import Text

    shown = {name: values[name] for name in view.names if name in values and (view.chosen or values[name] is not None)}
    indent = max((cell_len(name) for name in shown), default=0) + GAP
    for name, value in shown.items():
        column = view.column(name)
        lines = value_lines(value, column, max(20, console.width - indent))
        for at, line in enumerate(lines):
            text = Text(end="")
            text.append((screen_text(name) if at == 0 else "").ljust(indent), style="bold")
            text.append(line, style=style_of(column, line))
            console.print(text, soft_wrap=True, markup=False, highlight=False, emoji=False)


def value_lines(value: Any, column: TableColumn, width: int) -> list[str]:
    """Return the lines of one value, none wider than `width`."""
    import json

    from rich.text import Text

    from ..screen_text import screen_block

    if isinstance(value, dict | list):
        text = screen_block(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    elif isinstance(value, str) and column.content != "time":
        text = screen_block(value)
    else:
        text = cell(value, column.content)
    from rich.console import Console

    lines: list[str] = []
    console = Console(width=width, no_color=True)
    for line in text.split("\n"):
        lines += [part.plain.rstrip() for part in Text(line).wrap(console, width, overflow="fold")] or [""]
    return lines
