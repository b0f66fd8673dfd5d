"""A row of an answer that cannot be decoded."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import blake2b
from typing import Any

from attrs import evolve, field, frozen

from ..errors import ResponseDecodeError


@frozen
class UndecodedRow:
    """A row of an answer that cannot be decoded, in the place of its record.

    Two of them are equal if the service sent the same row. `id` is the row's own id, None if it is missing, empty or
    no text. `created_at` is its creation time: where that cannot be read, the time of its neighbor in the answer.
    """

    id: str | None
    digest: str
    raw: Any = field(eq=False, repr=False)
    error: ResponseDecodeError = field(eq=False, repr=False)
    created_at: datetime | None = field(default=None, eq=False, repr=False)

    @classmethod
    def make(cls, raw: Any, identity: object, error: ResponseDecodeError, created_at: datetime | None) -> UndecodedRow:
        """Return the row `raw`, of which `identity` is whatever the service sent as its id."""
        try:
            text = json.dumps(raw, sort_keys=True)
        except RecursionError:
            text = str(error)
        digest = blake2b(text.encode(), digest_size=12).hexdigest()
        return cls(identity if isinstance(identity, str) and identity else None, digest, raw, error, created_at)


def with_times_of_neighbors(rows: list[Any]) -> list[Any]:
    """Return `rows`, each undecoded one of them with a time: its own, or that of the row above it, or below it.

    Listings by time are in the order of their times. So this is where such a row stands, whatever it says.
    """
    timed = list(rows)
    for places in (range(len(rows)), range(len(rows) - 1, -1, -1)):
        last: datetime | None = None
        for at in places:
            row = timed[at]
            if isinstance(row, UndecodedRow) and row.created_at is None:
                timed[at] = evolve(row, created_at=last)
            last = getattr(timed[at], "created_at", None)
    return timed
