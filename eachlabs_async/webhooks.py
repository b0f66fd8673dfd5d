"""Owns the receiving of webhooks: is it genuine, and what does it say; refuses to listen, a web framework does.

Each Labs signs nothing: the secret that was given at the trigger comes back, as it is, in a header. So a request
without it proves nothing, and it has to be compared in constant time. A delivery is tried up to three times, some ten
seconds apart, and may arrive twice: equal `key`s tell.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._arguments import checked_count
from ._codec import decode, decode_json
from ._keys import Key
from ._wire import Body
from .errors import ResponseDecodeError, WebhookVerificationError
from .records import PredictionWebhook, WebhookEvent, WorkflowWebhook

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["SECRET_HEADER", "PredictionWebhook", "WebhookEvent", "WorkflowWebhook", "aiohttp_handler", "parse"]

SECRET_HEADER = "X-Webhook-Secret"
"""The header that carries the secret."""


def parse(headers: Mapping[str, str], body: bytes | str, *, secret: str | None = None) -> WebhookEvent:
    """Check a delivery and read it: a `PredictionWebhook`, or a `WorkflowWebhook`, which is the whole execution.

    `headers` are those of the request, in any case; `body` is the body as it came. `secret` is the `webhook_secret` of
    the trigger, not empty; None takes any delivery as genuine.

    Raises `WebhookVerificationError` where the secret is missing or wrong, `ResponseDecodeError` for a body that is
    none of the two.
    """
    secret = wanted = _checked_secret(secret)
    if not hasattr(headers, "items"):  # Those of Flask and of `http.server` have it, and are no `Mapping`.
        raise TypeError(f"headers must be a mapping, not {type(headers).__name__}")
    if not isinstance(body, bytes | str):
        raise TypeError(f"body must be bytes or a str, not {type(body).__name__}")
    given = Key(_header(headers) or "")
    del secret, headers  # A traceback shows the locals of this frame.
    if wanted is not None and not hmac.compare_digest(_bytes(wanted), _bytes(given)):
        raise WebhookVerificationError(f"the header {SECRET_HEADER} is {'wrong' if given else 'missing'}")
    raw = Body(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))
    value: Any = decode_json(raw)
    if isinstance(value, dict) and "exec_id" in value:
        return decode(raw, PredictionWebhook)
    if isinstance(value, dict) and "execution_id" in value:
        return decode(raw, WorkflowWebhook)
    raise ResponseDecodeError("cannot read the delivery at $: it has neither exec_id nor execution_id")


def aiohttp_handler(
    callback: Callable[[WebhookEvent], Awaitable[object]], *, secret: str | None, max_bytes: int = 16 * 1024 * 1024
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler for `aiohttp.web` that checks each delivery and awaits `callback(event)`.

    `secret` is that of `parse`. A body of more than `max_bytes` (from 1) is not read. It answers 204 when the callback
    has returned, 401 to what does not carry the secret, 413 to what is too large, 400 to what cannot be read; a
    callback that raises is a 500, so that the service delivers again. An event can arrive twice: compare `event.key`.
    """
    from aiohttp import web

    wanted = _checked_secret(secret)
    del secret
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    checked_count("max_bytes", max_bytes, least=1)

    async def handle(request: web.Request) -> web.Response:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                return web.Response(status=413)
        try:
            event = parse(request.headers, Body(body), secret=wanted)
        except WebhookVerificationError:
            return web.Response(status=401)
        except ResponseDecodeError:
            return web.Response(status=400)
        await callback(event)
        return web.Response(status=204)

    return handle


def _checked_secret(secret: object) -> Key | None:
    if secret is None:
        return None
    if not isinstance(secret, str):
        raise TypeError(f"secret must be a str, not {type(secret).__name__}")
    if not secret:
        raise ValueError("secret must not be empty: an empty header would pass")
    return Key(secret)


def _header(headers: Mapping[str, str]) -> str | None:
    name = SECRET_HEADER.lower()
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _bytes(text: str) -> bytes:
    return str.__str__(text).encode("utf-8", "surrogateescape")
