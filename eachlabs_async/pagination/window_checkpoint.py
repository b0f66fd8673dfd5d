"""The checkpoint of a walk over several windows: the windows done, and a place in each of those under way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from ..transport.arguments import rfc3339
from .checkpoint import parse_checkpoint
from .windows import Window

_ENDPOINT: Final = "executions.walk_windows"
_VERSION: Final = 1
_INVALID: Final = "resume is not a checkpoint of walk_windows(): a part of it is missing or invalid"


@frozen
class WindowPlace:
    """The place up to which the rows of a window were delivered.

    `checkpoint` is that of the window's pager after a whole page, None before the first page; `keys` are the keys of
    rows that were delivered and that the pager may find again.
    """

    checkpoint: str | None = None
    keys: frozenset[str] = frozenset()


@define
class WindowPlaces:
    """The pieces of the windows, newest first, and what was delivered of each: the state of a walk of windows.

    `cuts` is the number of equal pieces into which each window was cut. `places` names a piece by its number.
    """

    windows: list[Window]
    cuts: list[int]
    done: set[int] = field(factory=set[int])
    places: dict[int, WindowPlace] = field(factory=dict[int, WindowPlace])

    def pieces(self) -> list[Window]:
        """Return the pieces of all windows, in the order of their numbers."""
        return [piece for window, cut in zip(self.windows, self.cuts, strict=True) for piece in window.pieces(cut)]

    def write(self, current: Mapping[int, WindowPlace]) -> str:
        """Return the state as text; `current` overrides places."""
        places = {**self.places, **current}
        return json.dumps(
            {
                "v": _VERSION,
                "endpoint": _ENDPOINT,
                "windows": [[*_named(window), cut] for window, cut in zip(self.windows, self.cuts, strict=True)],
                "done": sorted(self.done),
                "under_way": [
                    [number, place.checkpoint, sorted(place.keys)] for number, place in sorted(places.items())
                ],
            },
            separators=(",", ":"),
        )


def sorted_windows(windows: Sequence[Window]) -> list[Window]:
    """Return the windows newest first, independent of the order in which they were given."""
    return sorted(windows, key=_sort_key, reverse=True)


def read_places(text: object, windows: list[Window]) -> WindowPlaces:
    """Parse the text of a checkpoint of a walk over `windows`, which are sorted.

    Raises `TypeError` if `text` is not a string, and `ValueError` if it is not a checkpoint of these windows.
    """
    parts = parse_checkpoint(text)
    if parts.get("endpoint") != _ENDPOINT or parts.get("v") != _VERSION:
        raise ValueError(f"resume is not a checkpoint of walk_windows() of version {_VERSION}")
    try:
        theirs = [(str(since), str(until), dict(filters)) for since, until, filters, _ in parts["windows"]]
        cuts = [_count(cut, 1) for _, _, _, cut in parts["windows"]]
        done = {_count(number) for number in parts["done"]}
        places = {
            _count(number): WindowPlace(None if checkpoint is None else str(checkpoint), frozenset(map(str, keys)))
            for number, checkpoint, keys in parts["under_way"]
        }
    except (KeyError, TypeError, ValueError):
        raise ValueError(_INVALID) from None
    _check_same([_named(window) for window in windows], theirs)
    if any(number >= sum(cuts) for number in done | places.keys()) or done & places.keys():
        raise ValueError(_INVALID)
    return WindowPlaces(windows, cuts, done, places)


def _check_same(mine: list[tuple[str, str, dict[str, str]]], theirs: list[tuple[str, str, dict[str, str]]]) -> None:
    if mine == theirs:
        return
    if len(mine) != len(theirs):
        raise ValueError(
            f"resume is the checkpoint of other windows: there are {len(mine)} windows here, {len(theirs)} in the "
            "checkpoint; pass the windows of the walk that it belongs to"
        )
    here, there = next((one, other) for one, other in zip(mine, theirs, strict=True) if one != other)
    raise ValueError(
        f"resume is the checkpoint of other windows: one is {_shown(here)} here, {_shown(there)} in the checkpoint; "
        "pass the windows of the walk that it belongs to"
    )


def _named(window: Window) -> tuple[str, str, dict[str, str]]:
    return rfc3339(window.since), rfc3339(window.until), window.filters


def _sort_key(window: Window) -> tuple[Any, ...]:
    return window.since, window.until, sorted(window.filters.items())


def _shown(window: tuple[str, str, dict[str, str]]) -> str:
    since, until, filters = window
    return f"{since} to {until} with {filters}" if filters else f"{since} to {until}"


def _count(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(_INVALID)
    return value
