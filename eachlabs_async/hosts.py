"""Owns where the services live and how each is told the key; refuses to hold a key or to send anything.

Two editions of the API are documented: `COMPAT` (header `X-API-Key`, the older hosts) and `UNIFIED`
(`Authorization: Bearer`, everything under one base). `attrs.evolve(COMPAT, api=Service(...))` moves one service.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from .errors import ConfigurationError

Auth = Literal["x-api-key", "bearer"]
Edition = Literal["compat", "unified"]
ExecutionsBy = Literal["auto", "cursor", "seek"]
ServiceName = Literal["api", "workflows", "flows", "runs"]

EDITION_VARIABLE = "EACHLABS_EDITION"
SERVICE_NAMES: tuple[ServiceName, ...] = ("api", "workflows", "flows", "runs")


def is_loopback(host: str) -> bool:
    """Say whether `host` (a name or an address, no port) can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_base_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"base_url must be a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("base_url is not a URL (its host or port cannot be read)") from None
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ConfigurationError("base_url must not hold white space")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("base_url must be an absolute https:// URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError("base_url must not carry a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url is plain http and {host!r} is not loopback: the key would travel unencrypted; use https"
        )
    return url.rstrip("/")


def _checked_auth(_: object, attribute: object, value: object) -> None:
    if value not in ("x-api-key", "bearer"):
        raise ConfigurationError(f"auth must be 'x-api-key' or 'bearer', not {value!r}")


@frozen
class Service:
    """One service: its base URL (https, or http towards loopback alone) and the header style of its key."""

    base_url: str = field(converter=_checked_base_url)
    auth: Auth = field(default="x-api-key", validator=_checked_auth)


def _checked_edition(_: object, attribute: object, value: object) -> None:
    if value not in ("compat", "unified"):
        raise ConfigurationError(f"edition must be 'compat' or 'unified', not {value!r}")


def _checked_executions_by(_: object, attribute: object, value: object) -> None:
    if value not in ("auto", "cursor", "seek"):
        raise ConfigurationError(f"executions_by must be 'auto', 'cursor' or 'seek', not {value!r}")


def _checked_service(_: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, Service):
        raise TypeError(f"{attribute.name} must be a Service, not {type(value).__name__}")


@frozen(kw_only=True)
class Hosts:
    """The four services of one edition; the edition chooses between documented paths where they differ.

    `executions_by` says how executions are listed: `"cursor"` by `/v2/executions`, `"seek"` by `/v1/executions`, which
    serves a thousand rows for one span of time. `"auto"` takes the first in the unified edition and the second in
    compat, and the other one where the service refuses that.
    """

    api: Service = field(validator=_checked_service)
    workflows: Service = field(validator=_checked_service)
    flows: Service = field(validator=_checked_service)
    runs: Service = field(validator=_checked_service)
    edition: Edition = field(default="compat", validator=_checked_edition)
    executions_by: ExecutionsBy = field(default="auto", validator=_checked_executions_by)

    def service(self, name: ServiceName) -> Service:
        """Give the service called `name` (`"api"`, `"workflows"`, `"flows"` or `"runs"`)."""
        if name not in SERVICE_NAMES:
            raise ValueError(f"service must be one of {', '.join(SERVICE_NAMES)}, not {name!r}")
        service: Service = getattr(self, name)
        return service


_FLOWS = Service("https://flows.eachlabs.ai/api/v1", "x-api-key")
_RUNS = Service("https://backend.noxus.ai/v1", "x-api-key")

COMPAT = Hosts(
    api=Service("https://api.eachlabs.ai/v1", "x-api-key"),
    workflows=Service("https://workflows.eachlabs.run/api/v1", "x-api-key"),
    flows=_FLOWS,
    runs=_RUNS,
    edition="compat",
)
UNIFIED = Hosts(
    api=Service("https://api.eachlabs.ai/v1", "bearer"),
    workflows=Service("https://api.eachlabs.ai/v1", "bearer"),
    flows=_FLOWS,
    runs=_RUNS,
    edition="unified",
)


def default_hosts() -> Hosts:
    """Give the hosts of the edition that `EACHLABS_EDITION` names, `COMPAT` where it is unset or empty."""
    edition = os.environ.get(EDITION_VARIABLE, "").strip().lower()
    if edition in ("", "compat"):
        return COMPAT
    if edition == "unified":
        return UNIFIED
    raise ConfigurationError(f"{EDITION_VARIABLE} must be 'compat' or 'unified', not {edition!r}")
