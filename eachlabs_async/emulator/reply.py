"""The reply of a handler before any fault, and the error replies of each service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from .collection import Collection, Row, encode

__all__ = [
    "RefusedError",
    "Reply",
    "envelope",
    "error_reply",
    "find_or_404",
    "join_rows",
    "reason_phrase",
]


@frozen
class Reply:
    """A reply before any fault: status, body, extra headers, content type."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(factory=dict[str, str])
    content_type: str = "application/json"


class RefusedError(Exception):
    """Raised by a handler to refuse the request; `reply` is sent instead of the handler's result."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def error_reply(status: int, message: str, *, service: str = "api") -> Reply:
    """Return an error in the format of a service: `{"detail": ...}` for runs, `{"error": ...}` for the others."""
    return Reply(status, encode({"detail" if service == "runs" else "error": message}))


def reason_phrase(status: int) -> str:
    """Return the reason phrase of a status, "Unknown" for a status without one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def join_rows(collection: Collection, rows: Iterable[Row]) -> bytes:
    """Return rows as a JSON array, from their cached encodings."""
    return b"[" + b",".join([collection.encoded(row, "listed") for row in rows]) + b"]"


def envelope(name: str, rows: bytes, rest: Mapping[str, Any]) -> bytes:
    """Return a JSON object with encoded rows under `name`, followed by the fields of `rest`."""
    return b'{"%s":%s,%s' % (name.encode(), rows, encode(rest)[1:])


def find_or_404(collection: Collection, row_id: str, message: str) -> Row:
    """Return the row for serving, or refuse the request with a 404."""
    row = collection.find(row_id)
    if row is None:
        raise RefusedError(error_reply(404, message))
    return row
