"""Owns the demo's emulator, run as a process of its own; refuses the client, which it never sees.

In a process of its own it takes no time from the client that is measured. The two talk in lines over the
child's standard input and output: its first line says where it listens, each further one answers a command.
The child ends when its input does, so it cannot outlive the demo, however that one ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from attrs import asdict, frozen

from ..emulator import Emulator, Fault
from ..emulator.state import State
from ..hosts import SERVICE_NAMES, Hosts, Service

__all__ = ["Settings", "Stage", "StageError", "main"]

_GRACE_S = 5.0

# The dice draw from these. A 429 with `Retry-After` holds a service for a second or more: it comes once only.
_KINDS = (
    Fault.status(503),
    Fault.status(500),
    Fault.status(429),
    Fault.html(502),
    Fault.reset(),
    Fault.cut_body(),
)
_PAUSE_AFTER = 40
"""Gets of workflow executions before the one that is answered with a 429 and `Retry-After: 1`."""
_CUT_AFTER = 1
"""Pages by cursor before the one whose body is cut: few pages meet the dice, and one of these is to be struck."""


class StageError(Exception):
    """The emulator's process did not start, or went away."""


@frozen(kw_only=True)
class Settings:
    """What decides the rows and the trouble: equal settings give equal rows, in whatever process."""

    executions: int
    seed: int
    now: str
    latency_s: float
    fault_rate: float

    def state(self) -> State:
        """Make the rows that the emulator holds under these settings."""
        return State(self.executions, self.seed, **self._rows())

    def emulator(self) -> Emulator:
        """Make the emulator."""
        return Emulator(self.executions, self.seed, **self._rows())

    def _rows(self) -> dict[str, Any]:
        return {"workflows": 2, "now": datetime.fromisoformat(self.now)}


# ---- the child


def _trouble(emulator: Emulator, settings: Settings) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.latency(settings.latency_s))
    if settings.fault_rate:
        pause = Fault.status(429, retry_after=1)
        emulator.faults.add(pause, endpoint="workflow_executions.get", times=1, after=_PAUSE_AFTER)
        emulator.faults.add(Fault.cut_body(), endpoint="executions.list_by_cursor", times=1, after=_CUT_AFTER)
        emulator.faults.random(settings.fault_rate, _KINDS)


def _calm(emulator: Emulator, settings: Settings) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.latency(settings.latency_s))


def _obeyed(emulator: Emulator, settings: Settings, command: str) -> dict[str, Any]:
    if command == "trouble":
        _trouble(emulator, settings)
    elif command == "calm":
        _calm(emulator, settings)
    counts = {
        "requests": emulator.requests.total(),
        "by_endpoint": dict(emulator.requests),
        "faults": dict(emulator.faults.injected),
        "foreign_keys": len(emulator.wrong_keys),
    }
    emulator.reset_counters()
    return counts


# What the child alone does is not covered: the tests of the demo run it as a process of its own.


def _tell(message: dict[str, Any]) -> None:  # pragma: no cover - in the child
    print(json.dumps(message), flush=True)


async def _perform(settings: Settings) -> None:  # pragma: no cover - in the child
    async with settings.emulator() as emulator:
        emulator.warm()
        editions = {"compat": emulator.hosts, "unified": emulator.unified_hosts}
        _tell(
            {
                "hosts": {name: asdict(hosts) for name, hosts in editions.items()},
                "api_key": emulator.api_key,
                "runs_api_key": emulator.runs_api_key,
            }
        )
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            _tell(_obeyed(emulator, settings, command))


def main() -> None:  # pragma: no cover - in the child
    """Be the child: the settings are the first argument, as JSON."""
    asyncio.run(_perform(Settings(**json.loads(sys.argv[1]))))


# ---- the parent


class Stage:
    """The emulator's process as the demo sees it; `async with` starts it and ends it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.hosts: dict[str, Hosts] = {}
        self.api_key = ""
        self.runs_api_key = ""

    async def __aenter__(self) -> Self:
        # A session of its own: Ctrl-C is for the demo, which then ends the child itself.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            json.dumps(asdict(self._settings)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            # After Ctrl-C nothing is waited for: a child that still starts would not hear before it has made its rows.
            if not isinstance(exc, asyncio.CancelledError):
                async with asyncio.timeout(_GRACE_S):
                    await process.communicate(b"")
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate(b"")

    async def open(self) -> None:
        """Wait until it listens."""
        greeting = await self._line()
        self.api_key, self.runs_api_key = greeting["api_key"], greeting["runs_api_key"]
        self.hosts = {name: _hosts(fields) for name, fields in greeting["hosts"].items()}

    async def ask(self, command: str) -> dict[str, Any]:
        """Send `trouble`, `calm` or `counts`, and give what was counted since the last command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self._line()

    async def _line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise StageError("the emulator's process ended before its time")
        message: dict[str, Any] = json.loads(line)
        return message


def _hosts(fields: dict[str, Any]) -> Hosts:
    services: dict[str, Any] = {name: Service(**fields[name]) for name in SERVICE_NAMES}
    return Hosts(edition=fields["edition"], executions_by=fields["executions_by"], **services)


if __name__ == "__main__":  # pragma: no cover - in the child
    main()
