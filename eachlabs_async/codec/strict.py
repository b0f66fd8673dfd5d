"""Decode bytes into records and encode records as JSON, with the standard library and cattrs.

There are two readers. The one here defines what a body means: it parses with `json` and structures with cattrs, whose
hooks coerce nothing. `fast` decodes with msgspec into the same classes. `decode` asks it first and uses its result
only where both readers must agree; otherwise the reader here decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial
from math import isinf
from typing import Any, Final, NoReturn, TypeVar, cast, get_args, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..errors import ResponseDecodeError
from ..records._field_metadata import wire_names
from .fast import FAST_READERS
from .times import UNSET, container_of
from .undecoded_row import UndecodedRow

T = TypeVar("T")
_Hook = Callable[[Any, Any], Any]
"""A structure hook of cattrs: it takes a value and its type."""

_EXCERPT_LENGTH = 300
_SENSITIVE = re.compile(r'("(?:api_key|source_ip_address|presigned_url|(?i:x-webhook-secret))"\s*:\s*")[^"]*')


# ---- from bytes to plain values, and from those to types


class _InvalidValueError(ValueError):
    """Raised while reading a value. Its message becomes part of a `ResponseDecodeError`."""


class _NotJSONError(_InvalidValueError):
    """Raised for a body that is no JSON at all."""


class _OddNumber(float):
    """NaN, or an infinity in the place of a number that is out of range. Only a typed field refuses it."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[float], tuple[str]]:
        return float, (repr(self),)


def _parse_float(digits: str) -> float:
    number = float(digits)
    return _OddNumber(number) if isinf(number) else number


def _parse_int(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter's limit, sys.set_int_max_str_digits
        return _OddNumber(digits)


def _parse(body: bytes) -> Any:
    if not body:
        raise _NotJSONError("the body is empty")
    try:
        # JSON allows no byte order mark, but one does no harm.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _NotJSONError(f"not JSON: byte {error.start} is not UTF-8") from None
    try:
        return json.loads(text, parse_float=_parse_float, parse_int=_parse_int, parse_constant=_OddNumber)
    except json.JSONDecodeError as error:
        raise _NotJSONError(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None


_JSON_NAMES: Final = {
    dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number",
    bool: "true or false", type(None): "null", _OddNumber: "a number out of range",
}  # fmt: skip


def _is_exactly(value: Any, kind: type) -> bool:
    return type(value) is kind  # json.loads returns no subclasses, and True must not pass for a number


def _raise_unexpected(wanted: str, value: Any) -> NoReturn:
    raise _InvalidValueError(f"expected {wanted}, not {_JSON_NAMES[type(value)]}")


def _scalar_hook(kind: type, wanted: str) -> _Hook:
    return lambda value, _: value if _is_exactly(value, kind) else _raise_unexpected(wanted, value)


_read_str = _scalar_hook(str, "a string")
_read_int = _scalar_hook(int, "a whole number")
_read_bool = _scalar_hook(bool, "true or false")


def _read_float(value: Any, _: Any) -> float:
    try:
        return (
            float(value)
            if _is_exactly(value, float) or _is_exactly(value, int)
            else _raise_unexpected("a number", value)
        )
    except OverflowError:
        return _raise_unexpected("a number", _OddNumber())


def _read_any(value: Any, _: Any) -> Any:
    return value


_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-5][0-9]))?"
)


def _read_time(value: Any, _: Any) -> datetime | None:
    if value is None or value == "":
        return None
    match = _TIME.fullmatch(_read_str(value, None))
    if match is None:
        raise _InvalidValueError(f"expected an RFC 3339 time, not {value[:40]!r}")
    *parts, fraction, sign, hours, minutes = match.groups()
    zone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        year, month, day, hour, minute, second = map(int, parts)
        microsecond = int((fraction or "")[:6].ljust(6, "0"))
        time = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day or offset; or UTC leaves the years 1 to 9999
        raise _InvalidValueError(f"expected a time that exists, not {value[:40]!r}") from None
    return None if time == UNSET else time


# ---- cattrs: the notes that it adds to an error give the path


def _read_item(read: _Hook, value: Any, index: int | str, kind: Any) -> Any:
    try:
        return read(value, kind)
    except Exception as error:
        error.add_note(cattrs.IterableValidationNote("", index, kind))
        raise cast(Any, cattrs.IterableValidationError)("", [error], kind) from None


def _renaming(kind: Any) -> dict[str, Any]:
    return {name: override(rename=wire) for name, wire in wire_names(kind).items()}


def _record_unstructure_hook(converter: cattrs.Converter, kind: Any) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(kind, converter, **_renaming(kind))


def _record_hook(kind: Any) -> _Hook:
    structure = cast(_Hook, make_dict_structure_fn(kind, _CONVERTER, **_renaming(kind)))
    return lambda value, _: (
        structure(value, kind) if _is_exactly(value, dict) else _raise_unexpected("an object", value)
    )


def _container_hook(kind: Any) -> _Hook:
    item = get_args(kind)[-1]
    read = _CONVERTER.get_structure_hook(item)

    def read_list(value: Any, _: Any) -> list[Any]:
        rows = value if _is_exactly(value, list) else _raise_unexpected("an array", value)
        return [_read_item(read, row, index, item) for index, row in enumerate(rows)]

    def read_dict(value: Any, _: Any) -> dict[str, Any]:
        rows = value if _is_exactly(value, dict) else _raise_unexpected("an object", value)
        return {key: _read_item(read, row, key, item) for key, row in rows.items()}

    return read_list if container_of(kind) is list else read_dict


def _make_converter(write_time: Callable[[datetime], Any]) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook(str, _read_str)
    converter.register_structure_hook(int, _read_int)
    converter.register_structure_hook(bool, _read_bool)
    converter.register_structure_hook(float, _read_float)
    converter.register_structure_hook_func(lambda kind: kind is Any, _read_any)
    # The whole union, because a service may send "" for null. No record requires a time.
    converter.register_structure_hook_func(lambda kind: kind == datetime | None, _read_time)
    converter.register_structure_hook_factory(attrs.has, _record_hook)
    converter.register_structure_hook_factory(lambda kind: container_of(kind) is not None, _container_hook)
    converter.register_unstructure_hook_factory(
        lambda kind: attrs.has(kind) and bool(wire_names(kind)), partial(_record_unstructure_hook, converter)
    )
    converter.register_unstructure_hook(datetime, write_time)
    converter.register_unstructure_hook_func(lambda kind: kind in (dict, list), partial(_copy_json, converter))
    return converter


def _copy_json(converter: cattrs.Converter, value: Any) -> Any:
    # Not by recursion: a value that could be read must not fail here for its depth.
    top: list[Any] = [value]
    todo: list[tuple[Any, Any]] = [(top, 0)]
    while todo:
        holder, key = todo.pop()
        item = holder[key]
        if _is_exactly(item, dict):
            holder[key] = item = dict(item)
            todo.extend((item, name) for name in item)
        elif _is_exactly(item, list):
            holder[key] = item = list(item)
            todo.extend((item, index) for index in range(len(item)))
        elif not isinstance(item, str | int | float | None):
            holder[key] = converter.unstructure(item)
    return top[0]


def _in_utc(time: datetime) -> datetime:
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)


def _write_time(time: datetime) -> str:
    return _in_utc(time).isoformat(timespec="microseconds").replace("+00:00", "Z")


_CONVERTER: Final = _make_converter(_write_time)
_KEEPS_TIMES: Final = _make_converter(_in_utc)
_READ_ERRORS = (_InvalidValueError, RecursionError, cattrs.ClassValidationError, cattrs.IterableValidationError)


def _structure(value: Any, kind: type[T]) -> T:
    return cast(T, _CONVERTER.get_structure_hook(kind)(value, kind))


def _decode_error(error: Exception, body: bytes, path: str = "$") -> ResponseDecodeError:
    while isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        names = wire_names(error.cl) if attrs.has(error.cl) else {}
        error = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            named = isinstance(note, cattrs.AttributeValidationNote)
            path += f".{names.get(note.name, note.name)}" if named else f"[{note.index!r}]"
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, KeyError):  # cattrs looked up a required field
        text = "is missing"
    start = start_of(body, _EXCERPT_LENGTH)
    return ResponseDecodeError(
        f"cannot decode the response at {path}: {text}",
        path=path,
        body=start,
        retryable=isinstance(error, _NotJSONError),
    )


def start_of(body: bytes, size: int) -> str:
    """Return the first `size` bytes of a body as text, without the values of fields that hold secrets."""
    return _SENSITIVE.sub(r"\1***", body[:size].decode("utf-8", "replace"))


def decode_strict(body: bytes, kind: type[T]) -> T:
    """Decode `body` as `decode` does, without msgspec."""
    try:
        return _structure(_parse(body), kind)
    except _READ_ERRORS as caught:
        error = _decode_error(caught, body)
    raise error  # outside the handler, so that the error has no context


# ---- what other modules use


def decode_fast(body: bytes, kind: type[T]) -> T | None:
    """Decode `body` as a `kind` with msgspec, or return None if `decode_strict` has to decide."""
    record: T | None = FAST_READERS[kind](body)
    return record


def decode(body: bytes, kind: type[T]) -> T:
    """Decode `body` as a `kind`, a record or a list of records.

    Raises `ResponseDecodeError` with the path of the first value that does not fit.
    """
    record: T | None = FAST_READERS[kind](body)
    return record if record is not None else decode_strict(body, kind)


def decode_rows(
    body: bytes, kind: type[Any], *, rows: str, row_kind: type[T], identity: str, strict: bool = False
) -> list[tuple[str | None, T | ResponseDecodeError]]:
    """Decode an envelope row by row: return each row's id, with the row or its own error.

    `rows` and `identity` name the fields of the rows and of their ids. With `strict`, msgspec is not used. Raises
    `ResponseDecodeError` if there are no rows to read.
    """
    try:
        envelope = (decode_strict if strict else decode)(body, kind)
    except ResponseDecodeError as caught:
        error = caught
    else:
        return [(getattr(row, identity), row) for row in getattr(envelope, rows) or ()]
    try:
        _, found = decode_page(body, kind, rows=rows, identity=identity)
    except ResponseDecodeError:
        raise error from None
    if found is None:
        raise error
    return [
        (row.id, row.error) if isinstance(row, UndecodedRow) else (getattr(row, identity), row)
        for row in cast("list[T | UndecodedRow]", found)
    ]


def decode_page(body: bytes, kind: type[T], *, rows: str, identity: str) -> tuple[T, list[Any] | None]:
    """Decode a page of rows without msgspec: return the page without its rows, and the rows (None if they are null).

    A row that cannot be decoded becomes an `UndecodedRow`. `rows` names the field of the rows, empty if the body itself
    is the array; `identity` names the field of their ids. Raises `ResponseDecodeError` if anything but a row fails.
    """
    try:
        page = _parse(body)
        parts: Any = page if not rows else page.get(rows) if _is_exactly(page, dict) else None
        if not _is_exactly(parts, list):
            return _structure(page, kind), None
        envelope = _structure({**page, rows: []} if rows else [], kind)
    except _READ_ERRORS as caught:
        error = _decode_error(caught, body)
    else:
        row_kind, path = kind_of_rows(cast(Any, kind), rows), f"$.{rows}" if rows else "$"
        found: list[Any] = []
        for number, row in enumerate(parts):
            above = getattr(found[-1], "created_at", None) if found else None
            found.append(_read_row(row, row_kind, f"{path}[{number}]", identity, body, above))
        return envelope, found
    raise error


@cache
def kind_of_rows(kind: Any, rows: str) -> Any:
    """Return the class of the rows in a field of an envelope, or in an array if `rows` is empty."""
    hint = get_type_hints(kind)[rows] if rows else kind
    return next(get_args(option)[0] for option in (hint, *get_args(hint)) if container_of(option) is list)


def _read_row(raw: Any, kind: Any, path: str, identity: str, body: bytes, above: datetime | None) -> Any:
    try:
        return _structure(raw, kind)
    except _READ_ERRORS as caught:
        error = _decode_error(caught, body, path)
    values = cast(dict[str, Any], raw) if _is_exactly(raw, dict) else {}
    try:
        stated_at = _read_time(values.get("created_at"), None)
    except _InvalidValueError:
        stated_at = None
    return UndecodedRow.make(raw, values.get(wire_names(kind).get(identity, identity)), error, stated_at, above)


def decode_json(body: bytes) -> Any:
    """Decode `body` as any JSON, or return None if it is empty. Raises `ResponseDecodeError` if it is not JSON."""
    return decode_strict(body, cast(Any, Any)) if body else None


def to_dict(record: Any, *, keep_times: bool = False) -> dict[str, Any]:
    """Return a record as a dict of plain JSON values, with the API's names for its fields.

    Records in it become dicts, and times RFC 3339 text in UTC, all with six digits of a second, so that their text
    sorts as they do. With `keep_times` they stay aware datetimes in UTC. Raises `TypeError` if `record` is not a record
    of this package.
    """
    if not attrs.has(cast(Any, type(record))):
        raise TypeError(f"record must be a record of this package, not {type(record).__name__}")
    return cast(dict[str, Any], (_KEEPS_TIMES if keep_times else _CONVERTER).unstructure(record))


def to_plain(value: Any) -> Any:
    """Return a value of any field as plain JSON values, as `to_dict` does."""
    return _CONVERTER.unstructure(value)


def encode_json(value: Any) -> bytes:
    """Return `value` as compact JSON in ASCII.

    Raises `TypeError` for a value that JSON cannot represent, such as a time, and `ValueError` for NaN, infinity, a
    loop, or nesting that is too deep.
    """
    try:
        # A lone surrogate, which UTF-8 cannot encode, is sent back as it came.
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
