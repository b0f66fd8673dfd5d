"""Owns which executions are known to belong to a call of this client; refuses to look for any.

A look-up for what a call may have created must not take what another call created with the same inputs: neither one
that has its answer (its execution is claimed) nor one that still waits for it (then the look-up cannot tell yet).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

MAX_CLAIMS: Final = 10_000
"""Ids remembered, the latest ones: a look-up goes back no further than its own call."""


class Claims:
    """The claims of one client."""

    __slots__ = ("_ids", "_under_way")

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._under_way: Counter[bytes] = Counter()

    def add(self, ids: Iterable[str]) -> None:
        """Claim executions."""
        for identity in ids:
            self._ids[identity] = None
        while len(self._ids) > MAX_CLAIMS:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, identity: str) -> bool:
        """Say whether an execution is claimed."""
        return identity in self._ids

    @contextmanager
    def under_way(self, what: bytes) -> Generator[None, None, None]:
        """Note, for as long as the block lasts, that a call is creating `what`."""
        self._under_way[what] += 1
        try:
            yield
        finally:
            self._under_way[what] -= 1
            if not self._under_way[what]:
                del self._under_way[what]

    def is_alone(self, what: bytes) -> bool:
        """Say whether no other call is creating `what` now."""
        return self._under_way[what] <= 1
