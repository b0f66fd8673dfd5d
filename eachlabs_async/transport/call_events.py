"""Report what happens to one call to the hooks of its client."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ..errors import APIStatusError, EachLabsError
from ..hooks import AttemptEnded, CallEnded, CallStarted, Hooks, RequestStarted, RetryPlanned, next_call_number
from .call import Call
from .session import Session

_FIXED: Final = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "x-request-id",
})  # fmt: skip
"""Headers that hooks cannot set, because they rule the connection or are the client's own."""


class CallEvents:
    """The events of one call, which begins now. It exists only if the client has hooks."""

    __slots__ = ("_call", "_hooks", "_number", "_requested_at", "_session", "_started_at", "_status")

    def __init__(self, hooks: Hooks, session: Session, call: Call) -> None:
        self._hooks, self._session, self._call = hooks, session, call
        self._number = call.number = call.number or next_call_number()
        self._started_at = self._requested_at = _now()
        self._status: int | None = None
        endpoint = call.endpoint
        hooks.emit(
            CallStarted(
                call=self._number,
                endpoint=None if endpoint is None else endpoint.name,
                service=call.service.name,
                method=call.method,
                url=session.redacted_url(call),
                template=None if endpoint is None else endpoint.path(session.hosts.edition),
                background=call.background,
            )
        )

    def request_started(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Report a request and return the arguments to send it with, with the headers that hooks add."""
        call = self._call
        event = RequestStarted(call=self._number, attempt=call.attempts, request_id=call.request_id)
        self._hooks.emit(event)
        self._requested_at, self._status = _now(), None
        if not event.headers:
            return arguments
        own = {name.lower() for name in (*arguments["headers"], *(call.service.key_header or ()))} | _FIXED
        added = {name: value for name, value in event.headers.items() if name.lower() not in own}
        return {**arguments, "headers": {**arguments["headers"], **added}}

    def succeeded(self, status: int, received: int) -> None:
        """Report an attempt that brought a response, and with it the end of the call."""
        self._attempt_ended(status, received, None)
        self.ended(None)

    def attempt_failed(self, error: EachLabsError, received: int) -> None:
        """Report an attempt that failed. Its response, if there was one, had a body of `received` bytes."""
        self._session.describe(self._call, error)
        self._attempt_ended(error.status if isinstance(error, APIStatusError) else None, received, error)

    def _attempt_ended(self, status: int | None, received: int, error: EachLabsError | None) -> None:
        self._status = status
        self._hooks.emit(
            AttemptEnded(
                call=self._number,
                attempt=self._call.attempts,
                status=status,
                seconds=_now() - self._requested_at,
                received=received,
                error=error,
                request_id=self._session.request_id_of(self._call) if error is None else error.request_id,
            )
        )

    def retry_planned(self, wait_s: float, error: EachLabsError) -> None:
        """Report that the call waits before its next attempt."""
        self._hooks.emit(RetryPlanned(call=self._number, attempt=self._call.attempts, wait_s=wait_s, error=error))

    def ended(self, error: BaseException | None) -> None:
        """Report the end of the call."""
        call = self._call
        self._hooks.emit(
            CallEnded(
                call=self._number,
                endpoint=None if call.endpoint is None else call.endpoint.name,
                service=call.service.name,
                method=call.method,
                seconds=_now() - self._started_at,
                attempts=call.attempts,
                status=self._status,
                error=error,
            )
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
