"""Owns what an answer is before any fault, and how a handler reads a request and refuses one.

It refuses to know endpoints and rows: the handlers do, each family of endpoints in a file of its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, cast

from attrs import field, frozen

from ..hosts import Edition
from .collection import Collection, Row, encode, parsed_time

__all__ = [
    "NUMBER",
    "Answer",
    "Call",
    "Clamp",
    "RefusedError",
    "body_of",
    "choice",
    "clamped",
    "envelope",
    "found",
    "is_uuid",
    "joined",
    "object_in",
    "phrase",
    "refusal",
    "text_in",
    "time",
    "whole",
    "words",
]

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
NUMBER: Final = re.compile(r"-?\d{1,18}")


@frozen
class Answer:
    """An answer before any fault: status, body, extra headers, content type."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(factory=dict[str, str])
    content_type: str = "application/json"


@frozen
class Clamp:
    """The most rows a page gives whatever was asked; `stated` where the answer admits it."""

    largest: int
    stated: bool = True


@frozen(kw_only=True)
class Call:
    """What a handler may know of a request: edition, decoded path fields and query, the body, a clamp.

    `base` is the base URL of the service that was asked, `origin` that of the emulator: some answers hold URLs.
    `organisation` stands for who asks. `shortened` is the most rows of a page by cursor, which then goes on.
    """

    edition: Edition
    fields: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    clamp: Clamp | None = None
    base: str = ""
    origin: str = ""
    organisation: str = ""
    shortened: int | None = None

    def applied(self, asked: int) -> tuple[int, int]:
        """Give the rows of a page for what was asked, and the number that the answer states."""
        if self.clamp is None:
            return asked, asked
        applied = min(asked, self.clamp.largest)
        return applied, applied if self.clamp.stated else asked


class RefusedError(Exception):
    """Ends a handler with the answer that it carries."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def refusal(status: int, message: str, *, service: str = "api") -> Answer:
    """Give an error in the words of a service: `{"error": ...}`, or `{"detail": ...}` from the runs
    service.
    """
    return Answer(status, encode({"detail" if service == "runs" else "error": message}))


def phrase(status: int) -> str:
    """Give the words that go with a status, "Unknown" where it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


# ---- the query


def whole(query: Mapping[str, str], name: str, default: int, least: int, most: int | None = None) -> int:
    """Read a whole number of the query; 400 where it is none, or out of range."""
    text = query.get(name, "")
    if not text:
        return default
    number = int(text) if NUMBER.fullmatch(text) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise RefusedError(refusal(400, f"invalid {name}: must be an integer {bounds}"))
    return number


def clamped(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Read a whole number of the query as the services do that document no 400: what is over `most` becomes it."""
    text = query.get(name, "")
    number = int(text) if NUMBER.fullmatch(text) else 0
    return min(number, most) if number > 0 else default


def words(query: Mapping[str, str], name: str, allowed: tuple[str, ...] | None) -> frozenset[str]:
    """Read the comma-separated words of the query; 400 for one that is not among the allowed."""
    found = [word.strip() for word in query.get(name, "").split(",") if word.strip()]
    for word in found:
        if allowed is not None and word not in allowed:
            raise RefusedError(refusal(400, f"invalid {name} {word!r}: allowed are {', '.join(allowed)}"))
    return frozenset(found)


def choice(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Read the one word of the query, `""` where there is none; 400 where it is not among the allowed."""
    word = query.get(name, "")
    if word and word not in allowed:
        raise RefusedError(refusal(400, f"invalid {name} {word!r}: allowed are {', '.join(allowed)}"))
    return word


def time(query: Mapping[str, str], name: str) -> datetime | None:
    """Read a time of the query; 400 where it is not of RFC 3339."""
    text = query.get(name, "")
    if not text:
        return None
    read = parsed_time(text.upper()) if _RFC3339.fullmatch(text) else None
    if read is None:
        raise RefusedError(refusal(400, f"invalid {name}: must be an RFC 3339 time"))
    return read


def is_uuid(text: str) -> bool:
    """Say whether `text` is a UUID in its usual writing."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


# ---- the body


def body_of(call: Call, *, needed: bool = True) -> Row:
    """Read the body as a JSON object; 400 where it is something else, or nothing though it is needed."""
    if not call.body and not needed:
        return {}
    try:
        value: Any = json.loads(call.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(refusal(400, "invalid request body"))
    return cast(Row, value)


def text_in(body: Row, name: str) -> str:
    """Read a text that must be in the body."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(refusal(400, f"{name} is required"))
    return value


def object_in(body: Row, name: str, default: Row | None = None) -> Row:
    """Read an object of the body; `default` where it is missing or null, 400 without one."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, dict):
        raise RefusedError(refusal(400, f"{name} must be an object"))
    return cast(Row, value)


# ---- the answer


def joined(collection: Collection, rows: Iterable[Row]) -> bytes:
    """Join rows from their cached bytes."""
    return b"[" + b",".join([collection.encoded(row, "listed") for row in rows]) + b"]"


def envelope(name: str, rows: bytes, rest: Mapping[str, Any]) -> bytes:
    """Put encoded rows under `name`, before the few fields around them: those alone are encoded anew."""
    return b'{"%s":%s,%s' % (name.encode(), rows, encode(rest)[1:])


def found(collection: Collection, row_id: str, message: str) -> Row:
    """Give the row for serving; 404 where there is none."""
    row = collection.find(row_id)
    if row is None:
        raise RefusedError(refusal(404, message))
    return row
