"""The emulator of the demo, in a process of its own, so that it takes no time from the client that is measured.

The two processes exchange lines over the child's standard input and output: the child's first line says where it
listens, and each further line replies to a command. The child ends when its input is closed, so it cannot outlive the
demo, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from attrs import asdict, frozen

from ..emulator import Emulator, Fault
from ..emulator.dataset import Dataset
from ..hosts import SERVICE_NAMES, Hosts, Service

__all__ = ["DemoServer", "DemoServerError", "DemoServerSettings", "main"]

_GRACE_S = 5.0

# A 429 with `Retry-After` is not among the random faults, because it pauses a service for at least a second; it is
# scripted once.
_KINDS = (
    Fault.status(503),
    Fault.status(500),
    Fault.status(429),
    Fault.html(502),
    Fault.reset(),
    Fault.cut_body(),
)
_PAUSE_AFTER = 40
"""How many gets of workflow executions come before the one with a 429 and `Retry-After: 1`."""
_CUT_AFTER = 1
"""How many pages by cursor come before the one with a truncated body. There are too few pages for random faults."""


class DemoServerError(Exception):
    """The emulator's process did not start, or ended too early."""


@frozen(kw_only=True)
class DemoServerSettings:
    """The settings of rows and faults; equal settings give equal rows in any process."""

    executions: int
    seed: int
    now: str
    latency_s: float
    fault_rate: float

    def dataset(self) -> Dataset:
        """Return the rows of an emulator with these settings."""
        return Dataset(self.executions, self.seed, **self._rows())

    def emulator(self) -> Emulator:
        """Return an emulator with these settings."""
        return Emulator(self.executions, self.seed, **self._rows())

    def _rows(self) -> dict[str, Any]:
        return {"workflows": 2, "now": datetime.fromisoformat(self.now)}


# ---- the child


def _add_faults(emulator: Emulator, settings: DemoServerSettings) -> None:
    _clear_faults(emulator, settings)
    if settings.fault_rate:
        pause = Fault.status(429, retry_after=1)
        emulator.faults.add(pause, endpoint="workflow_executions.get", times=1, after=_PAUSE_AFTER)
        emulator.faults.add(Fault.cut_body(), endpoint="executions.list_by_cursor", times=1, after=_CUT_AFTER)
        emulator.faults.random(settings.fault_rate, _KINDS)


def _clear_faults(emulator: Emulator, settings: DemoServerSettings) -> None:
    emulator.faults.clear()
    emulator.faults.add(Fault.latency(settings.latency_s))


def _run_command(emulator: Emulator, settings: DemoServerSettings, command: str) -> dict[str, Any]:
    if command == "add faults":
        _add_faults(emulator, settings)
    elif command == "clear faults":
        _clear_faults(emulator, settings)
    counts = {
        "requests": emulator.requests.total(),
        "by_endpoint": dict(emulator.requests),
        "faults": dict(emulator.faults.injected),
        "foreign_keys": len(emulator.wrong_keys),
    }
    emulator.reset_counters()
    return counts


# The functions that run only in the child are excluded from coverage: the demo's tests start it as a process.


def _send(message: dict[str, Any]) -> None:  # pragma: no cover - it runs in the child process, which is not measured
    print(json.dumps(message), flush=True)


async def _serve(
    settings: DemoServerSettings,
) -> None:  # pragma: no cover - it runs in the child process, which is not measured
    async with settings.emulator() as emulator:
        emulator.warm()
        editions = {"compat": emulator.hosts, "unified": emulator.unified_hosts}
        _send(
            {
                "hosts": {name: asdict(hosts) for name, hosts in editions.items()},
                "api_key": emulator.api_key,
                "runs_api_key": emulator.runs_api_key,
            }
        )
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            _send(_run_command(emulator, settings, command))


def main() -> None:  # pragma: no cover - it runs in the child process, which is not measured
    """Run the child; its first argument is the settings, as JSON."""
    asyncio.run(_serve(DemoServerSettings(**json.loads(sys.argv[1]))))


# ---- the parent


class DemoServer:
    """The emulator's process; `async with` starts it and ends it."""

    def __init__(self, settings: DemoServerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self.hosts: dict[str, Hosts] = {}
        self.api_key = ""
        self.runs_api_key = ""

    async def __aenter__(self) -> Self:
        # In a session of its own, Ctrl-C reaches only the demo, which then ends the child.
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                __name__,
                json.dumps(asdict(self._settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        )
        try:
            self._process = await asyncio.shield(starting)
        except asyncio.CancelledError as exc:
            # Ctrl-C: the start is short, and the end of a child that has started is known to work.
            self._process = await starting
            await self.__aexit__(type(exc), exc, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            # After Ctrl-C the child is killed at once: one that is still making its rows reads no input.
            if not isinstance(exc, asyncio.CancelledError):
                async with asyncio.timeout(_GRACE_S):
                    await process.communicate(b"")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # It may have ended just now.
                    process.kill()
                await process.communicate(b"")

    async def wait_until_listening(self) -> None:
        """Wait until the emulator listens, and store its hosts and keys."""
        greeting = await self._read_message()
        self.api_key, self.runs_api_key = greeting["api_key"], greeting["runs_api_key"]
        self.hosts = {name: _hosts(fields) for name, fields in greeting["hosts"].items()}

    async def command(self, command: str) -> dict[str, Any]:
        """Send `add faults`, `clear faults` or `counts`, and return the counts since the last command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self._read_message()

    async def _read_message(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise DemoServerError("the emulator's process ended too early; any message of its own is above")
        message: dict[str, Any] = json.loads(line)
        return message


def _hosts(fields: dict[str, Any]) -> Hosts:
    services: dict[str, Any] = {name: Service(**fields[name]) for name in SERVICE_NAMES}
    return Hosts(edition=fields["edition"], executions_by=fields["executions_by"], **services)


if __name__ == "__main__":  # pragma: no cover - it runs in the child process, which is not measured
    main()
