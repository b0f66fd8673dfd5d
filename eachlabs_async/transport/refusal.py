"""Read the error bodies of both vendors, of storages and of gateways, as pure functions.

An unsuccessful response becomes an `APIStatusError` whose texts are redacted, printable and bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, cast

from ..errors import APIStatusError, error_class_for
from .redaction import excerpt, line, value
from .wire import Headers, request_id_of, retry_after_s

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes of an unsuccessful response that are read."""
MAX_START: Final = 300
"""Characters of a body without a known field that the message shows."""
MAX_CODE: Final = 200
MAX_DETAILS: Final = 8 * 1024
"""Characters of JSON up to which an error keeps `details` as values. Of longer ones it keeps the start as text."""

_XML_FIELD: Final = re.compile(r"<(Code|Message)>([^<]*)</")
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_EMPTY: Final = ("", "null", "{}", "[]", '""')
_Explanation = tuple[str, str | None, Any]
"""Message, code and details; empty or None where the body does not have them."""


def status_error(
    status: int,
    headers: Headers,
    body: bytes,
    *,
    secrets: Collection[str],
    now: datetime,
    method: str,
    url: str,
    attempts: int,
) -> APIStatusError:
    """Return the error of an unsuccessful response. Its texts contain none of the `secrets`."""
    text = body[:MAX_ERROR_BODY].decode("utf-8-sig", "replace")
    message, code, details = _explanation(text)
    if not message:
        start = "" if text.strip() in _EMPTY else _start(text, secrets)
        message = f"{_phrase(status)}: {start}" if start else _phrase(status)
    return error_class_for(status)(
        line(message, secrets),
        status=status,
        code=None if code is None else line(code, secrets, MAX_CODE),
        details=_bounded(details, secrets),
        request_id=request_id_of(headers, secrets),
        retry_after_s=retry_after_s(headers, now),
        body=excerpt(text, secrets),
        method=method,
        url=line(url, secrets),
        attempts=attempts,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "a response without an explanation"


def _start(text: str, secrets: Collection[str]) -> str:
    """Return the start of a body in one line."""
    shown = line(" ".join(text.split()), secrets, MAX_START + 1)
    return shown if len(shown) <= MAX_START else f"{shown[:MAX_START]}..."


def _bounded(details: Any, secrets: Collection[str]) -> Any:
    try:
        text = json.dumps(details, ensure_ascii=False)
    except RecursionError:
        return "details that are nested too deeply"
    return value(details, secrets) if len(text) <= MAX_DETAILS else line(text, secrets)


def _explanation(text: str) -> _Explanation:
    """Return what an error body says."""
    if text.lstrip().startswith("<"):
        return _xml_explanation(text)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return "", None, None
    if isinstance(parsed, str):
        return parsed.strip(), None, None
    if not isinstance(parsed, dict):
        return "", None, None
    body = cast(dict[str, Any], parsed)
    inner = body.get("error")
    source = cast(dict[str, Any], inner) if isinstance(inner, dict) else body
    detail = body.get("detail")
    candidates: tuple[object, ...] = (
        cast(object, inner),
        source.get("message"),
        body.get("error_message"),
        _validation_message(detail),
        source.get("msg"),
    )
    message = next((found for found in candidates if isinstance(found, str) and found.strip()), "")
    code = source.get("code")
    details = source.get("details")
    return message, str(code) if isinstance(code, str | int) else None, detail if details is None else details


def _xml_explanation(text: str) -> _Explanation:
    """Return what the XML of a storage says. An HTML page has neither field."""
    fields: dict[str, str] = {}
    for name, content in _XML_FIELD.findall(text):
        for entity, char in _ENTITIES:
            content = content.replace(entity, char)
        fields.setdefault(name, content.strip())
    code, message = fields.get("Code"), fields.get("Message", "")
    return f"{code}: {message}" if code and message else message, code, None


def _validation_message(detail: object) -> str | None:
    """Return the `detail` of an error body as one line, or None if it is neither text nor a list of errors."""
    if isinstance(detail, str):
        return detail
    if not isinstance(detail, list):
        return None
    lines: list[str] = []
    for item in cast(list[object], detail):
        if isinstance(item, dict) and "msg" in item:
            part = cast(dict[str, Any], item)
            location = part.get("loc")
            path = ".".join(str(step) for step in cast(list[object], location)) if isinstance(location, list) else ""
            lines.append(f"{path}: {part['msg']}" if path else str(part["msg"]))
    return "; ".join(lines) or None
