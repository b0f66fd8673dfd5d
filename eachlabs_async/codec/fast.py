"""Owns msgspec: bytes straight into records, ten times as fast as cattrs; refuses whatever cattrs might read otherwise.

A reader of this room gives None where the authority, in `strict`, has to decide. What msgspec accepts and the authority
reads otherwise is noticed here:

- UTF-8 that is broken in a field nobody reads, which msgspec skips over, is left to the authority;
- so is a time with escapes in it, which msgspec reads, and up to a NUL only;
- a time without a zone, with an offset, or in year 1 (Go's "unset"), which msgspec takes as it stands, is put right,
  and so is one that is empty (Go's other "unset"), which it refuses;
- one with more than six fractional digits, which msgspec rounds and the authority cuts off, is read once more.

Only at the interpreter's recursion limit the two may part, by a few levels of nesting; beyond it both refuse.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import attrs

from ..records._field_metadata import MOSTLY_ABSENT, wire_names
from .times import (
    UNSET,
    UNSET_DAY,
    UNSET_WRITTEN,
    Times,
    gatherer,
    looker,
    places,
    putter,
    settled,
    written,
    written_alike,
)

T = TypeVar("T")

try:
    _msgspec: Any = import_module("msgspec")
except ImportError:
    _msgspec = None

_LONG_FRACTION = re.compile(rb'(\.[0-9]{6})[0-9]++(?=(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"[ \t\r\n]*[]},])')
"""Where a value, not a key, ends like a time with too many digits; a time that msgspec accepts ends in no other way."""
_ESCAPED_TIME = re.compile(rb"\\u00(?:00|2[BbDdEe]|3[0-9Aa]|[57][Aa])")
"""What would hide such an end: its characters written as escapes. A NUL ends a time to msgspec, whatever follows."""

_EMPTY: Final = b'_at":""'
_UNSET: Final = b'_at":' + UNSET_WRITTEN
"""Go's two ways to write an unset time, in a field that is named like all times are."""

_MAKING: Final = threading.Lock()
"""Held while readers are made: msgspec keeps what it learns of a class on it before it is complete, for all to see."""


@cache
def _fast_reader(kind: Any) -> Callable[[bytes], Any]:
    """Make the msgspec reader of `kind`: it gives None where the authority has to decide."""
    with _MAKING:
        return _make_fast_reader(kind)


def _make_fast_reader(kind: Any) -> Callable[[bytes], Any]:
    inside = list(_records_in(kind))
    if _msgspec is None or any(wire_names(record) for record in inside if record is not kind):
        return lambda body: None
    for record in inside:
        _prepare_for_absence(record)
    read = _decoder(kind)
    write = _msgspec.json.Encoder().encode
    found = list(places(kind))
    gather, put = gatherer(kind, found), putter(kind, found)
    look = None if any(place.many for place in found) else looker(kind)

    def read_fast(body: bytes) -> Any:
        try:
            record = read(body)
            if not body.isascii():
                body.decode()
        except Exception:  # whatever it has against the body, the authority is asked next
            return read_empty(body) if _EMPTY in body else None
        return judge(record, body) if found else record

    def read_empty(body: bytes) -> Any:
        """Read empty times, which msgspec refuses, as Go's other way to write that they are unset."""
        body = body.replace(_EMPTY, _UNSET)
        try:
            record = read(body)
            body.decode()
        except Exception:
            return None
        # Among free-form values there could be such a field, which is no time and would stay as it is.
        count = gather(record).count(UNSET)
        return judge(record, body) if count == body.count(_UNSET) == body.count(UNSET_DAY) else None

    def judge(record: Any, body: bytes) -> Any:
        """Give what msgspec read if the authority would have read the same, or with its times put right."""
        if b"\\" in body and _ESCAPED_TIME.search(body):
            return None
        if look is not None:
            times, whole = None, look(record)
        else:
            times = gather(record)
            whole = written_alike(times, write)
        # Among whole seconds only a fraction that was rounded up to the next one can hide. The search for its nines
        # alone is the fastest, and from the right, where CPython uses the better algorithm.
        long = (not whole or body.rfind(b"999999") >= 0) and _LONG_FRACTION.search(body)
        return record if whole is not None and not long else settle(record, times, body if long else None)

    def settle(record: Any, times: Times | None, long: bytes | None) -> Any:
        """Put the times of `record` right; where some of them are too `long`, another reading of them cut off helps."""
        try:
            if long is not None:
                times = gather(read(b"".join(_LONG_FRACTION.split(long))))
            put(record, iter(settled(times or gather(record), write)).__next__)
        except Exception:  # no such time in UTC
            return None
        return record

    return read_fast


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    """Make msgspec's decoder of a `kind`; msgspec knows no other name of a field than its own.

    So where the wire calls a field otherwise, msgspec reads a twin of the record that has the wire's names.
    """
    names = wire_names(kind) if attrs.has(kind) else {}
    if not names:
        return cast("Callable[[bytes], Any]", _msgspec.json.Decoder(kind).decode)
    hints = get_type_hints(kind)
    fields = [(names.get(field.name) or field.name, field) for field in attrs.fields(kind)]
    body: dict[str, Any] = {name: attrs.field(default=field.default) for name, field in fields}
    body["__annotations__"] = {name: hints[field.name] for name, field in fields}
    twin = attrs.define(type(kind.__name__, (), body), kw_only=True, eq=False, repr=False)
    known = {"decode": _msgspec.json.Decoder(twin).decode, "kind": kind}
    arguments = ", ".join(f"{field.name}=found.{name}" for name, field in fields)
    return written(f"twin of {kind}", "body", ["    found = decode(body)", f"    return kind({arguments})"], known)


def _records_in(kind: Any) -> Iterator[Any]:
    """Find every record class in a `kind`, itself included."""
    for inner in get_args(kind):
        yield from _records_in(inner)
    if attrs.has(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from _records_in(hint)


def _prepare_for_absence(kind: Any) -> None:
    """Let a record begin with None in the fields that are mostly left out.

    msgspec asks a record of slots for each field in the end, and one that is empty costs more than all the rest: an
    `AttributeError`, made and dropped. It calls this hook before it reads; attrs, which would, has made its classes.
    """
    if "__attrs_pre_init__" in vars(kind):
        return
    names = [field.name for field in attrs.fields(kind) if field.metadata == MOSTLY_ABSENT]
    if names:
        setters = {f"set_{name}": getattr(kind, name).__set__ for name in names}
        begin = written(f"absence in {kind}", "record", [f"    set_{name}(record, None)" for name in names], setters)
        type.__setattr__(kind, "__attrs_pre_init__", begin)


def fast_reader(kind: type[T]) -> Callable[[bytes], T | None]:
    """Give the function that reads a body as a `kind` by msgspec: None comes where the authority has to decide."""
    return _fast_reader(cast(Any, kind))  # to a type checker list[X] is no Hashable
