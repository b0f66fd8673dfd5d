"""Tests that log records carry their facts as attributes, so that nobody has to parse their text."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path

import pytest

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.emulator import Emulator, Fault

PACKAGE = Path(__file__).parents[1] / "eachlabs_async"
USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def calls() -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        if "emulator" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {f"log.{word}" for word in ("debug", "info", "warning", "error")}
    ]


def test_every_record_is_made_with_its_facts() -> None:
    """Each call of the logger passes `extra`."""
    found = calls()
    assert len(found) > 10
    assert not [place for place, call in found if "extra" not in {keyword.arg for keyword in call.keywords}]


async def test_a_retry_is_a_record_with_attributes(caplog: pytest.LogCaptureFixture) -> None:
    """The attributes say what the text says, are JSON, and contain no key."""
    async with Emulator() as emulator:
        emulator.faults.add(
            Fault.status(503, body={"error": f"no {emulator.api_key}"}), endpoint="billing.balance", times=1
        )
        with caplog.at_level(logging.DEBUG, "eachlabs_async"):
            async with EachLabs(emulator.api_key, hosts=emulator.hosts, retry=RetryPolicy(base_s=0.01)) as client:
                await client.billing.balance()
        key = emulator.api_key
    facts = [
        {name: value for name, value in vars(record).items() if name not in USUAL}
        for record in caplog.records
        if record.name == "eachlabs_async"
    ]
    assert [fact["event"] for fact in facts] == ["attempt", "retry", "attempt"]
    retry = facts[1]
    assert (retry["method"], retry["attempt"], retry["error_type"]) == ("GET", 1, "ServerError")
    assert retry["url"].endswith("/billing/balance")
    assert 0 < retry["wait_s"] < 0.02
    assert key not in json.dumps(facts)
    text = caplog.records[1].getMessage()
    assert f"GET {retry['url']} failed on attempt 1 (ServerError: " in text
