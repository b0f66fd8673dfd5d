"""Open the aiohttp sessions and connectors of one client, and make the routes that use them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection, Mapping
from typing import Any, Final, cast

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from .._version import __version__
from ..errors import ConfigurationError
from .adapter import REQUEST_ID_HEADER, Route, send_once, use_new_connection
from .caching_request import caching_request_class
from .idle_connections import use_clean_connection
from .loop_binding import check_passed, let_go
from .loopback_resolver import LoopbackResolver
from .pooled_connector import PooledConnector
from .proxy import proxy_arguments_for

USER_AGENT: Final = f"eachlabs-async/{__version__} {aiohttp.http.SERVER_SOFTWARE}"
_LIMITS: Final = ("read_bufsize", "max_line_size", "max_field_size", "max_headers")
"""Options of a session that requests without its headers and cookies keep."""
_JSON: Final = {hdrs.CONTENT_TYPE: "application/json"}


class AiohttpSessions:
    """The aiohttp sessions of one client: an external one, which the client never closes, or its own.

    A request that creates something is sent on a new connection. The server may have closed a pooled one already, and
    then it would be unknown whether the request was carried out.
    """

    def __init__(
        self, external: aiohttp.ClientSession | None, *, max_connections: int, context: ssl.SSLContext | None
    ) -> None:
        self._external = external
        self._max_connections = max_connections
        self._context = context
        self._own: list[aiohttp.ClientSession] = []
        self._storage: aiohttp.ClientSession | None = None
        self._resolver: LoopbackResolver | None = None
        self._pool: PooledConnector | None = None
        self._fresh: PooledConnector | None = None

    @property
    def is_external(self) -> bool:
        """Whether requests go through a session that was passed in."""
        return self._external is not None

    def timeouts(self, connect_s: float, read_s: float | None) -> aiohttp.ClientTimeout:
        """Return aiohttp's timeouts for one attempt. With a `read_s` of None aiohttp has no read timeout.

        The pool of an external session may be small, and `connect` would include the wait for a connection.
        """
        if self._external is not None:
            return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)
        return aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)

    def limited_concurrency(self, max_concurrency: int) -> int:
        """Return how many requests may be in flight: not more than an external session may have connections.

        A request that waits for a connection has passed the semaphore already, and could go out during a pause.
        """
        connector = self._external.connector if self._external is not None else None
        limits = (connector.limit, connector.limit_per_host) if connector is not None else ()
        return min([max_concurrency, *(limit for limit in limits if limit)])

    def route(
        self,
        origin: URL,
        headers: Mapping[str, str],
        *,
        creating: bool,
        isolated: bool = False,
        foreign: bool = False,
        storage: bool = False,
        other_keys: Collection[str] = (),
    ) -> Route:
        """Return the route for requests to `origin` with these headers. Needs a running event loop.

        An `isolated` route uses no default header, cookie or middleware of an external session, as these may contain a
        key. A `storage` route is for hosts that are no service: all of them share one session. A default header that
        contains one of `other_keys` is never sent. A `foreign` route leads to another vendor than that of the external
        session, which gets none of its cookies and logins.
        """
        arguments: dict[str, Any] = {"allow_redirects": False}
        default_headers: CIMultiDict[str] | None = None
        if self._external is not None:
            # The session may have other defaults, so each request names what it relies on.
            arguments |= {"raise_for_status": False, "auto_decompress": True}
            session, request_headers = self._external, dict(headers)
            kept_headers = {
                name: value for name, value in session.headers.items() if not any(key in value for key in other_keys)
            }
            middlewares = () if isolated else getattr(session, "_middlewares", ())
            if isolated or foreign or len(kept_headers) < len(session.headers):
                if session.trust_env and getattr(session, "_default_proxy", None) is None:
                    arguments |= proxy_arguments_for(origin)
                if storage:
                    session = self._storage = self._storage or self._open_on_connector_of(session, {})
                else:
                    session = self._open_on_connector_of(session, {} if isolated else kept_headers)
            # `send_once` goes around the session's own middlewares, those about the connection inside them.
            arguments["middlewares"] = [send_once, *middlewares]
            if creating:
                arguments["middlewares"].append(use_new_connection)
                request_headers[hdrs.CONNECTION] = "close"
            arguments["middlewares"].append(use_clean_connection)
        else:
            proxy_arguments = proxy_arguments_for(origin)
            # aiohttp sends the headers of a session to a proxy too. With a proxy, the key goes with each request.
            request_headers = dict(headers) if proxy_arguments else {}
            if storage:
                session = self._storage = self._storage or self._open({}, creating=True, caches_headers=False)
            else:
                session = self._open(
                    {} if proxy_arguments else headers,
                    creating=creating,
                    caches_headers=not (proxy_arguments or creating or isolated),
                )
            arguments |= proxy_arguments
            if not proxy_arguments and type(getattr(session, "_default_headers", None)) is CIMultiDict:
                default_headers = cast(Any, session)._default_headers  # there is no public name for it
        return Route(
            session,
            {**arguments, "headers": request_headers},
            {**arguments, "headers": {**request_headers, **_JSON}},
            default_headers,
            session.headers.get(REQUEST_ID_HEADER),
        )

    def _open(self, headers: Mapping[str, str], *, creating: bool, caches_headers: bool) -> aiohttp.ClientSession:
        """Open a session that sends one service's key, on a connector that it shares with the others."""
        session = aiohttp.ClientSession(
            connector=self._connector(creating=creating),
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=caching_request_class(2 + len(headers)) if caches_headers else aiohttp.ClientRequest,
        )
        # This has the effect of `send_once`, at no cost per request. A test counts the requests that are sent.
        setattr(session, "_retry_connection", False)  # noqa: B010  # there is no public name for it
        self._own.append(session)
        return session

    def _connector(self, *, creating: bool) -> PooledConnector:
        """Return the connector with the pool or, for what creates something, the one that only opens new ones."""
        self._resolver = self._resolver or LoopbackResolver()
        options: dict[str, Any] = {
            "max_connections": self._max_connections,
            "resolver": self._resolver,
            "context": self._context,
        }
        self._pool = self._pool or PooledConnector(**options)
        if not creating:
            return self._pool
        self._fresh = self._fresh or PooledConnector(**options, pool=self._pool)
        return self._fresh

    def _open_on_connector_of(
        self, external: aiohttp.ClientSession, headers: Mapping[str, str]
    ) -> aiohttp.ClientSession:
        """Open a session with other headers, on the connector of the external session, with its proxy and its limits.

        It has no cookies and no `auth`. Without `trust_env` it reads no netrc file either.
        """
        if external.closed:
            raise ConfigurationError("the client's session is closed")
        session = aiohttp.ClientSession(
            connector=external.connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=external.trace_configs,
            **{name: getattr(external, f"_{name}") for name in _LIMITS if hasattr(external, f"_{name}")},
            proxy=getattr(external, "_default_proxy", None),
            proxy_auth=getattr(external, "_default_proxy_auth", None),
        )
        self._own.append(session)
        return session

    def check_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raise `ConfigurationError` if an external session belongs to another loop."""
        if self._external is not None:
            check_passed(self._external, loop)

    def let_go(self) -> None:
        """Drop all sessions that the client opened, because their loop is closed or belongs to a parent process."""
        own, self._own = self._own, []
        for session in own:
            session.detach()
        for connector in (self._pool, self._fresh):
            if connector is not None:
                let_go(connector, list(connector.transports))
        self._storage = self._resolver = self._pool = self._fresh = None

    async def close(self) -> None:
        """Close the sessions and connectors that the client opened."""
        own, self._own = self._own, []
        for session in own:
            await session.close()  # This waits for nothing, because the connectors are shared.
        for connector in (self._pool, self._fresh):
            if connector is not None:
                await connector.close()
        if self._resolver is not None:
            await self._resolver.close()
