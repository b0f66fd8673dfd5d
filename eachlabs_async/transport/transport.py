"""Owns the way of a call: its place in the semaphore, its tries, the pause of its service, its deadline.

Together with `adapter` this is the only client-side room that knows aiohttp, and the only one that knows backoff. It
refuses to know endpoints, records or paging: a `Call` goes in, the bytes of a success come out, and everything else
is an error of the tree with the keys struck out.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import random
from collections.abc import Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar, cast

import aiohttp
import backoff
from yarl import URL

from ..codec.strict import decode_each, decode_fast, decode_json, decode_strict
from ..errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    EachLabsError,
    ResponseDecodeError,
)
from ..hosts import Edition
from . import adapter as _http
from .call import Call
from .deadline import NEVER, DeadlineTimer
from .endpoints import Endpoint
from .retry import RetryPolicy, Timeouts, may_send_again
from .session import DEPRECATION, Session
from .wire import Body, redact, status_error

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")

MAX_REDIRECTS: Final = 5
LARGE_BODY: Final = 64 * 1024
"""Bytes from which on a body that msgspec refuses is read in a thread."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})


class Transport:
    """One view of a client: the shared session under one retry policy and one set of time-outs."""

    def __init__(self, session: Session, retry: RetryPolicy, timeouts: Timeouts) -> None:
        self.session = session
        self.retry = retry
        self.timeouts = timeouts
        self._watch = DeadlineTimer(timeouts.deadline_s, timeouts.read_s)
        session.watches.add(self._watch)
        # To watch over the silence before an answer, aiohttp sets and unsets two timers a request, where ours is one
        # for all. But ours begins before the connection is there, so aiohttp's has to serve where that matters: where
        # the pool may be full or connecting take longer, and where it must be known whether a request was sent.
        self._listens = not session.http.given and timeouts.read_s >= timeouts.connect_s
        self._timers = session.http.timeouts(timeouts.connect_s, None)
        self._full_timers = session.http.timeouts(timeouts.connect_s, timeouts.read_s)

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
        chosen: bool = True,
    ) -> Call:
        """Make the call of an endpoint, with its path already expanded."""
        service = self.session.service(endpoint.service, endpoint.key)
        return Call(
            service,
            endpoint.method,
            service.url(path, query, endpoint.version),
            body=body,
            creating=not endpoint.repeatable,
            background=background,
            endpoint=endpoint,
            chosen=chosen,
        )

    async def request(
        self, endpoint: Endpoint, kind: type[T], query: str = "", *, background: bool = False, **path: str
    ) -> T:
        """Call an endpoint and return its answer as `kind`; `path` holds the arguments of the path."""
        call = self.call(endpoint, endpoint.expand(self.edition, **path), query, background=background)
        return await self.get(call, kind)

    def waiting(self, endpoint: Endpoint) -> int:
        """Give how many calls to the endpoint's service wait now, for a pause or for their next try."""
        return self.session.pause(endpoint.service).waiting

    async def get(self, call: Call, kind: type[T]) -> T:
        """Carry out a call and read its success as `kind`."""
        return await self.read(call, await self.send(call), kind)

    async def read(self, call: Call, body: bytes, kind: type[T]) -> T:
        """Read the body of a call's success as `kind`."""
        found = decode_fast(body, kind)
        if found is not None:
            return found
        body = Body(body)
        return await self.read_strict(call, body, kind)

    async def read_strict(self, call: Call, body: bytes, kind: type[T]) -> T:
        """Read what `decode_fast` refused; a large body so that it cannot hold up the loop.

        msgspec reads without letting go of the interpreter, at 2 to 11 ms a MiB: a thread would change nothing. What it
        refuses is read in pure Python, ten times slower and more: that is done in a thread, which lets the loop run,
        and in one at a time, because each takes its turn at the interpreter.
        """
        if len(body) < LARGE_BODY:
            return self.decoded(call, body, kind)
        async with self.session.slowly:
            return await asyncio.to_thread(self.decoded, call, body, kind)

    def decoded(self, call: Call, body: bytes, kind: type[T]) -> T:
        """Read slowly and surely; a `ResponseDecodeError` that names the call."""
        try:
            return decode_strict(body, kind)
        except ResponseDecodeError as exc:
            failure: EachLabsError = exc
        raise self.session.with_call_details(call, failure)

    def decoded_each(
        self,
        call: Call,
        body: bytes,
        kind: type[Any],
        *,
        rows: str,
        row_kind: type[T],
        identity: str,
        slow: bool = False,
    ) -> list[tuple[str | None, T | ResponseDecodeError]]:
        """Read a body row by row: each row's id, with the row or the error that is its own alone."""
        try:
            read = decode_each(body, kind, rows=rows, row_kind=row_kind, identity=identity, slow=slow)
        except ResponseDecodeError as exc:
            failure: EachLabsError = exc
        else:
            for _, row in read:
                if isinstance(row, ResponseDecodeError):
                    self.session.with_call_details(call, row)
            return read
        raise self.session.with_call_details(call, failure)

    async def get_json(self, call: Call) -> Any:
        """Carry out a call and read its success as plain JSON, None where the body is empty."""
        body = Body(await self.send(call))
        try:
            return decode_json(body)
        except ResponseDecodeError as exc:
            failure: EachLabsError = exc
        raise self.session.with_call_details(call, failure)

    async def send(self, call: Call) -> bytes:
        """Carry out a call and give the body of its success; every failure is an error of the tree.

        It is tried until it succeeds, the policy gives up or the deadline passes. `asyncio.CancelledError` passes
        through untouched; only a cancellation that is our own deadline's doing becomes an error. The body may hold a
        key: who raises an error with it at hand wraps it in a `Body` before.
        """
        watch, listening = self._watch, self._listens and not call.creating
        timers = self._timers if listening else self._full_timers
        deadline = call.deadline = watch.enter(asyncio.get_running_loop(), listening=listening)
        semaphore, pause, routes = self.session.semaphore, call.service.pause, call.service.routes
        url: Any = call.url
        redirects, fresh = 0, True
        if call.asked:
            self.session.creations.calls.add(call)
        response: Any
        body: Any
        failure: EachLabsError
        try:
            while True:
                if fresh and semaphore.available and not pause.until and not pause.creating_until:
                    semaphore.available -= 1
                else:
                    await self._enter(call)
                    if listening:
                        watch.listen(deadline)
                fresh = False
                try:
                    route = routes.get(call.creating) or self.session.route(call.service, creating=call.creating)
                    arguments = route.plain if call.body is None else self._with_body(call, route)
                    if not redirects:
                        call.attempts += 1
                        call.request_id = route.request_id or self.session.new_request_id()
                    arguments = route.stamped(arguments, call.request_id)
                    call.in_flight = call.tried = True
                    response = await route.session.request(call.method, url, timeout=timers, **arguments)
                    content = response.content
                    if content.is_eof() and call.body is None:
                        body = content.read_nowait()  # A small body is there with the headers.
                    else:
                        body = await _http.read_in_parts(response, partial(watch.listen, deadline))
                    if response.status in _REDIRECTS:
                        redirects += 1
                        url = self._redirected(call, url, response, redirects)
                        continue
                except asyncio.CancelledError:
                    if deadline.took_effect("silence"):
                        failure = APITimeoutError(f"no answer within the read time-out of {watch.silence_s:g} s")
                    elif deadline.nobody_asked():  # A session that is closed while it looks a host up does so.
                        failure = APIConnectionError("aiohttp gave the request up")
                    else:
                        raise
                except EachLabsError as exc:
                    failure = exc
                except Exception as exc:
                    failure = _http.describe(exc)
                else:
                    if DEPRECATION in response.headers:
                        self.session.warn_deprecated(call, response.headers)
                    if log.isEnabledFor(logging.DEBUG):
                        self.session.log_attempt(call, f"HTTP {response.status}, {len(body)} bytes", response.headers)
                    if 200 <= response.status < 300:
                        call.in_flight = False
                        call.headers = response.headers
                        return cast(bytes, body)
                    failure = self._refused(call, response, body)
                finally:
                    semaphore.release()
                await self._await_next_try(call, failure)
                url, redirects = call.url, 0
        except asyncio.CancelledError:
            if deadline.took_effect("end"):
                failure = APITimeoutError(f"the deadline of {watch.length_s:g} s passed", sent=call.is_out)
            elif deadline.took_effect("closed"):
                failure = ConfigurationError("the client was closed while the call was under way")
            else:
                raise
        except EachLabsError as exc:
            failure = exc
        finally:
            watch.leave(deadline)
            self.session.creations.calls.discard(call)
            # A traceback shows the locals of this frame, and what the peer says may hold a key.
            url = response = body = None
        # Raised here, not in a handler above: no context of the interrupted code hangs on to the error.
        try:
            raise self.session.with_call_details(call, failure)
        finally:
            del failure

    # ---- one try

    def _with_body(self, call: Call, route: _http.Route) -> dict[str, Any]:
        """Give what a request with a body adds; of one that creates something it is noted when it begins to leave."""
        data = _http.RequestBody(call.body or b"")
        if call.creating:
            call.outgoing = data
        return {**route.with_json, "data": data}

    async def _enter(self, call: Call) -> None:
        """Wait for a place, and for the end of a pause."""
        semaphore, pause = self.session.semaphore, call.service.pause
        loop = asyncio.get_running_loop()
        call.deadline.silent_until = NEVER
        while True:
            if pause.until or pause.creating_until:
                await self._sit_out(call)
            if semaphore.available:
                semaphore.available -= 1
                break
            await semaphore.acquire(background=call.background)
            if pause.for_call(creating=call.creating)[0] <= loop.time():
                break
            semaphore.release()  # A pause began while we queued. No place is held through a pause.

    def _redirected(self, call: Call, url: URL, response: aiohttp.ClientResponse, redirects: int) -> URL:
        """Give where a redirect leads: within the origin, where following repeats the request as it is."""
        if redirects > MAX_REDIRECTS:
            raise APIConnectionError(f"more than {MAX_REDIRECTS} redirects", retryable=False)
        status, location = response.status, response.headers.get("Location", "")
        try:
            target = url.join(URL(location))
            plain = bool(location) and target.raw_user is None and target.raw_password is None
            same_origin = plain and _origin(target) == _origin(call.service.origin)
        except ValueError:
            target, same_origin = url, False
        if same_origin and not call.creating and (call.method == "GET" or status in _KEEP_METHOD):
            return target
        where = "within the origin" if same_origin else "to another origin" if location else "to nowhere"
        refused = APIConnectionError(
            f"a redirect {where} was refused (HTTP {status}): the request, and the key, stay here",
            sent=status == 303,
            retryable=False,
        )
        raise refused

    def _refused(self, call: Call, response: aiohttp.ClientResponse, body: bytes) -> APIStatusError:
        """Read an answer that is not a success, and share the pause that it asks or calls for."""
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
        self.session.hold(call, failure, self.retry)
        return failure

    async def _sit_out(self, call: Call) -> None:
        """Wait until the pause is over; fail at once where the deadline, or the policy's time to create, ends in it."""
        loop = asyncio.get_running_loop()
        pause = call.service.pause
        while True:
            now = loop.time()
            until, cause = pause.for_call(creating=call.creating)
            if until <= now:
                pause.end(now)
                return
            most_s = self.retry.max_elapsed_s if cause is pause.creating_cause else NEVER
            if until >= min(call.deadline.ends, call.deadline.began + most_s) and cause is not None:
                failure = copy.copy(cause)
                failure.retry_after_s = until - now
                raise failure
            pause.waiting += 1
            try:
                # All who wait were given the same moment: they set out one after another, and never before it.
                await asyncio.sleep(until - now + random.random() * self.retry.base_s)
            finally:
                pause.waiting -= 1

    # ---- further tries

    async def _await_next_try(self, call: Call, failure: EachLabsError) -> None:
        """Wait until it is time to try again; raises `failure` where there is no further try.

        backoff counts and sleeps; `RetryPolicy` decides. A call that succeeds at once costs it nothing.
        """
        if isinstance(failure, APIConnectionError):
            failure.sent = failure.sent and call.is_out
            self.session.log_attempt(call, failure.message)
        call.in_flight = False
        call.deadline.rest()
        failed = False

        async def fail_once() -> None:
            nonlocal failed
            if not failed:
                failed = True
                raise failure

        def waits() -> Generator[float, Any, None]:
            yield 0.0  # backoff primes its generator and drops the first value
            if (wait_s := self._wait_s(call, failure)) is not None:
                yield wait_s

        pause = call.service.pause
        pause.waiting += 1
        try:
            await backoff.on_exception(waits, EachLabsError, jitter=None, logger=None)(fail_once)()
        finally:
            pause.waiting -= 1
        call.tried = False

    def _wait_s(self, call: Call, failure: EachLabsError) -> float | None:
        if not may_send_again(failure, repeatable=not call.creating):
            return None
        now = asyncio.get_running_loop().time()
        wait_s = self.retry.delay(call.attempts, failure, elapsed_s=now - call.deadline.began, jitter=random.random())
        if wait_s is None or now + wait_s >= call.deadline.ends:
            return None
        log.info(
            "%s %s failed on attempt %d (%s: %s): again in %.2f s [request %s]",
            call.method,
            self.session.shown(call),
            call.attempts,
            type(failure).__name__,
            redact(failure.message, self.session.secrets),
            wait_s,
            failure.request_id or self.session.request_id_of(call),
        )
        return wait_s


def _origin(url: URL) -> tuple[str, str | None, int | None]:
    """Give what makes an origin; a port that is written out may be the one that is meant where none is."""
    return url.scheme, url.raw_host, url.port
