"""The setup of the tests of paid work: the paid service in another process, and clients of it by name."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from eachlabs_async import EachLabs, RetryPolicy
from eachlabs_async.hosts import Hosts, Service
from eachlabs_async.jobs.map_run import MapRun

SERVER = Path(__file__).with_name("paid_server.py")
KINDS = ("workflow", "prediction")
POLICY = RetryPolicy(base_s=0.02, creating_pause_s=0.1)


class Paid:
    """A running paid service."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self._http = http

    def client(self, name: str = "me", **options: Any) -> EachLabs:
        """Return a client whose key is its name."""
        bearer = Service(f"{self.origin}/v1", "bearer")
        hosts = Hosts(api=bearer, workflows=bearer, flows=bearer, runs=Service(self.origin), edition="unified")
        return EachLabs(name, hosts=hosts, **{"retry": POLICY, **options})

    async def verdict(self) -> dict[str, Any]:
        """Return what the service has seen and executed."""
        async with self._http.get(f"{self.origin}/verdict") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def control(self, **body: Any) -> None:
        """Change the rules, add faults, or let another client create something."""
        async with self._http.post(f"{self.origin}/control", json=body) as answer:
            assert answer.status == 200

    async def executed(self, name: str = "me") -> dict[str, Any]:
        """Return what each execution of a client was given, by id."""
        said = await self.verdict()
        return {one["id"]: one["given"] for one in said["executions"] if one["name"] == name}


@asynccontextmanager
async def paid(**rules: Any) -> AsyncIterator[Paid]:
    """Run a paid service with these rules."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", str(SERVER), json.dumps(rules), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        async with aiohttp.ClientSession() as http:
            yield Paid(port, http)
    finally:
        process.kill()
        await process.wait()


def mapped(client: EachLabs, kind: str, inputs: Any, **options: Any) -> MapRun[Any]:
    """Return a map over the workflow or the model of the service."""
    if kind == "workflow":
        return client.workflows.map("w", "v", inputs, **options)
    return client.predictions.map("m", inputs, **options)
