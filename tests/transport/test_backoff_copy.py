"""Tests for retries on the Pythons that deprecate or lack what backoff asks of asyncio."""

from __future__ import annotations

import asyncio
import inspect
import warnings

import backoff
import pytest
from raw_server import QUICK, RawServer, answer, client_of

from eachlabs_async import ServerError


def deprecated(function: object) -> bool:
    """Answer as `asyncio.iscoroutinefunction` of Python 3.14 does."""
    warnings.warn("'asyncio.iscoroutinefunction' is deprecated", DeprecationWarning, stacklevel=2)
    return inspect.iscoroutinefunction(function)


@pytest.fixture(params=["deprecated", "gone"])
def newer_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make asyncio that of Python 3.14, where warnings are errors, or that of Python 3.16."""
    if request.param == "gone":
        monkeypatch.delattr(asyncio, "iscoroutinefunction")
    else:
        monkeypatch.setattr(asyncio, "iscoroutinefunction", deprecated)


@pytest.mark.usefixtures("newer_python")
async def test_a_failed_call_is_sent_again() -> None:
    """A call that failed succeeds on its second attempt, without a warning, and gives up after its last one."""
    async with (
        RawServer(answer(503), answer(json=1), then=answer(503)) as server,
        client_of(server, retry=QUICK) as client,
    ):
        assert await client.request("api", "GET", "/x") == 1
        assert len(server.requests) == 2
        with pytest.raises(ServerError) as caught:
            await client.request("api", "GET", "/x")
        assert caught.value.attempts == QUICK.max_attempts


async def test_the_backoff_of_others_stays_as_it_is() -> None:
    """Neither asyncio nor the modules of backoff are changed."""
    assert backoff._decorator.asyncio is backoff._async.asyncio is asyncio
    assert inspect.getmodule(asyncio.iscoroutinefunction) is asyncio.coroutines
