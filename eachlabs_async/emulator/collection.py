"""A listing that can change while it is walked: rows newest first, their encodings, and the methods that change them.

Rows are dicts with the names of the wire. A key that begins with an underscore is internal and is never sent. Reading
from a collection returns copies: rows change only through `insert`, `remove` and `change`, so that the cached encodings
stay right.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["Collection", "Grouped", "Row", "View", "encode", "parsed_time", "shown"]

Row = dict[str, Any]

View = Callable[[Row], Row]
"""How a row is shown on the wire: in full by a get, or in short by a listing."""

_REMEMBERED_SELECTIONS = 64


def encode(value: Any) -> bytes:
    """Return compact JSON. `NaN` and infinities are written as Python does, so that clients can be tested with them."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def parsed_time(text: Any) -> datetime | None:
    """Parse a time of the wire (UTC if it has no zone); None if it is not a time."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def shown(row: Row) -> Row:
    """Return a row without its internal fields."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


class Collection:
    """One listing, newest first.

    `identity` is the name of the id field, `make` builds a row for a creation time, and `rows` are the first rows.
    `listed` and `full` are the views of a row in a listing and in a get; by default both show all fields but the
    internal ones.
    """

    def __init__(
        self,
        identity: str,
        make: Callable[[datetime], Row],
        rows: Iterable[Row] = (),
        *,
        listed: View = shown,
        full: View = shown,
    ) -> None:
        self._identity = identity
        self._make = make
        self._views: dict[str, View] = {"listed": listed, "full": full}
        self._encoded: dict[str, dict[int, bytes]] = {"listed": {}, "full": {}}
        self._selections: dict[Any, list[Row]] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self._rows: list[Row] = list(rows)
        self._by_id: dict[str, Row] = {row[identity]: row for row in self._rows}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over copies of the rows as the listing shows them, newest first."""
        return iter([json.loads(self.encoded(row, "listed")) for row in self._rows])

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._by_id

    def ids(self) -> list[str]:
        """Return the ids, newest first."""
        return [row[self._identity] for row in self._rows]

    def get(self, row_id: str) -> Row:
        """Return a copy of the row as a get shows it. Raises `KeyError` if there is none."""
        copy: Row = json.loads(self.encoded(self._by_id[row_id], "full"))
        return copy

    def insert(self, count: int = 1, at: int = 0, /, **fields: Any) -> list[str]:
        """Insert `count` new rows before position `at` (0 is the newest end), and return their ids, newest first.

        `fields` override the fields of each new row.
        """
        if not 0 <= at <= len(self._rows):
            raise IndexError(f"at must be 0..{len(self._rows)}, not {at}")
        made: list[Row] = []
        for time in self._times_for(count, at):
            row = self._make(time)
            row.update(fields)
            made.append(row)
        self._put(at, made)
        self._rows_changed()
        return [row[self._identity] for row in made]

    def add(self, row: Row) -> None:
        """Add an existing row before the first one that was created no later, which is mostly at the top."""
        created = parsed_time(row.get("created_at"))
        at = 0
        while created is not None and at < len(self._rows):
            other = parsed_time(self._rows[at].get("created_at"))
            if other is None or other <= created:
                break
            at += 1
        self._put(at, [row])
        self._rows_changed()

    def remove(self, *which: int | str) -> list[str]:
        """Remove rows by id, or by position as of before the call, and return the removed ids."""
        removed = [self._rows[one] if isinstance(one, int) else self._by_id[one] for one in which]
        removed_objects = {id(row) for row in removed}
        self._rows = [row for row in self._rows if id(row) not in removed_objects]
        for row in removed:
            self._forget(row)
        self._unindex(removed)
        self._rows_changed()
        return [row[self._identity] for row in removed]

    def change(self, row_id: str, /, **fields: Any) -> None:
        """Overwrite fields of one row; the value `...` removes a field."""
        row = self._by_id[row_id]
        for name, value in fields.items():
            if value is ...:
                row.pop(name, None)
            else:
                row[name] = value
        self._forget(row)
        if self._identity in fields:
            self._index_all()
        self._rows_changed()

    def find(self, row_id: str) -> Row | None:
        """Return the row itself for serving, or None. It must not be changed in place."""
        return self._by_id.get(row_id)

    def encoded(self, row: Row, view: str) -> bytes:
        """Return the row as JSON in a view (`"listed"` or `"full"`). The encoding is cached until the row changes."""
        known = self._encoded[view]
        body = known.get(id(row))
        if body is None:
            body = known[id(row)] = encode(self._views[view](row))
        return body

    def select(self, key: Any = None, keep: Callable[[Row], bool] | None = None) -> list[Row]:
        """Return the rows that `keep` accepts (default: all), newest first.

        A selection is cached under `key` until a row changes.
        """
        if keep is None:
            return self._rows
        rows = self._selections.get(key)
        if rows is None:
            if len(self._selections) >= _REMEMBERED_SELECTIONS:
                self._selections.clear()
            rows = self._selections[key] = [row for row in self._rows if keep(row)]
        return rows

    async def changed(self) -> None:
        """Wait until a row is inserted, removed or changed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            # A waiter that was woken is no longer in the list; a cancelled one removes itself.
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def warm(self) -> None:
        """Encode every row in both views now, so that no request includes that time."""
        for row in self._rows:
            self.encoded(row, "listed")
            self.encoded(row, "full")

    def _times_for(self, count: int, at: int) -> list[datetime]:
        # The listing stays newest first: rows at the front are newer than the newest, a second apart; rows further down
        # get the time of the row that they push down.
        if not self._rows:
            newest = datetime.now(UTC).replace(microsecond=0)
            return [newest - timedelta(seconds=n) for n in range(count)]
        neighbour = self._rows[min(at, len(self._rows) - 1)]
        time = self._time_of(neighbour) or datetime.now(UTC).replace(microsecond=0)
        if at == 0:
            return [time + timedelta(seconds=count - n) for n in range(count)]
        return [time] * count

    def _forget(self, row: Row) -> None:
        for known in self._encoded.values():
            known.pop(id(row), None)

    def _time_of(self, row: Row) -> datetime | None:
        return parsed_time(row.get("created_at"))

    def _put(self, at: int, made: list[Row]) -> None:
        """Put rows before position `at`, and index them."""
        self._rows[at:at] = made
        self._by_id.update((row[self._identity], row) for row in made)
        if len(self._by_id) < len(self._rows):
            self._index_all()

    def _unindex(self, removed: list[Row]) -> None:
        # If two rows share an id, the other one must still be found.
        for row in removed:
            self._by_id.pop(row[self._identity], None)
        if len(self._by_id) < len(self._rows):
            self._index_all()

    def _index_all(self) -> None:
        self._by_id = {row[self._identity]: row for row in self._rows}

    def _rows_changed(self) -> None:
        self._selections.clear()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Grouped:
    """The collections of one kind, one for each workflow: `grouped[workflow_id]` is a `Collection`."""

    def __init__(self, groups: Mapping[str, Collection]) -> None:
        self._groups = dict(groups)

    def __getitem__(self, workflow_id: str) -> Collection:
        return self._groups[workflow_id]

    def __len__(self) -> int:
        return sum(len(group) for group in self._groups.values())

    def __iter__(self) -> Iterator[Row]:
        """Iterate over copies of the rows as their listings show them, workflow by workflow."""
        return (row for group in self._groups.values() for row in group)

    def __contains__(self, row_id: object) -> bool:
        return any(row_id in group for group in self._groups.values())

    def ids(self) -> list[str]:
        """Return the ids of all workflows, workflow by workflow."""
        return [row_id for group in self._groups.values() for row_id in group.ids()]

    def get(self, row_id: str) -> Row:
        """Return a copy of the row as a get shows it. Raises `KeyError` if there is none."""
        return self._group_holding(row_id).get(row_id)

    def remove(self, *ids: str) -> list[str]:
        """Remove rows by id from whichever workflows have them, and return the removed ids."""
        return [removed for row_id in ids for removed in self._group_holding(row_id).remove(row_id)]

    def change(self, row_id: str, /, **fields: Any) -> None:
        """Overwrite fields of one row of any workflow; the value `...` removes a field."""
        self._group_holding(row_id).change(row_id, **fields)

    def add_group(self, workflow_id: str, group: Collection) -> None:
        """Add the collection of a new workflow."""
        self._groups[workflow_id] = group

    def group_of(self, row_id: str) -> Collection | None:
        """Return the collection that has the row, or None."""
        for group in self._groups.values():
            if row_id in group:
                return group
        return None

    def warm(self) -> None:
        """Encode every row in both views now, so that no request includes that time."""
        for group in self._groups.values():
            group.warm()

    def _group_holding(self, row_id: str) -> Collection:
        group = self.group_of(row_id)
        if group is None:
            raise KeyError(row_id)
        return group
