"""Tests for the status filter of executions: words that mean the same, and words that nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from eachlabs_async import EachLabs, State
from eachlabs_async.emulator import Emulator
from eachlabs_async.transport.status_filter import status_filter


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, None),
        ("success", "success"),
        (State.FAILED, "error"),
        ("failed", "error"),
        ("succeeded", "success"),
        ("completed", "success"),
        (State.PENDING, "created,starting"),
        ("queued, error", "created,starting,error"),
        ([State.FAILED, "error", "failed"], "error"),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_words_that_mean_the_same_are_translated(status: Any, text: str | None, closed: bool) -> None:
    """A state, or the word of another service, becomes the words of this one, each once."""
    assert status_filter(status, closed=closed) == text


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("eror", "did you mean 'error'"),
        ("succes", "did you mean 'success'"),
        ("fialed", "did you mean 'failed'"),
        ("x", ""),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_word_that_nobody_knows_is_refused(status: str, hint: str, closed: bool) -> None:
    """It would give no row, without a word."""
    with pytest.raises(ValueError, match="status must be one of created, starting, success, error") as caught:
        status_filter(status, closed=closed)
    assert hint in str(caught.value)


def test_a_usual_word_that_no_execution_has_is_left_to_an_open_service() -> None:
    """The compat edition documents no closed set."""
    assert status_filter("running", closed=False) == "running"
    with pytest.raises(ValueError, match="not 'running'"):
        status_filter("running", closed=True)
    with pytest.raises(ValueError, match="not 'unknown'"):
        status_filter(State.UNKNOWN, closed=True)


@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_both_editions_list_what_failed(edition: str) -> None:
    """`State.FAILED` and "failed" give the rows that "error" gives."""
    async with Emulator() as emulator:
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        async with EachLabs(emulator.api_key, hosts=hosts) as client:
            expected = [row.id for row in await client.executions.list(status="error").collect()]
            assert expected
            for status in (State.FAILED, "failed"):
                assert [row.id for row in await client.executions.list(status=status).collect()] == expected
            with pytest.raises(ValueError, match="until must not be before since"):
                client.executions.list(since="2026-01-02T00:00Z", until="2026-01-01T00:00Z")
