"""A table of records, and the statements that write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from .values import EXECUTION_COLUMNS, WORKFLOW_COLUMNS, Values


@frozen
class Written:
    """How many rows were new, and how many were there with other values."""

    new: int
    changed: int


@frozen
class Table:
    """A table whose first column is the id of the record. `columns` are those that come from the record."""

    name: str
    columns: tuple[str, ...]
    _insert: str = field(init=False)
    _update: str = field(init=False)
    _touch: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        marks = [f"?{number}" for number in range(1, len(self.columns) + 1)]
        now, walk = f"?{len(marks) + 1}", f"?{len(marks) + 2}"
        names, identity = ", ".join(self.columns), self.columns[0]
        rest, values = ", ".join(self.columns[1:]), ", ".join(marks[1:])
        insert = (
            f"INSERT INTO {self.name} ({names}, added_at, seen_by) VALUES ({', '.join(marks)}, {now}, {walk}) "
            f"ON CONFLICT ({identity}) DO NOTHING"
        )
        update = (
            f"UPDATE {self.name} SET ({rest}) = ({values}), changed_at = {now}, deleted_at = NULL, seen_by = {walk} "
            f"WHERE {identity} = ?1 AND (deleted_at IS NOT NULL OR ({rest}) IS NOT ({values}))"
        )
        object.__setattr__(self, "_insert", insert)
        object.__setattr__(self, "_update", update)
        object.__setattr__(self, "_touch", f"UPDATE {self.name} SET seen_by = ? WHERE {identity} = ?")

    def write(self, db: sqlite3.Connection, rows: Sequence[Values], now: str, walk: int) -> Written:
        """Insert rows that are not there, update those that changed, and record the walk that saw them."""
        given = [(*row, now, walk) for row in rows]
        new = db.executemany(self._insert, given).rowcount if given else 0
        if new == len(rows):
            return Written(new, 0)
        changed = db.executemany(self._update, given).rowcount
        self.touch(db, [row[0] for row in rows], walk)
        return Written(new, changed)

    def touch(self, db: sqlite3.Connection, ids: Sequence[str], walk: int) -> None:
        """Record that a walk saw rows."""
        db.executemany(self._touch, [(walk, identity) for identity in ids])


EXECUTIONS: Final = Table("executions", EXECUTION_COLUMNS)
WORKFLOW_EXECUTIONS: Final = Table("workflow_executions", WORKFLOW_COLUMNS)
