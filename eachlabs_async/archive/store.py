"""What a sync reads from the tables of an archive and writes to them. All methods block.

A walk reads a span of a listing to its end, in one sync or in several: its row in `walks` has the checkpoint, which is
written in the same transaction as the rows before it. The rows of its span that it did not see are then deleted ones.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from ..codec.columns import utf8
from ..pagination.windows import Created
from .schema import AFTER_FIRST_SYNC, UNFINISHED
from .spans import CoveredSpan, TimeSpan, clusters, gaps, merged
from .table import Table, Written
from .unreadable import Unreadable
from .values import Values, encodable, now_text, time_of, time_text

PAGE_ROWS: Final = 100
"""The rows of the largest page of a listing."""

_NEWEST: Final = "(SELECT nullif(max(created_at), '') FROM executions)"


@frozen
class Walk:
    """A walk under way: its number, the span, and the checkpoint, None if no row was written yet."""

    number: int
    since: datetime
    until: datetime | None
    checkpoint: str | None = None

    def holds(self, row: Created) -> bool:
        """Whether a row belongs to the span, of which the requests ask for more. A row without a time does."""
        time = row.created_at
        return time is None or (time >= self.since and (self.until is None or time < self.until))


class Store:
    """The tables of an archive, as a sync uses them."""

    def __init__(self, connection: Callable[[], sqlite3.Connection]) -> None:
        self._connection = connection

    # ---- the account

    def bind(self, account: str, *, new_key: bool) -> str:
        """Bind the archive to an account. Return the account that it is bound to, if that is another one."""
        with self._connection() as db:
            found = db.execute("SELECT value FROM meta WHERE name = 'account'").fetchone()
            if found is None or new_key:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('account', ?)", (account,))
            elif found[0] != account:
                return str(found[0])
        return ""

    # ---- what to walk

    def earliest(self) -> datetime | None:
        """Return the earliest time that is covered, None if none is."""
        return time_of(self._connection().execute("SELECT min(since) FROM covered").fetchone()[0])

    def gaps(self, wanted: TimeSpan) -> list[TimeSpan]:
        """Return the parts of a span that are not covered, newest first."""
        return gaps(wanted, self._covered())

    def walks(self) -> list[Walk]:
        """Return the walks of executions that an earlier sync did not end."""
        rows = self._connection().execute(
            "SELECT number, since, until, checkpoint FROM walks WHERE workflow_id IS NULL ORDER BY number"
        )
        return [Walk(row[0], datetime.fromisoformat(row[1]), time_of(row[2]), row[3]) for row in rows]

    def begin(self, span: TimeSpan) -> Walk:
        """Begin a walk of a span."""
        until = None if span.until is None else time_text(span.until)
        with self._connection() as db:
            # Where there are no rows, none can be gone: at the end of a first sync they need not be looked at.
            there = "EXISTS (SELECT 1 FROM executions WHERE created_at >= ? AND created_at < ?)"
            made = db.execute(
                f"INSERT INTO walks (since, until, keeps) VALUES (?, ?, NOT {there})",
                (time_text(span.since), until, *_bounds(span)),
            )
        assert made.lastrowid is not None
        return Walk(made.lastrowid, span.since, span.until)

    def number(self, span: TimeSpan) -> Walk:
        """Return a walk that a later sync does not resume."""
        with self._connection() as db:
            number = db.execute("INSERT INTO walks DEFAULT VALUES").lastrowid
            db.execute("DELETE FROM walks WHERE number = ?", (number,))
        assert number is not None
        return Walk(number, span.since, span.until)

    def last_walk(self) -> int:
        """Return the number of the last walk."""
        found = self._connection().execute("SELECT seq FROM sqlite_sequence WHERE name = 'walks'").fetchone()
        return 0 if found is None else int(found[0])

    def unfinished(self, span: TimeSpan, since_walk: int) -> list[TimeSpan]:
        """Return short spans with all unfinished executions of a span that no walk after `since_walk` saw.

        Newest first. Two executions share a span if there are no more rows between them than one page has.
        """
        db = self._connection()
        first, last = _bounds(span)
        found = db.execute(
            f"SELECT DISTINCT created_at FROM executions WHERE {UNFINISHED} AND created_at >= ? AND created_at < ? "
            "AND seen_by <= ? ORDER BY created_at",
            (first, last, since_walk),
        )
        times = [row[0] for row in found]
        between = "SELECT count(*) FROM (SELECT 1 FROM executions WHERE created_at > ? AND created_at < ? LIMIT ?)"
        near = [db.execute(between, (*pair, PAGE_ROWS + 1)).fetchone()[0] <= PAGE_ROWS for pair in pairwise(times)]
        groups = clusters([datetime.fromisoformat(time) for time in times], near)
        return [TimeSpan(since, until + timedelta(microseconds=1)) for since, until in groups]

    def fits_a_page(self, span: TimeSpan) -> bool:
        """Whether one page has about all rows of a span."""
        count = "SELECT count(*) FROM (SELECT 1 FROM executions WHERE created_at >= ? AND created_at < ? LIMIT ?)"
        (rows,) = self._connection().execute(count, (*_bounds(span), PAGE_ROWS + 1)).fetchone()
        return bool(rows <= PAGE_ROWS)

    # ---- a walk

    def commit(
        self,
        walk: int,
        table: Table,
        rows: Sequence[Values],
        unreadable: Sequence[Unreadable],
        checkpoint: str | None,
        seen: Sequence[str] = (),
    ) -> Written:
        """Write rows and the checkpoint of the walk after them, in one transaction.

        `seen` are the ids of rows that the walk saw and that are as they were.
        """
        try:
            return self._commit(walk, table, rows, unreadable, checkpoint, seen)
        except UnicodeEncodeError:
            return self._commit(walk, table, [encodable(row) for row in rows], unreadable, checkpoint, seen)

    def _commit(
        self,
        walk: int,
        table: Table,
        rows: Sequence[Values],
        unreadable: Sequence[Unreadable],
        checkpoint: str | None,
        seen: Sequence[str],
    ) -> Written:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            written = table.write(db, rows, now_text(), walk)
            if db.execute("SELECT 1 FROM unreadable_rows").fetchone() is not None:
                identity = table.keys - 1
                db.executemany("DELETE FROM unreadable_rows WHERE id = ?", [(row[identity],) for row in rows])
            db.executemany(
                "INSERT OR REPLACE INTO unreadable_rows (key, id, created_at, error, row, seen_by) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(*row.values(), walk) for row in unreadable],
            )
            table.touch(db, seen, walk)
            if db.execute("SELECT 1 FROM walks WHERE number = ? AND NOT keeps", (walk,)).fetchone() is not None:
                table.touch(db, [utf8(row.id) for row in unreadable if row.id is not None], walk)
            db.execute(
                "UPDATE walks SET checkpoint = ?, keeps = keeps OR ?, "
                f"newest = ifnull(newest, {_NEWEST}) WHERE number = ?",
                (checkpoint, any(row.id is None for row in unreadable), walk),
            )
        return written

    def end(self, walk: Walk, overlap: timedelta) -> int:
        """End a walk: mark the rows that it did not see as deleted, and record its span as covered.

        The last `overlap` before the newest row is not covered, because rows may become visible late. Returns the
        number of deleted rows.
        """
        first, last = _bounds(TimeSpan(walk.since, walk.until))
        now = now_text()
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            newest, keeps = db.execute(
                f"SELECT ifnull(newest, {_NEWEST}), keeps FROM walks WHERE number = ?",
                (walk.number,),
            ).fetchone()
            deleted = 0
            if not keeps:
                deleted = db.execute(
                    "UPDATE executions SET deleted_at = ? "
                    "WHERE deleted_at IS NULL AND created_at >= ? AND created_at < ? AND seen_by <> ?",
                    (now, first, last, walk.number),
                ).rowcount
                db.execute(
                    "DELETE FROM unreadable_rows WHERE created_at >= ? AND created_at < ? AND seen_by <> ?",
                    (first, last, walk.number),
                )
            if newest is not None:
                # Neither the service's clock nor this one is known to be right; the earlier one only costs requests.
                settled = datetime.fromisoformat(min(newest, now)) - overlap
                self._cover(db, CoveredSpan(walk.since, settled if walk.until is None else min(walk.until, settled)))
            db.execute("DELETE FROM walks WHERE number = ?", (walk.number,))
        return deleted

    def index_ids(self) -> None:
        """Build the index of ids, unless it is there."""
        with self._connection() as db:
            db.execute(AFTER_FIRST_SYNC)

    def _cover(self, db: sqlite3.Connection, span: CoveredSpan) -> None:
        spans = merged([*self._covered(), span])
        db.execute("DELETE FROM covered")
        db.executemany(
            "INSERT INTO covered VALUES (?, ?)", [(time_text(one.since), time_text(one.until)) for one in spans]
        )

    def _covered(self) -> list[CoveredSpan]:
        rows: Any = self._connection().execute("SELECT since, until FROM covered")
        return [CoveredSpan(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in rows]


def _bounds(span: TimeSpan) -> tuple[str, str]:
    return time_text(span.since), "~" if span.until is None else time_text(span.until)
