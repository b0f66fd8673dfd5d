"""Build the URLs of requests, and read the headers of responses, as pure functions.

Each path argument becomes one percent-encoded segment. `refusal` reads the bodies of unsuccessful responses; `adapter`
and `transport` send and receive.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol, cast
from urllib.parse import quote, unquote, urlencode

from .redaction import line

_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_~-]+").fullmatch
REQUEST_ID: Final = "X-Request-Id"
MAX_REQUEST_ID: Final = 200
"""Characters of an id of a request that an error or a log line shows."""
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
        kind = type(value).__name__
        several = ": call once for each id, or use `get_many`" if kind in ("list", "tuple", "set") else ""
        raise TypeError(f"{name} must be a str, not {kind}{several}")
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
    return line(received, secrets, MAX_REQUEST_ID) or None


def deprecation_link(links: Iterable[str]) -> str | None:
    """Return the URL of the first link with `rel="deprecation"` in `Link` headers, or None if there is none."""
    for target, parameters in _LINK.findall(",".join(links)):
        for name, quoted, plain in _PARAMETER.findall(parameters):
            if name.lower() == "rel":
                if "deprecation" in (quoted or plain).lower().split():
                    return cast(str, target)
                break  # Only the first `rel` of a link counts.
    return None
