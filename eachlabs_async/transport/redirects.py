"""Decide whether a redirect of a service is followed: only to the same origin, and only if nothing is created."""

from __future__ import annotations

from typing import Final

from yarl import URL

from ..errors import APIConnectionError
from .call import Call

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})


def redirect_target(call: Call, url: URL, status: int, location: str, redirects: int) -> URL:
    """Return the target of a redirect, if it is within the origin and the same request can be sent there.

    Raises `APIConnectionError` if not, or after too many `redirects`.
    """
    if redirects > MAX_REDIRECTS:
        raise APIConnectionError(f"more than {MAX_REDIRECTS} redirects", retryable=False)
    try:
        target = url.join(URL(location))
        plain = bool(location) and target.raw_user is None and target.raw_password is None
        same_origin = plain and _origin(target) == _origin(call.service.origin)
    except ValueError:
        target, same_origin = url, False
    if same_origin and not call.creating and (call.method == "GET" or status in _KEEP_METHOD):
        return target
    kind = "within the origin" if same_origin else "to another origin" if location else "without a location"
    raise APIConnectionError(
        f"a redirect {kind} was refused (HTTP {status}): the request and the key were not sent on",
        sent=status == 303,
        retryable=False,
    )


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    """Return the scheme, host and port of a URL, with the default port filled in."""
    return url.scheme, url.raw_host, url.port
