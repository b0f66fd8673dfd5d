"""The log of the requests that an emulator received: the last ones in full, and counters over all of them.

No key is logged: `RecordedRequest.key` says what the key was, and its value is replaced by that word.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .authentication import KeyStatus

__all__ = ["STORAGE", "UNROUTED", "RecordedRequest", "RequestLog", "RequestLogView"]

UNROUTED = "unrouted"
"""The endpoint name of a request that matches no endpoint, such as the target of a redirect."""
STORAGE = ("storage.put", "storage.get")
"""The endpoint names of requests to the storage service. The API hands out their URLs; no key belongs in them."""


@frozen(kw_only=True)
class RecordedRequest:
    """One request as it arrived.

    `endpoint` is a name of `ENDPOINTS`, `"storage.put"`, `"storage.get"` or `"unrouted"`. `target` is the raw path and
    query of the request line; `path` and `query` are decoded. `headers` have lower-case names. `key` is what the key
    was: `"none"`, `"right"`, `"wrong"` or `"foreign"`; in `headers` and `body` that word replaces the key. `at` is in
    seconds of the monotonic clock. `connection` numbers the TCP connections from 1.
    """

    number: int
    endpoint: str
    service: str
    edition: str
    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    key: KeyStatus
    connection: int
    at: float

    def json(self) -> Any:
        """Return the request's body, decoded from JSON."""
        return json.loads(self.body)


class RequestLog:
    """Counts requests and replies, and keeps the last `size` requests."""

    def __init__(self, size: int) -> None:
        self.log: deque[RecordedRequest] = deque(maxlen=size)
        self.in_flight = 0
        self.number = 0
        self.reset()

    def reset(self) -> None:
        """Empty the log and reset the counters; requests in flight stay counted as such."""
        self.log.clear()
        self.requests: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.wrong_keys: list[RecordedRequest] = []
        self.max_in_flight = self.in_flight

    def request_started(self) -> int:
        """Count a request that arrives, and return its number (from 1)."""
        self.number += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return self.number

    def record(self, request: RecordedRequest) -> None:
        """Append a request to the log."""
        self.log.append(request)
        self.requests[request.endpoint] += 1
        if request.key == "foreign":
            self.wrong_keys.append(request)

    def request_finished(self) -> None:
        """Count a request that is no longer in flight."""
        self.in_flight -= 1


class RequestLogView:
    """Mixin: the log of an emulator as its read-only properties."""

    _request_log: RequestLog

    @property
    def requests(self) -> Counter[str]:
        """The number of requests, by endpoint name (see `RecordedRequest.endpoint`)."""
        return self._request_log.requests

    @property
    def answers(self) -> Counter[int]:
        """The number of responses sent, by status; a broken connection does not count as one."""
        return self._request_log.answers

    @property
    def log(self) -> deque[RecordedRequest]:
        """The last requests, oldest first."""
        return self._request_log.log

    @property
    def wrong_keys(self) -> list[RecordedRequest]:
        """The requests that brought a key where it does not belong: to the other vendor, or with an upload.

        A correct client leaves this list empty.
        """
        return self._request_log.wrong_keys

    @property
    def in_flight(self) -> int:
        """The number of requests in flight."""
        return self._request_log.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest number of requests that were in flight at once."""
        return self._request_log.max_in_flight
