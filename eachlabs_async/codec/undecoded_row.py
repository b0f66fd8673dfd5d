"""A row of an answer that cannot be decoded."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import blake2b
from typing import Any

from attrs import field, frozen

from ..errors import ResponseDecodeError


@frozen
class UndecodedRow:
    """A row of an answer that cannot be decoded, in the place of its record.

    Two of them are equal if the service sent the same row. `id` is the row's own id, None if it is missing, empty or
    no text. `stated_at` is its creation time, None if that cannot be read. `created_at` is then the latest that it can
    be in a listing by time: the time of the row above it, None on top of an answer.
    """

    id: str | None
    digest: str
    raw: Any = field(eq=False, repr=False)
    error: ResponseDecodeError = field(eq=False, repr=False)
    stated_at: datetime | None = field(default=None, eq=False, repr=False)
    created_at: datetime | None = field(default=None, eq=False, repr=False)

    @classmethod
    def make(
        cls, raw: Any, identity: object, error: ResponseDecodeError, stated_at: datetime | None, above: datetime | None
    ) -> UndecodedRow:
        """Return the row `raw`: `identity` is what the service sent as its id, `above` the time of the row above it."""
        try:
            text = json.dumps(raw, sort_keys=True)
        except RecursionError:
            text = str(error)
        digest = blake2b(text.encode(), digest_size=12).hexdigest()
        own = identity if isinstance(identity, str) and identity else None
        return cls(own, digest, raw, error, stated_at, stated_at or above)
