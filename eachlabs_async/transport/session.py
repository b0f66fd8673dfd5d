"""Owns what all views of a client share: services and their keys, pauses, the semaphore; and what a call is.

It refuses to send and to wait: that is the way of a call, which is `transport`'s.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final
from uuid import uuid4
from weakref import WeakSet

import aiohttp
from multidict import CIMultiDictProxy, istr
from yarl import URL

from ..errors import (
    APIStatusError,
    ConfigurationError,
    EachLabsError,
    OutcomeUnknownError,
    RateLimitError,
    ResponseDecodeError,
)
from ..hosts import SERVICE_NAMES, Hosts, ServiceName
from . import adapter as _http
from .adapter import Route
from .call import Call
from .creations import Creations
from .deadline import NEVER, DeadlineTimer
from .endpoints import KeyPlace
from .keys import Key, key_headers, secrets
from .retry import RetryPolicy, asked_pause_s, calls_for_silence, leaves_outcome_open
from .semaphore import PrioritySemaphore
from .service import BoundService, Pause
from .wire import deprecation_link, redact, request_id_of, shown_line

log: Final = logging.getLogger("eachlabs_async")

DEPRECATION: Final = istr("Deprecation")
MAX_DEPRECATED: Final = 256
"""Warnings of deprecated endpoints, at most, that one client gives."""
MAX_LINK_TEXT: Final = 300
"""Characters of a URL of the service's that a line tells."""


class Session:
    """What all views of one client share: keys, the semaphore, pauses, the aiohttp sessions, creating calls."""

    def __init__(
        self,
        hosts: Hosts,
        *,
        api_key: Key | None,
        runs_api_key: Key | None,
        given: aiohttp.ClientSession | None,
        max_concurrency: int,
        creations: Creations,
    ) -> None:
        self.hosts = hosts
        self.creations = creations
        self.http = _http.AiohttpSessions(given)
        self.semaphore = PrioritySemaphore(self.http.places(max_concurrency))
        self.watches: WeakSet[DeadlineTimer] = WeakSet()  # of all views
        self.uploads = DeadlineTimer(NEVER, NEVER)  # They have bounds of their own, but end when the client is closed.
        self.watches.add(self.uploads)
        self.slowly = asyncio.Lock()  # one thread at a time reads: each takes its turn at the interpreter
        self.secrets = secrets((api_key, runs_api_key))
        # An id costs next to nothing so: all but the last twelve digits of a UUID is made once, and these are counted.
        self.new_request_id: Callable[[], str] = map(str(uuid4())[:24].__add__, map(str, count(10**11))).__next__
        self._deprecated: set[str] = set()  # what the user was warned of
        self.closed = False
        self._api_key = api_key
        self._keys = {name: key for name, key in (("api", api_key), ("runs", runs_api_key)) if key}
        pauses: dict[str, Pause] = {}
        self._services: dict[ServiceName, BoundService] = {}
        self._bare: dict[ServiceName, BoundService] = {}
        self._elsewhere: dict[str, Route] = {}
        for name in SERVICE_NAMES:
            where = hosts.service(name)
            # The runs service is another vendor's: neither key is ever shown to the other one.
            key = runs_api_key if name == "runs" else api_key
            self._services[name] = BoundService(
                name,
                where.base_url,
                key_headers(where.auth, key) if key else None,
                pauses.setdefault(where.base_url, Pause()),
            )

    def service(self, name: ServiceName, key: KeyPlace = "header") -> BoundService:
        """Give the service called `name`, ready to be sent to; a `ConfigurationError` without a key that is needed.

        With `key` other than `"header"` no header of its requests tells a key.
        """
        if self.closed:
            raise ConfigurationError("the client is closed")
        service = self._services[name]
        if key == "none":
            return self._without_key(name)
        if service.key_header is None:
            argument, variable = (
                ("runs_api_key", "NOXUS_API_KEY") if name == "runs" else ("api_key", "EACHLABS_API_KEY")
            )
            raise ConfigurationError(f"this call needs a key: give {argument} or set {variable}")
        return service if key == "header" else self._without_key(name)

    def key_for_body(self) -> Key:
        """Give the Each Labs key, for the one call that sends it in its body; a `ConfigurationError` without it."""
        self.service("api")
        assert self._api_key is not None
        return self._api_key

    def _without_key(self, name: ServiceName) -> BoundService:
        bare = self._bare.get(name)
        if bare is None:
            bare = BoundService(name, self.hosts.service(name).base_url, None, self._services[name].pause)
            self._bare[name] = bare
        return bare

    def pause(self, name: ServiceName) -> Pause:
        """Give the pause of the service called `name`."""
        return self._services[name].pause

    def hold(self, call: Call, failure: APIStatusError, retry: RetryPolicy) -> None:
        """Share the pause that a refusal asks for, or calls for: then `failure` tells its length too."""
        now, pause_s = asyncio.get_running_loop().time(), asked_pause_s(failure)
        # The runs are another vendor's, who never said that silence ends anything.
        if isinstance(failure, RateLimitError) and call.asked and call.service.name != "runs":
            running = self.creations.running(now, besides=call)
            if retry.creating_pause_s and calls_for_silence(failure, running=running, asked=call.asked):
                self._pause_creations(failure, retry.creating_pause_s, now)
                return
        if pause_s and failure.status in retry.statuses and pause_s <= retry.max_elapsed_s:
            # A copy: the walk or `collect` that gets this failure puts its own rows and checkpoint on it.
            creating = call.creating and isinstance(failure, RateLimitError)
            call.service.pause.ask(now + pause_s, copy.copy(failure), creating=creating)

    def _pause_creations(self, failure: RateLimitError, first_s: float, now: float) -> None:
        is_new = now >= self.creations.paused_until
        pause_s = failure.retry_after_s = self.creations.pause(first_s, now)
        for service in self._services.values():
            if service.name != "runs":
                service.pause.ask(now + pause_s, copy.copy(failure), creating=True)
        if is_new:
            said = redact(failure.message, self.secrets)
            log.info("nothing is created for %.0f s, which alone ends such a refusal: HTTP 429: %s", pause_s, said)

    def route(self, service: BoundService, *, creating: bool) -> _http.Route:
        """Give the way to send to a service, opened on first use."""
        if self.closed:
            raise ConfigurationError("the client is closed")
        route = service.routes.get(creating)
        if route is None:
            headers = service.key_header
            foreign = [key for name, key in self._keys.items() if (name == "runs") != (service.name == "runs")]
            route = self.http.route(
                service.origin, headers or {}, creating=creating, bare=headers is None, foreign=foreign
            )
            service.routes[creating] = route
        return route

    def route_elsewhere(self, origin: str) -> _http.Route:
        """Give the way to send to a host that is no service: without a key, each time on a fresh connection."""
        if self.closed:
            raise ConfigurationError("the client is closed")
        route = self._elsewhere.get(origin)
        if route is None:
            route = self._elsewhere[origin] = self.http.route(URL(origin), {}, creating=True, bare=True)
        return route

    def with_call_details(self, call: Call, failure: EachLabsError) -> EachLabsError:
        """Complete an error with what is known of its call; what may have been carried out is said to be so."""
        keys = self.secrets
        failure.message = redact(failure.message, keys)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = call.method, self.shown(call), call.attempts
        failure.request_id = failure.request_id or self.request_id_of(call)
        if isinstance(failure, ResponseDecodeError):
            failure.body = redact(failure.body, keys)
        failure.__traceback__ = failure.__context__ = None
        if call.creating and call.tried and (leaves_outcome_open(failure) or call.is_out):
            unknown = OutcomeUnknownError(
                f"the request was sent and may have been carried out: {failure.message}",
                reason=failure,
                method=failure.method,
                url=failure.url,
                attempts=failure.attempts,
            )
            unknown.request_id = failure.request_id
            return unknown
        return failure

    def request_id_of(self, call: Call, headers: Mapping[str, str] | None = None) -> str | None:
        """Give the id of a call's last request as it may be told: the service's own where its answer has one."""
        headers = getattr(call, "headers", None) if headers is None else headers
        told = None if headers is None else request_id_of(headers, self.secrets)
        return told or shown_line(call.request_id, self.secrets)[:200] or None

    def log_attempt(self, call: Call, outcome: str, headers: Mapping[str, str] | None = None) -> None:
        """Write a line about one try, and its answer's `headers` where one came."""
        log.debug(
            "%s %s attempt %d: %s [request %s]",
            call.method,
            self.shown(call),
            call.attempts,
            redact(outcome, self.secrets),
            self.request_id_of(call, headers),
        )

    def warn_deprecated(self, call: Call, headers: CIMultiDictProxy[str]) -> None:
        """Warn, once, that the service has deprecated what the caller chose to call."""
        if not call.chosen or headers.get(DEPRECATION, "").strip().lower() in ("", "false", "?0"):
            return
        link = shown_line(deprecation_link(headers.getall("Link", ())) or "", self.secrets)[:MAX_LINK_TEXT]
        if call.endpoint is not None:
            path = call.endpoint.template(self.hosts.edition)
            what = f"{path} ({call.endpoint.name})"
            key = call.endpoint.name
        else:  # A path may hold an id: where there is a link, that tells which endpoint it is.
            what = shown_line(call.url.raw_path, self.secrets)[:MAX_LINK_TEXT]
            key = f"{call.service.name} {call.method} {link or what}"
        if key in self._deprecated or len(self._deprecated) >= MAX_DEPRECATED:
            return
        self._deprecated.add(key)
        log.warning("%s %s is deprecated by the service%s", call.method, what, f": see {link}" if link else "")

    def shown(self, call: Call) -> str:
        """Give the URL of a call as it may be told."""
        return redact(str(call.url), self.secrets)

    async def close(self) -> None:
        """Refuse further calls, interrupt those that run, and close what is our own."""
        self.closed = True
        for watch in self.watches:
            watch.close()
        for service in (*self._services.values(), *self._bare.values()):
            service.routes.clear()
        self._elsewhere.clear()
        await self.http.close()
