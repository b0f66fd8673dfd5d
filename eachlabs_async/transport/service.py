"""Where a service is, how it is told the key, and the pause that it asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Final

from yarl import URL

from ..errors import APIStatusError
from ..hosts import ServiceName
from .adapter import Route

KEEPS_QUERY: Final = "keep_query" in signature(URL.with_path).parameters
"""Whether this yarl can change the path alone; those before 1.18.2 cannot."""


class Pause:
    """Until when (loop time) nothing is sent to one base URL, and the answer that asked for it.

    A 429 on a request that creates something is about creating alone, so it has a pause of its own. `waiting` counts
    the calls that wait now, for the pause or for their next try.
    """

    __slots__ = ("cause", "creating_cause", "creating_until", "until", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.until = 0.0
        self.cause: APIStatusError | None = None
        self.creating_until = 0.0
        self.creating_cause: APIStatusError | None = None

    def ask(self, until: float, cause: APIStatusError, *, creating: bool) -> None:
        """Lengthen the pause; it is never shortened."""
        if creating:
            if until > self.creating_until:
                self.creating_until, self.creating_cause = until, cause
        elif until > self.until:
            self.until, self.cause = until, cause

    def end(self, now: float) -> None:
        """Forget what is over, so that calls need not look at the clock."""
        if self.until <= now:
            self.until = 0.0
        if self.creating_until <= now:
            self.creating_until = 0.0

    def for_call(self, *, creating: bool) -> tuple[float, APIStatusError | None]:
        """Give until when a call is held, and why."""
        if creating and self.creating_until > self.until:
            return self.creating_until, self.creating_cause
        return self.until, self.cause


class BoundService:
    """One service as a client sees it: where it is, how it is told the key, whether it asked for a pause."""

    __slots__ = ("_authority", "_scheme", "base", "key_header", "name", "origin", "pause", "prefix", "routes")

    def __init__(self, name: ServiceName, base_url: str, key_header: dict[str, str] | None, pause: Pause):
        self.name = name
        self.base = URL(base_url)
        self.origin = self.base.origin()
        self._scheme, self._authority = self.base.scheme, self.base.raw_authority
        self.prefix = self.base.raw_path.rstrip("/")
        self.key_header = key_header
        self.pause = pause
        self.routes: dict[bool, Route] = {}

    def url(self, path: str, query: str = "", version: int = 1) -> URL:
        """Give the URL of an encoded path below the base, with an encoded query.

        A `version` other than 1 goes below the base's sibling: `/v2` in the place of its last `/v1`, or behind it.
        """
        prefix = self.prefix if version == 1 else f"{self.prefix.removesuffix('/v1')}/v{version}"
        return URL.build(
            scheme=self._scheme, authority=self._authority, path=prefix + path, query_string=query, encoded=True
        )

    def urls(self, query: str) -> Callable[[str], URL]:
        """Give the function that makes URLs as `url` does, always with the same query: that costs less."""
        if not KEEPS_QUERY:
            return partial(self.url, query=query)
        template, prefix = self.url("/", query), self.prefix
        return lambda path: template.with_path(prefix + path, encoded=True, keep_query=True)
