"""Decode bytes into records with msgspec, ten times as fast as cattrs.

A reader made here returns a record only if `strict` would read the same one, and None if `strict` has to decide.
msgspec accepts some bodies that `strict` rejects or reads differently. They are recognised here:

- Invalid UTF-8 in a field that no record has, which msgspec skips: left to `strict`.
- A time written with escapes, of which msgspec reads only what comes before a NUL: left to `strict`.
- A time without a zone, with an offset, or in year 1 (Go's zero value), which msgspec reads as it is written:
  converted to UTC, or replaced by None.
- An empty time (also unset in Go), which msgspec rejects: replaced by None.
- A time with more than six fractional digits, which msgspec rounds and `strict` truncates: read again, truncated.

Near the interpreter's recursion limit one reader may refuse a body a few nesting levels before the other does.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import attrs

from ..records._field_metadata import MOSTLY_ABSENT, wire_names
from .times import (
    UNSET,
    UNSET_DATE,
    UNSET_JSON,
    TimeFields,
    are_whole_seconds,
    normalised,
)

T = TypeVar("T")

try:
    import msgspec  # a plain import, so that tools that freeze an application include it
except ImportError:
    _msgspec: Any = None
else:
    _msgspec = msgspec

_LONG_FRACTION = re.compile(rb'(\.[0-9]{6})[0-9]++(?=(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"[ \t\r\n]*[]},])')
"""The end of a string value, not of a key, that could be a time with too many digits for msgspec."""
_ESCAPED_TIME = re.compile(rb"\\u00(?:00|2[BbDdEe]|3[0-9Aa]|[57][Aa])")
"""An escape that could hide such an end: of a character of a time, or of a NUL, at which msgspec stops reading."""
_ROUNDED_UP: Final = b".999999"
"""How each fraction begins that msgspec rounds up to a whole second. Among whole seconds only such a fraction needs to
be truncated. The search for it goes from the right, where CPython uses the faster algorithm."""
_BACKSLASH: Final = ord("\\")

_EMPTY_TIME: Final = b'_at":""'
_UNSET_TIME: Final = b'_at":' + UNSET_JSON
"""The two ways in which Go writes an unset time. The names of all time fields end in `_at`."""

_LOCK: Final = threading.Lock()
"""Held while a reader is made: msgspec caches what it knows of a class on that class before it is complete."""


class _FastReaders(dict[Any, Callable[[bytes], Any]]):
    def __missing__(self, kind: Any) -> Callable[[bytes], Any]:
        with _LOCK:
            reader = self[kind] = _make_fast_reader(kind)
        return reader


FAST_READERS: Final = _FastReaders()
"""For each type, the function that reads a body as that type with msgspec, or returns None if `strict` has to decide.

A reader is made when it is first looked up.
"""


def fast_reader(kind: type[T]) -> Callable[[bytes], T | None]:
    """Return the reader of a `kind` from `FAST_READERS`."""
    return FAST_READERS[kind]


def _make_fast_reader(kind: Any) -> Callable[[bytes], Any]:
    record_kinds = list(_records_in(kind))
    if _msgspec is None or any(wire_names(record) for record in record_kinds if record is not kind):
        return lambda body: None
    for record_kind in record_kinds:
        _prepare_for_absence(record_kind)
    read = _decoder(kind)
    encode = _msgspec.json.Encoder().encode
    fields = TimeFields(kind)
    has_times = bool(fields)
    check = fields.check

    def read_fast(body: bytes) -> Any:
        try:
            record = read(body)
            if not body.isascii():
                body.decode()
        except Exception:  # `strict` says what is wrong with the body
            return read_with_empty_times(body) if _EMPTY_TIME in body else None
        if not has_times:
            return record
        if _BACKSLASH in body and _ESCAPED_TIME.search(body):
            return None
        if check is not None and check((record,)) and body.rfind(_ROUNDED_UP) < 0:
            return record
        return with_checked_times(record, body)

    def read_with_empty_times(body: bytes) -> Any:
        """Read `body` with its empty times, which msgspec rejects, written as Go's zero value."""
        body = body.replace(_EMPTY_TIME, _UNSET_TIME)
        try:
            record = read(body)
            body.decode()
        except Exception:
            return None
        # A field of a free-form value may have such a name too, and must keep what was in it.
        count = fields.gather((record,)).count(UNSET)
        if not count == body.count(_UNSET_TIME) == body.count(UNSET_DATE):
            return None
        return None if _BACKSLASH in body and _ESCAPED_TIME.search(body) else with_checked_times(record, body)

    def with_checked_times(record: Any, body: bytes) -> Any:
        """Return `record` with its times as `strict` reads them, or None if `strict` has to read them."""
        times = fields.gather((record,))
        whole = are_whole_seconds(times, encode)
        truncate = (not whole or body.rfind(_ROUNDED_UP) >= 0) and _LONG_FRACTION.search(body) is not None
        if whole is not None and not truncate:
            return record
        try:
            if truncate:
                times = fields.gather((read(b"".join(_LONG_FRACTION.split(body))),))
            fields.replace((record,), iter(normalised(times, encode)))
        except Exception:  # a time that does not exist in UTC
            return None
        return record

    return read_fast


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    """Return msgspec's decoder of a `kind`.

    msgspec has no other names for the fields of an attrs class than its own. If the wire has, msgspec decodes into a
    copy of the class with the wire's names.
    """
    names = wire_names(kind) if attrs.has(kind) else {}
    if not names:
        return cast("Callable[[bytes], Any]", _msgspec.json.Decoder(kind).decode)
    hints = get_type_hints(kind)
    own_names: list[str] = [field.name for field in attrs.fields(kind)]
    on_the_wire = [names.get(name, name) for name in own_names]
    body: dict[str, Any] = {
        name: attrs.field(default=field.default) for name, field in zip(on_the_wire, attrs.fields(kind), strict=True)
    }
    body["__annotations__"] = {name: hints[own] for name, own in zip(on_the_wire, own_names, strict=True)}
    decode = _msgspec.json.Decoder(
        attrs.define(type(kind.__name__, (), body), kw_only=True, eq=False, repr=False)
    ).decode
    values = attrgetter(*on_the_wire)
    return lambda body: kind(**dict(zip(own_names, values(decode(body)), strict=True)))


def _records_in(kind: Any) -> Iterator[Any]:
    """Find every record class in a `kind`, itself included."""
    for inner in get_args(kind):
        yield from _records_in(inner)
    if attrs.has(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from _records_in(hint)


def _prepare_for_absence(kind: Any) -> None:
    """Make msgspec begin a record with None in the fields that are mostly absent.

    For each field that the body lacks, msgspec asks the record whether it is set. In a class with slots that is an
    `AttributeError`, which costs more than reading all other fields. msgspec calls the hook set here before it reads;
    attrs does not, because it looked for one when it made the class.
    """
    if "__attrs_pre_init__" in vars(kind):
        return
    setters = [getattr(kind, field.name).__set__ for field in attrs.fields(kind) if field.metadata == MOSTLY_ABSENT]

    def set_to_none(record: Any) -> None:
        for set_field in setters:
            set_field(record, None)

    if setters:
        type.__setattr__(kind, "__attrs_pre_init__", set_to_none)


def time_texts(times: Sequence[datetime | None]) -> list[str | None]:
    """Return times in UTC as RFC 3339 texts, all with six digits of a second, so that they sort as the times do.

    With msgspec this takes a twentieth of the time.
    """
    if not times:
        return []
    if _msgspec is None:
        return [None if time is None else f"{time.isoformat('T', 'microseconds')[:26]}Z" for time in times]
    texts: list[str] = _msgspec.json.encode(times).decode()[1:-1].split(",")
    return [
        text[1:-1] if len(text) == _QUOTED_TIME else None if text == "null" else f"{text[1:20]}.000000Z"
        for text in texts
    ]


_QUOTED_TIME: Final = len('"2026-11-27T18:34:27.123456Z"')


def number_texts(numbers: Sequence[float | None]) -> list[str]:
    """Return finite numbers as JSON has them, and an empty text for None."""
    if _msgspec is not None:
        try:
            texts: str = _msgspec.json.encode(numbers).decode()[1:-1]
            return texts.replace("null", "").split(",") if numbers else []
        except OverflowError:
            pass  # an integer of more than 64 bits
    return ["" if number is None else repr(number) for number in numbers]


def json_lines(rows: Sequence[Any], times: Mapping[str, Sequence[datetime | None]]) -> bytes | None:
    """Return flat records as lines of JSON, with the times as `time_texts` writes them.

    `times` has the values of the fields with times, by name. Returns None where `strict` has to write the rows.
    """
    if _msgspec is None:
        return None
    try:
        lines: bytes = _msgspec.json.Encoder().encode_lines(rows)
    except (ValueError, OverflowError):  # a lone surrogate, or an integer of more than 64 bits
        return None
    count = whole = 0
    for column in times.values():
        present = [time for time in column if time is not None]
        count += len(present)
        whole += sum([not time.microsecond for time in present])
    if not whole:
        return lines
    if whole == count:
        completed = b'.000000Z"'.join(lines.split(b'Z"'))  # Twice as fast as `replace`.
        if len(completed) == len(lines) + count * len(b".000000"):  # No text ends like a time.
            return completed
    return _whole_second(tuple(times)).sub(rb'\1.000000Z"', lines)


@cache
def _whole_second(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return a pattern of the fields whose time is a whole second. No text contains it: its quotes are escaped."""
    return re.compile(rb'("(?:%b)":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})Z"' % "|".join(names).encode())
