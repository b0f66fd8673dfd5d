"""The formats of exported files: how rows become bytes that are appended to a file.

A file is written as `header`, then the bytes of some rows at a time. `complete` turns what was appended into the
finished file, if that has another form.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from .arrow import arrow_schema, import_pyarrow, record_batch
from .columns import SECRETS, Column, columns_of, json_text, plain_json_text, read_column
from .fast import json_lines, number_texts, time_texts
from .strict import to_dict


class RowFormat(ABC):
    """The format of a file with records of one class. `rows` is the number of rows that are encoded at a time."""

    name: ClassVar[str]
    rows: ClassVar[int] = 1000

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind

    def header(self) -> bytes:
        """Return the bytes before the first row."""
        return b""

    @abstractmethod
    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return the bytes of some rows. Raises `ValueError` if a row has a value that the format cannot hold."""

    def complete(self, appended: Path) -> Path:
        """Return the path of the finished file, made of what was appended to a file."""
        return appended


class JSONLines(RowFormat):
    """A JSON object in each line, as `to_dict` returns it, in UTF-8."""

    name = "jsonl"

    def __init__(self, kind: type[Any]) -> None:
        super().__init__(kind)
        columns = columns_of(kind)
        self._times = [column for column in columns if column.content == "time"]
        # Records that msgspec writes as `to_dict` does, but for the digits of a second.
        self._is_flat = len(columns) == len(attrs.fields(kind)) and all(
            column.content != "json" and column.name == column.attribute for column in columns
        )

    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return a line for each row."""
        if self._is_flat:
            lines = json_lines(rows, {column.name: read_column(column, rows, None) for column in self._times})
            if lines is not None:
                return lines
        plain = [to_dict(row) for row in rows]
        if len(columns_of(self.kind)) < len(attrs.fields(self.kind)):
            plain = [without_secrets(values) for values in plain]
        return "".join([f"{plain_json_text(values)}\n" for values in plain]).encode()


def without_secrets(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record without those that hold secrets."""
    return {name: value for name, value in values.items() if name not in SECRETS}


class CSV(RowFormat):
    """Comma-separated values in UTF-8 with a header (RFC 4180, with LF as the end of a line).

    None is empty. A lone surrogate, which UTF-8 cannot encode, is written as an escape.
    """

    name = "csv"

    def header(self) -> bytes:
        """Return the line with the names of the columns."""
        return f"{','.join(column.name for column in columns_of(self.kind))}\n".encode()

    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return a line for each row, and more where a text has several."""
        columns = [_csv_texts(column, rows) for column in columns_of(self.kind)]
        return "".join([f"{','.join(row)}\n" for row in zip(*columns, strict=True)]).encode("utf-8", "backslashreplace")


def _csv_texts(column: Column, rows: Sequence[Any]) -> list[str]:
    """Return the values of a column as CSV has them."""
    content = column.content
    values = read_column(column, rows, json_text if content in ("boolean", "texts", "json") else None)
    if content in ("integer", "number", "cost"):
        return number_texts(values)
    texts = [text or "" for text in (time_texts(values) if content == "time" else values)]
    # Mostly no text of a column needs quotes, which one look at all of them tells.
    return list(map(_quoted, texts)) if _has_special("".join(texts)) else texts


def _has_special(text: str) -> bool:
    return '"' in text or "," in text or "\n" in text or "\r" in text


def _quoted(text: str) -> str:
    """Return a text in quotes if it has a character of CSV in it."""
    if not _has_special(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


_GROUP_ROWS: Final = 10_000


class Parquet(RowFormat):
    """A Parquet file with the columns of `arrow_schema`, compressed with zstd, in row groups of `_GROUP_ROWS` rows.

    A Parquet file cannot be continued after a crash, because its index is at the end. So the rows are appended as an
    Arrow stream, which can, and made into Parquet at the end. The file takes this space on the disk meanwhile.
    """

    name = "parquet"

    def __init__(self, kind: type[Any]) -> None:
        super().__init__(kind)
        self._schema: Any = arrow_schema(kind)

    def header(self) -> bytes:
        """Return the schema as a message of an Arrow stream."""
        return bytes(self._schema.serialize())

    def encode(self, rows: Sequence[Any]) -> bytes:
        """Return a batch as a message of an Arrow stream."""
        batch: Any = record_batch(self.kind, rows)
        return bytes(batch.serialize())

    def complete(self, appended: Path) -> Path:
        """Write the batches of the stream to a Parquet file beside it, with one row group in memory."""
        pa: Any = import_pyarrow()
        import pyarrow.parquet

        done = appended.with_name(appended.name + ".parquet")
        parquet: Any = pyarrow.parquet
        with (
            appended.open("rb") as stream,
            parquet.ParquetWriter(str(done), self._schema, compression="zstd") as writer,
        ):
            group: list[Any] = []
            for batch in pa.ipc.open_stream(stream):
                group.append(batch)
                if sum(each.num_rows for each in group) >= _GROUP_ROWS:
                    writer.write_table(pa.Table.from_batches(group))
                    group = []
            writer.write_table(pa.Table.from_batches(group, schema=self._schema))
        return done
