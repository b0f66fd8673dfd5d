"""Owns a service and a call as the session sees them: values and small rules; refuses to send or to wait."""

from __future__ import annotations

from yarl import URL

from ._deadline import Deadline
from ._http import Route
from .errors import APIStatusError
from .hosts import ServiceName


class Pause:
    """Until when (loop time) nothing is sent to one base URL, and the answer that asked for it.

    A 429 on a request that creates something is about creating alone, so it has a pause of its own.
    """

    __slots__ = ("cause", "creating_cause", "creating_until", "until")

    def __init__(self) -> None:
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


class Service:
    """One service as a client sees it: where it is, how it is told the key, whether it asked for a pause."""

    __slots__ = ("base", "key_header", "name", "origin", "pause", "prefix", "routes")

    def __init__(self, name: ServiceName, base_url: str, key_header: dict[str, str] | None, pause: Pause):
        self.name = name
        self.base = URL(base_url)
        self.origin = self.base.origin()
        self.prefix = self.base.raw_path.rstrip("/")
        self.key_header = key_header
        self.pause = pause
        self.routes: dict[bool, Route] = {}

    def url(self, path: str, query: str = "") -> URL:
        """Give the URL of an encoded path below the base, with an encoded query."""
        if not query:
            return self.base.with_path(self.prefix + path, encoded=True)
        return URL.build(
            scheme=self.base.scheme,
            authority=self.base.raw_authority,
            path=self.prefix + path,
            query_string=query,
            encoded=True,
        )


class Call:
    """One call: what is sent, and how far it has come.

    `creating` marks what must not be carried out twice; `crowd` a call of a bulk job or a walk, which queues
    behind single calls. `attempts` counts the tries; `in_flight` is True while one is out.
    """

    __slots__ = (
        "attempts",
        "body",
        "creating",
        "crowd",
        "deadline",
        "in_flight",
        "method",
        "service",
        "started",
        "url",
    )

    deadline: Deadline
    started: float

    def __init__(
        self,
        service: Service,
        method: str,
        url: URL,
        *,
        body: bytes | None = None,
        creating: bool = False,
        crowd: bool = False,
    ) -> None:
        self.service = service
        self.method = method
        self.url = url
        self.body = body
        self.creating = creating
        self.crowd = crowd
        self.attempts = 0
        self.in_flight = False
