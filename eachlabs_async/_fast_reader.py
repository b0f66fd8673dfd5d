"""Owns msgspec: bytes straight into records, ten times as fast as cattrs; refuses whatever cattrs might read otherwise.

A reader of this room gives None where the authority, in `_codec`, has to decide. What msgspec accepts and the authority
reads otherwise is noticed here:

- UTF-8 that is broken in a field nobody reads, which msgspec skips over;
- a time without a zone, with an offset, or in year 1 (Go's "unset"), which msgspec takes as it stands;
- a time with more than six fractional digits, which msgspec rounds and the authority cuts off.

Only at the interpreter's recursion limit the two may part, by a few levels of nesting; beyond it both refuse.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs

from .records._fields import MOSTLY_ABSENT

T = TypeVar("T")

try:
    _msgspec: Any = import_module("msgspec")
except ImportError:
    _msgspec = None


def container_of(kind: Any) -> Any:
    """Give `list` or `dict` for a type of that kind, None for any other."""
    origin: Any = get_origin(kind)
    return origin if origin in (list, dict) else None


# What msgspec may have read otherwise, as searches that may raise a false alarm but miss nothing: a fraction
# too long for it, and the characters of a time written as escapes, which would hide one.
_LONG_FRACTION = re.compile(rb'\.(?=[0-9]{7,}[Zz+"-])')  # looking ahead is faster than matching
_ESCAPED_TIME = re.compile(rb"\\u00(?:2[BbDdEe]|3[0-9]|[57][Aa])")
UNSET: Final = datetime(1, 1, 1, tzinfo=UTC)
"""How Go writes a time that is none."""
_WRITTEN: Final = len('"2026-01-31T12:00:00Z",')


def _times_source(
    kind: Any, name: str, depth: int, settle: bool, put: str = "return None", many: bool = False
) -> list[str]:
    """Write the lines that look at every time below `name`, which holds a `kind`.

    Rows can be many, so their times are gathered for one look at all; the others are looked at one by one. To `settle`
    is to `put` a time without a zone back as UTC, which it is (all those of runs are), and an unset one as None.
    """
    pad = "    " * depth
    origin = container_of(kind)
    if isinstance(kind, UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        if len(options) == 1:
            inner = _times_source(options[0], name, depth + 1, settle, put, many)
            return [f"{pad}if {name} is not None:", *inner] if inner else []
    elif kind is datetime:
        if settle:
            made_utc = f"{pad}    {name} = {name}.replace(tzinfo=UTC); {put}"
            made_none = f"{pad}if {name} == UNSET: {name} = None; {put}"
            return [f"{pad}if {name}.tzinfo is None:", made_utc, made_none, f"{pad}else: add({name})"]
        if many:
            return [f"{pad}add({name})"]
        return [f"{pad}if {name}.tzinfo is not UTC or {name}.microsecond or {name}.year == 1: return None"]
    elif origin is list or (origin is dict and get_args(kind)[0] is str):
        each = f"{name}.values()" if origin is dict else name
        inner = _times_source(get_args(kind)[-1], f"{name}_item", depth + 1, settle, many=many or origin is list)
        return [f"{pad}for {name}_item in {each}:", *inner] if inner else []
    elif attrs.has(kind):
        lines: list[str] = []
        for field, hint in get_type_hints(kind).items():
            put = f'put({name}, "{field}", {name}_{field})'
            inner = _times_source(hint, f"{name}_{field}", depth, settle, put, many)
            lines += [f"{pad}{name}_{field} = {name}.{field}", *inner] if inner else []
        return lines
    elif kind in (str, int, float, bool, Any):
        return []
    raise TypeError(f"a record may not hold {kind}: no rule says that msgspec reads it as cattrs does")


def _times_reader(kind: Any, *, settle: bool) -> Callable[[Any], list[datetime] | None] | None:
    """Make a function that gives the times of a `kind`; None if there can be none.

    To `settle` makes those without a zone UTC and those that are unset None, and gives all that are left. Otherwise
    only those of rows are given, and None where one of the others is not a whole second in UTC. The function is written
    as source, as attrs and cattrs write their methods: closures would cost twice as much a row.
    """
    lines = _times_source(kind, "record", 1, settle)
    if not lines:
        return None
    source = ["def times_of(record):", "    times = []", "    add = times.append", *lines, "    return times"]
    room: dict[str, Any] = {"UTC": UTC, "UNSET": UNSET, "put": object.__setattr__}  # records are frozen
    exec(compile("\n".join(source), f"<times of {kind}>", "exec"), room)  # only our own field names are in it
    return cast(Callable[[Any], "list[datetime] | None"], room["times_of"])


def _are_whole_utc(times: list[datetime], write: Callable[[Any], bytes]) -> bool:
    """Say whether all `times` are UTC, whole seconds and of a year from 1000 on, by how msgspec writes them.

    Only then all have the same length and a Z at its end, and one look at every 23rd byte tells what would cost twice
    as much to ask of each time.
    """
    text, count = write(times), len(times)
    alike = len(text) == _WRITTEN * count + 1 and text[_WRITTEN - 2 :: _WRITTEN] == b"Z" * count
    return alike and b"0" not in text[2::_WRITTEN]


_MAKING: Final = threading.Lock()
"""Held while readers are made: msgspec keeps what it learns of a class on it before it is complete, for all to see."""


@cache
def _fast_reader(kind: Any) -> Callable[[bytes], Any]:
    """Make the msgspec reader of `kind`: it gives None where the authority has to decide."""
    with _MAKING:
        return _make_fast_reader(kind)


def _make_fast_reader(kind: Any) -> Callable[[bytes], Any]:
    if _msgspec is None:
        return lambda body: None
    _prepare_for_absence(kind)
    read = _msgspec.json.Decoder(kind).decode
    write = _msgspec.json.Encoder().encode
    plain_times, settled_times = _times_reader(kind, settle=False), _times_reader(kind, settle=True)

    def read_fast(body: bytes) -> Any:
        try:
            record = read(body)
            if not body.isascii():
                body.decode()
        except Exception:  # whatever it has against the body, the authority is asked next
            return None
        if plain_times is None or settled_times is None:
            return record
        if b"\\" in body and _ESCAPED_TIME.search(body):
            return None
        times = plain_times(record)
        if times is not None and (not times or _are_whole_utc(times, write)) and body.rfind(b".999999") < 0:
            # Only a fraction that was rounded up to the next second could hide. The search for its nines starts from
            # the right, where CPython uses the faster algorithm.
            return record
        times = settled_times(record)
        if times is None or _LONG_FRACTION.search(body):
            return None
        return record if all(one.tzinfo is UTC and one.year != 1 for one in times) else None

    return read_fast


def _prepare_for_absence(kind: Any) -> None:
    """Let the records in a `kind` begin with None in the fields that are mostly left out.

    msgspec asks a record of slots for each field in the end, and one that is empty costs more than all the rest: an
    `AttributeError`, made and dropped. It calls this hook before it reads; attrs, which would, has made its classes.
    """
    for inner in get_args(kind):
        _prepare_for_absence(inner)
    if not attrs.has(kind) or "__attrs_pre_init__" in vars(kind):
        return
    for hint in get_type_hints(kind).values():
        _prepare_for_absence(hint)
    names = [field.name for field in attrs.fields(kind) if field.metadata == MOSTLY_ABSENT]
    if names:
        setters: dict[str, Any] = {f"set_{name}": getattr(kind, name).__set__ for name in names}
        source = ["def begin(record):", *(f"    set_{name}(record, None)" for name in names)]
        exec(compile("\n".join(source), f"<absence in {kind}>", "exec"), setters)
        type.__setattr__(kind, "__attrs_pre_init__", setters["begin"])


def fast_reader(kind: type[T]) -> Callable[[bytes], T | None]:
    """Give the function that reads a body as a `kind` by msgspec: None comes where the authority has to decide."""
    return _fast_reader(cast(Any, kind))  # to a type checker list[X] is no Hashable
