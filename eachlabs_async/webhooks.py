"""Receiving webhooks: `parse` verifies a delivery and decodes it. The web framework is yours.

Each Labs signs a delivery with the secret that was given at the trigger: HMAC-SHA256 over the time of signing, a dot
and the raw body. The secret itself is sent along in plain text, which proves nothing about the body or its age. A
delivery is attempted up to three times, about ten seconds apart, with the same signature, and may arrive twice; compare
`key`. Any 2xx status acknowledges it. A cancelled prediction sends no webhook.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from attrs import evolve

from .codec.strict import decode, decode_json
from .errors import ResponseDecodeError, WebhookVerificationError
from .records import PredictionWebhook, State, WebhookEvent, WorkflowWebhook
from .transport.arguments import checked_count, checked_moment
from .transport.keys import Key
from .transport.wire import Body

if TYPE_CHECKING:
    from aiohttp import web

__all__ = [
    "SECRET_HEADER",
    "SIGNATURE_HEADER",
    "TIMESTAMP_HEADER",
    "UNVERIFIED",
    "PredictionWebhook",
    "Unverified",
    "WebhookEvent",
    "WorkflowWebhook",
    "aiohttp_handler",
    "parse",
]

SIGNATURE_HEADER: Final = "X-Webhook-Signature"
"""The header with the signature: `sha256=` and 64 lower-case hexadecimal digits."""
TIMESTAMP_HEADER: Final = "X-Webhook-Timestamp"
"""The header with the time of signing in Unix seconds. It is part of what is signed."""
SECRET_HEADER: Final = "X-Webhook-Secret"
"""The header with the secret in plain text."""


class Unverified(Enum):
    """The type of `UNVERIFIED`."""

    UNVERIFIED = "unverified"


UNVERIFIED: Final = Unverified.UNVERIFIED
"""The `secret` of those who accept every delivery as genuine, whoever sent it."""

_SIGNATURE: Final = re.compile(r"sha256=([0-9a-f]{64})").fullmatch
_SECONDS: Final = re.compile(r"[0-9]{1,15}").fullmatch
_LAST_S: Final = 1e15
# The fields of an error envelope that explain it, the best first.
_REASON_FIELDS: Final = ("error", "error_message", "message", "error_code", "code")

Secrets: TypeAlias = tuple[Key, ...]


def parse(
    headers: Mapping[str, str],
    body: bytes | bytearray | memoryview,
    *,
    secret: str | Sequence[str] | Unverified,
    tolerance_s: float | None = 300.0,
    now: float | datetime | None = None,
    accept_plain_secret: bool = False,
) -> WebhookEvent:
    """Verify a delivery and decode it: a `PredictionWebhook`, or a `WorkflowWebhook`, which is the whole execution.

    - `headers`: those of the request; names in any case.
    - `body`: the raw body, byte for byte. Decoded text or re-encoded JSON does not match the signature.
    - `secret`: the `webhook_secret` of the trigger, not empty. Several secrets are accepted while you rotate them.
      `UNVERIFIED` accepts every delivery as genuine.
    - `tolerance_s`: the largest difference between the time of signing and `now`, in seconds from 0. None accepts any
      age, so that an old delivery can be replayed.
    - `now`: Unix seconds or an aware datetime. None is the local clock.
    - `accept_plain_secret`: accept a delivery without a signature if `X-Webhook-Secret` is the secret. Its body and age
      are then unverified. A wrong signature is refused in any case.

    Raises `WebhookVerificationError` for a delivery that is not genuine, before its body is decoded;
    `ResponseDecodeError` for a body that is neither kind of webhook; `ValueError` or `TypeError` for an invalid
    argument.
    """
    # A traceback shows the locals of each frame, so no frame that raises may have a secret in them.
    expected, error = _checked_secrets(secret)
    del secret
    signed = _signature_headers(headers)
    kind = type(headers).__name__
    del headers
    if error is not None:
        raise error
    if signed is None:  # The headers of Flask and of `http.server` have `items` but are no `Mapping`.
        raise TypeError(f"headers must be a mapping, not {kind}")
    tolerance_s = _checked_tolerance(tolerance_s)
    now_s = _checked_now(now)
    plain = _checked_flag(accept_plain_secret)
    body = raw = _checked_body(body)
    if expected is not None:
        reason = _header_refusal(signed, expected, tolerance_s, now_s, plain=plain)
        reason = reason or _signature_refusal(signed, raw, expected)
        if reason is not None:
            del signed
            raise WebhookVerificationError(reason)
    del signed
    value: Any = decode_json(raw)
    if isinstance(value, dict) and "exec_id" in value:
        event = decode(raw, PredictionWebhook)
        if event.state is State.FAILED and not event.error:
            return evolve(event, error=_failure_reason(event.output) or event.error)
        return event
    if isinstance(value, dict) and "execution_id" in value:
        return decode(raw, WorkflowWebhook)
    raise ResponseDecodeError("cannot decode the delivery at $: it has neither exec_id nor execution_id")


def aiohttp_handler(
    callback: Callable[[WebhookEvent], Awaitable[object]],
    *,
    secret: str | Sequence[str] | Unverified,
    tolerance_s: float | None = 300.0,
    accept_plain_secret: bool = False,
    max_bytes: int = 16 * 1024 * 1024,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler for `aiohttp.web` that verifies each delivery and awaits `callback(event)`.

    `secret`, `tolerance_s` and `accept_plain_secret` are those of `parse`. `max_bytes` (from 1) is the largest body
    that is read. The handler responds with 204 after the callback has returned, 401 to a delivery that is not genuine,
    413 to one that is too large, and 400 to one that cannot be decoded. A callback that raises is a 500, so that the
    service delivers again. An event can arrive twice; compare `event.key`.

    A body is read only if the headers can be those of a genuine delivery. The service sends the secret along. Without
    it all bodies together may take twice `max_bytes` at a time, beyond which the response is a 503.
    """
    from aiohttp import ClientError, web

    expected, error = _checked_secrets(secret)
    del secret
    if error is not None:
        raise error
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    tolerance_s = _checked_tolerance(tolerance_s)
    plain = _checked_flag(accept_plain_secret)
    checked_count("max_bytes", max_bytes, least=1)

    unproven = 0  # bytes of the bodies whose senders did not send the secret along

    async def read_body(request: web.Request, *, proven: bool) -> Body | int:
        """Return the body, or the status of the response to a delivery whose body is not read to its end."""
        nonlocal unproven
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                unproven += 0 if proven else len(chunk)
                if len(body) > max_bytes:
                    return 413
                if not proven and unproven > 2 * max_bytes:
                    return 503
            return Body(body)
        except (ConnectionError, ClientError, web.RequestPayloadError):
            return 400  # The sender left, or does not speak HTTP: that is none of the application's errors.
        finally:
            unproven -= 0 if proven else len(body)

    async def handle(request: web.Request) -> web.Response:
        proven = True
        if expected is not None:
            signed = _signature_headers(request.headers) or {}
            if _header_refusal(signed, expected, tolerance_s, time.time(), plain=plain) is not None:
                return web.Response(status=401)
            proven = any(_equals_any(one, expected) for one in signed[SECRET_HEADER])
            del signed
        if (request.content_length or 0) > max_bytes:
            return web.Response(status=413)
        body = await read_body(request, proven=proven)
        if isinstance(body, int):
            return web.Response(status=body)
        try:
            event = parse(
                request.headers,
                body,
                secret=UNVERIFIED if expected is None else expected,
                tolerance_s=tolerance_s,
                accept_plain_secret=plain,
            )
        except WebhookVerificationError:
            return web.Response(status=401)
        except ResponseDecodeError:
            return web.Response(status=400)
        await callback(event)
        return web.Response(status=204)

    return handle


# ---- arguments


def _checked_secrets(secret: object) -> tuple[Secrets | None, Exception | None]:
    """Return the secrets, or an error that the caller raises when it has no secret in its locals any more."""
    if secret is UNVERIFIED:
        return None, None
    if secret is None:
        return None, TypeError("secret must be a str or several, not None: pass UNVERIFIED to accept every delivery")
    given = [secret] if isinstance(secret, str) else secret
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Sequence):
        return None, TypeError(f"secret must be a str or several, not {type(secret).__name__}")
    checked: list[Key] = []
    for one in cast(Sequence[object], given):
        if not isinstance(one, str):
            return None, TypeError(f"secret must be a str or several, not one of {type(one).__name__}")
        if not one:
            return None, ValueError("secret must not be empty: anybody can sign with an empty secret")
        if not _is_text(one):
            return None, ValueError("secret must be encodable as UTF-8 (it contains a lone surrogate)")
        checked.append(Key(one))
    if not checked:
        return None, ValueError("secret must not be empty: pass at least one, or UNVERIFIED to accept every delivery")
    return tuple(checked), None


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _checked_tolerance(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"tolerance_s must be a number or None, not {type(value).__name__}")
    if not 0 <= value <= _LAST_S:
        raise ValueError(f"tolerance_s must be between 0 and 1e15, not {value}; None accepts a delivery of any age")
    return value


def _checked_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"accept_plain_secret must be a bool, not {type(value).__name__}")
    return value


def _checked_now(value: object) -> float:
    if value is None:
        return time.time()
    if isinstance(value, datetime):
        return checked_moment("now", value).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"now must be Unix seconds or an aware datetime, not {type(value).__name__}")
    if not -_LAST_S <= value <= _LAST_S:
        raise ValueError(f"now must be Unix seconds, between -1e15 and 1e15, not {value}")
    return value


def _checked_body(body: object) -> Body:
    if isinstance(body, bytes | bytearray | memoryview):
        return Body(cast(bytes, body))
    more = ": the signature is over the raw bytes, as received" if isinstance(body, str) else ""
    raise TypeError(f"body must be bytes, not {type(body).__name__}{more}")


# ---- verifying


def _signature_headers(headers: Mapping[str, str]) -> dict[str, list[Key]] | None:
    """Return all values of each of the three headers, or None if `headers` are no headers."""
    if not hasattr(headers, "items"):
        return None
    signed: dict[str, list[Key]] = {SIGNATURE_HEADER: [], TIMESTAMP_HEADER: [], SECRET_HEADER: []}
    names = {name.lower(): values for name, values in signed.items()}
    for name, value in cast("Mapping[object, object]", headers).items():
        if isinstance(name, str) and (values := names.get(name.lower())) is not None:
            # A value that is not a string matches nothing.
            values.append(Key(value) if isinstance(value, str) else Key())
    return signed


def _header_refusal(
    signed: Mapping[str, list[Key]], expected: Secrets, tolerance_s: float | None, now_s: float, *, plain: bool
) -> str | None:
    """Return why a delivery is refused whatever its body is, or None."""
    for name, values in signed.items():
        if len(values) > 1:
            return f"the header {name} came more than once"
    signatures, stamps, secrets = signed[SIGNATURE_HEADER], signed[TIMESTAMP_HEADER], signed[SECRET_HEADER]
    if not signatures:
        if not plain:
            return f"the header {SIGNATURE_HEADER} is missing: was a webhook_secret given at the trigger?"
        if not secrets:
            return f"the headers {SIGNATURE_HEADER} and {SECRET_HEADER} are missing"
        return None if _equals_any(secrets[0], expected) else f"the header {SECRET_HEADER} is wrong"
    signature = _SIGNATURE(signatures[0])
    if signature is None:
        return f"the header {SIGNATURE_HEADER} is not sha256= and 64 lower-case hexadecimal digits"
    if not stamps:
        return f"the header {TIMESTAMP_HEADER} is missing"
    if _SECONDS(stamps[0]) is None:
        return f"the header {TIMESTAMP_HEADER} is not Unix seconds"
    age_s = now_s - int(stamps[0])
    if tolerance_s is not None and abs(age_s) > tolerance_s:
        when = f"{abs(age_s):.0f} s {'ago' if age_s > 0 else 'ahead of now'}"
        return f"it was signed {when}, but tolerance_s is {tolerance_s:g}: it is an old delivery, or a clock is wrong"
    return None


def _signature_refusal(signed: Mapping[str, list[Key]], raw: Body, expected: Secrets) -> str | None:
    """Return why a delivery with valid headers is refused, or None if it is genuine."""
    signature = next(map(_SIGNATURE, signed[SIGNATURE_HEADER]), None)
    if signature is None or _signed_by_any(expected, signed[TIMESTAMP_HEADER][0], raw, signature[1]):
        return None  # One without a signature has the plain secret.
    return f"the header {SIGNATURE_HEADER} is wrong: it was made with another secret, or the body was changed"


def _signed_by_any(expected: Secrets, stamp: str, raw: bytes, signature: str) -> bool:
    matches = [hmac.compare_digest(_signature(one, stamp, raw), signature) for one in expected]
    return any(matches)  # All are compared before this, so that the duration does not reveal which one matched.


def _signature(secret: Key, stamp: str, raw: bytes) -> str:
    digest = hmac.new(_bytes(secret), _bytes(stamp) + b".", "sha256")
    digest.update(raw)
    return digest.hexdigest()


def _equals_any(given: Key, expected: Secrets) -> bool:
    matches = [hmac.compare_digest(_bytes(one), _bytes(given)) for one in expected]
    return any(matches)


def _bytes(text: str) -> bytes:
    """Return the bytes as received: frameworks keep bytes that are not UTF-8 as surrogates."""
    try:
        return str.__str__(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return str.__str__(text).encode("utf-8", "surrogatepass")


# ---- decoding


def _failure_reason(output: object) -> str | None:
    """Return the reason of a failed prediction: `output[0].error` is a text, or an object with one."""
    if isinstance(output, list):
        output = next(iter(cast("list[object]", output)), None)
    return _error_text(output, 3)


def _error_text(value: object, depth: int) -> str | None:
    if isinstance(value, str):
        return value or None
    if not isinstance(value, dict) or not depth:
        return None
    envelope = cast("dict[str, object]", value)
    return next((text for name in _REASON_FIELDS if (text := _error_text(envelope.get(name), depth - 1))), None)
