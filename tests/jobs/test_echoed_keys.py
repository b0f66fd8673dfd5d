"""Tests that no error about a failed execution or a refused input shows a key, or a character that is not printable."""

from __future__ import annotations

import re
from typing import Any

import pytest
from raw_server import ONCE, Act, RawServer, RecordedRequest, answer, hosts_at

from eachlabs_async import EachLabs, ExecutionFailedError, ResponseDecodeError
from eachlabs_async.errors import EachLabsError, RateLimitError

KEY = "sk-Secr3t/+=tail0123"
RUNS_KEY = "nx-Pr1vate&<x>0123456"
ECHO = f"{KEY}\n\x1b[31m{RUNS_KEY} sk-Secr3t%2F%2B%3Dtail0123\u202e"
STEPS = {
    "s": {"step_id": ECHO, "status": "failed", "error": ECHO, "error_cause": ECHO, "metadata": {"error_code": ECHO}}
}


def client_of(server: RawServer) -> EachLabs:
    return EachLabs(KEY, runs_api_key=RUNS_KEY, hosts=hosts_at(server.url), retry=ONCE)


def assert_clean(error: BaseException | None) -> None:
    """Assert that the texts of an error show that there was a key, but not which, each in one line."""
    assert isinstance(error, EachLabsError)
    texts = {name: str(text) for name, text in vars(error).items() if name not in ("record", "body") and text}
    texts |= {"str": str(error), "args": repr(error.args)}
    for name, text in texts.items():
        assert "Secr3t" not in text, name
        assert "Pr1vate" not in text, name
        assert text.isprintable(), name
    assert "***" in str(error)


RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("predictions", {"id": "x", "status": "error", "output": {"error": ECHO, "error_code": ECHO}}),
    ("predictions", {"id": "x", "status": "error", "output": ECHO}),
    ("workflow_executions", {"execution_id": "x", "status": "failed", "error": ECHO, "error_cause": ECHO}),
    ("workflow_executions", {"execution_id": "x", "status": "failed", "step_outputs": STEPS}),
    ("runs", {"id": "x", "status": "failed", "output": {"error": {"message": ECHO, "code": ECHO}}}),
]


@pytest.mark.parametrize(("resource", "record"), RECORDS)
async def test_a_wait_shows_no_key(resource: str, record: dict[str, Any]) -> None:
    """Message, error, cause, code and step of an `ExecutionFailedError` are redacted and escaped."""
    async with RawServer(then=answer(json=record)) as server, client_of(server) as client:
        with pytest.raises(ExecutionFailedError) as caught:
            await getattr(client, resource).wait("x")
    assert_clean(caught.value)


async def test_an_id_of_the_services_own_shows_no_key() -> None:
    """The error about a record of another id names that id."""
    record = {"id": ECHO, "status": "awaiting_human_feedback"}
    async with RawServer(then=answer(json=record)) as server, client_of(server) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await client.runs.wait("x")
    assert_clean(caught.value)


async def test_a_refused_trigger_shows_no_key() -> None:
    """The service's message is redacted in the error of a trigger."""
    refusal = answer(json={"execution_id": None, "status": "failed", "message": ECHO})
    async with RawServer(then=refusal) as server, client_of(server) as client:
        with pytest.raises(ExecutionFailedError) as caught:
            await client.workflows.trigger("w", None, {})
    assert_clean(caught.value)


def sent_by(request: RecordedRequest) -> list[int]:
    """Return the numbers of the inputs of a bulk."""
    return [int(number) for number in re.findall(rb'"n": ?([0-9]+)', request.body)]


def entries(request: RecordedRequest) -> Act:
    """Serve a map of two inputs: one is refused, alone as well, and the execution of the other one fails."""
    failed: dict[str, Any] = {"execution_id": "e0", "status": "failed"}
    if request.method == "POST":
        refused = {"execution_id": None, "status": "failed", "message": ECHO}
        created = {"execution_id": "e0", "status": "queued"}
        return answer(json={"bulk_id": "b", "executions": [created if n == 0 else refused for n in sent_by(request)]})
    if request.target.partition("?")[0].endswith("/e0"):
        return answer(json={**failed, "error": ECHO, "step_outputs": STEPS})
    return answer(json={"executions": [failed], "total": 1, "total_count": 1, "limit": 100, "offset": 0})


async def test_the_entries_of_a_map_show_no_key() -> None:
    """Neither the error of a refused input nor that of a failed execution shows one."""
    async with RawServer(then=entries) as server, client_of(server) as client:
        async with client.workflows.map("w", "v", [{"n": 0}, {"n": 1}]) as outcomes:
            errors = [outcome.error async for outcome in outcomes]
    assert len(errors) == 2
    for error in errors:
        assert_clean(error)


async def test_a_bulk_that_is_refused_for_the_limit_shows_no_key() -> None:
    """Nor does the error of a single trigger at the limit."""
    refusal = answer(429, json={"error": f"too many concurrent executions {ECHO}", "details": {ECHO: [ECHO]}})
    async with RawServer(then=refusal) as server, client_of(server) as client:
        with pytest.raises(RateLimitError) as caught:
            await client.workflows.bulk_trigger("w", None, [{}, {}])
    assert_clean(caught.value)
