"""Owns the cursors that a listing handed out: what each stands for, how long, and what it was made with.

A cursor says nothing to who holds it: it is a keyed digest, looked up in a table of bounded size. It refuses to know
the rows: a place is a key that the listing gave.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from attrs import frozen

from .answers import RefusedError, refusal
from .clock import Clock
from .timeline import Key

__all__ = ["Cursors", "Place", "Scope"]

Scope = tuple[str, ...]
"""What a cursor is bound to: it opens nothing that was asked for with anything else."""

_REMEMBERED: Final = 50_000


@frozen
class Place:
    """A place in a listing: behind the row with this key, None being the top. `idle` counts the empty pages there."""

    key: Key | None = None
    idle: int = 0


class Cursors:
    """The cursors of one emulator.

    The same place under the same scope has the same cursor, so that an answer which is asked for again is the same. It
    counts as handed out when it was last.
    """

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._secret = f"{seed}/cursors".encode()
        self._generation = 0
        self._given: OrderedDict[str, tuple[Scope, Place, float]] = OrderedDict()

    def give(self, scope: Scope, place: Place) -> str:
        """Give the cursor of a place."""
        line = f"{self._generation} {scope} {place}".encode()
        cursor = urlsafe_b64encode(blake2b(line, key=self._secret, digest_size=30).digest()).decode()
        self._given[cursor] = (scope, place, self._clock.seconds)
        self._given.move_to_end(cursor)
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return cursor

    def place(self, scope: Scope, cursor: str, *, lifetime: float | None) -> Place:
        """Give the place of a cursor; 400 where it was not handed out for this scope, or too many seconds ago."""
        known = self._given.get(cursor)
        if known is None or known[0] != scope or (lifetime is not None and self._clock.seconds - known[2] > lifetime):
            raise RefusedError(refusal(400, "invalid cursor"))
        return known[1]

    def expire(self) -> None:
        """Forget all cursors; the same place gets another one from now on."""
        self._generation += 1
        self._given.clear()
