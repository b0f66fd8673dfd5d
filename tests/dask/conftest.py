"""One cluster of two processes for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster import cluster, emulator_thread
from distributed import Client

from eachlabs_async.emulator import Emulator


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    """An emulator with 3,000 executions, among them some that were created at the same time as their neighbors."""
    with emulator_thread(executions=2940) as emulator:
        for at in (400, 1500, 2600):
            emulator.executions.insert(20, at)
        yield emulator


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Client]:
    with cluster(2) as client:
        yield client


@pytest.fixture
def emulator(running_emulator: Emulator) -> Iterator[Emulator]:
    running_emulator.reset_counters()
    yield running_emulator
    running_emulator.faults.clear()


@pytest.fixture
def workers(two_workers: Client) -> Client:
    two_workers.wait_for_workers(2, timeout=60)
    return two_workers
