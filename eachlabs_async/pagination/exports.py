"""Listings as Arrow tables and as files: the methods that a `Pager` and a `WindowWalk` share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, cast

from ..codec.arrow import import_pyarrow, joined, record_batch, table_of
from ..codec.row_formats import CSV, JSONLines, Parquet, RowFormat
from ..errors import EachLabsError
from ..transport.arguments import checked_count
from ..transport.guidance import AsyncForGuide
from ..transport.partial_file import checked_path
from ..transport.stream import Stream, StreamIterator
from ..transport.tasks import run_to_end
from .export_file import ExportedFile as ExportedFile
from .export_file import ExportFile, Progress
from .pages import UnreadableRow

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

PIECE_ROWS: Final = 1000
"""Rows that become a piece of an Arrow batch together: fewer are alive at once, which spares the garbage collector."""


class Exports(Stream, Generic[T]):
    """A walk over records of one class that can become a table or a file, instead of being iterated over."""

    _record_class: type[Any]
    _counts_unreadable = True
    """Whether `max_rows` counts unreadable rows."""
    _made_from: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **named: Any) -> Self:
        """Keep the arguments, with which an export starts the walk again from a checkpoint."""
        made = super().__new__(cls)
        made._made_from = args, named
        return made

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the rows."""

    @property
    @abstractmethod
    def checkpoint(self) -> str:
        """The state of the walk."""

    # ---- Arrow

    def arrow_batches(self, rows: int = 10_000) -> ArrowBatches[T]:
        """Iterate over the rows as batches (`pyarrow.RecordBatch`) of `rows` rows, from 1; the last may be shorter.

        An empty listing has no batch. Every batch has the columns of `arrow_schema` for the record of the listing.
        After a batch, `checkpoint` resumes behind it. An error of the walk is raised after the rows before it. Raises
        `ImportError` without pyarrow (the extra `arrow`), and while iterating `ValueError` for a number that its column
        cannot hold.
        """
        checked_count("rows", rows, least=1)
        import_pyarrow()
        return ArrowBatches(cast("StreamIterator[T]", aiter(self)), self._record_class, rows)

    async def to_arrow(self) -> pa.Table:
        """Return all rows as a `pyarrow.Table` with the columns of `arrow_schema`, also without any rows.

        An error of the walk carries the table of the rows before it as `error.partial`. Raises as `arrow_batches`.
        """
        batches: list[pa.RecordBatch] = []
        try:
            async with aclosing(self.arrow_batches()) as found:
                async for batch in found:
                    batches.append(batch)
        except EachLabsError as error:
            error.partial = table_of(self._record_class, batches)
            raise
        return table_of(self._record_class, batches)

    async def to_pandas(self) -> Any:
        """Return all rows as a `pandas.DataFrame`, made from `to_arrow`.

        Costs are `decimal.Decimal` objects, and times are in UTC. Raises `ImportError` without pandas or pyarrow.
        """
        _import("pandas")
        table: Any = await self.to_arrow()
        return table.to_pandas()

    async def to_polars(self) -> Any:
        """Return all rows as a `polars.DataFrame`, made from `to_arrow`.

        Raises `ImportError` without polars or pyarrow.
        """
        polars = _import("polars")
        return polars.from_arrow(await self.to_arrow())

    # ---- files

    async def write_jsonl(self, path: str | os.PathLike[str]) -> ExportedFile:
        """Write all rows to a file of JSON Lines: in each line the object that `to_dict` returns, in UTF-8.

        Needs no other package. The rows are streamed, with some thousands in memory at most.

        The file gets its name when it is whole. Until then the rows are in `NAME.part`, with the checkpoint in
        `NAME.part.checkpoint`. If an export did not end, because of an error, Ctrl-C or a kill, run it again with the
        same path and the same listing: it goes on where it was, and each row is in the file once. Only one export may
        write to a path at a time.

        Rows that cannot be read, or have a value that the format cannot hold, do not end the export. They are in
        `NAME.unreadable.jsonl`, which exists only if there are some: in each line an object with `id`, `error` and
        `row`. A given `on_unreadable` is called as well. Fields with secrets are left out (see `arrow_schema`).

        Raises `ValueError` if the partial file belongs to another listing, other filters or another format, `OSError`
        if the file cannot be written, and the errors of the walk.
        """
        return await self._write(path, JSONLines)

    async def write_csv(self, path: str | os.PathLike[str]) -> ExportedFile:
        """Write all rows to a file of comma-separated values with a header, in UTF-8, as `write_jsonl` does.

        Times are RFC 3339 in UTC, open values and records within the record are JSON, and None is empty. Texts are not
        changed: open files of strangers' texts in a spreadsheet as text, because it may read `=...` as a formula.
        """
        return await self._write(path, CSV)

    async def write_parquet(self, path: str | os.PathLike[str]) -> ExportedFile:
        """Write all rows to a Parquet file with the columns of `arrow_schema`, as `write_jsonl` does.

        `NAME.part` is an Arrow stream, from which the Parquet file is made at the end (zstd, row groups of 10,000
        rows), so both take space on the disk. Raises `ImportError` without pyarrow (the extra `arrow`).
        """
        return await self._write(path, Parquet)

    async def _write(self, path: str | os.PathLike[str], make: Callable[[type[Any]], RowFormat]) -> ExportedFile:
        if self._used:
            raise RuntimeError(self._reused)
        rows, target = make(self._record_class), checked_path(path)
        file = ExportFile(target, rows)
        try:
            self._start_again(await run_to_end(file.open), file)
            await self._append_all(file, rows.rows)
            return await run_to_end(file.finish)
        finally:
            file.close()

    async def _append_all(self, file: ExportFile, size: int) -> None:
        batch: list[T] = []
        try:
            async with aclosing(cast("StreamIterator[T]", aiter(self))) as rows:
                async for row in rows:
                    batch.append(row)
                    batch += rows.available(size - len(batch))
                    if len(batch) == size:
                        # Encoding is done before the next row is taken, so the checkpoint is that of the rows written.
                        file.write(batch, self.checkpoint)
                        batch = []
        except EachLabsError:
            file.write(batch, self.checkpoint, last=True)  # So that a walk that often fails advances.
            raise
        file.write(batch, self.checkpoint, last=True)

    def _start_again(self, resumed: Progress | None, file: ExportFile) -> None:
        """Set the walk to the checkpoint of a partial file, and let it report unreadable rows to the export."""
        args, named = self._made_from
        walk: dict[str, Any] = {**(named.get("walk") or {})}
        callback: Callable[[UnreadableRow], object] | None = walk.get("on_unreadable")

        def add(row: UnreadableRow) -> None:
            file.unreadable.add(row.id, row.raw, row.error)
            if callback is not None:
                callback(row)

        walk["on_unreadable"] = add
        if resumed is not None:
            walk["resume"] = resumed.checkpoint
            if walk.get("max_rows") is not None:
                taken = resumed.rows + (resumed.unreadable if self._counts_unreadable else 0)
                walk["max_rows"] = max(0, walk["max_rows"] - taken)
        in_block = self._in_block
        try:
            type(self).__init__(self, *args, **{**named, "walk": walk})
        except ValueError as error:
            if resumed is None:
                raise
            raise ValueError(f"the export cannot be continued: {error}; {file.remedy}") from None
        self._in_block = in_block


class ArrowBatches(AsyncForGuide, AsyncIterator["pa.RecordBatch"], Generic[T]):
    """An iterator over the rows of a walk as batches. After a cancelled wait, the next one continues the batch."""

    def __init__(self, rows: StreamIterator[T], kind: type[Any], size: int) -> None:
        self._source = rows
        self._kind = kind
        self._size = size
        self._pieces: list[pa.RecordBatch] = []
        self._rows: list[T] = []  # not in a piece yet
        self._count = 0  # rows in the pieces
        self._error: EachLabsError | None = None

    async def __anext__(self) -> pa.RecordBatch:
        try:
            while self._error is None and (left := self._size - self._count):
                piece = min(left, PIECE_ROWS)
                while len(self._rows) < piece:
                    self._rows.append(await anext(self._source))
                    self._rows += self._source.available(piece - len(self._rows))
                self._convert()
        except StopAsyncIteration:
            pass
        except EachLabsError as error:
            self._error = error
        self._convert()
        pieces, self._pieces, self._count = self._pieces, [], 0
        if pieces:
            return joined(pieces)
        failure, self._error = self._error, None
        raise StopAsyncIteration if failure is None else failure

    def _convert(self) -> None:
        """Make a piece of the batch from the rows so far: it takes less memory than they do."""
        rows, self._rows = self._rows, []
        if rows:
            self._pieces.append(record_batch(self._kind, rows))
            self._count += len(rows)

    async def aclose(self) -> None:
        """End the walk and its tasks."""
        await self._source.aclose()


def _import(name: str) -> Any:
    """Import a package for data frames. Raises `ImportError` with what to install if it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {name} ({error}): pip install {name}") from None
