"""Tests that a successful response without JSON is a transient failure, and what can never succeed is sent once."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from raw_server import QUICK, Act, RawServer, answer, client_of, hosts_at, html, huge_header

from eachlabs_async import EachLabs, RetryPolicy, Timeouts
from eachlabs_async.errors import (
    APIConnectionError,
    APITimeoutError,
    OutcomeUnknownError,
    ResponseDecodeError,
)

RUN = {"id": "r", "execution_id": "r", "status": "done", "output": "many words " * 20}
PAGE = {"executions": [RUN], "items": [RUN], "total": 1, "total_count": 1, "total_capped": False, "has_more": False}
ROWS = [{"id": "r", "status": "success"}]


def cut_gzip(data: Any) -> Act:
    """Send compressed JSON that was cut off, with the length of what is left."""
    packed = gzip.compress(json.dumps(data).encode())[:-30]
    return answer(body=packed, headers={"Content-Encoding": "gzip"})


UNREADABLE: dict[str, Act] = {
    "html": html(200),
    "empty": answer(body=b""),
    "no_content": answer(204, body=b""),
    "cut_gzip": cut_gzip(PAGE),
    "cut": answer(body=json.dumps(RUN)[:-1]),
    "cut_behind_a_row": answer(body=b'{"executions": [{"execution_id": "r"}'),
    "not_utf8": answer(body=b'"\xff"'),
    "large_html": answer(body=b"<p>" + b"x" * 100_000),
}


async def get_many(client: EachLabs) -> Any:
    (outcome,) = [outcome async for outcome in client.workflow_executions.get_many(["r"])]
    return outcome.unwrap()


async def flows(client: EachLabs) -> Any:
    (outcome,) = [outcome async for outcome in client.flow_executions.get_many("w", ["r"])]
    return outcome.unwrap()


CALLS: dict[str, tuple[Callable[[EachLabs], Awaitable[Any]], Any]] = {
    "get": (lambda client: client.runs.get("r"), RUN),
    "get_many": (get_many, RUN),
    "flows": (flows, PAGE),
    "list": (lambda client: client.workflow_executions.list("w").collect(), PAGE),
    "cursor": (
        lambda client: client.executions.list().collect(),
        {**PAGE, "executions": [{"id": "r", "status": "success"}]},
    ),
    "request": (lambda client: client.request("runs", "GET", "/x"), RUN),
}


EMPTY = ("empty", "no_content")
PAIRS = [(call, kind) for call in CALLS for kind in UNREADABLE if call != "request" or kind not in EMPTY]
"""All of them, but that `request` returns None for an empty body."""


@pytest.mark.parametrize(("call", "kind"), PAIRS)
async def test_it_is_asked_for_again(call: str, kind: str) -> None:
    """Twice no JSON, then an answer: the caller sees the answer alone."""
    work, good = CALLS[call]
    bad = UNREADABLE[kind]
    async with RawServer(bad, bad, then=answer(json=good)) as server:
        hosts = hosts_at(server.url, unified=call == "cursor")
        async with client_of(server, hosts=hosts) as client:
            assert await work(client)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("call", "kind"), PAIRS)
async def test_the_policy_bounds_the_attempts(call: str, kind: str) -> None:
    """The last error counts all attempts."""
    policy = RetryPolicy(max_attempts=3, base_s=0.001)
    async with RawServer(then=UNREADABLE[kind]) as server, client_of(server, retry=policy) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await CALLS[call][0](client)
    assert (caught.value.attempts, len(server.requests)) == (3, 3)
    assert caught.value.retryable
    assert str(caught.value).count("cannot decode") == 1


async def test_the_message_shows_how_it_begins(caplog: pytest.LogCaptureFixture) -> None:
    """80 characters, redacted before they are cut, and escaped, in the error and in the log of each attempt."""
    caplog.set_level(logging.DEBUG)
    page = "<html>\n\x1b[31m\u202e" + "y" * 57 + "labs-key" + "z" * 100
    async with RawServer(then=answer(body=page)) as server, client_of(server, retry=QUICK) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await client.runs.get("r")
    shown = str(caught.value)
    assert "it begins with '<html>\\\\n\\\\x1b[31m\\\\u202e" + "y" * 57 + "***zzz" in shown
    assert "z" * 8 not in shown
    for text in (shown, *(record.getMessage() for record in caplog.records)):
        assert text.isprintable()
        assert "labs" not in text
    assert len(server.requests) == 5


async def test_the_deadline_bounds_the_attempts_together() -> None:
    """It is that of the call, and does not start again with each attempt."""
    async with RawServer(then=html(200)) as server:
        times = Timeouts(deadline_s=0.3)
        policy = RetryPolicy(max_attempts=10_000, base_s=0.02, cap_s=0.02)
        async with client_of(server, retry=policy, timeouts=times) as client, asyncio.timeout(3):
            with pytest.raises((ResponseDecodeError, APITimeoutError)):
                await client.runs.get("r")
    assert 3 < len(server.requests) < 40


async def test_other_unreadable_answers_are_final() -> None:
    """JSON of a wrong shape comes again from every attempt."""
    async with RawServer(then=answer(json={"id": 7})) as server, client_of(server) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await client.runs.get("r")
    assert not caught.value.retryable
    assert len(server.requests) == 1


async def test_what_creates_is_never_sent_again() -> None:
    """No clear answer came, and that is the outcome."""
    async with RawServer(then=html(200)) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError, match="it begins with '<html>"):
            await client.predictions.create("m", {})
    assert len(server.requests) == 1


def _head(text: bytes) -> Act:
    return Act(b"HTTP/1.1 200 OK\r\n" + text + b"\r\n\r\n{}", "close")


@pytest.mark.parametrize(
    "head",
    [
        huge_header(),
        _head(b"\r\n".join(b"X-%d: 1" % n for n in range(500))),
        _head(b"Content-Length: 2\r\nContent-Length: 3"),
        _head(b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
    ],
    ids=["huge", "many", "two_lengths", "length_and_chunks"],
)
async def test_a_head_that_cannot_change_is_asked_for_once(head: Act) -> None:
    """The error says what is wrong with it, in one line."""
    async with RawServer(then=head) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.runs.get("r")
    assert not caught.value.retryable
    assert str(caught.value).isprintable()
    assert len(server.requests) == 1


async def test_a_proxy_that_wants_a_login_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 407 to a CONNECT is final."""
    async with RawServer(then=answer(407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with EachLabs("k", retry=QUICK) as client:
            with pytest.raises(APIConnectionError, match="407") as caught:
                await client.predictions.get("p")
    assert not caught.value.retryable
    assert not caught.value.sent
    assert len(proxy.requests) == 1
