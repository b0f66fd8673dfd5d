"""Division of the requests that an account may have in flight among workers. It does no I/O.

The scheduler tells each worker how many requests it may have in flight: its lease. A lease grows only by requests that
no worker holds, so a smaller lease of one worker counts when that worker has confirmed it. At no time do the leases in
use exceed the total.
"""

from __future__ import annotations

from attrs import define, frozen


@frozen
class Lease:
    """What a worker is told: how many requests it may have in flight. `sequence` comes back when it confirms."""

    worker: str
    number: int
    sequence: int


@define(eq=False)
class _Share:
    """The state of one worker. `held` is what it may still be using, `told` its last lease."""

    wanted: int
    held: int = 0
    told: int = 0
    sequence: int = 0


class Leases:
    """The leases of all workers that want some. Each method returns the leases to send."""

    def __init__(self) -> None:
        self._total = 0
        self._shares: dict[str, _Share] = {}  # in the order in which they began to want some

    @property
    def workers(self) -> list[str]:
        """The workers that want some, or have not yet given back what they held."""
        return list(self._shares)

    def want(self, worker: str, wanted: int, total: int) -> list[Lease]:
        """Record how many requests a worker can use, 0 for none; `total` is the bound of the account."""
        self._total = total
        share = self._shares.get(worker)
        if share is None:
            share = self._shares[worker] = _Share(wanted)
        elif not share.wanted and wanted:
            self._shares[worker] = self._shares.pop(worker)  # It waits its turn again.
        share.wanted = wanted
        return self._divide()

    def confirm(self, worker: str, sequence: int) -> list[Lease]:
        """Record that a worker keeps to the lease with this number, if that is its last one."""
        share = self._shares.get(worker)
        if share is None or share.sequence != sequence:
            return []
        share.held = share.told
        return self._divide()

    def leave(self, worker: str) -> list[Lease]:
        """Forget a worker that is gone, and what it held."""
        return self._divide() if self._shares.pop(worker, None) is not None else []

    def _divide(self) -> list[Lease]:
        for worker in [name for name, share in self._shares.items() if not share.wanted and not share.held]:
            del self._shares[worker]
        goals = self._goals()
        free = self._total - sum(share.held for share in self._shares.values())
        leases: list[Lease] = []
        for worker, share in self._shares.items():
            number = min(goals[worker], share.held + max(free, 0))
            free -= max(number - share.held, 0)
            if number != share.told:
                share.told, share.sequence = number, share.sequence + 1
                share.held = max(share.held, number)
                leases.append(Lease(worker, number, share.sequence))
        return leases

    def _goals(self) -> dict[str, int]:
        """Return equal numbers, at least one each, where a worker that wants fewer leaves the rest to the others.

        If there are more workers than requests, the last ones wait until another wants none.
        """
        goals = dict.fromkeys(self._shares, 0)
        wanting = [worker for worker, share in self._shares.items() if share.wanted]
        wanting.sort(key=lambda worker: not self._shares[worker].told)  # Who has one keeps one.
        served = sorted(wanting[: self._total], key=lambda worker: self._shares[worker].wanted)
        left = self._total
        for position, worker in enumerate(served):
            goals[worker] = min(self._shares[worker].wanted, left // (len(served) - position))
            left -= goals[worker]
        return goals
