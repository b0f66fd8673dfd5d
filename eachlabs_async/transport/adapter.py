"""Adapt aiohttp: its sessions and connectors, proxies, its own retry of requests, and its exceptions.

A `Route` holds what is needed to send one request once, and `error_from` turns whatever aiohttp raised into an
`APIConnectionError` that refers to nothing of aiohttp. `transport` decides about retries, pauses and deadlines.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any, Final, cast
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import hdrs, http_exceptions
from aiohttp.abc import AbstractStreamWriter
from attrs import define
from multidict import CIMultiDict, istr
from yarl import URL

from .._version import __version__
from ..errors import APIConnectionError, APITimeoutError, ConfigurationError
from ..hosts import is_loopback
from .keys import Key
from .wire import REQUEST_ID

USER_AGENT: Final = f"eachlabs-async/{__version__} {aiohttp.http.SERVER_SOFTWARE}"
REQUEST_ID_HEADER: Final = istr(REQUEST_ID)
_JSON: Final = {hdrs.CONTENT_TYPE: "application/json"}


@define(repr=False, eq=False)
class Route:
    """How requests of one kind reach one service: an aiohttp session and the arguments common to all requests.

    `arguments` are those without a body, `json_arguments` those with a JSON body. `default_headers` are the headers of
    a session that the client opened; None if the headers go with each request. `request_id` is the `X-Request-Id` that
    the owner of an external session set as its default.
    """

    session: aiohttp.ClientSession
    arguments: dict[str, Any]
    json_arguments: dict[str, Any]
    default_headers: CIMultiDict[str] | None
    request_id: str | None

    def with_request_id(self, arguments: dict[str, Any], request_id: str) -> dict[str, Any]:
        """Return the arguments for the request that is sent next, with an id.

        aiohttp copies the headers of its session as soon as a request begins, before anything else can run. Writing the
        id there costs a third of what a header of the request does.
        """
        if self.default_headers is None:
            return {**arguments, "headers": {**arguments["headers"], REQUEST_ID_HEADER: request_id}}
        self.default_headers[REQUEST_ID_HEADER] = request_id
        return arguments


class RequestBody(aiohttp.Payload):
    """The body of a request. `write_started` is True once it has begun to go out.

    aiohttp's own payload for bytes warns of bodies over 1 MiB, a size that an input with an image soon has.
    """

    _autoclose = True
    write_started = False

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body, and with it the headers, which aiohttp holds back until then."""
        self.write_started = True
        await writer.write(self._value)


class ConnectionLostError(aiohttp.ClientError):
    """A lost connection. Unlike aiohttp's own exceptions it does not make aiohttp send the request again."""


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, as a middleware that keeps aiohttp from resending it when a connection drops."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        lost = f"{type(exc).__name__}: {exc}"
    raise ConnectionLostError(lost)


_numbers: Final = count()


async def use_new_connection(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request on a new connection, as a middleware for an external session.

    A pool looks connections up by a key. The proxy headers are part of it, and without a proxy they are used for
    nothing else: a unique one makes a key for which the pool has no connection. With a proxy they stay as they are;
    there the `Connection: close` that such a request carries has to suffice.
    """
    if request.proxy is None:
        request.proxy_headers = CIMultiDict({"X-Number": str(next(_numbers))})
    return await handler(request)


# ---- exceptions

_NOT_SENT: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""Raised before any byte of the request was sent."""

_PERMANENT: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""Raised again by every further attempt."""

_PERMANENT_HEAD: Final = ("Got more than", "Too many headers", "Duplicate Content-Length", "Transfer-Encoding can't")
"""How aiohttp begins to describe headers that are too large or contradict each other, and come again each time."""

_TRANSIENT: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    OSError,
)
"""Raised for a broken network or peer. `TimeoutError` is an `OSError`."""


def error_from(exc: Exception) -> APIConnectionError | ConfigurationError:
    """Return the error for an exception that aiohttp raised. It takes over text only, no reference to `exc`."""
    if isinstance(exc, RuntimeError) and str(exc) in ("Session is closed", "Connector is closed."):
        return ConfigurationError("the client's session is closed")
    text = " ".join(str(exc).split())  # aiohttp puts what it could not read into lines of their own.
    description = text if isinstance(exc, ConnectionLostError) else f"{type(exc).__name__}: {text}"
    sent = not isinstance(exc, _NOT_SENT)
    if isinstance(exc, TimeoutError):
        message = "no response within the read timeout" if sent else "no connection within the connect timeout"
        return APITimeoutError(message, sent=sent)
    retryable = isinstance(exc, _TRANSIENT) and not isinstance(exc, _PERMANENT) and not _is_permanent_response(exc)
    return APIConnectionError(f"the connection failed: {description}", sent=sent, retryable=retryable)


def _is_permanent_response(exc: Exception) -> bool:
    """Whether a proxy asks for a login, or the response has headers that no attempt changes."""
    status, message = getattr(exc, "status", 0), getattr(exc, "message", "")
    return isinstance(exc, aiohttp.ClientResponseError) and (status == 407 or message.startswith(_PERMANENT_HEAD))


# ---- sessions


def _caching_request_class(header_count: int) -> type[aiohttp.ClientRequest]:
    """Return a request class for a session whose requests all go to one origin, most of them with the same headers.

    Only the request ids differ. aiohttp builds the headers and the pool's key for each request, which is a twentieth of
    its cost. This class reuses those of the first request that has `header_count` headers. With a version of aiohttp
    that has other names for these methods, nothing is reused.
    """
    cached_headers: CIMultiDict[str] | None = None
    cached_key: Any = None

    class Request(aiohttp.ClientRequest):
        _has_usual_headers = False

        def update_headers(self, headers: Any) -> None:
            self._has_usual_headers = (
                type(headers) is CIMultiDict
                and len(cast(Any, headers)) == header_count
                and REQUEST_ID_HEADER in headers
            )
            if self._has_usual_headers and cached_headers is not None:
                self.headers = cached_headers.copy()
                self.headers[REQUEST_ID_HEADER] = headers[REQUEST_ID_HEADER]
            else:
                super().update_headers(cast(Any, headers))

        def update_auto_headers(self, skip_auto_headers: Any) -> None:
            nonlocal cached_headers
            if self._has_usual_headers and cached_headers is not None:
                return
            super().update_auto_headers(skip_auto_headers)
            if self._has_usual_headers:
                cached_headers = self.headers.copy()

        @property
        def connection_key(self) -> Any:
            nonlocal cached_key
            if cached_key is None:
                cached_key = super().connection_key
            return cached_key

    return Request


class AiohttpSessions:
    """The aiohttp sessions of one client: an external one, which the client never closes, or its own.

    A request that creates something is sent on a new connection. The server may have closed a pooled one already, and
    then it would be unknown whether the request was carried out.
    """

    def __init__(self, external: aiohttp.ClientSession | None) -> None:
        self._external = external
        self._own: list[aiohttp.ClientSession] = []
        self._pool: aiohttp.TCPConnector | None = None
        self._fresh: aiohttp.TCPConnector | None = None

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
        other_keys: Collection[str] = (),
    ) -> Route:
        """Return the route for requests to `origin` with these headers. Needs a running event loop.

        An `isolated` route uses no default header, cookie or middleware of an external session, as these may contain a
        key. A default header that contains one of `other_keys` is never sent.
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
            if isolated or len(kept_headers) < len(session.headers):
                session = self._open_on_connector_of(session, {} if isolated else kept_headers)
            # `send_once` goes around the session's own middlewares, `use_new_connection` inside them.
            arguments["middlewares"] = [send_once, *getattr(session, "_middlewares", ())]
            if creating:
                arguments["middlewares"].append(use_new_connection)
                request_headers[hdrs.CONNECTION] = "close"
        else:
            proxy_arguments = _proxy_arguments(origin)
            # aiohttp sends the headers of a session to a proxy too. With a proxy, the key goes with each request.
            request_headers = dict(headers) if proxy_arguments else {}
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
        if creating:
            connector = self._fresh = self._fresh or aiohttp.TCPConnector(limit=0, force_close=True)
        else:
            # The semaphore of the client limits the requests in flight. A limit here would add a second queue.
            connector = self._pool = self._pool or aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_caching_request_class(2 + len(headers)) if caches_headers else aiohttp.ClientRequest,
        )
        # This has the effect of `send_once`, at no cost per request. A test counts the requests that are sent.
        setattr(session, "_retry_connection", False)  # noqa: B010  # there is no public name for it
        self._own.append(session)
        return session

    def _open_on_connector_of(
        self, external: aiohttp.ClientSession, headers: Mapping[str, str]
    ) -> aiohttp.ClientSession:
        """Open a session with other headers, on the connector of the external session and with its proxy."""
        if external.closed:
            raise ConfigurationError("the client's session is closed")
        session = aiohttp.ClientSession(
            connector=external.connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=external.trust_env,
            proxy=getattr(external, "_default_proxy", None),
            proxy_auth=getattr(external, "_default_proxy_auth", None),
        )
        self._own.append(session)
        return session

    async def close(self) -> None:
        """Close the sessions and connectors that the client opened."""
        own, self._own = self._own, []
        for session in own:
            await session.close()  # This waits for nothing, because the connectors are shared.
        for connector in (self._pool, self._fresh):
            if connector is not None:
                await connector.close()


def _proxy_arguments(origin: URL) -> dict[str, Any]:
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
