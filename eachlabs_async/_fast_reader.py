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
from collections.abc import Callable, Iterator, Mapping
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
WHOLE: Final = len('"2026-01-31T12:00:00Z",')
FRACTIONAL: Final = len('"2026-01-31T12:00:00.250000Z",')


_KNOWN: Final[Mapping[str, Any]] = {"UTC": UTC, "UNSET": UNSET, "put": object.__setattr__}  # records are frozen


def _optional(kind: Any) -> Any:
    """Give what a union with None holds besides, None where it holds more than one; any other type as it is."""
    if not isinstance(kind, UnionType):
        return kind
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if len(options) == 1 else None


def _no_rule(kind: Any) -> TypeError:
    return TypeError(f"a record may not hold {kind}: no rule says that msgspec reads it as cattrs does")


def _columns(kind: Any, value: str, clauses: str = "", depth: int = 0) -> Iterator[str]:
    """Write an expression for each time in the rows `value`, which hold a `kind`: it gathers it from all of them."""
    inner, origin = _optional(kind), container_of(_optional(kind))
    if inner is datetime:
        yield f"[{value}{clauses}]"
    elif origin is list or (origin is dict and get_args(inner)[0] is str):
        each = f"({value} or {{}}).values()" if origin is dict else f"{value} or ()"
        yield from _columns(get_args(inner)[-1], f"row{depth}", f"{clauses} for row{depth} in {each}", depth + 1)
    elif attrs.has(inner):
        there = f"{clauses} if {value} is not None" if inner is not kind else clauses
        for field, hint in get_type_hints(inner).items():
            yield from _columns(hint, f"{value}.{field}", there, depth)
    elif inner not in (str, int, float, bool, Any):
        raise _no_rule(kind)


def _look(kind: Any, name: str, pad: str, columns: list[str]) -> list[str]:
    """Write the lines that look at every time below `name`, which holds a `kind`; those of rows go to `columns`."""
    inner, origin = _optional(kind), container_of(_optional(kind))
    lines: list[str] = []
    if origin is list:
        columns += _columns(kind, name)
        return []
    if inner is not kind:
        lines = _look(inner, name, pad + "    ", columns)
        return [f"{pad}if {name} is not None:", *lines] if lines else []
    if inner is datetime:
        return [f"{pad}if {name}.tzinfo is not UTC or {name}.microsecond or {name}.year == 1: return None"]
    if origin is dict and get_args(inner)[0] is str:
        lines = _look(get_args(inner)[-1], f"{name}_item", pad + "    ", columns)
        return [f"{pad}for {name}_item in {name}.values():", *lines] if lines else []
    if attrs.has(inner):
        for field, hint in get_type_hints(inner).items():
            before = len(columns)
            found = _look(hint, f"{name}_{field}", pad, columns)
            used = found or len(columns) > before
            lines += [f"{pad}{name}_{field} = {name}.{field}", *found] if used else []
    elif inner not in (str, int, float, bool, Any):
        raise _no_rule(kind)
    return lines


def _settle(kind: Any, name: str, pad: str, put: str = "return None") -> list[str]:
    """Write the lines that `add` every time below `name`, which holds a `kind`.

    One without a zone is `put` back as UTC, which it is (all those of runs are), and one that is unset as None.
    """
    inner, origin = _optional(kind), container_of(_optional(kind))
    deeper = pad if inner is kind else pad + "    "
    lines: list[str] = []
    if inner is datetime:
        lines = [
            f"{deeper}if {name}.tzinfo is None: {name} = {name}.replace(tzinfo=UTC); {put}",
            f"{deeper}if {name} == UNSET: {name} = None; {put}",
            f"{deeper}else: add({name})",
        ]
    elif origin is not None:
        found = _settle(get_args(inner)[-1], f"{name}_item", deeper + "    ")
        each = f"{name}.values()" if origin is dict else name
        lines = [f"{deeper}for {name}_item in {each}:", *found] if found else []
    elif attrs.has(inner):
        for field, hint in get_type_hints(inner).items():
            found = _settle(hint, f"{name}_{field}", deeper, f'put({name}, "{field}", {name}_{field})')
            lines += [f"{deeper}{name}_{field} = {name}.{field}", *found] if found else []
    return [f"{pad}if {name} is not None:", *lines] if lines and inner is not kind else lines


def _written(name: str, lines: list[str], known: Mapping[str, Any] = _KNOWN) -> Callable[[Any], Any]:
    """Make a function of a record out of its lines, as attrs and cattrs make their methods.

    Closures would cost twice as much a row. Only our own field names are in it.
    """
    room = dict(known)
    source = "\n".join(["def function(record):", *lines])
    exec(compile(source, f"<{name}>", "exec"), room)
    return cast("Callable[[Any], Any]", room["function"])


def _plain_times(kind: Any) -> Callable[[Any], list[list[datetime | None]] | None] | None:
    """Make the function that looks at the times of a `kind`; None if it has none.

    It gives those of rows, of which there can be many, to be looked at together; None where one of the others is not
    a whole second in UTC.
    """
    columns: list[str] = []
    lines = _look(kind, "record", "    ", columns)
    if not lines and not columns:
        return None
    return _written(f"times of {kind}", [*lines, f"    return [{', '.join(columns)}]"])


def _settled_times(kind: Any) -> Callable[[Any], list[datetime | None] | None]:
    """Make the function that settles the times of a `kind` and gives them."""
    lines = ["    times = []", "    add = times.append", *_settle(kind, "record", "    "), "    return times"]
    return _written(f"settled times of {kind}", lines)


def _written_alike(times: list[datetime | None], write: Callable[[Any], bytes]) -> bool | None:
    """Say, by how msgspec writes them, whether all `times` are in UTC and of a year from 1000 on.

    True where all are whole seconds, too; False where all have a fraction; None in every other case. Only if they are
    alike do all have the same length and a Z at its end: then one look at every 23rd byte (or 30th, with microseconds)
    tells what would cost twice as much to ask of each time.
    """
    text, count = write(times), len(times)
    width = len(text) // count if count else WHOLE
    if width in (WHOLE, FRACTIONAL) and len(text) == width * count + 1:
        alike = text[width - 2 :: width] == b"Z" * count and b"0" not in text[2::width]
        return width == WHOLE if alike else None
    if None in times:
        return _written_alike([time for time in times if time is not None], write)
    return True if not count else None


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
    plain_times, settled_times = _plain_times(kind), _settled_times(kind)

    def read_fast(body: bytes) -> Any:
        try:
            record = read(body)
            if not body.isascii():
                body.decode()
        except Exception:  # whatever it has against the body, the authority is asked next
            return None
        if plain_times is None:
            return record
        if b"\\" in body and _ESCAPED_TIME.search(body):
            return None
        columns = plain_times(record)
        if columns is not None:
            whole = {_written_alike(times, write) for times in columns}
            if None not in whole:
                # Among whole seconds only a fraction that was rounded up to the next one can hide. The search for its
                # nines alone is the fastest, and from the right, where CPython uses the better algorithm.
                hidden = False in whole or body.rfind(b"999999") >= 0
                return record if not hidden or not _LONG_FRACTION.search(body) else None
        times = settled_times(record)
        if times is None or _LONG_FRACTION.search(body):
            return None
        alike = _written_alike(times, write) is not None
        return record if alike or all(one and one.tzinfo is UTC and one.year != 1 for one in times) else None

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
        setters = {f"set_{name}": getattr(kind, name).__set__ for name in names}
        begin = _written(f"absence in {kind}", [f"    set_{name}(record, None)" for name in names], setters)
        type.__setattr__(kind, "__attrs_pre_init__", begin)


def fast_reader(kind: type[T]) -> Callable[[bytes], T | None]:
    """Give the function that reads a body as a `kind` by msgspec: None comes where the authority has to decide."""
    return _fast_reader(cast(Any, kind))  # to a type checker list[X] is no Hashable
