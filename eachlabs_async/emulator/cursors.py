"""The cursors of a listing: the position of each, its scope and its age.

A cursor is opaque, a keyed digest that is looked up in a table of bounded size. A position is a sort key of the
listing; `timeline` finds the rows behind it.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from attrs import frozen

from .clock import Clock
from .reply import RefusedError, error_reply
from .timeline import SortKey

__all__ = ["CursorPosition", "Cursors", "Scope"]

Scope = tuple[str, ...]
"""The parameters that a cursor is bound to; it is invalid with any others."""

_REMEMBERED: Final = 50_000


@frozen
class CursorPosition:
    """A position behind the row with this sort key, or at the top. `empty_pages` counts the empty pages there."""

    key: SortKey | None = None
    empty_pages: int = 0


class Cursors:
    """The cursors of one emulator.

    The same position in the same scope has the same cursor, so that a repeated request gets the same response. A
    cursor's age counts from the last time it was handed out.
    """

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._secret = f"{seed}/cursors".encode()
        self._generation = 0
        self._issued: OrderedDict[str, tuple[Scope, CursorPosition, float]] = OrderedDict()

    def issue(self, scope: Scope, position: CursorPosition) -> str:
        """Return the cursor of a position."""
        line = f"{self._generation} {scope} {position}".encode()
        cursor = urlsafe_b64encode(blake2b(line, key=self._secret, digest_size=30).digest()).decode()
        self._issued[cursor] = (scope, position, self._clock.seconds)
        self._issued.move_to_end(cursor)
        if len(self._issued) > _REMEMBERED:
            self._issued.popitem(last=False)
        return cursor

    def position(self, scope: Scope, cursor: str, *, lifetime: float | None) -> CursorPosition:
        """Return the position of a cursor. Refuse one of another scope, and one older than `lifetime` seconds."""
        known = self._issued.get(cursor)
        if known is None or known[0] != scope or (lifetime is not None and self._clock.seconds - known[2] > lifetime):
            raise RefusedError(error_reply(400, "invalid cursor"))
        return known[1]

    def expire(self) -> None:
        """Invalidate all cursors; from now on the same position has another cursor."""
        self._generation += 1
        self._issued.clear()
