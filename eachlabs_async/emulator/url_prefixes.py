"""The URL of each service on the emulator's one origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..hosts import Edition, Hosts, Service, ServiceName
from ..transport.endpoints import Endpoint
from .authentication import auth_of

__all__ = ["PREFIXES", "hosts_at", "prefix_of"]

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
"""The path prefix of each service."""


def prefix_of(endpoint: Endpoint, edition: Edition) -> str:
    """Return the path prefix of an endpoint: that of its service, or of another version beside it."""
    prefix = PREFIXES[edition][endpoint.service]
    return prefix if endpoint.version == 1 else f"{prefix.removesuffix('/v1')}/v{endpoint.version}"


@lru_cache(maxsize=64)
def hosts_at(url: str, edition: Edition) -> Hosts:
    """Return the hosts of an edition at an origin. Cached, because tests call it in loops."""
    services: dict[str, Any] = {
        name: Service(url + prefix, auth_of(edition, name)) for name, prefix in PREFIXES[edition].items()
    }
    return Hosts(edition=edition, **services)
