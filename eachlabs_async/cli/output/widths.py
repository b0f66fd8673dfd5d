"""Share the width of a screen among the columns of a table, as a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .fields import TableColumn

GAP: Final = 2
"""Spaces between two columns."""
_SHORTEST_TEXT: Final = 10
_SHORTEST_BAR: Final = 6
_SHORTEST: Final = 3
_TIMES: Final = (11, 16, 19)


@frozen
class Fitted:
    """A column that is shown, and its width."""

    column: TableColumn
    width: int


def fit(columns: Sequence[TableColumn], natural: Sequence[int], width: int, *, keep_all: bool) -> list[Fitted]:
    """Return the columns that fit a screen of `width` characters, each with its width, in their order.

    `natural` are the widths of the longest cells. Texts are cut before a column is left out, ids last of all. With
    `keep_all` no column is left out, and those of less use become narrow.
    """
    least = [_least(column, wanted) for column, wanted in zip(columns, natural, strict=True)]
    order = sorted(range(len(columns)), key=lambda at: columns[at].rank)
    shown = list(order)
    while not keep_all and len(shown) > 1 and _total([least[at] for at in shown]) > width:
        shown.pop()
    widths = {at: least[at] for at in shown}
    _shrink(widths, columns, width)
    spare = width - _total(list(widths.values()))
    for at in sorted(shown, key=lambda at: (columns[at].content == "time", columns[at].rank)):
        more = _step(columns[at], widths[at], natural[at], spare)
        widths[at] += more
        spare -= more
    return [Fitted(columns[at], widths[at]) for at in range(len(columns)) if at in widths]


def _least(column: TableColumn, natural: int) -> int:
    if column.is_bar:
        return min(natural, _SHORTEST_BAR)
    if column.is_id or column.content in ("integer", "number", "cost", "boolean"):
        return natural
    if column.content == "time":
        return min(natural, _TIMES[0])
    return min(natural, _SHORTEST_TEXT)


def _step(column: TableColumn, width: int, natural: int, spare: int) -> int:
    if column.content == "time" and natural == _TIMES[-1]:
        better = [step - width for step in _TIMES if 0 < step - width <= spare]
        return max(better, default=0)
    return max(0, min(natural - width, spare))


def _shrink(widths: dict[int, int], columns: Sequence[TableColumn], width: int) -> None:
    """Take from the widest column until all fit, from ids only once the others have nothing left to give."""
    for ids_too in (False, True):
        while _total(list(widths.values())) > width:
            givers = [at for at in widths if widths[at] > _SHORTEST and (ids_too or not columns[at].is_id)]
            if not givers:
                break
            widths[max(givers, key=lambda at: widths[at])] -= 1


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)
