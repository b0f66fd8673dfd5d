"""Find the environment's proxy for an origin."""

from __future__ import annotations

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

    aiohttp's own `trust_env` would look it up for each request, in a thread.
    """
    host = origin.raw_host or ""
    if is_loopback(host) or proxy_bypass(host):
        return {}
    found = getproxies().get(origin.scheme)
    if not found:
        return {}
    try:
        proxy = URL(found)
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.raw_host:
        found, proxy = None, URL()  # A password in them would show in a traceback, with the locals of this frame.
        raise ConfigurationError(f"the environment's proxy for {origin.scheme} is not an http(s) URL")
    arguments: dict[str, Any] = {"proxy": proxy.with_user(None)}
    if proxy.raw_user is not None:
        login = f"{unquote(proxy.raw_user)}:{unquote(proxy.raw_password or '')}"
        basic = Key("Basic " + b64encode(login.encode()).decode())
        arguments["proxy_headers"] = {hdrs.PROXY_AUTHORIZATION: basic}
    return arguments
