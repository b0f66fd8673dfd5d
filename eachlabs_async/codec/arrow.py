"""Records as Arrow tables, with pyarrow, which is imported only when it is needed.

The types of a column do not depend on the rows, so that the tables of any walks of one listing fit together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from .columns import COST_SCALE, Column, Content, columns_of, exact_cost, json_text, read_column, utf8
from .fast import time_texts

if TYPE_CHECKING:
    import pyarrow as pa

_CONVERSIONS: Final[dict[Content, Callable[[Any], Any]]] = {
    "cost": exact_cost,
    "json": json_text,
}


def import_pyarrow() -> Any:
    """Return the module pyarrow. Raises `ImportError` with what to install if it is missing."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(f'this needs pyarrow ({error}): pip install "eachlabs-async[arrow]"') from None
    return pyarrow


def arrow_schema(record: type[Any]) -> pa.Schema:
    """Return the Arrow schema of a record class, such as `Execution`.

    There is one column per field, in the order of the record, with the API's name. It depends on nothing but the class:

    - a text is a `large_string`, so that a batch of large outputs has room;
    - a time is a `timestamp[us, tz=UTC]`;
    - a cost that is meant to be summed (`execution_cost`, `total_cost`) is a `decimal128(38, 18)` in USD;
    - other numbers are `double`, whole ones `int64`, and truth values `bool`;
    - a list of texts is a `list<large_string>`;
    - everything else (open values such as outputs and inputs, and records within the record) is JSON in a
      `large_string`.

    Columns of required fields are not nullable. Fields with secrets (`api_key`, the `headers` of a webhook, the
    `presigned_url` and `required_headers` of an upload) are left out.

    Raises `TypeError` if `record` is not a record class, and `ImportError` without pyarrow (the extra `arrow`).
    """
    columns = columns_of(record)
    arrow = import_pyarrow()
    text = arrow.large_string()
    types: dict[Content, Any] = {
        "text": text,
        "time": arrow.timestamp("us", "UTC"),
        "integer": arrow.int64(),
        "number": arrow.float64(),
        "cost": arrow.decimal128(38, COST_SCALE),
        "boolean": arrow.bool_(),
        "texts": arrow.list_(text),
        "json": text,
    }
    fields = [arrow.field(column.name, types[column.content], nullable=not column.required) for column in columns]
    return cast("pa.Schema", arrow.schema(fields))


def record_batch(kind: type[Any], rows: Sequence[Any]) -> pa.RecordBatch:
    """Return records of one class as a batch. Raises `ValueError` for a value that its column cannot hold."""
    arrow = import_pyarrow()
    schema: Any = arrow_schema(kind)
    arrays = [_array(arrow, column, field.type, rows) for column, field in zip(columns_of(kind), schema, strict=True)]
    return cast("pa.RecordBatch", arrow.RecordBatch.from_arrays(arrays, schema=schema))


def _array(arrow: Any, column: Column, kind: Any, rows: Sequence[Any]) -> Any:
    values = read_column(column, rows, None)
    if column.content == "time":
        return arrow.array(time_texts(values), arrow.string()).cast(kind)  # faster than from datetimes
    if column.content == "cost":
        with suppress(arrow.ArrowInvalid):  # A cost that has to be rounded.
            # Three times as fast as by way of `Decimal`. Arrow writes the shortest decimal that stands for a number.
            return arrow.array(values, arrow.float64()).cast(arrow.string()).cast(kind)
    convert = _CONVERSIONS.get(column.content)
    if convert is not None:
        values = [None if value is None else convert(value) for value in values]
    try:
        return arrow.array(values, kind)
    except UnicodeEncodeError:
        return arrow.array([None if value is None else _with_escapes(value) for value in values], kind)
    except (arrow.ArrowInvalid, OverflowError) as error:
        raise ValueError(f"{column.name} has a value that does not fit {kind}: {error}") from None


def _with_escapes(value: Any) -> Any:
    return utf8(value) if isinstance(value, str) else [utf8(text) for text in value]


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return batches of the same columns as one."""
    if len(batches) == 1:
        return batches[0]
    table: Any = import_pyarrow().Table.from_batches(batches).combine_chunks()
    return cast("pa.RecordBatch", table.to_batches()[0])


def table_of(kind: type[Any], batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Return batches of one record class as a table, which has the columns of the class even without rows."""
    return cast("pa.Table", import_pyarrow().Table.from_batches(list(batches), schema=arrow_schema(kind)))
