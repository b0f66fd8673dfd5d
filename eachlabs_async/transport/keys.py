"""Owns how a key is held: text that never shows itself; refuses to read the environment or to send anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..errors import ConfigurationError
from ..hosts import Auth


class Key(str):
    """A key, or a header value that holds one: a `str` to the wire, asterisks to `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def checked_key(name: Literal["api_key", "runs_api_key"], value: object) -> Key | None:
    """Take a key as the caller or the environment gave it; None and blank text are no key."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    stripped = value.strip()
    if not stripped:
        return None
    if not stripped.isascii() or not stripped.isprintable():
        raise ConfigurationError(f"{name} holds a character that no HTTP header can carry")
    return Key(stripped)


def key_headers(auth: Auth, key: Key) -> dict[str, str]:
    """Give the header that tells a service the key, in the service's style."""
    if auth == "bearer":
        return {"Authorization": Key(f"Bearer {key}")}
    return {"X-API-Key": key}


def secrets(keys: Iterable[Key | None]) -> tuple[str, ...]:
    """Give what is to be struck out of every text, the longest first."""
    return tuple(sorted({key for key in keys if key}, key=len, reverse=True))
