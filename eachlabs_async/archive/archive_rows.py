"""Executions of an archive, streamed from it, as tables or files too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from ..pagination.checkpoint import parse_checkpoint
from ..pagination.exports import Exports
from ..records import Execution
from ..sqlite.database import Database
from ..transport.arguments import checked_count
from ..transport.stream import NOTHING, Nothing
from .row_filter import RowFilter
from .values import EXECUTION_FIELDS, execution_of

_VERSION: Final = 1
_BATCH_ROWS: Final = 1000
_FIELDS: Final = ", ".join(EXECUTION_FIELDS)

Place = tuple[str, str]
"""The time and the id of a row; the rows of an archive are in the order of both."""


class ArchiveRows(Exports[Execution]):
    """The executions of an archive, newest first. It can be iterated once.

    The rows are read a thousand at a time, and no transaction is open in between: a sync may go on meanwhile, and rows
    that it adds below the place of this iteration are part of it. `checkpoint` is where the iteration is.
    """

    _record_class = Execution

    def __init__(
        self, database: Database, filters: Mapping[str, Any], *, walk: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            reused="the rows of an archive are read once: call rows() again",
            closed="the rows were closed while one was awaited",
        )
        options = walk or {}
        self._database = database
        self._filter = RowFilter.of(**filters)
        self._names = {name: _plain(value) for name, value in filters.items() if value is not None}
        self._left: int | None = options.get("max_rows")
        if self._left is not None:
            checked_count("max_rows", self._left)
        self._place: Place | None = None
        resume = options.get("resume")
        if resume is not None:
            self._place = self._read_checkpoint(resume)
        self._rows: list[tuple[Any, ...]] = []
        self._next = 0
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Execution]:
        """Iterate over the rows."""
        return self._iterate(self._take)

    @property
    def checkpoint(self) -> str:
        """The place of the row read last as text, for `rows(..., resume=checkpoint)` with the same filters."""
        return json.dumps({"v": _VERSION, "archive": self._names, "after": self._place}, separators=(",", ":"))

    def _read_checkpoint(self, text: object) -> Place | None:
        parts = parse_checkpoint(text)
        after = parts.get("after")
        if parts.get("v") != _VERSION or "archive" not in parts:
            raise ValueError("resume is not a checkpoint of an archive's rows")
        if parts["archive"] != self._names:
            raise ValueError(f"resume is of rows with other filters: {parts['archive']}, not {self._names}")
        return None if after is None else (after[0], after[1])

    def _take(self) -> Execution | Literal[Nothing.NOTHING]:
        if self._next == len(self._rows):
            return NOTHING
        values = self._rows[self._next]
        self._next += 1
        self._place = values[0], values[1]
        return execution_of(values)

    async def _advance(self) -> None:
        if self._ended or self._left == 0:
            raise StopAsyncIteration
        size = _BATCH_ROWS if self._left is None else min(_BATCH_ROWS, self._left)
        place = self._place
        rows = await self._database.run(lambda: self._after(self._database.connection, place, size))
        self._rows, self._next = rows, 0
        self._ended = len(rows) < size
        if self._left is not None:
            self._left -= len(rows)

    def _after(self, db: sqlite3.Connection, place: Place | None, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows. Those without a time come last."""
        condition, values = self._filter.condition, self._filter.values
        if place is not None:
            condition, values = f"{condition} AND (created_at, id) < (?, ?)", (*values, *place)
        query = f"SELECT {_FIELDS} FROM executions WHERE {condition} ORDER BY created_at DESC, id DESC LIMIT ?"
        return db.execute(query, (*values, size)).fetchall()

    async def _stop(self) -> None:
        self._ended, self._rows, self._next = True, [], 0


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | str) else str(value) if isinstance(value, datetime) else list(value)
