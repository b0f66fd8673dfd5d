"""A common interface for tests to every listing of the client: every dialect, both editions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from internals import transport_of

from eachlabs_async import EachLabs, Pager, RetryPolicy
from eachlabs_async.emulator import Collection, Emulator

KINDS = [
    "executions.list compat",
    "executions.list unified",
    "workflow_executions.list compat",
    "workflow_executions.list unified",
    "runs.list compat",
]


class Reached:
    """A listing of an emulator, with its own client."""

    def __init__(self, emulator: Emulator, client: EachLabs, kind: str) -> None:
        self.emulator, self.client = emulator, client
        self.endpoint = kind.split()[0]

    @property
    def rows(self) -> Collection:
        emulator = self.emulator
        if self.endpoint == "workflow_executions.list":
            return emulator.workflow_executions[emulator.workflow_ids[0]]
        return emulator.runs if self.endpoint == "runs.list" else emulator.executions

    def list(self, limit: int = 100, **walk: Any) -> Pager[Any]:
        if self.endpoint == "workflow_executions.list":
            return self.client.workflow_executions.list(self.emulator.workflow_ids[0], limit=limit, **walk)
        if self.endpoint == "runs.list":
            return self.client.runs.list(size=limit, **walk)
        return self.client.executions.list(limit=limit, **walk)

    @property
    def requests(self) -> int:
        return self.emulator.requests[self.endpoint]

    @property
    def offsets(self) -> list[int]:
        """Where each request began, in the order of arrival."""
        asked = [seen.query for seen in self.emulator.log if seen.endpoint == self.endpoint]
        return [int(one.get("offset", 0)) + (int(one.get("page", 1)) - 1) * int(one.get("size", 0)) for one in asked]


def id_of(row: Any) -> str:
    return row.execution_id if hasattr(row, "execution_id") else row.id


def ids_of(rows: list[Any]) -> list[str]:
    return [id_of(row) for row in rows]


@asynccontextmanager
async def reached(kind: str, rows: int, **options: Any) -> AsyncIterator[Reached]:
    """An emulator with the given number of rows in each listing, and a client without retries."""
    async with Emulator(rows, workflow_executions=rows, workflows=1, **options) as emulator:
        hosts = emulator.hosts if kind.endswith("compat") else emulator.unified_hosts
        # By offset in both editions. `test_execution_walks` tests the cursors of the unified one.
        hosts = attrs.evolve(hosts, executions_by="seek")
        retry = RetryPolicy.none()
        async with EachLabs(emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key, retry=retry) as client:
            yield Reached(emulator, client, kind)


class Rounds:
    """Delay all answers until every request in flight has one, and then release them together, as one round."""

    def __init__(self, client: EachLabs) -> None:
        self.count = 0
        self.widths: list[int] = []
        self._started = 0
        self._waiting: list[asyncio.Future[None]] = []
        transport: Any = transport_of(client)
        self._send: Callable[[Any], Awaitable[bytes]] = transport.send
        transport.send = self._held

    async def _held(self, call: Any) -> bytes:
        self._started += 1
        try:
            body = await self._send(call)
            released = asyncio.get_running_loop().create_future()
            self._waiting.append(released)
            await released
            return body
        finally:
            self._started -= 1

    async def run(self, work: Awaitable[Any]) -> Any:
        """Run `work`, round by round."""
        task = asyncio.ensure_future(work)
        while not task.done():
            if self._waiting and len(self._waiting) == self._started:
                # Requests caused by an answer are sent within a few turns of the loop.
                before = self._started
                for _ in range(20):
                    await asyncio.sleep(0)
                if self._started == before == len(self._waiting):
                    self.count += 1
                    self.widths.append(before)
                    waiting, self._waiting = self._waiting, []
                    for released in waiting:
                        released.set_result(None)
            await asyncio.sleep(0.0005)
        return await task
