"""Owns bytes to records and back: the one room that knows cattrs; refuses to guess at a type.

Two readers, one truth. The authority, here, parses with the standard library and structures with cattrs, whose hooks
coerce nothing. Before it, msgspec decodes straight into the same classes (`fast`), and its answer is used only
where it must equal the authority's. What msgspec refuses, the authority decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NoReturn, TypeVar, cast, get_args

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from ..errors import ResponseDecodeError
from ..records._field_metadata import wire_names
from .fast import fast_reader
from .times import UNSET, container_of

T = TypeVar("T")
_Reader = Callable[[Any, Any], Any]


_EXCERPT = 300
_SENSITIVE = re.compile(r'("(?:api_key|source_ip_address|presigned_url|(?i:x-webhook-secret))"\s*:\s*")[^"]*')


# ---- The authority: from bytes to plain values, and from those to types.


class _Refused(ValueError):  # noqa: N818 - never leaves this room
    """What a reader here raises; its text is fit for a caller."""


class _Unreadable:
    """Stands for a number that no Python number holds, so that only a field that is read refuses it."""


_UNREADABLE: Final = _Unreadable()


def _float(digits: str) -> Any:
    number = float(digits)
    return _UNREADABLE if number in (float("inf"), float("-inf")) else number


def _int(digits: str) -> Any:
    try:
        return int(digits)
    except ValueError:  # more digits than the interpreter's limit, sys.set_int_max_str_digits
        return _UNREADABLE


def _constant(word: str) -> NoReturn:
    raise _Refused(f"not JSON: {word} is not a number of JSON")


def _parse(body: bytes) -> Any:
    if not body:
        raise _Refused("the body is empty")
    try:
        # A byte order mark is not allowed, but harmless.
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(f"not JSON: byte {error.start} is not UTF-8") from None
    try:
        return json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise _Refused(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None


_WORDS: Final = {
    dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number",
    bool: "true or false", type(None): "null", _Unreadable: "a number out of range",
}  # fmt: skip


def _is(value: Any, kind: type) -> bool:
    return type(value) is kind  # a type that json.loads gives, never a subclass: True is no number


def _refuse(wanted: str, value: Any) -> NoReturn:
    raise _Refused(f"expected {wanted}, not {_WORDS[type(value)]}")


def _reader(kind: type, wanted: str) -> _Reader:
    return lambda value, _: value if _is(value, kind) else _refuse(wanted, value)


_read_str = _reader(str, "a string")
_read_int = _reader(int, "a whole number")
_read_bool = _reader(bool, "true or false")


def _read_float(value: Any, _: Any) -> float:
    try:
        return float(value) if _is(value, float) or _is(value, int) else _refuse("a number", value)
    except OverflowError:
        return _refuse("a number", _UNREADABLE)


def _read_any(value: Any, _: Any) -> Any:
    # Not by recursion: a value that could be parsed must not fail here for its depth.
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if _is(item, dict):
            todo.extend(item.values())
        elif _is(item, list):
            todo.extend(item)
        elif item is _UNREADABLE:
            _refuse("a number", item)
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
        raise _Refused(f"expected an RFC 3339 time, not {value[:40]!r}")
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
        raise _Refused(f"expected a time that exists, not {value[:40]!r}") from None
    return None if time == UNSET else time


# ---- The authority: cattrs walks, and its notes on the way out give the path.


def _read_item(read: _Reader, value: Any, index: int | str, kind: Any) -> Any:
    try:
        return read(value, kind)
    except Exception as error:
        error.add_note(cattrs.IterableValidationNote("", index, kind))
        raise cast(Any, cattrs.IterableValidationError)("", [error], kind) from None


def _renaming(kind: Any) -> dict[str, Any]:
    return {name: override(rename=wire) for name, wire in wire_names(kind).items()}


def _record_writer(kind: Any) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(kind, _CONVERTER, **_renaming(kind))


def _record_reader(kind: Any) -> _Reader:
    structure = cast(_Reader, make_dict_structure_fn(kind, _CONVERTER, **_renaming(kind)))
    return lambda value, _: structure(value, kind) if _is(value, dict) else _refuse("an object", value)


def _items_reader(kind: Any) -> _Reader:
    item = get_args(kind)[-1]
    read = _CONVERTER.get_structure_hook(item)

    def read_list(value: Any, _: Any) -> list[Any]:
        rows = value if _is(value, list) else _refuse("an array", value)
        return [_read_item(read, row, index, item) for index, row in enumerate(rows)]

    def read_dict(value: Any, _: Any) -> dict[str, Any]:
        rows = value if _is(value, dict) else _refuse("an object", value)
        return {key: _read_item(read, row, key, item) for key, row in rows.items()}

    return read_list if container_of(kind) is list else read_dict


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook(str, _read_str)
    converter.register_structure_hook(int, _read_int)
    converter.register_structure_hook(bool, _read_bool)
    converter.register_structure_hook(float, _read_float)
    converter.register_structure_hook_func(lambda kind: kind is Any, _read_any)
    # The whole union, because the text "" is a way of writing null. A time is never required.
    converter.register_structure_hook_func(lambda kind: kind == datetime | None, _read_time)
    converter.register_structure_hook_factory(attrs.has, _record_reader)
    converter.register_structure_hook_factory(lambda kind: container_of(kind) is not None, _items_reader)
    converter.register_unstructure_hook_factory(lambda kind: attrs.has(kind) and bool(wire_names(kind)), _record_writer)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_unstructure_hook_func(lambda kind: kind in (dict, list), _copy_json)
    return converter


def _copy_json(value: Any) -> Any:
    # Not by recursion: what could be read must not fail here for its depth.
    top: list[Any] = [value]
    todo: list[tuple[Any, Any]] = [(top, 0)]
    while todo:
        holder, key = todo.pop()
        item = holder[key]
        if _is(item, dict):
            holder[key] = item = dict(item)
            todo.extend((item, name) for name in item)
        elif _is(item, list):
            holder[key] = item = list(item)
            todo.extend((item, index) for index in range(len(item)))
        elif not isinstance(item, str | int | float | None):
            holder[key] = _CONVERTER.unstructure(item)
    return top[0]


def _write_time(time: datetime) -> str:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


_CONVERTER: Final = _make_converter()
_FAILURES = (_Refused, RecursionError, cattrs.ClassValidationError, cattrs.IterableValidationError)


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
    if isinstance(error, KeyError):  # cattrs looked a required field up
        text = "is missing"
    start = _SENSITIVE.sub(r"\1***", body[:_EXCERPT].decode("utf-8", "replace"))
    return ResponseDecodeError(f"cannot read the answer at {path}: {text}", path=path, body=start)


def decode_strict(body: bytes, kind: type[T]) -> T:
    """Read `body` as `decode` does, but never with msgspec."""
    try:
        return _structure(_parse(body), kind)
    except _FAILURES as caught:
        error = _decode_error(caught, body)
    raise error  # out here, so that it drags no foreign exception along


# ---- What the other rooms use.


def decode_fast(body: bytes, kind: type[T]) -> T | None:
    """Read `body` as a `kind` by msgspec; None where the authority has to decide."""
    return fast_reader(kind)(body)


def decode(body: bytes, kind: type[T]) -> T:
    """Read `body` as a `kind` (a record or a list of them), or raise a `ResponseDecodeError` saying where."""
    record = fast_reader(kind)(body)
    return record if record is not None else decode_strict(body, kind)


def decode_each(
    body: bytes, kind: type[Any], *, rows: str, row_kind: type[T], identity: str, slow: bool = False
) -> list[tuple[str | None, T | ResponseDecodeError]]:
    """Read an envelope whose rows stand or fall alone: each one's id, and the row or its error; `slow`: no msgspec."""
    try:
        envelope = (decode_strict if slow else decode)(body, kind)
    except ResponseDecodeError as caught:
        error = caught
    else:
        return [(getattr(row, identity), row) for row in getattr(envelope, rows) or ()]
    try:
        raw = _parse(body)
        parts: Any = raw.get(rows) if _is(raw, dict) else None
    except _FAILURES:
        parts = None
    if not _is(parts, list):
        raise error
    return [_read_row(row, row_kind, f"$.{rows}[{n}]", identity, body) for n, row in enumerate(parts)]


def _read_row(
    raw: Any, kind: type[T], path: str, identity: str, body: bytes
) -> tuple[str | None, T | ResponseDecodeError]:
    name = raw.get(identity) if _is(raw, dict) else None
    result: T | ResponseDecodeError
    try:
        result = _structure(raw, kind)
    except _FAILURES as caught:
        result = _decode_error(caught, body, path)
    return name if _is(name, str) else None, result


def decode_json(body: bytes) -> Any:
    """Read `body` as any JSON, None where it is empty; a `ResponseDecodeError` where it is not JSON."""
    return decode_strict(body, cast(Any, Any)) if body else None


def to_dict(record: Any) -> dict[str, Any]:
    """Give `record` as plain JSON values under the wire's names: records as dicts, times as RFC 3339 text."""
    if not attrs.has(cast(Any, type(record))):
        raise TypeError(f"record must be a record of this package, not {type(record).__name__}")
    return cast(dict[str, Any], _CONVERTER.unstructure(record))


def encode_json(value: Any) -> bytes:
    """Give `value` as JSON: a TypeError for what JSON has no word for (a time, too), a ValueError for NaN."""
    try:
        # ASCII, so that even a lone surrogate, which UTF-8 has no bytes for, goes back as it came.
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
