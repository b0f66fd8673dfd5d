"""The request as a handler sees it, and the readers of its query and body, which refuse invalid values with a 400."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from attrs import frozen

from ..hosts import Edition
from .collection import Row, parsed_time
from .reply import RefusedError, error_reply

__all__ = [
    "INTEGER",
    "Clamp",
    "HandlerRequest",
    "choice_param",
    "clamped_int_param",
    "decoded_json",
    "int_param",
    "is_uuid",
    "json_body",
    "object_field",
    "required_text",
    "time_param",
    "words_param",
]

MAX_DEPTH: Final = 100
"""How deeply the JSON of a request may be nested."""
MAX_SPAN: Final = timedelta(days=366)
"""What can be subtracted from a time in the query."""
INTEGER: Final = re.compile(r"-?\d{1,18}")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


@frozen
class Clamp:
    """The largest page, whatever limit was requested; `stated` says whether the reply states the applied limit."""

    largest: int
    stated: bool = True


@frozen(kw_only=True)
class HandlerRequest:
    """What a handler may know of a request: edition, decoded path fields and query, body, and shaping faults.

    `base` is the base URL of the requested service and `origin` that of the emulator: some replies contain URLs.
    `organisation` identifies the caller. `short_page` is the largest page of a listing by cursor; with it, every page
    says that more follow.
    """

    edition: Edition
    fields: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""
    clamp: Clamp | None = None
    base: str = ""
    origin: str = ""
    organisation: str = ""
    short_page: int | None = None

    def clamped(self, requested: int) -> tuple[int, int]:
        """Return the number of rows in a page for the requested limit, and the limit that the reply states."""
        if self.clamp is None:
            return requested, requested
        applied = min(requested, self.clamp.largest)
        return applied, applied if self.clamp.stated else requested


# ---- the query


def int_param(query: Mapping[str, str], name: str, default: int, least: int, most: int | None = None) -> int:
    """Read an integer from the query; refuse anything else, and an integer out of range."""
    text = query.get(name, "")
    if not text:
        return default
    number = int(text) if INTEGER.fullmatch(text) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise RefusedError(error_reply(400, f"invalid {name}: must be an integer {bounds}"))
    return number


def clamped_int_param(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Read an integer as services do that document no 400: the default for an invalid one, and at most `most`."""
    text = query.get(name, "")
    number = int(text) if INTEGER.fullmatch(text) else 0
    return min(number, most) if number > 0 else default


def words_param(query: Mapping[str, str], name: str, allowed: tuple[str, ...] | None) -> frozenset[str]:
    """Read comma-separated words from the query; refuse a word that is not allowed."""
    found = [word.strip() for word in query.get(name, "").split(",") if word.strip()]
    for word in found:
        if allowed is not None and word not in allowed:
            raise RefusedError(error_reply(400, f"invalid {name} {word!r}: allowed are {', '.join(allowed)}"))
    return frozenset(found)


def choice_param(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Read one word from the query, `""` if it is missing; refuse a word that is not allowed."""
    word = query.get(name, "")
    if word and word not in allowed:
        raise RefusedError(error_reply(400, f"invalid {name} {word!r}: allowed are {', '.join(allowed)}"))
    return word


def time_param(query: Mapping[str, str], name: str) -> datetime | None:
    """Read an RFC 3339 time from the query; refuse any other."""
    text = query.get(name, "")
    if not text:
        return None
    time = parsed_time(text.upper()) if _RFC3339.fullmatch(text) else None
    try:
        if time is not None and time.astimezone(UTC) - MAX_SPAN:
            return time
    except OverflowError:
        pass
    raise RefusedError(error_reply(400, f"invalid {name}: must be an RFC 3339 time"))


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in the usual notation."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


# ---- the body


def decoded_json(body: bytes) -> Any:
    """Return the JSON in a body. Raises `ValueError` for what cannot be sent back either, or is nested too deeply."""
    try:
        value: Any = json.loads(body, parse_constant=float)
    except RecursionError:
        raise ValueError("too deep") from None
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        one, depth = todo.pop()
        if isinstance(one, str):
            one.encode()  # A lone surrogate is a `ValueError` too.
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError("not finite")
        elif isinstance(one, dict | list):
            if depth == MAX_DEPTH:
                raise ValueError("too deep")
            named = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
            todo += [(part, depth + 1) for part in (*cast("Iterable[Any]", one), *named.values())]
    return value


def json_body(request: HandlerRequest, *, required: bool = True) -> Row:
    """Read the body as a JSON object; refuse anything else, and an empty body if one is required."""
    if not request.body and not required:
        return {}
    try:
        value = decoded_json(request.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(error_reply(400, "invalid request body"))
    return cast(Row, value)


def required_text(body: Row, name: str) -> str:
    """Read a non-empty string from the body."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RefusedError(error_reply(400, f"{name} is required"))
    return value


def object_field(body: Row, name: str, default: Row | None = None) -> Row:
    """Read an object from the body; `default` if it is missing or null, and a refusal without a default."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, dict):
        raise RefusedError(error_reply(400, f"{name} must be an object"))
    return cast(Row, value)
