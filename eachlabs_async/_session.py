"""Owns the way of a call: its place in the gate, its tries, the pause of its service, its deadline.

Together with `_http` this is the only client-side room that knows aiohttp, and the only one that knows backoff. It
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
from typing import Any, Final, TypeVar

import backoff
from yarl import URL

from . import _http
from ._codec import decode, decode_by_authority, decode_each, decode_fast, decode_json
from ._deadline import Lane
from ._retry import RetryPolicy, Timeouts, asked_pause_s, leaves_outcome_open, may_send_again
from ._services import Call, Session
from ._wire import status_error, strike
from .endpoints import Endpoint
from .errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    EachLabsError,
    OutcomeUnknownError,
    RateLimitError,
    ResponseDecodeError,
)

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")

MAX_REDIRECTS: Final = 5
LARGE_BODY: Final = 64 * 1024
"""Bytes from which on a body is read in a thread."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})


class Transport:
    """One view of a client: the shared session under one retry policy and one set of time-outs."""

    def __init__(self, session: Session, retry: RetryPolicy, timeouts: Timeouts) -> None:
        self.session = session
        self.retry = retry
        self.timeouts = timeouts
        self._lane = Lane(timeouts.deadline_s)
        # One timer for all that are silent, where aiohttp sets and unsets two for each request.
        self._silence = Lane(timeouts.read_s)
        self._timers = session.http.timeouts(timeouts.connect_s)

    def call(
        self,
        endpoint: Endpoint,
        path: str,
        query: str = "",
        *,
        body: bytes | None = None,
        crowd: bool = False,
    ) -> Call:
        """Make the call of an endpoint, with its path already expanded."""
        service = self.session.service(endpoint.service, endpoint.key)
        return Call(
            service,
            endpoint.method,
            service.url(path, query),
            body=body,
            creating=not endpoint.repeatable,
            crowd=crowd,
        )

    def waiting(self, endpoint: Endpoint) -> int:
        """Give how many calls to the endpoint's service wait now, for a pause or for their next try."""
        return self.session.pause(endpoint.service).waiting

    async def get(self, call: Call, kind: type[T]) -> T:
        """Carry out a call and read its success as `kind`."""
        return await self.read(call, await self.send(call), kind)

    async def read(self, call: Call, body: bytes, kind: type[T]) -> T:
        """Read the body of a call's success as `kind`; a large one so that it cannot hold up the loop.

        msgspec reads without letting go of the interpreter, at some 2 ms a MiB: a body of 10 MiB holds up the loop
        for 20 ms, and a thread would change nothing. What it refuses is read in pure Python, near a hundred times
        slower: that is done in a thread, which lets the loop run.
        """
        if len(body) < LARGE_BODY:
            return self.decoded(call, body, kind)
        found = decode_fast(body, kind)
        return found if found is not None else await asyncio.to_thread(self.decoded, call, body, kind, slow=True)

    def decoded(self, call: Call, body: bytes, kind: type[T], *, slow: bool = False) -> T:
        """Read the body of a call's success as `kind`; a `ResponseDecodeError` that names the call."""
        try:
            return (decode_by_authority if slow else decode)(body, kind)
        except ResponseDecodeError as exc:
            failure: EachLabsError = exc
        raise self.settled(call, failure)

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
                    self.settled(call, row)
            return read
        raise self.settled(call, failure)

    async def get_json(self, call: Call) -> Any:
        """Carry out a call and read its success as plain JSON, None where the body is empty."""
        body = await self.send(call)
        try:
            return decode_json(body)
        except ResponseDecodeError as exc:
            failure: EachLabsError = exc
        raise self.settled(call, failure)

    async def send(self, call: Call) -> bytes:
        """Carry out a call and give the body of its success; every failure is an error of the tree.

        `asyncio.CancelledError` passes through untouched; only a cancellation that is our own deadline's doing
        becomes an error.
        """
        deadline = call.deadline = self._lane.enter(asyncio.get_running_loop())
        call.started = deadline.ends - self._lane.length_s
        try:
            try:
                return await self._attempt(call)
            except EachLabsError as exc:
                failure: EachLabsError = exc
            return await self._attempt_again(call, failure)
        except asyncio.CancelledError:
            if not deadline.took_effect():
                raise
            failure = APITimeoutError(f"the deadline of {self.timeouts.deadline_s:g} s passed", sent=call.in_flight)
        except EachLabsError as exc:
            failure = exc
        finally:
            self._lane.leave(deadline)
        # Raised here, not in a handler above: no context of the interrupted code hangs on to the error.
        try:
            raise self.settled(call, failure)
        finally:
            del failure

    # ---- one try

    async def _attempt(self, call: Call) -> bytes:
        """Send once, as soon as there is a place and no pause; give the body of a success."""
        gate = self.session.gate
        pause = call.service.pause
        call.tried = False
        while True:
            if pause.until or pause.creating_until:
                await self._sit_out(call)
            if gate.free:
                gate.free -= 1
                break
            await gate.enter(crowd=call.crowd)
            if pause.for_call(creating=call.creating)[0] <= asyncio.get_running_loop().time():
                break
            gate.leave()  # A pause began while we queued. No place is held through a pause.
        try:
            route = self.session.route(call.service, creating=call.creating)
            call.attempts += 1
            call.in_flight = call.tried = True
            answer = await self._exchange(call, route, call.url)
            if answer.status in _REDIRECTS:
                answer = await self._follow(call, route, answer)
            call.in_flight = False
        except APIConnectionError as exc:
            call.in_flight = False
            self._log_try(call, exc.message)
            raise
        finally:
            gate.leave()
        if log.isEnabledFor(logging.DEBUG):
            self._log_try(call, f"HTTP {answer.status}, {len(answer.body)} bytes")
        if 200 <= answer.status < 300:
            call.headers = answer.headers
            return answer.body
        raise self._refused(call, answer)

    async def _exchange(self, call: Call, route: _http.Route, url: URL) -> _http.Answer:
        """Send and read once, within the read time-out: the longest silence."""
        loop = asyncio.get_running_loop()
        silence = self._silence
        watch = silence.enter(loop)
        try:
            return await _http.exchange(route, call.method, url, call.body, self._timers, silence, watch)
        except asyncio.CancelledError:
            if not watch.took_effect():
                raise
        finally:
            silence.leave(watch)
        raise APITimeoutError(f"no answer within the read time-out of {silence.length_s:g} s")

    async def _follow(self, call: Call, route: _http.Route, answer: _http.Answer) -> _http.Answer:
        """Follow redirects within the origin, where following repeats the request as it is; refuse all others."""
        url = call.url
        for _ in range(MAX_REDIRECTS):
            url = self._redirected(call, url, answer)
            answer = await self._exchange(call, route, url)
            if answer.status not in _REDIRECTS:
                return answer
        raise APIConnectionError(f"more than {MAX_REDIRECTS} redirects", retryable=False)

    def _redirected(self, call: Call, url: URL, answer: _http.Answer) -> URL:
        location = answer.headers.get("Location", "")
        try:
            target = url.join(URL(location))
            plain = bool(location) and target.raw_user is None and target.raw_password is None
            same_origin = plain and target.origin() == call.service.origin
        except ValueError:
            target, same_origin = url, False
        if same_origin and not call.creating and (call.method == "GET" or answer.status in _KEEP_METHOD):
            return target
        where = "within the origin" if same_origin else "to another origin" if location else "to nowhere"
        refused = APIConnectionError(
            f"a redirect {where} was refused (HTTP {answer.status}): the request, and the key, stay here",
            sent=answer.status == 303,
            retryable=False,
        )
        raise refused

    def _refused(self, call: Call, answer: _http.Answer) -> APIStatusError:
        """Read an answer that is not a success, and share the pause that it asks for."""
        failure = status_error(
            answer.status,
            answer.headers,
            answer.body,
            secrets=self.session.secrets,
            now=datetime.now(UTC),
            method=call.method,
            url=str(call.url),
            attempts=call.attempts,
        )
        pause_s = asked_pause_s(failure)
        if pause_s and failure.status in self.retry.statuses and pause_s <= self.retry.max_elapsed_s:
            until = asyncio.get_running_loop().time() + pause_s
            creating = call.creating and isinstance(failure, RateLimitError)
            call.service.pause.ask(until, failure, creating=creating)
        return failure

    async def _sit_out(self, call: Call) -> None:
        """Wait until the service's pause is over; fail at once where the call's deadline lies inside it."""
        loop = asyncio.get_running_loop()
        pause = call.service.pause
        while True:
            now = loop.time()
            until, cause = pause.for_call(creating=call.creating)
            if until <= now:
                pause.end(now)
                return
            if until >= call.deadline.ends and cause is not None:
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

    async def _attempt_again(self, call: Call, failure: EachLabsError) -> bytes:
        """Go on after the first try failed. backoff counts and sleeps; `RetryPolicy` decides.

        The first try is made without backoff, which costs a call that succeeds nothing.
        """
        first: EachLabsError | None = failure
        pause = call.service.pause

        async def attempt() -> bytes:
            nonlocal first
            if first is not None:
                failed, first = first, None
                raise failed
            pause.waiting -= 1
            try:
                return await self._attempt(call)
            finally:
                pause.waiting += 1

        def waits() -> Generator[float, Any, None]:
            failed: EachLabsError = yield 0.0  # backoff primes its generator and drops the first value
            while (wait_s := self._wait_s(call, failed)) is not None:
                failed = yield wait_s

        pause.waiting += 1
        try:
            return await backoff.on_exception(waits, EachLabsError, jitter=None, logger=None)(attempt)()
        finally:
            pause.waiting -= 1

    def _wait_s(self, call: Call, failure: EachLabsError) -> float | None:
        if not may_send_again(failure, repeatable=not call.creating):
            return None
        now = asyncio.get_running_loop().time()
        wait_s = self.retry.delay(call.attempts, failure, elapsed_s=now - call.started, jitter=random.random())
        if wait_s is None or now + wait_s >= call.deadline.ends:
            return None
        log.info(
            "%s %s failed on attempt %d (%s: %s): again in %.2f s",
            call.method,
            self._shown(call),
            call.attempts,
            type(failure).__name__,
            strike(failure.message, self.session.secrets),
            wait_s,
        )
        return wait_s

    # ---- what is told

    def settled(self, call: Call, failure: EachLabsError) -> EachLabsError:
        """Complete an error with what is known of its call; what may have been carried out is said to be so."""
        keys = self.session.secrets
        failure.message = strike(failure.message, keys)
        failure.args = (failure.message,)
        failure.method, failure.url, failure.attempts = call.method, self._shown(call), call.attempts
        if isinstance(failure, ResponseDecodeError):
            failure.body = strike(failure.body, keys)
        failure.__traceback__ = failure.__context__ = None
        if call.creating and call.tried and leaves_outcome_open(failure):
            return OutcomeUnknownError(
                f"the request was sent and may have been carried out: {failure.message}",
                reason=failure,
                method=failure.method,
                url=failure.url,
                attempts=failure.attempts,
            )
        return failure

    def _shown(self, call: Call) -> str:
        return strike(str(call.url), self.session.secrets)

    def _log_try(self, call: Call, outcome: str) -> None:
        log.debug(
            "%s %s attempt %d: %s",
            call.method,
            self._shown(call),
            call.attempts,
            strike(outcome, self.session.secrets),
        )
