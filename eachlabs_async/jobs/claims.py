"""Which executions belong to which call of one client, so that a look-up does not take another call's execution.

A look-up for what a lost answer created must skip two kinds of executions with the same inputs: those that another call
received in its answer (they are claimed), and those that a call still in flight may be creating (while there is such
a call, the look-up cannot decide).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

MAX_CLAIMS: Final = 10_000
"""Ids remembered at most, the latest ones; a look-up goes back no further than its own call."""


class Claims:
    """The claimed executions of one client, and what its calls are creating now."""

    __slots__ = ("_creating", "_ids")

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._creating: Counter[bytes] = Counter()

    def add(self, ids: Iterable[str]) -> None:
        """Claim executions."""
        for identity in ids:
            self._ids[identity] = None
        while len(self._ids) > MAX_CLAIMS:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, identity: str) -> bool:
        """Whether an execution is claimed."""
        return identity in self._ids

    @contextmanager
    def creating(self, key: bytes) -> Generator[None, None, None]:
        """Record, for the length of the block, that a call is creating what `key` describes."""
        self._creating[key] += 1
        try:
            yield
        finally:
            self._creating[key] -= 1
            if not self._creating[key]:
                del self._creating[key]

    def is_only_creator(self, key: bytes) -> bool:
        """Whether no more than one call is creating what `key` describes."""
        return self._creating[key] <= 1
