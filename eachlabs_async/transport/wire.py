"""Build the URLs of requests, and read refusals: their `Retry-After`, request id and error body, as pure functions.

Each path argument becomes one percent-encoded segment. An unsuccessful response becomes an `APIStatusError` whose texts
contain no key. `adapter` and `transport` send and receive.
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

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_~-]+").fullmatch
REQUEST_ID: Final = "X-Request-Id"
_REQUEST_ID_HEADERS: Final = ("X-Noxus-Request-Id", REQUEST_ID, "X-Execution-ID", "X-Generation-Id")


_PARAMETER: Final = re.compile(r"""\s*;\s*([^\s=;,<>"]+)(?:\s*=\s*(?:"([^"]*)"|([^\s;,<>"]*)))?""")
_LINK: Final = re.compile(r"""<([^<>]*)>((?:\s*;\s*[^\s=;,<>"]+(?:\s*=\s*(?:"[^"]*"|[^\s;,<>"]*))?)*)""")
"""A link of a `Link` header, as URL and parameters, and one of these parameters, as name and value."""


class Headers(Protocol):
    """The headers of a response. Names are looked up without regard to case."""

    def get(self, key: str, /) -> str | None:
        """Return the first value of the header `key`, or None if it is absent."""
        ...


class Body(bytes):
    """The body of a request or response. It may contain a key, so its `repr`, as in a traceback, does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


# ---- building


def segment(name: str, value: object) -> str:
    """Return a path argument as one encoded segment.

    Raises `TypeError` or `ValueError` with its name if it cannot be an id.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if _UNRESERVED(value):
        return str.__str__(value)  # Formatting a member of an enum would give its name.
    if value in ("", ".", ".."):
        raise ValueError(f"{name} must not be {value!r}" if value else f"{name} must not be empty")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text that UTF-8 can encode (it contains a lone surrogate)") from None


def query(params: Mapping[str, object]) -> str:
    """Return the encoded query, without the question mark. None is left out, and a list becomes repeated parameters."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    for name in params:
        if not isinstance(name, str):
            raise TypeError(f"params must have names that are str, not {type(name).__name__}")
    pairs = {name: _parameter_text(name, value) for name, value in params.items() if value is not None}
    try:
        return urlencode(pairs, doseq=True, quote_via=quote)
    except UnicodeEncodeError:
        raise ValueError("params must be text that UTF-8 can encode (a value contains a lone surrogate)") from None


def _parameter_text(name: str, value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [_text(name, item) for item in cast(Sequence[object], value)]
    return _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)  # `str` of a member of an enum would give its name.
    if isinstance(value, int | float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"params[{name!r}] must be finite, not {value}")
        return str(value)
    raise TypeError(f"params[{name!r}] must be a str, a number, a bool or a list, not {type(value).__name__}")


def checked_path(path: object) -> str:
    """Check and encode a path of `client.request`. Escapes in it stay as they are."""
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    if not path.startswith("/"):
        raise ValueError("path must begin with '/' (it is relative to the service's base URL)")
    if "?" in path or "#" in path:
        raise ValueError("path must not contain '?' or '#': pass the query as params, and encode ids")
    if any(part.partition(";")[0] in (".", "..") for part in re.split(r"[/\\]", _unescaped(path))):
        raise ValueError("path must not contain a '.' or '..' segment, not even an escaped one")
    try:
        return quote(path, safe="/%:@!$&'()*+,;=~")
    except UnicodeEncodeError:
        raise ValueError("path must be text that UTF-8 can encode (it contains a lone surrogate)") from None


def _unescaped(path: str) -> str:
    """Undo every percent-encoding, as servers behind servers do: an escaped slash or dot must not climb the path."""
    while (plain := unquote(path)) != path:
        path = plain
    return path


# ---- reading


def redact(text: str, secrets: Collection[str]) -> str:
    """Replace every secret in `text` by asterisks, even if a URL, JSON or `repr` escapes some of its characters."""
    for secret in secrets:
        text = re.sub("".join(map(_spellings, str.__str__(secret))), "***", text)
    return text


@cache
def _spellings(char: str) -> str:
    code = f"{ord(char):02x}"
    plain = char if char.isalnum() else rf"\\*{re.escape(char)}"
    return rf"(?:{plain}|%(?i:{code})|\\+u00(?i:{code}))"


def retry_after_s(headers: Headers, now: datetime) -> float | None:
    """Return `Retry-After` (seconds or a date) as seconds from now, at least 0, or None if it is absent or invalid.

    A date is compared with the `Date` of the response, so that it does not matter if the clocks differ.
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
    """Return an HTTP date in UTC, or None if it is absent or invalid."""
    if value is None:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def request_id_of(headers: Headers, secrets: Collection[str]) -> str | None:
    """Return the service's id of a request, redacted, or None if the response does not name it."""
    received = next((found for name in _REQUEST_ID_HEADERS if (found := headers.get(name))), "")
    return redacted_line(received, secrets)[:200] or None


def redacted_line(text: str, secrets: Collection[str]) -> str:
    """Return text from a peer as it may appear in one line: printable characters only, without the `secrets`."""
    return "".join(filter(str.isprintable, redact(text, secrets)))


def deprecation_link(links: Iterable[str]) -> str | None:
    """Return the URL of the first link with `rel="deprecation"` in `Link` headers, or None if there is none."""
    for target, parameters in _LINK.findall(",".join(links)):
        for name, quoted, plain in _PARAMETER.findall(parameters):
            if name.lower() == "rel":
                if "deprecation" in (quoted or plain).lower().split():
                    return cast(str, target)
                break  # Only the first `rel` of a link counts.
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
    """Return the error of an unsuccessful response. Its texts contain none of the `secrets`."""
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
        return "a response without an explanation"


def _explanation(text: str) -> tuple[str, str | None, Any]:
    """Return message, code and details of an error body of either vendor. An HTML page has none of them."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return "", None, None
    if not isinstance(parsed, dict):
        return "", None, None
    body = cast(dict[str, Any], parsed)
    inner = body.get("error")
    source = cast(dict[str, Any], inner) if isinstance(inner, dict) else body
    detail = body.get("detail")
    candidates: tuple[object, ...] = (
        cast(object, inner),
        source.get("message"),
        body.get("error_message"),
        _validation_message(detail),
    )
    message = next((found for found in candidates if isinstance(found, str) and found), "")
    code = source.get("code")
    details = source.get("details")
    return (
        message[:MAX_BODY_TEXT],
        str(code) if isinstance(code, str | int) else None,
        detail if details is None else details,
    )


def _validation_message(detail: object) -> str | None:
    """Return the `detail` of an error body as one line, or None if it is neither text nor a list of errors."""
    if isinstance(detail, str):
        return detail
    if not isinstance(detail, list):
        return None
    lines: list[str] = []
    for item in cast(list[object], detail):
        if isinstance(item, dict):
            part = cast(dict[str, Any], item)
            location = part.get("loc")
            path = ".".join(str(step) for step in cast(list[object], location)) if isinstance(location, list) else ""
            lines.append(f"{path}: {part.get('msg')}" if path else str(part.get("msg")))
    return "; ".join(lines) or None
