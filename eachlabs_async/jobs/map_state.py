"""Owns the state of a map while it runs: where each input is, the cap, the journal, and the waking of who waits.

It refuses to send, to watch and to hand out: senders, the watcher and the map do, over this.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import define

from ..bulk.outcomes import MapStats, Outcome
from ..errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
)
from ..transport.ours import OwnExecutions
from .account_limit import AccountLimit
from .input_reader import InputReader
from .journal import Journal

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FATAL_FOR_MAP: Final = (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
)
"""Refusals that every further input would meet: nothing more is sent, what runs is waited for."""

AT_THE_CAP: Final = re.compile("concurrent execution", re.IGNORECASE)
"""Words of an entry of a bulk answer that failed for the cap alone: nothing is wrong with its input."""
OUT_OF_MONEY: Final = re.compile(r"insufficient[ _](?:account[ _])?(?:balance|funds|credits?)\b", re.IGNORECASE)
"""Words of an entry that failed for the balance alone."""


class Backend(Protocol[T_co]):
    """What is run: how inputs are sent, watched, read and found again.

    `chunk` is inputs a request, `senders` requests at once; `creates` tells that sending creates executions.
    """

    chunk: int
    senders: int
    creates: bool

    def checked(self, value: Any) -> Any:
        """Give an input as it is sent; a `TypeError` or `ValueError` where it cannot be."""
        ...

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs; gives for each, in order, its execution id, or None and why it was refused.

        The words are empty where the answer says neither; an answer may also be too short.
        """
        ...

    async def finished(self, ids: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Give those of the running executions that are settled; the `fresh` ones may not be found yet."""
        ...

    async def fetch(self, identity: str) -> T_co:
        """Read one execution whole; an `ExecutionFailedError` where it did not succeed."""
        ...

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], lost: Mapping[str, int]
    ) -> list[str | None]:
        """Look for executions of these inputs that were created since (Unix time) and are not `claimed`.

        `lost` counts, by digest, all inputs that may have an execution which nobody claims, these among them.
        """
        ...

    def lookup(self, since: float) -> dict[str, str]:
        """Give where to look for what was created since (Unix time), as arguments of a listing."""
        ...

    async def cancel(self, ids: Sequence[str]) -> None:
        """Cancel what can be cancelled, as well as it goes."""
        ...


@define(eq=False)
class Item(Generic[T]):
    """One input in the window.

    `digest` is empty until it is looked at; `began` is when it was read, and then when its execution was started.
    """

    value: Any
    digest: str
    outcome: Outcome[T]
    finished: bool = False
    began: float = 0.0


class MapState(Generic[T]):
    """The shared state of one map."""

    def __init__(
        self,
        work: Backend[T],
        inputs: InputReader,
        limit: AccountLimit,
        *,
        ours: OwnExecutions,
        window: int,
        ordered: bool,
        journal: Journal | None,
    ) -> None:
        self.work = work
        self.inputs = inputs
        self.limit = limit
        self.ours = ours
        self.level_lasts = True  # The level is the account's, and not what the balance allowed for a while.
        self.window = window
        self.ordered = ordered
        self.journal = journal
        self.stats = MapStats(level=limit.level)
        self.failure: BaseException | None = None
        self.held = 0  # inputs read and not handed out
        self.fresh: deque[Item[T]] = deque()  # read and not looked at
        self.line: deque[Item[T]] = deque()  # ordered: all that is held
        self.ready: deque[Item[T]] = deque()  # unordered: what is finished
        self.again: deque[list[Item[T]]] = deque()  # to be sent (again), each list together
        self.running: dict[str, list[Item[T]]] = {}  # more than one only where the same id is waited for twice
        self.claimed: set[str] = set()  # executions that belong to an input
        self.lost: Counter[str] = Counter()  # digests of inputs that may have an execution which nobody claims
        self.sending = 0
        self.senders_left = work.senders
        self._changed = asyncio.Event()

    def admit(self, number: int, value: Any) -> None:
        """Take an input into the window."""
        item: Item[T] = Item(value, "", Outcome("", number), began=time.monotonic())
        self.held += 1
        self.fresh.append(item)
        if self.ordered:
            self.line.append(item)
        self.signal()

    def drop(self, item: Item[T]) -> None:
        """Let an input go whose outcome was handed out before."""
        self.held -= 1
        if self.ordered:
            self.line.remove(item)
        self.signal()

    def starts(self, item: Item[T], identity: str) -> None:
        """Note that an input runs, as this execution."""
        item.outcome.id = identity
        item.outcome.attempts = 1
        item.began = time.monotonic()
        self.claimed.add(identity)
        self.ours.watch(identity)
        self.running.setdefault(identity, []).append(item)
        self.signal()

    def finish(self, item: Item[T], error: Exception | None) -> None:
        """Note the end of an input: its outcome can be handed out."""
        item.outcome.error = error
        item.finished = True
        if not self.ordered:
            self.ready.append(item)
        self.signal()

    def stop_for(self, failure: BaseException) -> None:
        """Note what ends the whole map; the first of several counts."""
        self.failure = self.failure or failure
        self.signal()

    def signal(self) -> None:
        """Wake all that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, timeout_s: float | None = None) -> None:
        """Wait for a change, `timeout_s` seconds at most."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return


def refused(message: str) -> BadRequestError:
    """Make the outcome of an input that the service refused among others."""
    return BadRequestError(f"this input was refused: {message}", status=400)
