"""Settings of all tests, and a check that no test leaves a task or a socket behind.

Property tests try a hundred examples each; `EACHLABS_TEST_PROFILE=long` tries five thousand.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("quick"), max_examples=5000)
settings.load_profile(os.environ.get("EACHLABS_TEST_PROFILE", "quick"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Start more workers than cores for `-n auto`, because the tests wait for sockets and clocks half of the time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = os.cpu_count() or 1
    return min(2 * cores, cores + 4)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let idle workers take tests from the busy ones: the slow tests are neighbors, so one worker may get many."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.fixture(params=["own", "passed"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[aiohttp.ClientSession | None]:
    """The session to pass to a client: None, or one that the test owns."""
    if request.param == "own":
        yield None
        return
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def _nothing_left_behind() -> AsyncIterator[None]:
    """Fail a test whose tasks outlive it; open sockets become errors when they are collected."""
    before = asyncio.all_tasks()
    yield
    # What was cancelled or closed in the test's last moment has these turns of the loop to end.
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect(1)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"the test left tasks behind: {left}"


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> None:
    # Set up first, so that it looks last: after every other fixture has cleaned up.
    function = getattr(request.node, "function", None)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if inspect.iscoroutinefunction(function):
        request.getfixturevalue("_nothing_left_behind")
