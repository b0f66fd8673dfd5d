"""An emulator of the services: a real HTTP server on loopback, with rows, faults and moves of your choice.

    async with Emulator(executions=1000, seed=1) as emulator:
        emulator.faults.add(Fault.status(503, retry_after=1), endpoint="executions.list", times=2)
        emulator.moves.add(Move.insert(3), endpoint="executions.list", after=1)
        client = EachLabs(emulator.api_key, hosts=emulator.hosts, runs_api_key=emulator.runs_api_key)

Triggered workflows and predictions run to their end, in real time or by `emulator.clock.advance(seconds)`.
`emulator.submitted` lists them, so that a test can count what was executed.

The emulator ships with the package, for trying the client and for testing your own code without an account. On the
command line it is `python -m eachlabs_async.emulator`. It never imports the client.
"""

from __future__ import annotations

from .catalogue import NICKNAME
from .clock import Clock
from .collection import Collection, Grouped
from .emulator import Emulator
from .fault import DEFAULT_KINDS, Fault
from .fault_rules import Faults, Rule
from .handlers import HANDLERS
from .lifecycle import Submitted
from .moves import Move, MoveRule, Moves
from .request_log import RecordedRequest
from .storage import StoredFile
from .url_prefixes import PREFIXES

__all__ = [
    "Emulator",
    "Fault",
    "Faults",
    "Rule",
    "Move",
    "MoveRule",
    "Moves",
    "DEFAULT_KINDS",
    "Collection",
    "Grouped",
    "RecordedRequest",
    "Submitted",
    "StoredFile",
    "Clock",
    "NICKNAME",
    "HANDLERS",
    "PREFIXES",
]
