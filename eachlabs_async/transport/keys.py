"""Hold API keys as text whose `repr` does not show them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from ..errors import ConfigurationError
from ..hosts import Auth


class Key(str):
    """A key, or a header value or URL that contains one: a `str` whose `repr` shows asterisks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def checked_key(name: Literal["api_key", "runs_api_key"], value: object) -> Key | None:
    """Return a key from an argument or the environment, without surrounding white space; None for None or blank text.

    Raises `TypeError` if it is not text, and `ConfigurationError` if a header cannot carry it.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    stripped = value.strip()
    if not stripped:
        return None
    if not stripped.isascii() or not stripped.isprintable():
        raise ConfigurationError(f"{name} contains a character that no HTTP header can carry")
    return Key(stripped)


def key_headers(auth: Auth, key: Key) -> dict[str, str]:
    """Return the header that carries the key, in the style of the service."""
    if auth == "bearer":
        return {"Authorization": Key(f"Bearer {key}")}
    return {"X-API-Key": key}


def fingerprint(key: Key) -> str:
    """Return what tells one key from another and does not give it away: a part of its digest."""
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"eachlabs key").hexdigest()


def secrets_of(keys: Iterable[Key | None]) -> tuple[str, ...]:
    """Return the texts to redact, the longest first."""
    return tuple(sorted({key for key in keys if key}, key=len, reverse=True))
