"""A table of records, and the statements that write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from attrs import field, frozen

from .values import EXECUTION_COLUMNS, WORKFLOW_COLUMNS, Values

_PIECE_ROWS: Final = 500
"""The rows that one statement inserts."""


@frozen
class Written:
    """How many rows were new, and how many were there with other values."""

    new: int
    changed: int


@frozen
class Table:
    """A table of records. `columns` are those that come from the record, the first ones those of the `key`."""

    name: str
    columns: tuple[str, ...]
    keys: int
    _insert: str = field(init=False)
    _update: str = field(init=False)
    _touch: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        key, rest = ", ".join(self.columns[: self.keys]), ", ".join(self.columns[self.keys :])
        # Without numbers: early releases of Python 3.12 warn of numbered placeholders.
        mine, values = ", ".join("?" * self.keys), ", ".join("?" * (len(self.columns) - self.keys))
        insert = (
            f"INSERT INTO {self.name} (added_at, seen_by, {key}, {rest}) VALUES {{}} ON CONFLICT ({key}) DO NOTHING"
        )
        update = (
            f"UPDATE {self.name} SET ({rest}) = ({values}), changed_at = ?, deleted_at = NULL "
            f"WHERE ({key}) = ({mine}) AND (deleted_at IS NOT NULL OR ({rest}) IS NOT ({values}))"
        )
        object.__setattr__(self, "_insert", insert)
        object.__setattr__(self, "_update", update)
        object.__setattr__(self, "_touch", f"UPDATE {self.name} SET seen_by = ? WHERE ({key}) = ({mine})")

    def write(self, db: sqlite3.Connection, rows: Sequence[Values], now: str, walk: int) -> Written:
        """Insert rows that are not there, update those that changed, and record the walk that saw them."""
        new = sum(self._insert_new(db, some, now, walk) for some in self._pieces(db, rows))
        if new == len(rows):
            return Written(new, 0)
        keys = self.keys
        updates = [(*row[keys:], now, *row[:keys], *row[keys:]) for row in rows]
        changed = db.executemany(self._update, updates).rowcount
        db.executemany(self._touch, [(walk, *row[:keys]) for row in rows])
        return Written(new, changed)

    def _pieces(self, db: sqlite3.Connection, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
        size = min(_PIECE_ROWS, db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // (len(self.columns) + 2))
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def _insert_new(self, db: sqlite3.Connection, rows: Sequence[Values], now: str, walk: int) -> int:
        # One statement for many rows: a thread releases the interpreter once for each, and must wait to get it back.
        row = f"({', '.join('?' * (len(self.columns) + 2))})"
        statement = self._insert.format(", ".join([row] * len(rows)))
        return db.execute(statement, [*chain.from_iterable([(now, walk, *values) for values in rows])]).rowcount

    def touch(self, db: sqlite3.Connection, ids: Sequence[str], walk: int) -> None:
        """Record that a walk saw the rows with these ids, which is slow before the index of ids is there."""
        identity = self.columns[self.keys - 1]
        db.executemany(f"UPDATE {self.name} SET seen_by = ? WHERE {identity} = ?", [(walk, each) for each in ids])


EXECUTIONS: Final = Table("executions", EXECUTION_COLUMNS, keys=2)
WORKFLOW_EXECUTIONS: Final = Table("workflow_executions", WORKFLOW_COLUMNS, keys=1)
