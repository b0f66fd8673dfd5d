"""Owns what is peculiar to aiohttp: its sessions and connectors, proxies, its silent second send, its exceptions.

It refuses policy: a `Route` sends one request once, and `describe` makes one `APIConnectionError` of whatever aiohttp
raised, which nothing of aiohttp hangs on to. Retries, pauses and deadlines are `transport`'s.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
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
from . import wire as _wire
from .keys import Key
from .wire import Body

USER_AGENT: Final = f"eachlabs-async/{__version__} {aiohttp.http.SERVER_SOFTWARE}"
REQUEST_ID: Final = istr(_wire.REQUEST_ID)
_JSON: Final = {hdrs.CONTENT_TYPE: "application/json"}


@define(repr=False, eq=False)
class Route:
    """How requests of one kind reach one service: a session and the arguments that stay the same."""

    session: aiohttp.ClientSession
    plain: dict[str, Any]
    with_json: dict[str, Any]
    defaults: CIMultiDict[str] | None
    """The headers of a session of our own, which its next request is sent with; None where each request brings them."""
    request_id: str | None
    """The `X-Request-Id` that a session which was passed in gives all its requests: it is its owner's to choose."""

    def stamped(self, arguments: dict[str, Any], request_id: str) -> dict[str, Any]:
        """Let the request that begins next carry an id; gives its arguments.

        aiohttp copies its session's headers as soon as a request begins, before anything else can happen: to write the
        id there costs a third of what a header that is given with the request does.
        """
        if self.defaults is None:
            return {**arguments, "headers": {**arguments["headers"], REQUEST_ID: request_id}}
        self.defaults[REQUEST_ID] = request_id
        return arguments


async def read_in_parts(response: aiohttp.ClientResponse, on_wait: Callable[[], None]) -> bytes:
    """Read what is left of an answer as it comes; `on_wait` is called whenever more is awaited."""
    content = response.content
    parts: list[Body] = []
    try:
        while not content.at_eof():
            on_wait()
            parts.append(Body(await content.readany()))
        await response.read()  # Nothing is left of the answer, but the request may still be on its way.
    except BaseException:
        response.close()
        del response, content  # A repr of the answer shows its headers, and a traceback the locals of this frame.
        raise
    return b"".join(parts)


class RequestBody(aiohttp.Payload):
    """The body of a request; `left` tells whether it has begun to go out.

    aiohttp's own payload for bytes warns of those over a MiB, which an input with a picture in it soon is.
    """

    _autoclose = True
    left = False

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give the body as text."""
        return str(self._value, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body, and the headers that wait for it."""
        self.left = True
        await writer.write(self._value)


class ConnectionLostError(aiohttp.ClientError):
    """A connection that was lost; unlike aiohttp's own classes it does not make aiohttp send again."""


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending an idempotent request a second time by itself when a connection drops."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        lost = f"{type(exc).__name__}: {exc}"
    raise ConnectionLostError(lost)


_numbers: Final = count()


async def connect_anew(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send on a new connection: the pool of a session that was passed in has none under a key that is unique.

    What is meant for a proxy is part of that key, and used for nothing else where there is no proxy. Through a
    proxy it is left alone, and `Connection: close`, which is sent along, has to do.
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
"""Raised before a byte of the request left."""

_LASTING: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""Raised again by every further try."""

_PASSING: Final[tuple[type[Exception], ...]] = (
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    OSError,
)
"""What a broken network or peer can cause; `TimeoutError` is an `OSError`."""


def describe(exc: Exception) -> APIConnectionError | ConfigurationError:
    """Turn whatever aiohttp raised into an error of the tree; it keeps text only, nothing of `exc` itself."""
    if isinstance(exc, RuntimeError) and str(exc) in ("Session is closed", "Connector is closed."):
        return ConfigurationError("the client's session is closed")
    what = str(exc) if isinstance(exc, ConnectionLostError) else f"{type(exc).__name__}: {exc}"
    sent = not isinstance(exc, _NOT_SENT)
    if isinstance(exc, TimeoutError):
        stage = "no answer within the read time-out" if sent else "no connection within the connect time-out"
        return APITimeoutError(stage, sent=sent)
    retryable = isinstance(exc, _PASSING) and not isinstance(exc, _LASTING)
    return APIConnectionError(f"the connection failed: {what}", sent=sent, retryable=retryable)


# ---- sessions


def _one_origin(given: int) -> type[aiohttp.ClientRequest]:
    """Make the class of a session's requests that all go to one origin, most of them with `given` headers.

    All but the request's id are the same. aiohttp makes the headers and the pool's key anew for each request, a
    twentieth of its cost; here those of the first one serve. A version of aiohttp that calls these by other names makes
    them itself, as ever.
    """
    made: CIMultiDict[str] | None = None
    key: Any = None

    class Request(aiohttp.ClientRequest):
        _alike = False

        def update_headers(self, headers: Any) -> None:
            self._alike = type(headers) is CIMultiDict and len(cast(Any, headers)) == given and REQUEST_ID in headers
            if self._alike and made is not None:
                self.headers = made.copy()
                self.headers[REQUEST_ID] = headers[REQUEST_ID]
            else:
                super().update_headers(cast(Any, headers))

        def update_auto_headers(self, skip_auto_headers: Any) -> None:
            nonlocal made
            if self._alike and made is not None:
                return
            super().update_auto_headers(skip_auto_headers)
            if self._alike:
                made = self.headers.copy()

        @property
        def connection_key(self) -> Any:
            nonlocal key
            if key is None:
                key = super().connection_key
            return key

    return Request


class AiohttpSessions:
    """The aiohttp sessions of one client: one that was passed in, used and never closed, or its own.

    A request that creates something takes a connection of its own: a pooled one may have been closed by the
    server already, and then nobody can tell whether the request was carried out.
    """

    def __init__(self, given: aiohttp.ClientSession | None) -> None:
        self._given = given
        self._own: list[aiohttp.ClientSession] = []
        self._pool: aiohttp.TCPConnector | None = None
        self._fresh: aiohttp.TCPConnector | None = None

    @property
    def given(self) -> bool:
        """Say whether the session was passed in."""
        return self._given is not None

    def timeouts(self, connect_s: float, read_s: float | None) -> aiohttp.ClientTimeout:
        """Give aiohttp's own timers for one try; without `read_s` somebody else watches over the silence.

        The pool of a session that was passed in may be small, and `connect` would count the wait for it.
        """
        if self._given is not None:
            return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)
        return aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)

    def places(self, wanted: int) -> int:
        """Give how many requests may be in flight: no more than a session that was passed in has connections.

        Who waited in its pool would have passed the semaphore, and could go out in a pause.
        """
        connector = self._given.connector if self._given is not None else None
        limits = (connector.limit, connector.limit_per_host) if connector is not None else ()
        return min([wanted, *(limit for limit in limits if limit)])

    def route(
        self,
        origin: URL,
        headers: Mapping[str, str],
        *,
        creating: bool,
        bare: bool = False,
        foreign: Collection[str] = (),
    ) -> Route:
        """Make the route for requests to `origin` with these headers; needs a running loop.

        A `bare` one carries no default header, no cookie and no middleware of a session that was passed in: they may
        hold a key. No default header with one of the `foreign` keys goes along in any case.
        """
        standing: dict[str, Any] = {"allow_redirects": False}
        defaults: CIMultiDict[str] | None = None
        if self._given is not None:
            # Its defaults are the caller's: what a request must be sure of is said with each request.
            standing |= {"raise_for_status": False, "auto_decompress": True}
            session, each = self._given, dict(headers)
            standing_headers = {
                name: value for name, value in session.headers.items() if not any(key in value for key in foreign)
            }
            if bare or len(standing_headers) < len(session.headers):
                session = self._beside(session, {} if bare else standing_headers)
            # The caller's own middlewares stay; ours go around them.
            standing["middlewares"] = [send_once, *getattr(session, "_middlewares", ())]
            if creating:
                standing["middlewares"].append(connect_anew)
                each[hdrs.CONNECTION] = "close"
        else:
            through = _proxy_arguments(origin)
            # aiohttp shows a session's own headers to the proxy too: then the key goes with each request.
            each = dict(headers) if through else {}
            session = self._open({} if through else headers, creating=creating, alike=not (through or creating or bare))
            standing |= through
            if not through and type(getattr(session, "_default_headers", None)) is CIMultiDict:
                defaults = cast(Any, session)._default_headers  # there is no public name for it
        return Route(
            session,
            {**standing, "headers": each},
            {**standing, "headers": {**each, **_JSON}},
            defaults,
            session.headers.get(REQUEST_ID),
        )

    def _open(self, headers: Mapping[str, str], *, creating: bool, alike: bool) -> aiohttp.ClientSession:
        """Open a session that sends one service's key, on the connectors that all of them share.

        Where all requests are `alike`, it makes their headers once.
        """
        if creating:
            connector = self._fresh = self._fresh or aiohttp.TCPConnector(limit=0, force_close=True)
        else:
            # The semaphore of the client bounds what is in flight; a bound here would only make a second queue.
            connector = self._pool = self._pool or aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_one_origin(given=2 + len(headers)) if alike else aiohttp.ClientRequest,
        )
        # The same as `send_once`, which a session of the caller's needs, at no cost a request. A test counts sends.
        setattr(session, "_retry_connection", False)  # noqa: B010  # there is no public name for it
        self._own.append(session)
        return session

    def _beside(self, given: aiohttp.ClientSession, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        """Open a session on the connector of one that was passed in, with its proxy and other headers."""
        if given.closed:
            raise ConfigurationError("the client's session is closed")
        session = aiohttp.ClientSession(
            connector=given.connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=given.trust_env,
            proxy=getattr(given, "_default_proxy", None),
            proxy_auth=getattr(given, "_default_proxy_auth", None),
        )
        self._own.append(session)
        return session

    async def close(self) -> None:
        """Close what is our own, whatever else fails or is cancelled meanwhile."""
        own, self._own = self._own, []
        for session in own:
            await session.close()  # Their connectors are shared, so nothing is waited for here.
        for connector in (self._pool, self._fresh):
            if connector is not None:
                await connector.close()


def _proxy_arguments(origin: URL) -> dict[str, Any]:
    """Find the environment's proxy for `origin`: once, where aiohttp's `trust_env` asks in a thread each time."""
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
        found, proxy = None, URL()  # They may hold a password, and a traceback shows the locals of this frame.
        raise ConfigurationError(f"the environment's proxy for {origin.scheme} is not an http(s) URL")
    arguments: dict[str, Any] = {"proxy": proxy.with_user(None)}
    if proxy.raw_user is not None:
        login = f"{unquote(proxy.raw_user)}:{unquote(proxy.raw_password or '')}"
        basic = Key("Basic " + b64encode(login.encode()).decode())
        arguments["proxy_headers"] = {hdrs.PROXY_AUTHORIZATION: basic}
    return arguments
