"""Tests over real sockets that no text of a server forges a log line, moves a cursor, or shows half a key."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import Act, RawServer, answer, client_of

from eachlabs_async import EachLabs, RetryPolicy, UnprocessableEntityError
from eachlabs_async.errors import EachLabsError, ResponseDecodeError

FORGED = "no\r\n2026-11-27 12:00:00 ERROR root: forged\n\x1b[2J\u202e\u2028\x00"
KEY = "labs-key"  # that of `client_of`

ANSWERS: dict[str, Callable[[], Act]] = {
    "text": lambda: answer(503, body=FORGED),
    "json": lambda: answer(503, json={"error": FORGED, "code": FORGED, "details": {FORGED: FORGED}}),
    "string": lambda: answer(503, json=FORGED),
    "xml": lambda: answer(503, body=f"<Error><Code>{FORGED}</Code><Message>{FORGED}</Message></Error>"),
    "validation": lambda: answer(422, json={"detail": [{"loc": [FORGED], "msg": FORGED}]}),
    "not_json": lambda: answer(body=FORGED),
    "wrong_type": lambda: answer(json={"id": 7, "status": FORGED}),
    "bad_head": lambda: Act(b"HTTP/1.1 200 OK\r\nX-Forged\x1b[2J\r\n\r\n", "close"),
    "bad_line": lambda: Act(b"HTTX \x1b[2J\xe2\x80\xae\r\n\r\n", "close"),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_errors_and_log_lines_are_one_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """In `str(error)` and in every log line the characters that are not printable are escaped."""
    caplog.set_level(logging.DEBUG, "eachlabs_async")
    policy = RetryPolicy(max_attempts=2, base_s=0.001)
    async with RawServer(then=ANSWERS[kind]()) as server, client_of(server, retry=policy) as client:
        with pytest.raises(EachLabsError) as caught:
            await client.runs.get("r")
    error: Any = caught.value
    texts = [str(error), error.message, *error.args, getattr(error, "path", ""), getattr(error, "code", None) or ""]
    texts += [record.getMessage() for record in caplog.records]
    for text in texts:
        assert text.isprintable(), text
    assert getattr(error, "body", "").replace("\n", "").isprintable()
    assert len(str(error)) < 3000


async def test_the_part_of_a_key_before_the_cut_is_not_shown() -> None:
    """Wherever in the body of an unreadable answer the key stands, its first characters are redacted with the rest."""
    bodies = [b'{"id": 7, "x": "' + b"x" * padding + KEY.encode() + b'"}' for padding in range(260, 300)]
    async with RawServer(*(answer(body=body) for body in bodies)) as server, client_of(server) as client:
        for _ in bodies:
            with pytest.raises(ResponseDecodeError) as caught:
                await client.runs.get("r")
            assert "labs" not in repr(vars(caught.value))
            assert len(caught.value.body) <= 300


async def test_a_key_in_a_path_is_redacted() -> None:
    """The path of an unreadable value has the service's own names, of any length."""
    record = {"execution_id": "w", "status": "x", "step_outputs": {f"{KEY} {'x' * 100_000}": 7}}
    async with RawServer(then=answer(json=record)) as server, client_of(server) as client:
        with pytest.raises(ResponseDecodeError, match="expected an object") as caught:
            await client.workflow_executions.get("w")
    assert "labs" not in repr(vars(caught.value))
    assert "***" in caught.value.path
    assert len(caught.value.path) <= 300
    assert len(str(caught.value)) < 3000


async def test_an_unexplained_body_is_shown() -> None:
    """The text of the error says what came, not only the phrase of its status."""
    async with RawServer(then=answer(422, json={"errors": [{"field": "seed", "why": "too odd"}]})) as server:
        async with EachLabs(KEY, runs_api_key="r", hosts=server.hosts) as client:
            with pytest.raises(UnprocessableEntityError, match="too odd"):
                await client.runs.get("r")
