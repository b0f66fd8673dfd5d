"""Report an upload to a storage, or a download from one, to the hooks of its client."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Literal, Self

from ..errors import APIStatusError, EachLabsError
from ..hooks import AttemptEnded, CallEnded, CallStarted, Event, Hooks, RequestStarted, RetryPlanned, next_call_number

STORAGE: Final = "storage"


class TransferEvents:
    """The events of one transfer, as a context manager around it; without hooks it does nothing.

    `url` has no query, and no key.
    """

    def __init__(self, hooks: Hooks | None, endpoint: str, method: Literal["GET", "PUT"], url: str) -> None:
        self._hooks = hooks
        self._endpoint, self._method, self._url = endpoint, method, url
        self._number = 0 if hooks is None else next_call_number()
        self._attempts = 0
        self._status: int | None = None
        self._started_at = self._requested_at = 0.0

    def __enter__(self) -> Self:
        self._started_at = _now()
        self._emit(
            CallStarted(
                call=self._number,
                endpoint=self._endpoint,
                service=STORAGE,
                method=self._method,
                url=self._url,
                template=None,
                background=False,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._emit(
            CallEnded(
                call=self._number,
                endpoint=self._endpoint,
                service=STORAGE,
                method=self._method,
                seconds=_now() - self._started_at,
                attempts=self._attempts,
                status=self._status,
                error=exc,
            )
        )

    def request_started(self, attempt: int) -> None:
        """Report a request."""
        self._attempts, self._requested_at, self._status = attempt, _now(), None
        self._emit(RequestStarted(call=self._number, attempt=attempt, request_id=""))

    def attempt_ended(self, status: int | None, received: int, error: EachLabsError | None) -> None:
        """Report the response of an attempt, of which `received` bytes are of the file, or its failure."""
        self._status = error.status if isinstance(error, APIStatusError) else status
        self._emit(
            AttemptEnded(
                call=self._number,
                attempt=self._attempts,
                status=self._status,
                seconds=_now() - self._requested_at,
                received=received,
                error=error,
                request_id=None,
            )
        )

    def retry_planned(self, wait_s: float, error: EachLabsError) -> None:
        """Report that the transfer waits before its next attempt."""
        self._emit(RetryPlanned(call=self._number, attempt=self._attempts, wait_s=wait_s, error=error))

    def _emit(self, event: Event) -> None:
        if self._hooks is not None:
            self._hooks.emit(event)


def _now() -> float:
    return asyncio.get_running_loop().time()
