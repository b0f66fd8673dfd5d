"""Owns a stand-in for the services: a real HTTP server on loopback, its rows, its faults, its moves.

    async with Emulator(executions=1000, seed=1) as emulator:
        emulator.faults.add(Fault.status(503, retry_after=1), endpoint="executions.list", times=2)
        emulator.moves.add(Move.insert(3), endpoint="executions.list", after=1)
        client = EachLabs(emulator.api_key, hosts=emulator.hosts, runs_api_key=emulator.runs_api_key)

It ships with the package, so that people can try the client and test their own code without an account; on a
command line it is `python -m eachlabs_async.emulator`. It refuses to know the client.
"""

from __future__ import annotations

from .collection import Collection, Grouped
from .faults import DEFAULT_KINDS, Fault, Faults, Rule
from .handlers import HANDLERS
from .journal import Seen
from .moves import Move, MoveRule, Moves
from .server import PREFIXES, Emulator

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
    "Seen",
    "HANDLERS",
    "PREFIXES",
]
