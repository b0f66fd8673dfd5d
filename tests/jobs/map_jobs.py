"""The setup of the tests of maps: an emulator, a client of either edition, and a map of either kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.emulator import Emulator
from eachlabs_async.jobs.map_run import MapRun

EDITIONS = ("compat", "unified")
KINDS = ("workflow", "prediction")
CREATES = ("workflows.bulk_trigger", "predictions.create")
QUICK = RetryPolicy(base_s=0.005, creating_pause_s=0.1)


@asynccontextmanager
async def stage(edition: str = "unified", **options: Any) -> AsyncIterator[tuple[Emulator, EachLabs]]:
    """Run an emulator with few rows, and a client of it."""
    options = {"executions": 5, "seed": 1, "step_seconds": 0.005, **options}
    async with Emulator(**options) as emulator:
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        async with EachLabs(emulator.api_key, hosts=hosts, retry=QUICK) as client:
            yield emulator, client


def mapped(emulator: Emulator, client: EachLabs, kind: str, inputs: Any, **options: Any) -> MapRun[Any]:
    """Return a map over the first workflow or the first model, by `kind`."""
    if kind == "workflow":
        return client.workflows.map(emulator.workflow_ids[0], "v1", inputs, **options)
    return client.predictions.map(slug(emulator), inputs, **options)


def slug(emulator: Emulator) -> str:
    found: str = emulator.models.select()[0]["slug"]
    return found


def given(value: Any) -> Any:
    """Return the inputs that a finished record contains."""
    return value.input if hasattr(value, "input") else value.inputs


def times(emulator: Emulator) -> Counter[str]:
    """Return how often each input was executed."""
    return Counter(str(one.inputs) for one in emulator.submitted)


def numbered(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"n": number, **more} for number in range(count)]
