"""Describe a service as a client sees it: its base URL, its key header, and the pause that it asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Final
from urllib.parse import unquote, urlsplit

from yarl import URL

from ..errors import APIStatusError, ConfigurationError
from ..hosts import ServiceName
from .adapter import Route

KEEPS_QUERY: Final = "keep_query" in signature(URL.with_path).parameters
"""Whether this version of yarl can replace the path and keep the query; versions before 1.18.2 cannot."""


class Pause:
    """Until when (in loop time) nothing is sent to one base URL, and the response that asked for it.

    A 429 on a request that creates something concerns creating alone, so it has a pause of its own. `waiting` counts
    the calls that are waiting for the pause to end or for their next attempt. `on_extended` is called when a pause that
    does not concern creating alone is extended.
    """

    __slots__ = ("cause", "creating_cause", "creating_until", "on_extended", "until", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.on_extended: Callable[[float, APIStatusError], None] | None = None
        self.until = 0.0
        self.cause: APIStatusError | None = None
        self.creating_until = 0.0
        self.creating_cause: APIStatusError | None = None

    def extend(self, until: float, cause: APIStatusError, *, creating: bool) -> None:
        """Extend the pause to `until`. A later end stays as it is."""
        if creating:
            if until > self.creating_until:
                self.creating_until, self.creating_cause = until, cause
        elif until > self.until:
            self.until, self.cause = until, cause
            if self.on_extended is not None:
                self.on_extended(until, cause)

    def clear_ended(self, now: float) -> None:
        """Reset what has ended, so that calls need not look at the clock."""
        if self.until <= now:
            self.until = 0.0
        if self.creating_until <= now:
            self.creating_until = 0.0

    def for_call(self, *, creating: bool) -> tuple[float, APIStatusError | None]:
        """Return until when a call must wait, and the cause."""
        if creating and self.creating_until > self.until:
            return self.creating_until, self.creating_cause
        return self.until, self.cause


class BoundService:
    """One service of a client: its URLs, its key header, its pause and its routes."""

    __slots__ = ("_authority", "_scheme", "base", "key_header", "name", "origin", "pause", "prefix", "routes")

    def __init__(self, name: ServiceName, base_url: str, key_header: dict[str, str] | None, pause: Pause):
        self.name = name
        self.base = _url_of(base_url)
        self.origin = self.base.origin()
        self._scheme, self._authority = self.base.scheme, self.base.raw_authority
        self.prefix = self.base.raw_path.rstrip("/")
        self.key_header = key_header
        self.pause = pause
        self.routes: dict[bool, Route] = {}

    def url(self, path: str, query: str = "", version: int = 1) -> URL:
        """Return the URL of an encoded path below the base URL, with an encoded query.

        For a `version` other than 1, a `/v1` at the end of the base URL is replaced by that version; if there is none,
        the version is appended.
        """
        prefix = self.prefix if version == 1 else f"{self.prefix.removesuffix('/v1')}/v{version}"
        return URL.build(
            scheme=self._scheme, authority=self._authority, path=prefix + path, query_string=query, encoded=True
        )

    def url_maker(self, query: str) -> Callable[[str], URL]:
        """Return a function that makes URLs as `url` does, always with this query and at less cost."""
        if not KEEPS_QUERY:
            return partial(self.url, query=query)
        template, prefix = self.url("/", query), self.prefix
        return lambda path: template.with_path(prefix + path, encoded=True, keep_query=True)


def _url_of(base_url: str) -> URL:
    """Return a base URL as yarl reads it. Raises `ConfigurationError` if that is not what it says to other readers.

    The check of a `Service`, for instance for plain http, is about what `urllib` reads.
    """
    parts, url = urlsplit(base_url), URL()
    try:
        url = URL(base_url)
        same = (url.scheme, url.host, url.explicit_port, url.path.rstrip("/")) == (
            parts.scheme,
            parts.hostname,
            parts.port,
            unquote(parts.path).rstrip("/"),
        )
    except ValueError:
        same = False
    if not same:
        raise ConfigurationError(f"base_url {base_url!r} is ambiguous: write its host and path plainly")
    return url
