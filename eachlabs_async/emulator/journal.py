"""Owns what the emulator saw: a bounded log of requests, counters, and which key came with what.

It refuses to keep a key: the log says what a key was (right, wrong, another vendor's), never what it read.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Literal, cast

from attrs import frozen

from ..hosts import Auth

__all__ = ["STORAGE", "Journal", "KeySeen", "Observed", "Seen", "UNROUTED", "judged_key", "key_in_body"]

KeySeen = Literal["none", "right", "wrong", "foreign"]

# The endpoint name of a request to no endpoint, as the target of a redirect is.
UNROUTED = "unrouted"
# The names of the requests to the storage service, whose URLs are given by the API: no key belongs in them.
STORAGE = ("storage.put", "storage.get")

_KEY_HEADERS = ("x-api-key", "authorization")


@frozen(kw_only=True)
class Seen:
    """One request as it arrived.

    `endpoint` is a name of `ENDPOINTS`, `"storage.put"`, `"storage.get"` or `"unrouted"`; `target` is the raw path and
    query of the request line; `path` and `query` are decoded. `headers` have lower-case names, and `key` in place of a
    key's value. `at` is in seconds of the monotonic clock; `connection` numbers the TCP connections from 1.
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
    key: KeySeen
    connection: int
    at: float

    def json(self) -> Any:
        """Read the request's body as JSON."""
        return json.loads(self.body)


def judged_key(
    headers: Mapping[str, str], rest: str, *, auth: Auth | None, expected: str, foreign: str
) -> tuple[KeySeen, dict[str, str]]:
    """Say what key came, and give the headers (lower-case names) with that word in the key's place.

    `foreign` is the other vendor's key: it is looked for in every header and in `rest` (target and body),
    since wherever it travels it has leaked. `auth` is None where any key at all is a leak.
    """
    shown = {name.lower(): value for name, value in headers.items()}
    secrets = (foreign,) if auth is not None else (foreign, expected)
    wanted = ("authorization", f"Bearer {expected}") if auth == "bearer" else ("x-api-key", expected)
    key: KeySeen = "none"
    if any(secret in text for secret in secrets for text in (rest, *shown.values())):
        key = "foreign"
    elif auth is not None and shown.get(wanted[0]) == wanted[1]:
        key = "right"
    elif any(name in shown for name in _KEY_HEADERS):
        key = "wrong" if auth is not None else "foreign"
    for name, value in shown.items():
        if name in _KEY_HEADERS or any(secret in value for secret in secrets):
            shown[name] = key
    return key, shown


def key_in_body(body: bytes, key: KeySeen, expected: str) -> tuple[KeySeen, bytes]:
    """Say what key came where it belongs into the body as `api_key`, and give the body without it.

    `key` is what the headers say, which counts only where the body has none.
    """
    try:
        value: Any = json.loads(body)
    except ValueError:
        return key, body
    given = cast("dict[str, Any]", value).get("api_key") if isinstance(value, dict) else None
    if given is None or key == "foreign":
        return key, body
    found: KeySeen = "right" if given == expected else "wrong"
    return found, json.dumps({**value, "api_key": found}).encode()


class Journal:
    """Counts requests and answers, and keeps the last `size` requests."""

    def __init__(self, size: int) -> None:
        self.log: deque[Seen] = deque(maxlen=size)
        self.in_flight = 0
        self.number = 0
        self.reset()

    def reset(self) -> None:
        """Start counting anew; requests in flight stay counted as such."""
        self.log.clear()
        self.requests: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.wrong_keys: list[Seen] = []
        self.max_in_flight = self.in_flight

    def arrived(self) -> int:
        """Count a request in, and give its number (from 1)."""
        self.number += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return self.number

    def note(self, seen: Seen) -> None:
        """Write a request down."""
        self.log.append(seen)
        self.requests[seen.endpoint] += 1
        if seen.key == "foreign":
            self.wrong_keys.append(seen)

    def left(self) -> None:
        """Count a request out."""
        self.in_flight -= 1


class Observed:
    """What an emulator saw, as its attributes."""

    _journal: Journal

    @property
    def requests(self) -> Counter[str]:
        """How many requests came, by the name of the endpoint, or as `Seen.endpoint` calls what is none."""
        return self._journal.requests

    @property
    def answers(self) -> Counter[int]:
        """How many answers went out, by status; a broken connection is not an answer."""
        return self._journal.answers

    @property
    def log(self) -> deque[Seen]:
        """The last requests, oldest first."""
        return self._journal.log

    @property
    def wrong_keys(self) -> list[Seen]:
        """The requests that brought a key where it does not belong: to the other vendor, or with an upload.

        Empty is the only good value.
        """
        return self._journal.wrong_keys

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._journal.in_flight

    @property
    def max_in_flight(self) -> int:
        """How many requests were being answered at once at most."""
        return self._journal.max_in_flight
