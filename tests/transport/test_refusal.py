"""Tests for reading responses other than successes, as tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from eachlabs_async import errors
from eachlabs_async.errors import APIStatusError, error_class_for
from eachlabs_async.transport.redaction import MAX_TEXT, redact
from eachlabs_async.transport.refusal import MAX_CODE, MAX_DETAILS, status_error

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
KEY = "se/cr+et==key"


class Answered(dict[str, str]):
    """Headers in the form that `wire` reads."""


def refused(status: int, body: Any = b"", headers: dict[str, str] | None = None, **more: Any) -> APIStatusError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    options: dict[str, Any] = {
        "secrets": (KEY,),
        "now": NOW,
        "method": "GET",
        "url": "https://h/x",
        "attempts": 2,
    }
    return status_error(status, Answered(headers or {}), raw, **options | more)


@pytest.mark.parametrize("status", [*range(300, 600), 100, 199, 600, 999])
def test_every_status_has_a_class_and_says_something(status: int) -> None:
    """A response without a body becomes the error of its status, with the standard phrase."""
    error = refused(status)
    named = {400, 401, 402, 403, 404, 409, 422, 429}
    assert type(error) is error_class_for(status)
    assert (type(error) is APIStatusError) == (status not in named and not 500 <= status < 600)
    assert error.message
    assert (error.status, error.method, error.url, error.attempts) == (status, "GET", "https://h/x", 2)
    assert (error.code, error.details, error.request_id, error.retry_after_s, error.body) == ((None,) * 4 + ("",))


BODIES: list[tuple[Any, str, str | None, Any]] = [
    ({"error": "no such thing"}, "no such thing", None, None),
    (
        {"error": "no", "status": 404, "code": "NOT_FOUND", "details": {"id": "x"}},
        "no",
        "NOT_FOUND",
        {"id": "x"},
    ),
    ({"error": {"message": "no", "code": 17, "details": [1]}}, "no", "17", [1]),
    ({"message": "no"}, "no", None, None),
    ({"error_message": "no"}, "no", None, None),
    ({"error": "", "message": "no"}, "no", None, None),
    ({"detail": "Run not found"}, "Run not found", None, "Run not found"),
    (
        {"detail": [{"loc": ["query", "size"], "msg": "too large", "type": "t"}, {"msg": "and worse"}, 3]},
        "query.size: too large; and worse",
        None,
        [{"loc": ["query", "size"], "msg": "too large", "type": "t"}, {"msg": "and worse"}, 3],
    ),
    ({"msg": "no"}, "no", None, None),
    ("no", "no", None, None),
    ({"detail": []}, 'Bad Request: {"detail": []}', None, []),
    ({"detail": ["no"]}, 'Bad Request: {"detail": ["no"]}', None, ["no"]),
    ({"detail": {"why": "no"}}, 'Bad Request: {"detail": {"why": "no"}}', None, {"why": "no"}),
    ({"error": 7, "code": [1]}, 'Bad Request: {"error": 7, "code": [1]}', None, None),
    ({"errors": [{"field": "no"}]}, 'Bad Request: {"errors": [{"field": "no"}]}', None, None),
    ({"errors": "no", "code": "N"}, 'Bad Request: {"errors": "no", "code": "N"}', "N", None),
    ([1, 2], "Bad Request: [1, 2]", None, None),
    (["no"], 'Bad Request: ["no"]', None, None),
    (b"upstream connect error\r\nreset", "Bad Request: upstream connect error reset", None, None),
    (b"<html>\n <h1>Bad Gateway</h1></html>", "Bad Request: <html> <h1>Bad Gateway</h1></html>", None, None),
    (
        b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code><Message>Expired &amp; gone</Message></Error>",
        "AccessDenied: Expired & gone",
        "AccessDenied",
        None,
    ),
    (b"<Error><Code>SlowDown</Code></Error>", "Bad Request: <Error><Code>SlowDown</Code></Error>", "SlowDown", None),
    (b'\xef\xbb\xbf{"error": "no"}', "no", None, None),
    (b"", "Bad Request", None, None),
    (b" \n", "Bad Request", None, None),
    (b"\xff\xfe{", "Bad Request: \ufffd\ufffd{", None, None),
    (b"[" * 100_000, f"Bad Request: {'[' * 300}...", None, None),
    (b"null", "Bad Request", None, None),
    ({}, "Bad Request", None, None),
    ("", "Bad Request", None, None),
]


@pytest.mark.parametrize(("body", "message", "code", "details"), BODIES)
def test_the_bodies_of_both_vendors_are_read(body: Any, message: str, code: str | None, details: Any) -> None:
    """Message, code and details are found where a vendor or a storage puts them; else the message shows the start."""
    error = refused(400, body)
    assert (error.message, error.code, error.details) == (message, code, details)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert error.body == raw.decode("utf-8-sig", "replace")[:MAX_TEXT].replace("\r\n", "\n")


def test_headers_name_the_request_and_the_wait() -> None:
    """The request id is the header's or the vendor's own; the wait is `Retry-After`."""
    assert refused(500, headers={"X-Request-Id": "r", "X-Execution-ID": "e"}).request_id == "r"
    assert refused(500, headers={"X-Execution-ID": "e"}).request_id == "e"
    assert refused(500, headers={"X-Generation-Id": "g"}).request_id == "g"
    assert refused(429, headers={"Retry-After": "3"}).retry_after_s == 3
    assert len(refused(500, headers={"X-Request-Id": "r" * 999}).request_id or "") == 200


def test_long_texts_are_cut() -> None:
    """An error keeps the start of a long body and of a long message."""
    error = refused(500, {"error": "x" * 9999})
    assert len(error.message) == len(error.body) == MAX_TEXT
    error = refused(500, {"code": "c" * 9999, "details": {"d": ["d" * 9] * 1000}})
    assert len(error.code or "") == MAX_CODE
    assert isinstance(error.details, str)
    assert len(error.details) == MAX_TEXT
    deep = {"details": json.loads("[" * 100 + "]" * 100)}
    assert len(json.dumps(refused(500, deep).details)) < 200 < MAX_DETAILS


def test_a_key_is_redacted_before_a_text_is_cut() -> None:
    """The part of a key before the cut is not shown."""
    for padding in range(MAX_TEXT - len(KEY), MAX_TEXT):
        text = "x" * padding + KEY
        error = refused(500, {"error": text, "code": text, "details": {text: text}})
        assert "se/" not in repr(vars(error))
        assert "se/" not in repr(vars(refused(500, text.encode())))
    for padding in range(300):
        assert "se/" not in str(refused(500, (" " * (padding % 3) + "x" * padding + KEY).encode()))


def test_no_text_of_an_error_forges_a_line() -> None:
    """Line breaks, controls and marks of direction are escaped; only the body keeps its line breaks."""
    forged = "no\n2026-01-01 ERROR forged\r\x1b[31m\u202e\x00"
    error = refused(503, {"error": forged, "code": forged, "details": {forged: [forged]}}, {"X-Request-Id": forged})
    assert str(error).isprintable()
    assert (error.code or "").isprintable()
    assert repr(error.details).count("\\\\x1b") == 2
    assert (error.request_id or "").isprintable()
    assert error.message == r"no\n2026-01-01 ERROR forged\r\x1b[31m\u202e\x00"
    plain = refused(503, forged.encode())
    assert str(plain).isprintable()
    assert plain.body.replace("\n", "").isprintable()


ECHOES = [
    KEY,
    "se%2Fcr%2Bet%3D%3Dkey",
    "se%2fcr%2bet%3d%3dkey",
    "se\\/cr\\u002bet\\u003d\\u003dkey",
    "se\\/cr+et==key",
    f"Bearer {KEY}",
    f"{KEY}{KEY}",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("shape", ['{"error": "E"}', '{"details": {"E": ["E"]}, "code": "E"}', '{"detail": "E"}', "E"])
def test_no_text_of_an_error_holds_the_key(echo: str, shape: str) -> None:
    """A key that the server echoes is redacted, as it is and escaped for a URL or for JSON."""
    error = refused(
        400,
        shape.replace("E", echo).encode(),
        headers={"X-Request-Id": "r" * 190 + KEY},
        url="https://h/x?k=se%2Fcr%2Bet%3D%3Dkey",
    )
    everything = repr([*vars(error).items(), str(error), repr(error)])
    assert KEY not in everything
    assert "cr" not in everything.replace("__cr", "")


@pytest.mark.parametrize("key", ['a"b\\c', "k'ey", "k&e<y>", "plain"])
def test_a_key_with_odd_signs_is_struck_out(key: str) -> None:
    """All forms that JSON, Go's JSON and `repr` give to a key are redacted."""
    forms = [key, json.dumps(key), repr(key), repr(key.encode())]
    forms.append(json.dumps(key).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
    for form in forms:
        assert redact(f"x{form}y", (key,)).strip("xyb\"'") == "***", form
    error = refused(400, {"error": key, "details": {key: [key]}, "code": key}, secrets=(key,))
    assert (error.message, error.code, error.details) == ("***", "***", {"***": ["***"]})


def test_every_error_class_is_reachable_from_a_status() -> None:
    """Each subclass of `APIStatusError` belongs to some status."""
    classes = {error_class_for(status) for status in range(600)}
    assert classes == {APIStatusError, *APIStatusError.__subclasses__()}
    assert all(one.__name__ in errors.__all__ for one in classes)
