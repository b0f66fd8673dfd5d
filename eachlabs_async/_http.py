"""Owns what is peculiar to aiohttp: its sessions and connectors, proxies, its silent second send, its exceptions.

It refuses policy: one `exchange` sends one request once and gives the whole answer or one `APIConnectionError`,
raised where no frame or context of aiohttp hangs on to it. Retries, pauses and deadlines are `_session`'s.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterable, Mapping
from itertools import count
from typing import Any, Final
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import hdrs, http_exceptions
from attrs import define
from multidict import CIMultiDict
from yarl import URL

from ._deadline import Deadline, Lane
from ._keys import Key
from ._version import __version__
from ._wire import Body
from .errors import APIConnectionError, APITimeoutError, ConfigurationError
from .hosts import is_loopback

USER_AGENT: Final = f"eachlabs-async/{__version__} {aiohttp.http.SERVER_SOFTWARE}"
_JSON: Final = {hdrs.CONTENT_TYPE: "application/json"}
_SKIPPED: Final = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING)


@define(repr=False, eq=False)
class Answer:
    """A whole answer: the body is read and the connection is free again."""

    status: int
    headers: Mapping[str, str]
    body: Body


@define(repr=False, eq=False)
class Route:
    """How requests of one kind reach one service: a session and the arguments that stay the same."""

    session: aiohttp.ClientSession
    plain: dict[str, Any]
    with_json: dict[str, Any]


async def exchange(
    route: Route,
    method: str,
    url: URL,
    body: bytes | None,
    timeouts: aiohttp.ClientTimeout,
    silence: Lane,
    watch: Deadline,
) -> Answer:
    """Send one request once and read the whole answer; an `APIConnectionError` where none came.

    Whenever a part of an answer came and more is awaited, `watch` begins anew in the lane `silence`.
    """
    response: aiohttp.ClientResponse | None = None
    try:
        if body is None:
            response = await route.session.request(method, url, timeout=timeouts, **route.plain)
        else:
            response = await route.session.request(method, url, data=body, timeout=timeouts, **route.with_json)
        # A small body is there with the headers.
        content = await (response.read() if response.content.is_eof() else _in_parts(response, silence, watch))
        return Answer(response.status, response.headers, Body(content))
    except Exception as exc:
        failure = describe(exc)
    response = None  # Its repr shows the answer's headers, and a traceback shows the locals of this frame.
    raise failure


async def _in_parts(response: aiohttp.ClientResponse, silence: Lane, watch: Deadline) -> bytes:
    """Read a body as it comes."""
    content, loop = response.content, asyncio.get_running_loop()
    parts: list[Body] = []
    try:
        while not content.at_eof():
            silence.extend(watch, loop)
            parts.append(Body(await content.readany()))
    except BaseException:
        response.close()
        raise
    return b"".join(parts)


async def put(
    route: Route, where: Key, headers: Mapping[str, str], chunks: AsyncIterable[bytes], timeouts: aiohttp.ClientTimeout
) -> Answer:
    """Send a stream once and read the whole answer; an `APIConnectionError` where none came.

    `where` is a URL that is a secret: no traceback's locals may show it, not even those of a cancellation.
    """
    response: aiohttp.ClientResponse | None = None
    failure: BaseException
    arguments: dict[str, Any] = {**route.plain, "headers": {**route.plain.get("headers", {}), **headers}}
    try:
        response = await route.session.put(
            URL(where, encoded=True), data=chunks, timeout=timeouts, skip_auto_headers=_SKIPPED, **arguments
        )
        return Answer(response.status, response.headers, Body(await response.read()))
    except asyncio.CancelledError as exc:
        failure = exc.with_traceback(None)
    except Exception as exc:
        failure = describe(exc)
    response = None
    raise failure


class Dropped(aiohttp.ClientError):
    """A connection that was lost; unlike aiohttp's own classes it does not make aiohttp send again."""


async def send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending an idempotent request a second time by itself when a connection drops."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        lost = f"{type(exc).__name__}: {exc}"
    raise Dropped(lost)


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
    what = str(exc) if isinstance(exc, Dropped) else f"{type(exc).__name__}: {exc}"
    sent = not isinstance(exc, _NOT_SENT)
    if isinstance(exc, TimeoutError):
        stage = "no answer within the read time-out" if sent else "no connection within the connect time-out"
        return APITimeoutError(stage, sent=sent)
    retryable = isinstance(exc, _PASSING) and not isinstance(exc, _LASTING)
    return APIConnectionError(f"the connection failed: {what}", sent=sent, retryable=retryable)


# ---- sessions


class Sessions:
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

    def timeouts(self, connect_s: float, read_s: float | None = None) -> aiohttp.ClientTimeout:
        """Give aiohttp's own timers for one try; without `read_s` somebody else watches over the silence.

        The pool of a session that was passed in may be small, and `connect` would count the wait for it.
        """
        if self._given is not None:
            return aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)
        return aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=read_s)

    def route(self, origin: URL, headers: Mapping[str, str], *, creating: bool, bare: bool = False) -> Route:
        """Make the route for requests to `origin` with these headers; needs a running loop.

        A `bare` one carries no default header, no cookie and no middleware of a session that was passed in: they may
        hold a key.
        """
        standing: dict[str, Any] = {"allow_redirects": False}
        if self._given is not None:
            # Its defaults are the caller's: what a request must be sure of is said with each request.
            standing |= {"raise_for_status": False, "auto_decompress": True}
            session, each = self._beside(self._given) if bare else self._given, dict(headers)
            # The caller's own middlewares stay; ours go around them.
            standing["middlewares"] = [send_once, *getattr(session, "_middlewares", ())]
            if creating:
                standing["middlewares"].append(connect_anew)
                each[hdrs.CONNECTION] = "close"
        else:
            through = _proxy_arguments(origin)
            # aiohttp shows a session's own headers to the proxy too: then the key goes with each request.
            each = dict(headers) if through else {}
            session = self._open({} if through else headers, creating=creating)
            standing |= through
        return Route(
            session,
            {**standing, "headers": each} if each else standing,
            {**standing, "headers": {**each, **_JSON}},
        )

    def _open(self, headers: Mapping[str, str], *, creating: bool) -> aiohttp.ClientSession:
        """Open a session that sends one service's key, on the connectors that all of them share."""
        if creating:
            connector = self._fresh = self._fresh or aiohttp.TCPConnector(limit=0, force_close=True)
        else:
            # The gate of the client bounds what is in flight; a bound here would only make a second queue.
            connector = self._pool = self._pool or aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT, **headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # The same as `send_once`, which a session of the caller's needs, at no cost a request. A test counts sends.
        setattr(session, "_retry_connection", False)  # noqa: B010  # there is no public name for it
        self._own.append(session)
        return session

    def _beside(self, given: aiohttp.ClientSession) -> aiohttp.ClientSession:
        """Open a session on the connector of one that was passed in, with its proxy and with none of its headers."""
        if given.closed:
            raise ConfigurationError("the client's session is closed")
        session = aiohttp.ClientSession(
            connector=given.connector,
            connector_owner=False,
            headers={hdrs.USER_AGENT: USER_AGENT},
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
