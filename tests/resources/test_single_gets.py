"""Tests for the single-row counterparts of the bulk calls, and of the filters of the listings that feed them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bulk_jobs import labs
from internals import assert_idle

from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import NotFoundError


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=60, workflows=1, seed=4) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[EachLabs]:
    async with labs(emulator) as client:
        yield client
        assert_idle(client)


async def test_each_gets_the_row_of_its_id(emulator: Emulator, client: EachLabs) -> None:
    """An unknown id is not found."""
    run, flow = emulator.runs.ids()[0], emulator.flow_executions.ids()[0]
    assert (await client.runs.get(run)).status == emulator.runs.get(run)["status"]
    assert (await client.flow_executions.get("workflow-1", flow)).execution_id == flow
    execution = emulator.workflow_executions.ids()[0]
    assert (await client.workflow_executions.get(execution)).execution_id == execution
    for call in (client.runs.get("x"), client.flow_executions.get("w", "x"), client.workflow_executions.get("x")):
        with pytest.raises(NotFoundError):
            await call


async def test_an_unfinished_one_may_be_waited_for(emulator: Emulator, client: EachLabs) -> None:
    """`wait_s` is sent as `timeout`, in the edition that has it."""
    execution = emulator.workflow_executions.ids()[0]
    await client.workflow_executions.get(execution, wait_s=7)
    assert emulator.log[-1].query == {"timeout": "7"}
    await client.workflow_executions.get(execution)
    assert emulator.log[-1].query == {}
    for wait_s in (0, 31):
        with pytest.raises(ValueError, match="wait_s must be between 1 and 30"):
            await client.workflow_executions.get(execution, wait_s=wait_s)
    async with labs(emulator, hosts=emulator.unified_hosts) as unified:
        with pytest.raises(ValueError, match="wait_s is part of the compat edition only"):
            await unified.workflow_executions.get(execution, wait_s=1)


async def test_a_listing_can_be_that_of_one_bulk_trigger(emulator: Emulator, client: EachLabs) -> None:
    """`bulk_id` is a UUID, and its rows can be hydrated."""
    bulk_id, ids = next(iter(emulator.bulk_ids(emulator.workflow_ids[0]).items()))
    assert (
        list((await client.workflow_executions.list("workflow-1", bulk_id=bulk_id).hydrate().collect()).values) == ids
    )
    bad: list[tuple[Any, type[Exception], str]] = [
        (7, TypeError, "bulk_id must be a str, not int"),
        ("x", ValueError, "bulk_id must be a UUID"),
    ]
    for value, error, says in bad:
        with pytest.raises(error, match=says):
            client.workflow_executions.list("workflow-1", bulk_id=value)
