"""Find the environment's proxy for an origin."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

from aiohttp import hdrs
from yarl import URL

from ..errors import ConfigurationError
from ..hosts import is_loopback
from .keys import Key


def proxy_arguments_for(origin: URL) -> dict[str, Any]:
    """Return the arguments for the environment's proxy for `origin`, empty if there is none.

    The proxy of the scheme counts before that of `ALL_PROXY`. One without a scheme is an http proxy. aiohttp's own
    `trust_env` knows neither, and would look a proxy up for each request, in a thread.
    """
    host = origin.raw_host or ""
    if is_loopback(host) or proxy_bypass(host):
        return {}
    proxies = getproxies()
    kind = origin.scheme if proxies.get(origin.scheme) else "all"
    found = proxies.get(kind)
    if not found:
        return {}
    if "://" not in found:
        found = f"http://{found}"
    try:
        proxy = URL(found)
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.raw_host:
        found, proxy, proxies = None, URL(), {}  # A traceback shows the locals of this frame: no password among them.
        raise ConfigurationError(f"{_variable(kind)} is not an http(s) URL: correct it, or set NO_PROXY for {host}")
    arguments: dict[str, Any] = {"proxy": proxy.with_user(None)}
    if proxy.raw_user is not None:
        login = f"{unquote(proxy.raw_user)}:{unquote(proxy.raw_password or '')}"
        basic = Key("Basic " + b64encode(login.encode()).decode())
        arguments["proxy_headers"] = {hdrs.PROXY_AUTHORIZATION: basic}
    return arguments


def _variable(kind: str) -> str:
    """Return the name of the variable that holds the proxy for a scheme. Lower case counts first, as in `urllib`."""
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), f"the system's proxy for {kind}")
