"""Owns what a request and an answer are, as pure functions; refuses I/O, clocks and any knowledge of aiohttp.

Building: path arguments become one percent-encoded segment each, queries are encoded, ids are checked. Reading:
a status that is not a success becomes the error of the tree, with the keys struck out of every text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Protocol, cast
from urllib.parse import quote, unquote, urlencode

from ..errors import APIStatusError, error_class_for

MAX_BODY_TEXT: Final = 2000
"""Characters of a body that an error keeps."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_~-]+").fullmatch
REQUEST_ID: Final = "X-Request-Id"
_REQUEST_ID_HEADERS: Final = ("X-Noxus-Request-Id", REQUEST_ID, "X-Execution-ID", "X-Generation-Id")


_PARAMETER: Final = re.compile(r"""\s*;\s*([^\s=;,<>"]+)(?:\s*=\s*(?:"([^"]*)"|([^\s;,<>"]*)))?""")
_LINK: Final = re.compile(r"""<([^<>]*)>((?:\s*;\s*[^\s=;,<>"]+(?:\s*=\s*(?:"[^"]*"|[^\s;,<>"]*))?)*)""")
"""One link of a `Link` header, its URL and all its parameters; and one of these, as name and value."""


class Headers(Protocol):
    """What is asked of an answer's headers: look-up by name, in whatever case."""

    def get(self, key: str, /) -> str | None:
        """Give the first value of the header `key`, None where it is absent."""
        ...


class Body(bytes):
    """The bytes of an answer; they may hold a key, so that no traceback's locals show them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


# ---- building


def segment(name: str, value: object) -> str:
    """Encode one path argument whole; a `TypeError` or `ValueError` that names it where it cannot be an id."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if _PLAIN(value):
        return str.__str__(value)  # A template would ask an enum for the name of the member.
    if value in ("", ".", ".."):
        raise ValueError(f"{name} must not be {value!r}" if value else f"{name} must not be empty")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text that UTF-8 can carry (it holds a lone surrogate)") from None


def query(params: Mapping[str, object]) -> str:
    """Encode a query, without the question mark; a None is left out, a list is repeated."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    for name in params:
        if not isinstance(name, str):
            raise TypeError(f"params must have names that are str, not {type(name).__name__}")
    pairs = {name: _parameter(name, value) for name, value in params.items() if value is not None}
    try:
        return urlencode(pairs, doseq=True, quote_via=quote)
    except UnicodeEncodeError:
        raise ValueError("params must be text that UTF-8 can carry (a value holds a lone surrogate)") from None


def _parameter(name: str, value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [_word(name, item) for item in cast(Sequence[object], value)]
    return _word(name, value)


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)  # An enum's own `str` would give the name of the member.
    if isinstance(value, int | float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"params[{name!r}] must be finite, not {value}")
        return str(value)
    raise TypeError(f"params[{name!r}] must be a str, a number, a bool or a list, not {type(value).__name__}")


def checked_path(path: object) -> str:
    """Check and encode a whole path that a caller wrote (for `client.request`); escapes in it stay as they are."""
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    if not path.startswith("/"):
        raise ValueError("path must begin with '/' (it goes below the service's base URL)")
    if "?" in path or "#" in path:
        raise ValueError("path must not hold '?' or '#': give the query as params, and encode ids")
    if any(unquote(part) in (".", "..") for part in path.split("/")):
        raise ValueError("path must not hold a '.' or '..' segment")
    try:
        return quote(path, safe="/%:@!$&'()*+,;=~")
    except UnicodeEncodeError:
        raise ValueError("path must be text that UTF-8 can carry (it holds a lone surrogate)") from None


# ---- reading


def redact(text: str, secrets: Collection[str]) -> str:
    """Strike every secret out of `text`, also where a URL, JSON or `repr` escapes some of its characters."""
    for secret in secrets:
        text = re.sub("".join(map(_spellings, str.__str__(secret))), "***", text)
    return text


@cache
def _spellings(char: str) -> str:
    code = f"{ord(char):02x}"
    plain = char if char.isalnum() else rf"\\*{re.escape(char)}"
    return rf"(?:{plain}|%(?i:{code})|\\+u00(?i:{code}))"


def retry_after_s(headers: Headers, now: datetime) -> float | None:
    """Read `Retry-After` (seconds, or a date) as seconds from now, never negative; None where it says nothing.

    A date is held against the answer's own `Date`, so that a clock that differs from the server's does no harm.
    """
    value = headers.get("Retry-After")
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value):
        return float(value)
    at = http_date(value)
    if at is None:
        return None
    return max(0.0, (at - (http_date(headers.get("Date")) or now)).total_seconds())


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date as UTC, None where it is absent or garbage."""
    if value is None:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def request_id_of(headers: Headers, secrets: Collection[str]) -> str | None:
    """Give the id by which the service knows a request, None where its answer tells none."""
    told = next((found for name in _REQUEST_ID_HEADERS if (found := headers.get(name))), "")
    return shown_line(told, secrets)[:200] or None


def shown_line(text: str, secrets: Collection[str]) -> str:
    """Give a text of the peer's as it may stand in a line: printable characters alone, without the `secrets`."""
    return "".join(filter(str.isprintable, redact(text, secrets)))


def deprecation_link(links: Iterable[str]) -> str | None:
    """Find the URL of the first link with `rel="deprecation"` among `Link` headers, None where there is none."""
    for target, parameters in _LINK.findall(",".join(links)):
        for name, quoted, plain in _PARAMETER.findall(parameters):
            if name.lower() == "rel":
                if "deprecation" in (quoted or plain).lower().split():
                    return cast(str, target)
                break  # A second `rel` of one link does not count.
    return None


def status_error(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    secrets: Collection[str],
    now: datetime,
    method: str,
    url: str,
    attempts: int,
) -> APIStatusError:
    """Turn an answer that is not a success into its error; no text in it holds one of the `secrets`."""
    text = redact(body.decode("utf-8", "replace"), secrets)
    message, code, details = _explanation(text)
    return error_class_for(status)(
        message or _phrase(status),
        status=status,
        code=code,
        details=details,
        request_id=request_id_of(headers, secrets),
        retry_after_s=retry_after_s(headers, now),
        body=text[:MAX_BODY_TEXT],
        method=method,
        url=redact(url, secrets),
        attempts=attempts,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "an answer without an explanation"


def _explanation(text: str) -> tuple[str, str | None, Any]:
    """Find message, code and details in an error body of either vendor; a page of HTML has none."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return "", None, None
    if not isinstance(read, dict):
        return "", None, None
    body = cast(dict[str, Any], read)
    inner = body.get("error")
    source = cast(dict[str, Any], inner) if isinstance(inner, dict) else body
    detail = body.get("detail")
    told: tuple[object, ...] = (
        cast(object, inner),
        source.get("message"),
        body.get("error_message"),
        _validation(detail),
    )
    message = next((found for found in told if isinstance(found, str) and found), "")
    code = source.get("code")
    details = source.get("details")
    return (
        message[:MAX_BODY_TEXT],
        str(code) if isinstance(code, str | int) else None,
        detail if details is None else details,
    )


def _validation(detail: object) -> str | None:
    """Say in a line what a `{"detail": ...}` body complains of."""
    if isinstance(detail, str):
        return detail
    if not isinstance(detail, list):
        return None
    lines: list[str] = []
    for item in cast(list[object], detail):
        if isinstance(item, dict):
            part = cast(dict[str, Any], item)
            where = part.get("loc")
            at = ".".join(str(step) for step in cast(list[object], where)) if isinstance(where, list) else ""
            lines.append(f"{at}: {part.get('msg')}" if at else str(part.get("msg")))
    return "; ".join(lines) or None
