"""The base URLs of the services and the header styles of their keys, for both documented editions of the API.

`COMPAT` uses the older hosts and the header `X-API-Key`; `UNIFIED` has everything under one base URL and uses
`Authorization: Bearer`. `attrs.evolve(COMPAT, api=Service(...))` replaces one service.
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


_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
_LOOPBACK_IPV6 = ipaddress.ip_address("::1")


def is_loopback(host: str) -> bool:
    """Whether `host` (without a port) is `localhost`, an address in 127.0.0.0/8 or `::1`.

    Names below `localhost` do not count: some systems ask a DNS server for them.
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address in _LOOPBACK or address == _LOOPBACK_IPV6


def _checked_base_url(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"base_url must be a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("base_url is not a URL (its host or port cannot be read)") from None
    if any(char.isspace() or not char.isprintable() for char in url):
        raise ConfigurationError("base_url must not contain white space")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("base_url must be an absolute https:// URL")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError("base_url must not carry a user, a password, a query or a fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url is plain http and {host!r} is not a loopback host: the key would be sent unencrypted; use https"
        )
    return url.rstrip("/")


def _checked_auth(_: object, attribute: object, value: object) -> None:
    if value not in ("x-api-key", "bearer"):
        raise ConfigurationError(f"auth must be 'x-api-key' or 'bearer', not {value!r}")


@frozen
class Service:
    """One service: its base URL (https; plain http only for loopback hosts), and the header style of its key."""

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
    """The four services of one edition. `edition` selects between the documented paths where the editions differ.

    `executions_by` selects the listing of executions: `"cursor"` for `/v2/executions`, or `"seek"` for
    `/v1/executions`, which serves the first thousand rows of each span of time. `"auto"` is `"cursor"` in the unified
    edition and `"seek"` in the compat edition, and switches to the other one if the service refuses it.
    """

    api: Service = field(validator=_checked_service)
    workflows: Service = field(validator=_checked_service)
    flows: Service = field(validator=_checked_service)
    runs: Service = field(validator=_checked_service)
    edition: Edition = field(default="compat", validator=_checked_edition)
    executions_by: ExecutionsBy = field(default="auto", validator=_checked_executions_by)

    def service(self, name: ServiceName) -> Service:
        """Return the service called `name`: `"api"`, `"workflows"`, `"flows"` or `"runs"`."""
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
    """Return the hosts of the edition named by `EACHLABS_EDITION`, `COMPAT` if that is unset or empty."""
    edition = os.environ.get(EDITION_VARIABLE, "").strip().lower()
    if edition in ("", "compat"):
        return COMPAT
    if edition == "unified":
        return UNIFIED
    raise ConfigurationError(f"{EDITION_VARIABLE} must be 'compat' or 'unified', not {edition!r}")


def not_in_edition(method: str, edition: Edition) -> ConfigurationError:
    """Return the error of a method that an edition lacks."""
    other = "compat" if edition == "unified" else "unified"
    return ConfigurationError(
        f"{method} is not part of the {edition} edition: pass hosts={other.upper()} to EachLabs, or set "
        f"EACHLABS_EDITION={other}"
    )
