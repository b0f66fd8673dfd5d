"""Owns where each service stands on the emulator's one origin, and how each is told its key.

It refuses to listen there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..hosts import Auth, Edition, Hosts, Service, ServiceName
from ..transport.endpoints import Endpoint

__all__ = ["PREFIXES", "auth_for", "auth_of", "hosts_at", "prefix_of"]

PREFIXES: Final[Mapping[Edition, Mapping[ServiceName, str]]] = {
    "compat": {
        "api": "/compat/api/v1",
        "workflows": "/compat/workflows/api/v1",
        "flows": "/flows/api/v1",
        "runs": "/noxus/v1",
    },
    "unified": {
        "api": "/unified/v1",
        "workflows": "/unified/v1",
        "flows": "/flows/api/v1",
        "runs": "/noxus/v1",
    },
}
"""The path prefix of each service, on the one origin of the emulator."""


def prefix_of(endpoint: Endpoint, edition: Edition) -> str:
    """Give the path prefix of an endpoint: that of its service, or the sibling of another version."""
    prefix = PREFIXES[edition][endpoint.service]
    return prefix if endpoint.version == 1 else f"{prefix.removesuffix('/v1')}/v{endpoint.version}"


def auth_of(edition: Edition, service: ServiceName) -> Auth:
    """Give how a service is told its key."""
    return "bearer" if edition == "unified" and service in ("api", "workflows") else "x-api-key"


def auth_for(endpoint: Endpoint | None, edition: Edition, v2: str, headers: Mapping[str, str]) -> Auth:
    """Give how a request has to tell the key: below `/v2` in either way unless `v2` is `"bearer"`."""
    if endpoint is None:
        return auth_of(edition, "api")
    if endpoint.key == "body":
        return "x-api-key"
    if endpoint.version == 2 and (v2 == "bearer" or "Authorization" in headers):
        return "bearer"
    return auth_of(edition, endpoint.service)


@lru_cache(maxsize=64)
def hosts_at(url: str, edition: Edition) -> Hosts:
    """Give the hosts of an edition at an origin; remembered, since a test may well ask in a loop."""
    services: dict[str, Any] = {
        name: Service(url + prefix, auth_of(edition, name)) for name, prefix in PREFIXES[edition].items()
    }
    return Hosts(edition=edition, **services)
