"""Owns bytes to records and back: the one room that knows cattrs and msgspec; refuses to guess at a type.

Two readers, one truth. The authority parses with the standard library and structures with cattrs, whose hooks
here coerce nothing. Before it, msgspec decodes straight into the same classes, ten times as fast, and its
answer is used only where it must equal the authority's. What msgspec refuses, the authority decides; what it
accepts and the authority reads otherwise has to be noticed here:

- UTF-8 that is broken in a field nobody reads, which msgspec skips over;
- a time without a zone, with an offset, or in year 1 (Go's "unset"), which msgspec takes as it stands;
- a time with more than six fractional digits, which msgspec rounds and the authority cuts off.

Only at the interpreter's recursion limit the two may part, by a few levels of nesting; beyond it both refuse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Any, Final, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from .errors import ResponseDecodeError

T = TypeVar("T")
_Reader = Callable[[Any, Any], Any]


try:
    _msgspec: Any = import_module("msgspec")
except ImportError:
    _msgspec = None

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
_UNSET: Final = datetime(1, 1, 1, tzinfo=UTC)


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
    return None if time == _UNSET else time


# ---- The authority: cattrs walks, and its notes on the way out give the path.


def _read_item(read: _Reader, value: Any, index: int | str, kind: Any) -> Any:
    try:
        return read(value, kind)
    except Exception as error:
        error.add_note(cattrs.IterableValidationNote("", index, kind))
        raise cast(Any, cattrs.IterableValidationError)("", [error], kind) from None


def _record_reader(kind: Any) -> _Reader:
    structure = cast(_Reader, make_dict_structure_fn(kind, _CONVERTER))
    return lambda value, _: structure(value, kind) if _is(value, dict) else _refuse("an object", value)


def _container(kind: Any) -> Any:
    origin: Any = get_origin(kind)
    return origin if origin in (list, dict) else None


def _items_reader(kind: Any) -> _Reader:
    item = get_args(kind)[-1]
    read = _CONVERTER.get_structure_hook(item)

    def read_list(value: Any, _: Any) -> list[Any]:
        rows = value if _is(value, list) else _refuse("an array", value)
        return [_read_item(read, row, index, item) for index, row in enumerate(rows)]

    def read_dict(value: Any, _: Any) -> dict[str, Any]:
        rows = value if _is(value, dict) else _refuse("an object", value)
        return {key: _read_item(read, row, key, item) for key, row in rows.items()}

    return read_list if _container(kind) is list else read_dict


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
    converter.register_structure_hook_factory(lambda kind: _container(kind) is not None, _items_reader)
    converter.register_unstructure_hook(datetime, _write_time)
    return converter


def _write_time(time: datetime) -> str:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")


_CONVERTER: Final = _make_converter()
_FAILURES = (_Refused, RecursionError, cattrs.ClassValidationError, cattrs.IterableValidationError)


def _structure(value: Any, kind: type[T]) -> T:
    return cast(T, _CONVERTER.get_structure_hook(kind)(value, kind))


def _decode_error(error: Exception, body: bytes, path: str = "$") -> ResponseDecodeError:
    while isinstance(error, cattrs.ClassValidationError | cattrs.IterableValidationError):
        error = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            named = isinstance(note, cattrs.AttributeValidationNote)
            path += f".{note.name}" if named else f"[{note.index!r}]"
    text = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if isinstance(error, KeyError):  # cattrs looked a required field up
        text = "is missing"
    start = _SENSITIVE.sub(r"\1***", body[:_EXCERPT].decode("utf-8", "replace"))
    return ResponseDecodeError(f"cannot read the answer at {path}: {text}", path=path, body=start)


def decode_by_authority(body: bytes, kind: type[T]) -> T:
    """Read `body` as `decode` does, but never with msgspec."""
    try:
        return _structure(_parse(body), kind)
    except _FAILURES as caught:
        error = _decode_error(caught, body)
    raise error  # out here, so that it drags no foreign exception along


# ---- The fast reader.

# What msgspec may have read otherwise, as searches that may raise a false alarm but miss nothing: a fraction
# too long for it, and the characters of a time written as escapes, which would hide one.
_LONG_FRACTION = re.compile(rb'\.(?=[0-9]{7,}[Zz+"-])')  # looking ahead is faster than matching
_ESCAPED_TIME = re.compile(rb"\\u00(?:2[BbDdEe]|3[0-9]|[57][Aa])")


def _times_source(kind: Any, name: str, depth: int, put: str = "return None") -> list[str]:
    """Write the lines that collect every time below `name`, which holds a `kind`; `put` keeps one made UTC."""
    pad = "    " * depth
    origin = _container(kind)
    if isinstance(kind, UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        if len(options) == 1:
            inner = _times_source(options[0], name, depth + 1, put)
            return [f"{pad}if {name} is not None:", *inner] if inner else []
    elif kind is datetime:
        # Times without a zone are UTC (all those of runs): said here, they need not take the slow way.
        aware = f"{pad}    if {name}.tzinfo is not None: return None"
        made_utc = f"{pad}    {name} = {name}.replace(tzinfo=UTC); {put}"
        return [f"{pad}if {name}.tzinfo is not UTC:", aware, made_utc, f"{pad}add({name})"]
    elif origin is list or (origin is dict and get_args(kind)[0] is str):
        each = f"{name}.values()" if origin is dict else name
        inner = _times_source(get_args(kind)[-1], f"{name}_item", depth + 1)
        return [f"{pad}for {name}_item in {each}:", *inner] if inner else []
    elif attrs.has(kind):
        lines: list[str] = []
        for field, hint in get_type_hints(kind).items():
            put = f'put({name}, "{field}", {name}_{field})'
            inner = _times_source(hint, f"{name}_{field}", depth, put)
            lines += [f"{pad}{name}_{field} = {name}.{field}", *inner] if inner else []
        return lines
    elif kind in (str, int, float, bool, Any):
        return []
    raise TypeError(f"a record may not hold {kind}: no rule says that msgspec reads it as cattrs does")


def _times_collector(kind: Any) -> Callable[[Any], list[datetime] | None] | None:
    """Make a function that gives the times of a `kind`, or None if one has an offset; None if it has none.
    It is written as source, as attrs and cattrs write their methods: closures would cost twice as much a row.
    """
    lines = _times_source(kind, "record", 1)
    if not lines:
        return None
    source = ["def collect(record):", "    times = []", "    add = times.append", *lines, "    return times"]
    room: dict[str, Any] = {"UTC": UTC, "put": object.__setattr__}  # records are frozen
    exec(compile("\n".join(source), f"<times of {kind}>", "exec"), room)  # only our own field names are in it
    return cast(Callable[[Any], "list[datetime] | None"], room["collect"])


def _times_are_exact(times: list[datetime], body: bytes, pack: Callable[[Any], bytes]) -> bool:
    """Say whether UTC `times` surely equal what `body` writes: none in year 1, none rounded."""
    if b"\\" in body and _ESCAPED_TIME.search(body):
        return False
    # MessagePack writes a UTC time in 6 bytes if it is a whole second from 1970 to 2106, else in 10 or more,
    # and a list's head in 1 or 3 (5 above 65,535 items: then this says no, which is safe). So one call tells
    # what would cost three times as much to ask of each time: its year, and whether it has a fraction.
    if len(pack(times)) <= 6 * len(times) + 3:
        # Whole seconds all: then only a fraction that was rounded up to the next second can hide. The search
        # for its nines starts from the right, where CPython uses the faster algorithm.
        return body.rfind(b".999999") < 0 or not _LONG_FRACTION.search(body)
    return min(times).year != 1 and not _LONG_FRACTION.search(body)


@cache
def _fast_reader(kind: Any) -> Callable[[bytes], Any] | None:
    """Make the msgspec reader of `kind`: it gives None where the authority has to decide."""
    if _msgspec is None:
        return None
    read = _msgspec.json.Decoder(kind).decode
    pack = _msgspec.msgpack.Encoder().encode
    collect = _times_collector(kind)

    def read_fast(body: bytes) -> Any:
        try:
            record = read(body)
            if not body.isascii():
                body.decode()
        except Exception:  # whatever it has against the body, the authority is asked next
            return None
        if collect is None:
            return record
        times = collect(record)
        return record if times is not None and _times_are_exact(times, body, pack) else None

    return read_fast


# ---- What the other rooms use.


def decode_fast(body: bytes, kind: type[T]) -> T | None:
    """Read `body` as a `kind` by msgspec; None where the authority has to decide."""
    fast = _fast_reader(cast(Any, kind))  # to a type checker list[X] is no Hashable
    return cast("T | None", fast(body)) if fast is not None else None


def decode(body: bytes, kind: type[T]) -> T:
    """Read `body` as a `kind` (a record or a list of them), or raise a `ResponseDecodeError` saying where."""
    record = decode_fast(body, kind)
    return record if record is not None else decode_by_authority(body, kind)


def decode_each(
    body: bytes, kind: type[Any], *, rows: str, row_kind: type[T], identity: str, slow: bool = False
) -> list[tuple[str | None, T | ResponseDecodeError]]:
    """Read an envelope whose rows stand or fall alone: each one's id, and the row or its error; `slow`: no msgspec."""
    try:
        envelope = (decode_by_authority if slow else decode)(body, kind)
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
    return decode_by_authority(body, cast(Any, Any)) if body else None


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
