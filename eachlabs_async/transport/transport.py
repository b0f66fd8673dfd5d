"""Carry out a call: the wait for the semaphore, the attempts, the pause of its service, its deadline.

A `Call` goes in. The body of the successful response comes out, or an `EachLabsError` whose texts contain no key.
`adapter` handles what is peculiar to aiohttp, and `retry` decides about further attempts.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar, cast

import aiohttp

from ..errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    EachLabsError,
    ResponseDecodeError,
)
from ..hosts import Edition
from .adapter import RequestBody, Route, error_from
from .answer_identity import mixed_up_answer, other_identity
from .backoff_copy import on_exception
from .bounded_body import check_size, is_success, read_body
from .call import Call
from .call_events import CallEvents
from .deadline import NEVER, DeadlineTimer
from .decoder import ResponseDecoder
from .endpoints import Endpoint
from .redirects import REDIRECTS, redirect_target
from .refusal import status_error
from .retry import RetryPolicy, Timeouts, may_send_again
from .session import DEPRECATION, Session
from .wire import Body

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")


class Transport:
    """One view of a client: the shared session with one retry policy and one set of timeouts."""

    def __init__(self, session: Session, retry: RetryPolicy, timeouts: Timeouts) -> None:
        self.session = session
        self.retry = retry
        self.timeouts = timeouts
        self.decoder = ResponseDecoder(session)
        self._deadline_timer = DeadlineTimer(timeouts.deadline_s, timeouts.read_s)
        session.deadline_timers.add(self._deadline_timer)
        # For its own read timeout aiohttp sets and cancels two timers a request; `DeadlineTimer` has one for all calls.
        # But its read timeout starts before the connection is open. aiohttp's is used where this makes a difference:
        # where a pool may be full, where connecting may take longer, and where it must be known if a request was sent.
        self._enforces_read_timeout = not session.http.is_external and timeouts.read_s >= timeouts.connect_s
        self._connect_timeout = session.http.timeouts(timeouts.connect_s, None)
        self._connect_and_read_timeout = session.http.timeouts(timeouts.connect_s, timeouts.read_s)

    @property
    def edition(self) -> Edition:
        """The edition of the client's hosts."""
        return self.session.hosts.edition

    def call(
        self,
        endpoint: Endpoint,
        path: str,
        query: str = "",
        *,
        body: bytes | None = None,
        background: bool = False,
        chosen_by_caller: bool = True,
    ) -> Call:
        """Return a call of an endpoint, whose path is expanded already."""
        service = self.session.service(endpoint.service, endpoint.key)
        return Call(
            service,
            endpoint.method,
            service.url(path, query, endpoint.version),
            body=body,
            creating=not endpoint.repeatable,
            background=background,
            endpoint=endpoint,
            chosen_by_caller=chosen_by_caller,
        )

    async def request(
        self, endpoint: Endpoint, kind: type[T], query: str = "", *, background: bool = False, **path: str
    ) -> T:
        """Call an endpoint and decode the response as `kind`. `path` holds the arguments of the path."""
        call = self.call(endpoint, endpoint.expand(self.edition, **path), query, background=background)
        found, identity = await self.get(call, kind), path[next(reversed(path))] if path else ""
        if other_identity(endpoint, found, identity) is None:
            return found
        return await self.get_own_record(call, kind, identity, found)

    async def get_own_record(self, call: Call, kind: type[T], identity: str, found: T) -> T:
        """Carry out a call again, on a new connection, because it `found` a record that is not that of `identity`.

        Raises `ResponseDecodeError` if the policy allows no further attempt or the next record is another's too.
        """
        assert call.endpoint is not None
        if call.attempts < self.retry.max_attempts:
            url = self.session.redacted_url(call)
            facts = {"event": "other record", "method": call.method, "url": url}
            log.info("%s %s brought another record: asking again", call.method, url, extra=facts)
            call.fresh = True
            found = await self.get(call, kind)
        if other_identity(call.endpoint, found, identity) is None:
            return found
        raise self.session.with_call_details(call, mixed_up_answer(call.endpoint, found, identity))

    def waiting(self, endpoint: Endpoint) -> int:
        """Return how many calls to the endpoint's service are waiting, for a pause to end or for their next attempt."""
        return self.session.pause(endpoint.service).waiting

    async def get(self, call: Call, kind: type[T]) -> T:
        """Carry out a call and decode the response as `kind`."""
        return (await self.receive(call, partial(self.decoder.decode, call, kind)))[1]

    async def get_json(self, call: Call) -> Any:
        """Carry out a call and decode the response as plain JSON, or return None if its body is empty."""
        return (await self.receive(call, partial(self.decoder.decode_json, call)))[1]

    async def receive(
        self, call: Call, decode: Callable[[Body], Awaitable[T]], body: bytes | None = None
    ) -> tuple[Body, T]:
        """Carry out a call and return the body of the successful response and what `decode` makes of it.

        A body that is no JSON at all is a failure like any other: the request is sent again if the retry policy allows.
        A call that was sent already has a `body`.
        """
        received = Body(await self.send(call) if body is None else body)
        while True:
            try:
                return received, await decode(received)
            except ResponseDecodeError as exc:
                if not exc.retryable:
                    raise
                failure = exc.with_traceback(None)
            received = Body(await self.send(call, failure))

    async def send(self, call: Call, unreadable: ResponseDecodeError | None = None) -> bytes:
        """Carry out a call and return the body of the successful response.

        After an `unreadable` response the call goes on: with its deadline, and with a wait before the next attempt.

        The request is sent until it succeeds, the retry policy gives up or the deadline passes. Every failure is raised
        as an `EachLabsError`. A cancellation by the caller passes through; only one by the call's own deadline becomes
        an error. The body may contain a key: code that can raise while it holds the body wraps it in a `Body` first.
        """
        timer, reading = self._deadline_timer, self._enforces_read_timeout and not call.creating
        timeout = self._connect_timeout if reading else self._connect_and_read_timeout
        loop = asyncio.get_running_loop()
        if loop is not self.session.loop:
            self.session.bind(loop)
        earlier = call.deadline if call.attempts else None
        deadline = call.deadline = timer.start(loop, reading=reading, earlier=earlier)
        semaphore, pause, routes = self.session.semaphore, call.service.pause, call.service.routes
        max_bytes = self.session.max_answer_bytes
        url: Any = call.url
        redirects, is_first = 0, True
        if call.execution_count:
            self.session.creations.calls.add(call)
        hooks = self.session.hooks
        events = call.events = None if hooks is None else CallEvents(hooks, self.session, call)
        response: Any
        body: Any = None
        failure: EachLabsError
        try:
            if unreadable is not None:
                await self._wait_before_retry(call, unreadable)
            while True:
                if is_first and semaphore.available and not pause.until and not pause.creating_until:
                    semaphore.available -= 1
                else:
                    await self._acquire_slot(call)
                    if reading:
                        timer.restart_read_timeout(deadline)
                is_first = False
                try:
                    route = routes.get(call.fresh) or self.session.route(call.service, creating=call.fresh)
                    arguments = route.arguments if call.body is None else self._with_body(call, route)
                    if not redirects:
                        call.attempts += 1
                        call.request_id = route.request_id or self.session.new_request_id()
                    if events is not None:
                        arguments = events.request_started(arguments)
                    arguments = route.with_request_id(arguments, call.request_id)
                    call.in_flight = call.attempted = True
                    response = await route.session.request(call.method, url, timeout=timeout, **arguments)
                    content = response.content
                    if content.is_eof() and call.body is None:
                        body = content.read_nowait()  # A small body arrives together with the headers.
                        if len(body) > max_bytes and is_success(response.status):
                            check_size(len(body), max_bytes)
                    else:
                        body = await read_body(response, max_bytes, partial(timer.restart_read_timeout, deadline))
                    if response.status in REDIRECTS:
                        redirects += 1
                        url = redirect_target(
                            call, url, response.status, response.headers.get("Location", ""), redirects
                        )
                        continue
                except asyncio.CancelledError:
                    if deadline.absorb_cancellation("read_timeout"):
                        failure = APITimeoutError(f"no response within the read timeout of {timer.read_timeout_s:g} s")
                    elif deadline.is_stray_cancellation():  # by aiohttp, if its session is closed during a look-up
                        failure = APIConnectionError("aiohttp cancelled the request")
                    else:
                        raise
                except EachLabsError as exc:
                    failure = exc
                except MemoryError:
                    raise
                except Exception as exc:
                    failure = error_from(exc)
                else:
                    if DEPRECATION in response.headers:
                        self.session.warn_deprecated(call, response.headers)
                    if log.isEnabledFor(logging.DEBUG):
                        self.session.log_attempt(call, f"HTTP {response.status}, {len(body)} bytes", response.headers)
                    if 200 <= response.status < 300:
                        call.in_flight = False
                        call.headers = response.headers
                        if events is not None:
                            events.succeeded(response.status, len(body))
                        return cast(bytes, body)
                    failure = self._status_failure(call, response, body)
                finally:
                    semaphore.release()
                if events is not None:
                    events.attempt_failed(failure, len(body or b"") if isinstance(failure, APIStatusError) else 0)
                await self._wait_before_retry(call, failure)
                url, redirects = call.url, 0
        except asyncio.CancelledError:
            if deadline.absorb_cancellation("deadline"):
                failure = APITimeoutError(f"the deadline of {timer.deadline_s:g} s passed", sent=call.may_have_arrived)
            elif deadline.absorb_cancellation("closed"):
                failure = ConfigurationError("the client was closed while the call was under way")
            else:
                if events is not None:
                    events.ended(asyncio.CancelledError())
                raise
        except EachLabsError as exc:
            failure = exc
        finally:
            timer.stop(deadline)
            self.session.creations.calls.discard(call)
            # A traceback shows the locals of this frame, and a response may contain a key.
            url = response = body = None
        # Raised outside the handlers above, so that the error has no context.
        try:
            failure = self.session.with_call_details(call, failure)
            if events is not None:
                events.ended(failure)
            raise failure
        finally:
            del failure

    # ---- one attempt

    def _with_body(self, call: Call, route: Route) -> dict[str, Any]:
        """Return the arguments of a request with a body. A creating call keeps the body, to see if it was sent."""
        data = RequestBody(call.body or b"")
        if call.creating:
            call.request_body = data
        return {**route.json_arguments, "data": data}

    async def _acquire_slot(self, call: Call) -> None:
        """Acquire a slot of the semaphore while no pause holds the call."""
        semaphore, pause = self.session.semaphore, call.service.pause
        loop = asyncio.get_running_loop()
        call.deadline.read_deadline = NEVER
        while True:
            if pause.until or pause.creating_until:
                await self._wait_for_pause_end(call)
            if semaphore.available:
                semaphore.available -= 1
                break
            await semaphore.acquire(background=call.background)
            if pause.for_call(creating=call.creating)[0] <= loop.time():
                break
            semaphore.release()  # A pause began meanwhile, and no slot is held during a pause.

    def _status_failure(self, call: Call, response: aiohttp.ClientResponse, body: bytes) -> APIStatusError:
        """Return the error of an unsuccessful response, and share the pause that it asks for or requires."""
        failure = status_error(
            response.status,
            response.headers,
            body,
            secrets=self.session.secrets,
            now=datetime.now(UTC),
            method=call.method,
            url=str(call.url),
            attempts=call.attempts,
        )
        self.session.share_pause(call, failure, self.retry)
        return failure

    async def _wait_for_pause_end(self, call: Call) -> None:
        """Wait until no pause holds the call.

        Raises the cause of the pause at once if the deadline, or the policy's time for creating, ends before the pause.
        """
        loop = asyncio.get_running_loop()
        pause = call.service.pause
        while True:
            now = loop.time()
            until, cause = pause.for_call(creating=call.creating)
            if until <= now:
                pause.clear_ended(now)
                return
            limit_s = self.retry.max_elapsed_s if cause is pause.creating_cause else NEVER
            if until >= min(call.deadline.expires_at, call.deadline.started_at + limit_s) and cause is not None:
                failure = copy.copy(cause)
                failure.retry_after_s = until - now
                raise failure
            pause.waiting += 1
            try:
                # All waiting calls have the same end. The jitter spreads them out, and never lets one start early.
                await asyncio.sleep(until - now + random.random() * self.retry.base_s)
            finally:
                pause.waiting -= 1

    # ---- further attempts

    async def _wait_before_retry(self, call: Call, failure: EachLabsError) -> None:
        """Wait until the next attempt. Raises `failure` if there is none.

        `RetryPolicy` decides, backoff sleeps. A call whose first attempt succeeds never gets here.
        """
        if isinstance(failure, APIConnectionError):
            failure.sent = failure.sent and call.may_have_arrived
        if isinstance(failure, APIConnectionError | ResponseDecodeError):
            self.session.log_attempt(call, failure.message)
        call.in_flight = False
        call.deadline.stop_read_timeout()
        failed = False

        async def fail_once() -> None:
            nonlocal failed
            if not failed:
                failed = True
                raise failure

        def waits() -> Generator[float, Any, None]:
            yield 0.0  # backoff primes its generator and drops the first value
            if (wait_s := self._retry_delay_s(call, failure)) is not None:
                yield wait_s

        pause = call.service.pause
        pause.waiting += 1
        try:
            await on_exception(waits, EachLabsError, jitter=None, logger=None)(fail_once)()
        finally:
            pause.waiting -= 1
        call.attempted = False

    def _retry_delay_s(self, call: Call, failure: EachLabsError) -> float | None:
        if not may_send_again(failure, repeatable=not call.creating):
            return None
        now = asyncio.get_running_loop().time()
        wait_s = self.retry.delay(
            call.attempts, failure, elapsed_s=now - call.deadline.started_at, jitter=random.random()
        )
        if wait_s is None or now + wait_s >= call.deadline.expires_at:
            return None
        if call.events is not None:
            call.events.retry_planned(wait_s, failure)
        self.session.log_retry(call, failure, wait_s)
        return wait_s
