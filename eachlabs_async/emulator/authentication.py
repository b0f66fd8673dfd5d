"""Which key a request has to bring, which one it brought, and in which header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from ..hosts import Auth, Edition, ServiceName
from ..transport.endpoints import Endpoint

__all__ = ["KeyStatus", "auth_for", "auth_of", "key_status", "key_status_in_body"]

KeyStatus = Literal["none", "right", "wrong", "foreign"]
"""What the key of a request was; `"foreign"` is the other vendor's, or any key at all where none belongs."""

_KEY_HEADERS = ("x-api-key", "authorization")


def auth_of(edition: Edition, service: ServiceName) -> Auth:
    """Return the header style of a service's key."""
    return "bearer" if edition == "unified" and service in ("api", "workflows") else "x-api-key"


def auth_for(endpoint: Endpoint | None, edition: Edition, v2: str, headers: Mapping[str, str]) -> Auth:
    """Return the header style that a request has to use. Below `/v2` either will do, unless `v2` is `"bearer"`."""
    if endpoint is None:
        return auth_of(edition, "api")
    if endpoint.key == "body":
        return "x-api-key"
    if endpoint.version == 2 and (v2 == "bearer" or "Authorization" in headers):
        return "bearer"
    return auth_of(edition, endpoint.service)


def key_status(
    headers: Mapping[str, str], rest: str, *, auth: Auth | None, expected: str, foreign: str
) -> tuple[KeyStatus, dict[str, str]]:
    """Return the status of a request's key, and the headers (lower-case names) with that status in the key's stead.

    `foreign` is the other vendor's key. It is looked for in every header and in `rest` (target and body), because
    wherever it travels it has leaked. With `auth=None` any key at all is a leak.
    """
    shown = {name.lower(): value for name, value in headers.items()}
    secrets = (foreign,) if auth is not None else (foreign, expected)
    wanted = ("authorization", f"Bearer {expected}") if auth == "bearer" else ("x-api-key", expected)
    status: KeyStatus = "none"
    if any(secret in text for secret in secrets for text in (rest, *shown.values())):
        status = "foreign"
    elif auth is not None and shown.get(wanted[0]) == wanted[1]:
        status = "right"
    elif any(name in shown for name in _KEY_HEADERS):
        status = "wrong" if auth is not None else "foreign"
    for name, value in shown.items():
        if name in _KEY_HEADERS or any(secret in value for secret in secrets):
            shown[name] = status
    return status, shown


def key_status_in_body(body: bytes, in_headers: KeyStatus, expected: str) -> tuple[KeyStatus, bytes]:
    """Return the status of a key that belongs in the body as `api_key`, and the body without it.

    `in_headers` is the status of the headers' key, which counts only if the body has none.
    """
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):  # The handler refuses it.
        return in_headers, body
    given = cast("dict[str, Any]", value).get("api_key") if isinstance(value, dict) else None
    if given is None or in_headers == "foreign":
        return in_headers, body
    status: KeyStatus = "right" if given == expected else "wrong"
    return status, json.dumps({**value, "api_key": status}).encode()
