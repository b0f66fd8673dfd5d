"""Owns the receiving of webhooks: is it genuine, and what does it say; refuses to listen, a web framework does.

Each Labs signs a delivery with the secret that was given at the trigger: HMAC-SHA256 over the time of signing, a dot
and the raw body. The secret itself comes along too, in plain text, which proves nothing about the body or its age. A
delivery is tried up to three times, some ten seconds apart, with the same signature, and may arrive twice: equal
`key`s tell. Any 2xx acknowledges it. A prediction that was cancelled sends nothing.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
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
    "PredictionWebhook",
    "WebhookEvent",
    "WorkflowWebhook",
    "aiohttp_handler",
    "parse",
]

SIGNATURE_HEADER: Final = "X-Webhook-Signature"
"""The header that carries the signature: `sha256=` and 64 lower-case hexadecimal digits."""
TIMESTAMP_HEADER: Final = "X-Webhook-Timestamp"
"""The header that says when the delivery was signed, in Unix seconds; it is part of what is signed."""
SECRET_HEADER: Final = "X-Webhook-Secret"
"""The header that carries the secret in plain text."""

_SIGNATURE: Final = re.compile(r"sha256=([0-9a-f]{64})").fullmatch
_SECONDS: Final = re.compile(r"[0-9]{1,15}").fullmatch
_LAST_S: Final = 1e15
# The names under which an error envelope says why, the best first.
_WHY: Final = ("error", "error_message", "message", "error_code", "code")

Secrets: TypeAlias = tuple[Key, ...]


def parse(
    headers: Mapping[str, str],
    body: bytes | bytearray | memoryview,
    *,
    secret: str | Sequence[str] | None = None,
    tolerance_s: float | None = 300.0,
    now: float | datetime | None = None,
    accept_plain_secret: bool = False,
) -> WebhookEvent:
    """Check a delivery and read it: a `PredictionWebhook`, or a `WorkflowWebhook`, which is the whole execution.

    `headers` are those of the request, in any case; `body` is the raw body, byte for byte: text or JSON written anew
    does not match the signature. `secret` is the `webhook_secret` of the trigger, not empty, or several of which any
    may have signed, as while you change it; None takes any delivery as genuine.

    The signature must have been made within `tolerance_s` seconds (from 0) of `now`, in the past or the future; None
    takes one of any age, so that an old delivery can be replayed. `now` is in Unix seconds or an aware datetime; None
    is this machine's clock. With `accept_plain_secret` a delivery without a signature is believed where
    `X-Webhook-Secret` holds the secret; nothing vouches then for its body or age. A wrong signature is refused in any
    case.

    Raises `WebhookVerificationError` for a delivery that must not be believed, before its body is read;
    `ResponseDecodeError` for a body that is none of the two; `ValueError` or `TypeError` for an argument.
    """
    # No frame that raises may hold a secret: a traceback shows its locals.
    wanted, unfit = _checked_secrets(secret)
    secret = None
    found = _found(headers)
    kind = type(headers).__name__
    del headers
    if unfit is not None:
        raise unfit
    if found is None:  # Those of Flask and of `http.server` have items, and are no `Mapping`.
        raise TypeError(f"headers must be a mapping, not {kind}")
    tolerance_s = _checked_tolerance(tolerance_s)
    now_s = _checked_now(now)
    plain = _checked_choice(accept_plain_secret)
    body = raw = _raw(body)
    if wanted is not None:
        refusal = _why_refused(found, raw, wanted, tolerance_s, now_s, plain=plain)
        if refusal is not None:
            del found
            raise WebhookVerificationError(refusal)
    del found
    value: Any = decode_json(raw)
    if isinstance(value, dict) and "exec_id" in value:
        event = decode(raw, PredictionWebhook)
        if event.state is State.FAILED and not event.error:
            return evolve(event, error=_why_it_failed(event.output) or event.error)
        return event
    if isinstance(value, dict) and "execution_id" in value:
        return decode(raw, WorkflowWebhook)
    raise ResponseDecodeError("cannot read the delivery at $: it has neither exec_id nor execution_id")


def aiohttp_handler(
    callback: Callable[[WebhookEvent], Awaitable[object]],
    *,
    secret: str | Sequence[str] | None,
    tolerance_s: float | None = 300.0,
    accept_plain_secret: bool = False,
    max_bytes: int = 16 * 1024 * 1024,
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler for `aiohttp.web` that checks each delivery and awaits `callback(event)`.

    `secret`, `tolerance_s` and `accept_plain_secret` are those of `parse`. A body of more than `max_bytes` (from 1) is
    not read. It answers 204 when the callback has returned, 401 to what must not be believed, 413 to what is too large,
    400 to what cannot be read; a callback that raises is a 500, so that the service delivers again. An event can arrive
    twice: compare `event.key`.
    """
    from aiohttp import web

    wanted, unfit = _checked_secrets(secret)
    secret = None
    if unfit is not None:
        raise unfit
    if not callable(callback):
        raise TypeError(f"callback must be callable, not {type(callback).__name__}")
    tolerance_s = _checked_tolerance(tolerance_s)
    plain = _checked_choice(accept_plain_secret)
    checked_count("max_bytes", max_bytes, least=1)

    async def handle(request: web.Request) -> web.Response:
        body = bytearray()
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                return web.Response(status=413)
        try:
            event = parse(
                request.headers,
                Body(body),
                secret=wanted,
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
    """Give the secrets, or what is wrong with them; it is for the caller to raise, without a secret at hand."""
    if secret is None:
        return None, None
    given = [secret] if isinstance(secret, str) else secret
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Sequence):
        return None, TypeError(f"secret must be a str or several, not {type(secret).__name__}")
    checked: list[Key] = []
    for one in cast(Sequence[object], given):
        if not isinstance(one, str):
            return None, TypeError(f"secret must be a str or several, not one of {type(one).__name__}")
        if not one:
            return None, ValueError("secret must not be empty: anybody can sign with nothing")
        if not _is_text(one):
            return None, ValueError("secret must be text that UTF-8 can carry (it holds a lone surrogate)")
        checked.append(Key(one))
    if not checked:
        return None, ValueError("secret must not be empty: give one at least, or None to take any delivery")
    return tuple(checked), None


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _checked_tolerance(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"tolerance_s must be a number or None, not {type(value).__name__}")
    if not 0 <= value <= _LAST_S:
        raise ValueError(f"tolerance_s must be between 0 and 1e15, not {value}; None takes a delivery of any age")
    return value


def _checked_choice(value: object) -> bool:
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


def _raw(body: object) -> Body:
    if isinstance(body, bytes | bytearray | memoryview):
        return Body(cast(bytes, body))
    more = ": the signature is over the raw bytes, as they came" if isinstance(body, str) else ""
    raise TypeError(f"body must be bytes, not {type(body).__name__}{more}")


# ---- verifying


def _found(headers: Mapping[str, str]) -> dict[str, list[Key]] | None:
    """Pick the three headers out, each with all its values; None where `headers` are none."""
    if not hasattr(headers, "items"):
        return None
    found: dict[str, list[Key]] = {SIGNATURE_HEADER: [], TIMESTAMP_HEADER: [], SECRET_HEADER: []}
    names = {name.lower(): values for name, values in found.items()}
    for name, value in cast("Mapping[object, object]", headers).items():
        if isinstance(name, str) and (values := names.get(name.lower())) is not None:
            # What is no text is no header's value either, and matches nothing.
            values.append(Key(value) if isinstance(value, str) else Key())
    return found


def _why_refused(
    found: Mapping[str, list[Key]],
    raw: Body,
    wanted: Secrets,
    tolerance_s: float | None,
    now_s: float,
    *,
    plain: bool,
) -> str | None:
    """Say why a delivery must not be believed, None where it is genuine."""
    for name, values in found.items():
        if len(values) > 1:
            return f"the header {name} came more than once"
    signatures, stamps, secrets = found[SIGNATURE_HEADER], found[TIMESTAMP_HEADER], found[SECRET_HEADER]
    if not signatures:
        if not plain:
            return f"the header {SIGNATURE_HEADER} is missing: was a webhook_secret given at the trigger?"
        if not secrets:
            return f"the headers {SIGNATURE_HEADER} and {SECRET_HEADER} are missing"
        return None if _equals_any(secrets[0], wanted) else f"the header {SECRET_HEADER} is wrong"
    signature = _SIGNATURE(signatures[0])
    if signature is None:
        return f"the header {SIGNATURE_HEADER} is not sha256= and 64 lower-case hexadecimal digits"
    if not stamps:
        return f"the header {TIMESTAMP_HEADER} is missing"
    if _SECONDS(stamps[0]) is None:
        return f"the header {TIMESTAMP_HEADER} is not Unix seconds"
    if not _signed_by_any(wanted, stamps[0], raw, signature[1]):
        return f"the header {SIGNATURE_HEADER} is wrong: another secret signed it, or the body is not as it was sent"
    age_s = now_s - int(stamps[0])
    if tolerance_s is not None and abs(age_s) > tolerance_s:
        when = f"{abs(age_s):.0f} s {'ago' if age_s > 0 else 'ahead of now'}"
        return f"it was signed {when}, and tolerance_s is {tolerance_s:g}: an old delivery, or a clock that is wrong"
    return None


def _signed_by_any(wanted: Secrets, stamp: str, raw: bytes, signature: str) -> bool:
    told = [hmac.compare_digest(_signature(one, stamp, raw), signature) for one in wanted]
    return any(told)  # Only now: how long it took must not tell which of them it was.


def _signature(secret: Key, stamp: str, raw: bytes) -> str:
    made = hmac.new(_bytes(secret), _bytes(stamp) + b".", "sha256")
    made.update(raw)
    return made.hexdigest()


def _equals_any(given: Key, wanted: Secrets) -> bool:
    told = [hmac.compare_digest(_bytes(one), _bytes(given)) for one in wanted]
    return any(told)


def _bytes(text: str) -> bytes:
    """Give the bytes that came: frameworks keep those that are no UTF-8 as surrogates."""
    try:
        return str.__str__(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return str.__str__(text).encode("utf-8", "surrogatepass")


# ---- reading


def _why_it_failed(output: object) -> str | None:
    """Read why a prediction failed: `output[0].error` is a text, or an object with one."""
    if isinstance(output, list):
        output = next(iter(cast("list[object]", output)), None)
    return _told(output, 3)


def _told(value: object, depth: int) -> str | None:
    if isinstance(value, str):
        return value or None
    if not isinstance(value, dict) or not depth:
        return None
    said = cast("dict[str, object]", value)
    return next((text for name in _WHY if (text := _told(said.get(name), depth - 1))), None)
