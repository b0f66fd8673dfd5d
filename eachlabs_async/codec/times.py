"""Owns the times in records: where they are, whether they need a second look, and how they are put right.

It makes functions out of the types of a record's fields, which go through many rows at little cost each. It refuses
to know where a record came from; that its times are in UTC is agreed with the authority, `strict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import attrs

UNSET: Final = datetime(1, 1, 1, tzinfo=UTC)
"""How Go writes a time that is none."""
UNSET_WRITTEN: Final = b'"0001-01-01T00:00:00Z"'
UNSET_DAY: Final = b"0001-01-01"
_WHOLE: Final = len('"2026-01-31T12:00:00Z",')
_FRACTIONAL: Final = len('"2026-01-31T12:00:00.250000Z",')
_NONE: Final = len("null,")
_DAY: Final = datetime(2000, 1, 1)
_DAY_IN_UTC: Final = datetime(2000, 1, 1, tzinfo=UTC)

Write = Callable[[Any], bytes]
"""How msgspec writes a value as JSON."""
Times = list[datetime | None]


def container_of(kind: Any) -> Any:
    """Give `list` or `dict` for a type of that kind, None for any other."""
    origin: Any = get_origin(kind)
    return origin if origin in (list, dict) else None


# ---- Where the times of a record are.


def _optional(kind: Any) -> Any:
    """Give what a union with None holds besides, None where it holds more than one; any other type as it is."""
    if not isinstance(kind, UnionType):
        return kind
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if len(options) == 1 else None


@attrs.frozen
class Place:
    """Where times are: in a `field` of an `owner` of this `kind`; in source, with the clauses that name each owner."""

    kind: Any
    field: str
    owner: str
    clauses: str
    many: bool

    def each(self, expression: str) -> str:
        """Write `expression`, which names the owner, for each owner."""
        return f"*[{expression}{self.clauses}]" if self.clauses else expression


def places(
    kind: Any, value: str = "record", clauses: str = "", depth: int = 0, *, many: bool = False
) -> Iterator[Place]:
    """Find every place of a time below `value`, which holds a `kind`; `many` may be in a list of them."""
    inner, origin = _optional(kind), container_of(_optional(kind))
    row = f"row{depth}"
    if origin is list or (origin is dict and get_args(inner)[0] is str):
        each = f"({value} or {{}}).values()" if origin is dict else f"{value} or ()"
        yield from places(
            get_args(inner)[-1], row, f"{clauses} for {row} in {each}", depth + 1, many=many or origin is list
        )
    elif attrs.has(inner):
        if inner is not kind and clauses:
            clauses += f" if {value} is not None"
        elif inner is not kind:
            value, clauses, depth = row, f" for {row} in ({value},) if {row} is not None", depth + 1
        for field, hint in get_type_hints(inner).items():
            if _optional(hint) is datetime:
                yield Place(inner, field, value, clauses, many)
            else:
                yield from places(hint, f"{value}.{field}", clauses, depth, many=many)
    elif inner not in (str, int, float, bool, Any):
        raise TypeError(f"a record may not hold {kind}: no rule says that msgspec reads it as cattrs does")


def written(name: str, arguments: str, lines: list[str], known: Mapping[str, Any]) -> Callable[..., Any]:
    """Make a function out of its lines, as attrs and cattrs make their methods.

    Closures would cost twice as much a row. Only our own field names are in it.
    """
    room = dict(known)
    source = "\n".join([f"def function({arguments}):", *lines])
    exec(compile(source, f"<{name}>", "exec"), room)
    return cast("Callable[..., Any]", room["function"])


def gatherer(kind: Any, found: list[Place]) -> Callable[[Any], Times]:
    """Make the function that gives the times of a `kind` in a list: one field of all rows after the other."""
    each = ", ".join(place.each(f"{place.owner}.{place.field}") for place in found)
    return written(f"times of {kind}", "record", [f"    return [{each}]"], {})


def putter(kind: Any, found: list[Place]) -> Callable[[Any, Callable[[], datetime | None]], None]:
    """Make the function that puts times, as it can `take` them, where they were gathered."""
    setters = {f"put{n}": getattr(place.kind, place.field).__set__ for n, place in enumerate(found)}
    each = ", ".join(place.each(f"put{n}({place.owner}, take())") for n, place in enumerate(found))
    return written(f"settled times of {kind}", "record, take", [f"    [{each}]"], setters)


def _look(kind: Any, name: str, pad: str = "    ") -> list[str]:
    """Write the lines that look at every time below `name`, which holds a `kind`."""
    inner, origin = _optional(kind), container_of(_optional(kind))
    if inner is not kind:
        below = _look(inner, name, pad + "    ")
        return [f"{pad}if {name} is not None:", *below] if below else []
    if inner is datetime:
        return [f"{pad}if {name}.tzinfo is not UTC or {name}.microsecond or {name}.year == 1: return None"]
    if origin is dict:
        below = _look(get_args(inner)[-1], f"{name}_item", pad + "    ")
        return [f"{pad}for {name}_item in {name}.values():", *below] if below else []
    lines: list[str] = []
    for field, hint in get_type_hints(inner).items() if attrs.has(inner) else ():
        found = _look(hint, f"{name}_{field}", pad)
        lines += [f"{pad}{name}_{field} = {name}.{field}", *found] if found else []
    return lines


def looker(kind: Any) -> Callable[[Any], bool | None]:
    """Make the function that looks at the few times of a `kind` without a list in it, one by one.

    It gives True where all are whole seconds in UTC, None where one is not.
    """
    return written(f"plain times of {kind}", "record", [*_look(kind, "record"), "    return True"], {"UTC": UTC})


# ---- What they are like.


def written_alike(times: Times, write: Write) -> bool | None:
    """Say, by how msgspec writes them, whether all `times` are in UTC and none stands for none.

    True where all are whole seconds, too; False where some have a fraction; None in every other case. To ask each of
    them would cost several times as much, and if they are of the same length, then even a look at every 23rd byte (or
    30th, with microseconds) tells it.
    """
    text, count = write(times), len(times)
    if not count:
        return True
    width = len(text) // count
    alike = width in (_WHOLE, _FRACTIONAL) and len(text) == width * count + 1
    if alike and text[width - 2 :: width] == b"Z" * count and b"0" not in text[2::width]:
        return width == _WHOLE
    missing = text.count(b"u")
    if text.count(b"Z") + missing != count or text.rfind(UNSET_WRITTEN) >= 0:
        return None
    return len(text) == _WHOLE * (count - missing) + _NONE * missing + 1


def settled(times: Times, write: Write) -> Times:
    """Give `times` in UTC, with None for those that are unset; one without a zone is in UTC (all those of runs are)."""
    # Many times as fast as `replace`, which in CPython 3.11 calls the class.
    times = [time if time is None or time.tzinfo else _DAY_IN_UTC + (time - _DAY) for time in times]
    if written_alike(times, write) is None:
        times = [time if time is None or time.tzinfo is UTC else time.astimezone(UTC) for time in times]
        times = [None if time == UNSET else time for time in times]
    return times
