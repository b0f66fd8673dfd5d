"""A row of a listing that cannot be read, as an archive keeps it."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, cast

from attrs import frozen

from ..codec.columns import json_text, utf8
from ..codec.row_formats import without_secrets
from ..codec.strict import to_dict
from ..pagination.pages import UnreadableRow
from ..records import Execution
from .values import text_of


@frozen
class Unreadable:
    """An unreadable row: its id if it has one, its time if that can be read, why it is unreadable, and the row."""

    id: str | None
    created_at: str | None
    error: str
    row: str | None

    @classmethod
    def of(cls, row: UnreadableRow) -> Unreadable:
        """Return a row that a walk could not read."""
        return cls(row.id, text_of(row.created_at), str(row.error), _json(row.raw))

    @classmethod
    def without_id(cls, row: Execution) -> Unreadable:
        """Return an execution that has no id, so that it cannot be told from others."""
        return cls(None, text_of(row.created_at), "the row has no id", _json(to_dict(row)))

    def values(self) -> tuple[str, str | None, str | None, str, str | None]:
        """Return the values of the table's row: the key, then the fields."""
        key = self.id or blake2b(json.dumps([self.created_at, self.row]).encode(), digest_size=16).hexdigest()
        return utf8(key), None if self.id is None else utf8(self.id), self.created_at, utf8(self.error), self.row


def _json(raw: Any) -> str | None:
    if isinstance(raw, dict):
        raw = without_secrets(cast("dict[str, Any]", raw))
    try:
        return json_text(raw)
    except (ValueError, RecursionError):
        return None
