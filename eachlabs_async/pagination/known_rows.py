"""The keys that tell rows apart, and the rows that a walk remembers; `engine` decides what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Final, cast

from ..codec.undecoded_row import UndecodedRow

WINDOW: Final = 10_000
"""Known rows that are remembered at least; at most twice as many are."""
ANCHORS: Final = 24
"""Keys in a checkpoint. As many more name rows that were passed over: all that a resumed walk can pass over."""
MOST_PASSED: Final = 500


def row_keys(ids: Sequence[str | None], rows: Sequence[object]) -> Sequence[str]:
    """Return a key for each row of one answer: its id, as long as no other row of the answer has it.

    Rows with the same id share a key only if they are equal in every field; else the second row gets `id#2`, and so
    on. An empty or missing id is no id: the key is then a digest of the row.
    """
    if all(ids) and len(set(ids)) == len(ids):
        return cast(Sequence[str], ids)
    seen: dict[str, list[object]] = {}
    keys: list[str] = []
    for identity, row in zip(ids, rows, strict=True):
        own = identity or key_without_id(row)
        others = seen.setdefault(own, [])
        if row not in others:
            others.append(row)
        number = others.index(row) + 1
        keys.append(own if number == 1 else f"{own}#{number}")
    return keys


def key_without_id(row: object) -> str:
    """Return a key for a row without an id, of one length whatever the row says."""
    return "=" + blake2b(repr(row).encode(), digest_size=12).hexdigest()


def keys_of(rows: Sequence[Any], identity: str, *, unique: bool, readable: bool) -> Sequence[str]:
    """Return the keys of the rows of one answer, whose ids are in the field `identity`.

    If ids are not `unique`, a row is told from others by all that it says. `readable` is False if rows are undecoded.
    """
    get_id = attrgetter(identity)
    if not unique:
        return row_keys([None] * len(rows), rows)
    if readable:
        return row_keys(list(map(get_id, rows)), rows)
    return row_keys([row.id if isinstance(row, UndecodedRow) else get_id(row) for row in rows], rows)


class KnownRows:
    """The keys of the last rows delivered, in the order of the listing as far as it was seen.

    `count` is the number of rows so far; `forgot` is True once some were forgotten. `passed` are rows that should stand
    above the last new rows and were not there: they are gone, or stand further down.
    """

    __slots__ = ("_older", "_recent", "count", "forgot", "passed")

    def __init__(self, keys: Sequence[str]) -> None:
        # Two generations: forgetting is then one assignment, whatever the size.
        self._recent: dict[str, None] = dict.fromkeys(keys)
        self._older: dict[str, None] = {}
        self.count = len(self._recent)
        self.forgot = False
        self.passed: tuple[str, ...] = ()

    def __contains__(self, key: str) -> bool:
        return key in self._recent or key in self._older

    def upwards(self) -> Iterator[str]:
        """Iterate over the keys from the lowest row on."""
        return chain(reversed(self._recent), reversed(self._older))

    def add(self, keys: dict[str, None]) -> None:
        """Add rows that stand below all others."""
        if len(self._recent) + len(keys) > WINDOW:
            self.forgot = self.forgot or bool(self._older)
            self._older, self._recent = self._recent, {}
        self._recent.update(keys)
        self.count += len(keys)

    def order(self, keys: Sequence[str]) -> None:
        """Move the known ones of these rows below all others, if they do not stand there in this order already."""
        if list(islice(self.upwards(), len(keys))) != list(keys[::-1]):
            moved = {key: None for key in keys if key in self}
            for key in moved:
                self._recent.pop(key, None)
                self._older.pop(key, None)
            self._recent.update(moved)

    def last_of(self, keys: Sequence[str], overlap: int) -> int:
        """Return the position of the last known row of a page, expected among the first `overlap`; -1 if none is."""
        rest = keys[overlap:] if overlap else keys
        if self._recent.keys().isdisjoint(rest) and self._older.keys().isdisjoint(rest):
            keys = keys[:overlap]
        return next((at for at in range(len(keys) - 1, -1, -1) if keys[at] in self), -1)

    def below(self, key: str) -> int:
        """Return how many known rows stand below one."""
        if key in self.passed:
            return len(self.passed) - self.passed.index(key) - 1
        return next(count for count, each in enumerate(self.upwards()) if each == key)

    def pass_over(self, above: Sequence[str], below: int) -> None:
        """Record as passed the `below` rows that stand below the last of the rows `above` the new ones."""
        passed, last = self.passed, above[-1] if above else ""
        if last in passed:
            passed = passed[passed.index(last) + 1 :]
        else:
            rows = islice((key for key in self.upwards() if key not in passed), min(below, MOST_PASSED))
            passed = (*reversed(list(rows)), *(key for key in passed if key not in above))
        self.passed = passed[-MOST_PASSED:]

    def anchors(self, hidden: Sequence[str]) -> tuple[str, ...]:
        """Return the keys that a checkpoint keeps, without the `hidden` ones; the lowest row comes last."""
        hide = {*hidden, *self.passed}
        rows = islice((key for key in self.upwards() if key not in hide), ANCHORS)
        return (*reversed(list(rows)), *self.passed[-ANCHORS:])
