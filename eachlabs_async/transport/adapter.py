"""Adapt aiohttp: what a request is sent with, its own retry of requests, and its exceptions.

A `Route` holds what is needed to send one request once, and `error_from` turns whatever aiohttp raised into an
`APIConnectionError` that refers to nothing of aiohttp. `aiohttp_sessions` opens what a route sends through, and
`transport` decides about retries, pauses and deadlines.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Final

import aiohttp
from aiohttp import http_exceptions
from aiohttp.abc import AbstractStreamWriter
from attrs import define
from multidict import CIMultiDict, istr

from ..errors import APIConnectionError, APITimeoutError, ConfigurationError
from .wire import REQUEST_ID

REQUEST_ID_HEADER: Final = istr(REQUEST_ID)


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
    if isinstance(exc, ValueError) and "AUTHORIZATION header" in str(exc):
        return ConfigurationError(
            "the session that was passed in sends an Authorization header of its own (auth= or a netrc file), which "
            "clashes with that of the service: open it without auth= and trust_env=True"
        )
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
