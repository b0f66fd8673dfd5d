"""Hold what all views of a client share: services, keys, pauses, the semaphore and the aiohttp sessions.

`transport` sends and waits.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import ssl
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final
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
from ..hooks import Hooks, PauseShared
from ..hosts import SERVICE_NAMES, Hosts, ServiceName
from .adapter import Route
from .aiohttp_sessions import AiohttpSessions
from .call import Call
from .creations import Creations
from .deadline import NEVER, DeadlineTimer
from .endpoints import KeyLocation
from .keys import Key, fingerprint, key_headers, secrets_of
from .loop_binding import LoopBinding
from .redaction import excerpt, line
from .retry import RetryPolicy, leaves_outcome_open, needs_creation_pause, requested_pause_s
from .semaphore import PrioritySemaphore
from .service import BoundService, Pause
from .wire import MAX_REQUEST_ID, deprecation_link, request_id_of

log: Final = logging.getLogger("eachlabs_async")

DEPRECATION: Final = istr("Deprecation")
MAX_DEPRECATED: Final = 256
"""Deprecated endpoints of which one client warns, at most."""
MAX_LINK_LENGTH: Final = 300
"""Characters of a URL from a response that a log line shows."""
MAX_BODY: Final = 300
"""Characters of the body that the error for an unreadable response keeps."""


class Session:
    """The state that all views of one client share."""

    def __init__(
        self,
        hosts: Hosts,
        *,
        api_key: Key | None,
        runs_api_key: Key | None,
        external: aiohttp.ClientSession | None,
        context: ssl.SSLContext | None,
        max_concurrency: int,
        max_answer_bytes: int,
        creations: Creations,
        hooks: Hooks | None = None,
    ) -> None:
        self.hosts = hosts
        self.max_answer_bytes = max_answer_bytes
        self.creations = creations
        self.hooks = hooks
        self.http = AiohttpSessions(external, max_connections=max_concurrency, context=context)
        self.semaphore = PrioritySemaphore(self.http.limited_concurrency(max_concurrency))
        self.deadline_timers: WeakSet[DeadlineTimer] = WeakSet()  # of all views
        # Uploads and downloads have limits of their own, but end when the client is closed.
        self._transfer_timer = DeadlineTimer(NEVER, NEVER)
        self.deadline_timers.add(self._transfer_timer)
        self.strict_decode_lock = asyncio.Lock()  # Threads that decode take turns at the interpreter anyway.
        self.secrets = secrets_of((api_key, runs_api_key))
        # Only the last twelve digits of a UUID change from request to request, which makes an id cost next to nothing.
        self.new_request_id: Callable[[], str] = map(str(uuid4())[:24].__add__, map(str, count(10**11))).__next__
        self._deprecated: set[str] = set()  # endpoints whose warning was logged
        self.closed = False
        self._binding = LoopBinding()
        self.loop: asyncio.AbstractEventLoop | None = None  # that of the last call
        self._api_key = api_key
        self._keys = {name: key for name, key in (("api", api_key), ("runs", runs_api_key)) if key}
        pauses: dict[str, Pause] = {}
        self._services: dict[ServiceName, BoundService] = {}
        self._keyless_services: dict[ServiceName, BoundService] = {}
        for name in SERVICE_NAMES:
            service = hosts.service(name)
            # Another vendor runs the runs service: neither vendor may see the other's key.
            key = runs_api_key if name == "runs" else api_key
            self._services[name] = BoundService(
                name,
                service.base_url,
                key_headers(service.auth, key) if key else None,
                pauses.setdefault(service.base_url, Pause()),
            )

    @property
    def transfer_timer(self) -> DeadlineTimer:
        """The timer of uploads and downloads, for one that starts now."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.bind(loop)
        return self._transfer_timer

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use the client in the running `loop`, and drop everything that belongs to a closed loop or a parent process.

        Raises `ConfigurationError` if the loop in which the client was used is still open, or if a session that was
        passed in belongs to another one.
        """
        self.http.check_loop(loop)
        self._rebind(loop)

    def _rebind(self, loop: asyncio.AbstractEventLoop) -> None:
        change = self._binding.bind(loop)
        self.loop = loop
        if change == "first":
            return
        self.http.let_go()
        self._drop_routes()
        self.semaphore = PrioritySemaphore(self.semaphore.size)
        self.strict_decode_lock = asyncio.Lock()
        self.creations.calls.clear()
        for timer in self.deadline_timers:
            timer.reset()
        for service in self._services.values():
            service.pause.waiting = 0

    def _drop_routes(self) -> None:
        for service in (*self._services.values(), *self._keyless_services.values()):
            service.routes.clear()

    def service(self, name: ServiceName, key: KeyLocation = "header") -> BoundService:
        """Return the service called `name`.

        With a `key` other than `"header"`, its requests have no key header. Raises `ConfigurationError` if the client
        is closed or lacks a key that is needed.
        """
        if self.closed:
            raise ConfigurationError("the client is closed")
        service = self._services[name]
        if key == "none":
            return self._keyless(name)
        if service.key_header is None:
            argument, variable = (
                ("runs_api_key", "NOXUS_API_KEY") if name == "runs" else ("api_key", "EACHLABS_API_KEY")
            )
            raise ConfigurationError(f"this call needs a key: pass {argument} or set {variable}")
        return service if key == "header" else self._keyless(name)

    def account(self, name: ServiceName) -> str:
        """Describe the account and the host of a service, without giving the key away.

        Raises `ConfigurationError` if there is no key.
        """
        self.service(name)
        return f"{self.hosts.service(name).base_url}, key with fingerprint {fingerprint(self._keys['api'])}"

    def key_for_body(self) -> Key:
        """Return the Each Labs key, for the one call that sends it in its body.

        Raises `ConfigurationError` if there is none.
        """
        self.service("api")
        assert self._api_key is not None
        return self._api_key

    def _keyless(self, name: ServiceName) -> BoundService:
        service = self._keyless_services.get(name)
        if service is None:
            service = BoundService(name, self.hosts.service(name).base_url, None, self._services[name].pause)
            self._keyless_services[name] = service
        return service

    def pause(self, name: ServiceName) -> Pause:
        """Return the pause of the service called `name`."""
        return self._services[name].pause

    def share_pause(self, call: Call, failure: APIStatusError, retry: RetryPolicy) -> None:
        """Make all calls observe the pause that a failure asks for or requires.

        If only a pause of all creating requests ends the failure, its length becomes the `retry_after_s` of `failure`.
        """
        now, pause_s = asyncio.get_running_loop().time(), requested_pause_s(failure)
        count = call.execution_count
        # The vendor of the runs service documents no limit that only a pause ends.
        if isinstance(failure, RateLimitError) and count and call.service.name != "runs":
            running = self.creations.running(now, besides=call)
            if retry.creating_pause_s and needs_creation_pause(failure, running=running, requested=count):
                self._pause_creations(failure, retry.creating_pause_s, now)
                return
        if pause_s and failure.status in retry.statuses and pause_s <= retry.max_elapsed_s:
            # A copy, because a walk adds its own rows and checkpoint to the failure that it raises.
            creating = call.creating and isinstance(failure, RateLimitError)
            call.service.pause.extend(now + pause_s, copy.copy(failure), creating=creating)
            self._report_pause(call.service.name, pause_s, failure, creating=creating)

    def _pause_creations(self, failure: RateLimitError, first_s: float, now: float) -> None:
        is_new = now >= self.creations.paused_until
        pause_s = failure.retry_after_s = self.creations.pause(first_s, now)
        for service in self._services.values():
            if service.name != "runs":
                service.pause.extend(now + pause_s, copy.copy(failure), creating=True)
                self._report_pause(service.name, pause_s, failure, creating=True)
        if is_new:
            message = line(failure.message, self.secrets)
            facts = {"event": "creations paused", "pause_s": pause_s, "status": 429, "error": message}
            log.info("pausing all creating requests for %.0f s after HTTP 429: %s", pause_s, message, extra=facts)

    def _report_pause(self, service: str, pause_s: float, failure: APIStatusError, *, creating: bool) -> None:
        if self.hooks is not None:
            event = PauseShared(service=service, seconds=pause_s, status=failure.status, creating=creating)
            self.hooks.emit(event)

    def route(self, service: BoundService, *, creating: bool) -> Route:
        """Return the route to a service, opened on first use."""
        if self.closed:
            raise ConfigurationError("the client is closed")
        route = service.routes.get(creating)
        if route is None:
            headers = service.key_header
            other_keys = [key for name, key in self._keys.items() if (name == "runs") != (service.name == "runs")]
            # Logins and cookies of a passed session are taken to be for Each Labs, if the client has a key for it.
            foreign = (service.name == "runs") == ("api" in self._keys)
            route = self.http.route(
                service.origin,
                headers or {},
                creating=creating,
                isolated=headers is None,
                foreign=foreign,
                other_keys=other_keys,
            )
            service.routes[creating] = route
        return route

    def storage_route(self, origin: str) -> Route:
        """Return the route to a host that is not a service: without a key, and with a new connection each time."""
        if self.closed:
            raise ConfigurationError("the client is closed")
        return self.http.route(URL(origin), {}, creating=True, isolated=True, storage=True)

    def with_call_details(self, call: Call, failure: EachLabsError) -> EachLabsError:
        """Return an error with the details of its call, and without keys in its texts.

        If the call creates something and may have been carried out, an `OutcomeUnknownError` is returned instead.
        """
        self.describe(call, failure)
        if call.creating and call.attempted and (leaves_outcome_open(failure) or call.may_have_arrived):
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

    def describe(self, call: Call, failure: EachLabsError) -> None:
        """Give an error the details of its call, and remove keys from its texts."""
        keys = self.secrets
        failure.message = line(failure.message, keys)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = call.method, self.redacted_url(call), call.attempts
        failure.request_id = failure.request_id or self.request_id_of(call)
        if isinstance(failure, ResponseDecodeError):
            failure.path, failure.body = line(failure.path, keys), excerpt(failure.body, keys, MAX_BODY)
        failure.__traceback__ = failure.__context__ = None

    def request_id_of(self, call: Call, headers: Mapping[str, str] | None = None) -> str | None:
        """Return the id of a call's last request, redacted: the one that the response names, or else the one sent."""
        headers = getattr(call, "headers", None) if headers is None else headers
        received = None if headers is None else request_id_of(headers, self.secrets)
        return received or line(call.request_id, self.secrets, MAX_REQUEST_ID) or None

    def log_attempt(self, call: Call, outcome: str, headers: Mapping[str, str] | None = None) -> None:
        """Log one attempt; `headers` are those of its response, if one came."""
        facts = self._facts("attempt", call, self.request_id_of(call, headers))
        facts["outcome"] = line(outcome, self.secrets)
        log.debug("%(method)s %(url)s attempt %(attempt)d: %(outcome)s [request %(request_id)s]", facts, extra=facts)

    def log_retry(self, call: Call, failure: EachLabsError, wait_s: float) -> None:
        """Log that a call waits `wait_s` seconds before its next attempt."""
        facts = self._facts("retry", call, failure.request_id or self.request_id_of(call))
        facts |= {"error_type": type(failure).__name__, "error": line(failure.message, self.secrets), "wait_s": wait_s}
        log.info(
            "%(method)s %(url)s failed on attempt %(attempt)d (%(error_type)s: %(error)s): "
            "retrying in %(wait_s).2f s [request %(request_id)s]",
            facts,
            extra=facts,
        )

    def _facts(self, event: str, call: Call, request_id: str | None) -> dict[str, Any]:
        """Return the attributes of a log record about a call."""
        url = self.redacted_url(call)
        return {
            "event": event, "method": call.method, "url": url, "attempt": call.attempts, "request_id": request_id,
        }  # fmt: skip

    def warn_deprecated(self, call: Call, headers: CIMultiDictProxy[str]) -> None:
        """Warn once of an endpoint that the service has deprecated, unless this package chose it."""
        if not call.chosen_by_caller or headers.get(DEPRECATION, "").strip().lower() in ("", "false", "?0"):
            return
        link = line(deprecation_link(headers.getall("Link", ())) or "", self.secrets, MAX_LINK_LENGTH)
        if call.endpoint is not None:
            path = call.endpoint.template(self.hosts.edition)
            description = f"{path} ({call.endpoint.name})"
            key = call.endpoint.name
        else:  # The path may contain an id, so the link, if there is one, identifies the endpoint.
            description = line(call.url.raw_path, self.secrets, MAX_LINK_LENGTH)
            key = f"{call.service.name} {call.method} {link or description}"
        if key in self._deprecated or len(self._deprecated) >= MAX_DEPRECATED:
            return
        self._deprecated.add(key)
        log.warning(
            "%s %s is deprecated by the service%s",
            call.method,
            description,
            f": see {link}" if link else "",
            extra={"event": "deprecated", "method": call.method, "endpoint": description, "link": link},
        )

    def redacted_url(self, call: Call) -> str:
        """Return the URL of a call without keys."""
        return line(str(call.url), self.secrets)

    async def close(self) -> None:
        """Refuse further calls, interrupt the active ones, and close the aiohttp sessions that the client opened.

        Raises `ConfigurationError` if the client is used in another loop, which is still open.
        """
        loop = asyncio.get_running_loop()
        if self.loop not in (None, loop):
            self._rebind(loop)
        self.closed = True
        for timer in self.deadline_timers:
            timer.close()
        self._drop_routes()
        await self.http.close()
