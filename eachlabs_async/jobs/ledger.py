"""What one client created: which executions belong to its calls, how many run, and how many the account allows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..transport.creations import Creations
from .account_limit import RememberedLimit
from .claims import Claims
from .own_executions import OwnExecutions


class Ledger:
    """The executions that one client created; all of its views share one ledger.

    `creations` is the part that the transport needs: the creating calls in flight and the pause of creations.
    `account_limit` is the number of executions that the account runs at once as the last map learned it, or None if it
    met no limit.
    """

    __slots__ = ("account_limit", "claims", "creations", "executions")

    def __init__(self) -> None:
        self.claims = Claims()
        self.executions = OwnExecutions()
        self.creations = Creations(self.executions.running)
        self.account_limit: RememberedLimit | None = None

    def created(self, ids: Iterable[str]) -> None:
        """Record executions that a call created: the call claims them, and they run."""
        found = list(ids)
        self.claims.add(found)
        self.executions.created(found, _now())
        if found:
            self.creations.succeeded()

    def seen(self, identity: str, *, finished: bool) -> None:
        """Record the state in which an execution was found."""
        self.executions.seen(identity, finished=finished, now=_now())

    def running(self) -> int:
        """Return how many executions of this client run or are being created."""
        return self.creations.running(_now())

    def paused_for_s(self) -> float:
        """Return for how many seconds nothing may be created; zero or less if creating is possible."""
        return self.creations.paused_until - _now()

    @property
    def ends_are_observed(self) -> bool:
        """Whether an end of an execution will be noticed: a map watches one, or a creating request is in flight."""
        return bool(self.creations.in_flight()) or self.executions.is_watched


def _now() -> float:
    return asyncio.get_running_loop().time()
