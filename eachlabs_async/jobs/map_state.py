"""The state of one map while it runs: where each input is, the account limit, the journal, and the change signal.

`map_sender` reads and sends the inputs, `map_watcher` watches the executions, and `map_run` delivers the outcomes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Generic, TypeVar

from attrs import define, frozen

from ..bulk.outcomes import MapStats, MutableOutcome
from ..errors import EachLabsError, ExecutionFailedError, OutcomeUnknownError
from .account_limit import AccountLimit
from .backend import Backend
from .budget import Budget
from .claims import SentInput
from .input_reader import InputReader
from .journal import Journal
from .ledger import Ledger, cost_usd
from .map_options import MapOptions
from .placement import Placement

T = TypeVar("T")


@frozen
class Read(Generic[T]):
    """What was read of an execution that ended: its record, or an error."""

    value: T | None
    error: EachLabsError | None


@define(eq=False)
class Item(Generic[T]):
    """One input of a map.

    `value` is a copy of the input as it is sent; `invalid` is the reason why it cannot be sent. `digest` is empty until
    the journal was asked about it. `began` is the time at which it was read, and later that at which its execution was
    started. `sent` is set when it is sent, and `placement` when its execution is known. `resumed` is True for an
    execution that ran before this map began. `counted` is True once the budget counts it as running.
    """

    value: Any
    digest: str
    outcome: MutableOutcome[T]
    invalid: Exception | None = None
    sent: SentInput | None = None
    placement: Placement[Item[T], Read[T]] | None = None
    finished: bool = False
    began: float = 0.0
    resumed: bool = False
    counted: bool = False


class MapState(Generic[T]):
    """The state that the tasks of one map share."""

    def __init__(
        self,
        backend: Backend[T],
        inputs: InputReader,
        limit: AccountLimit,
        *,
        ledger: Ledger,
        window: int,
        ordered: bool,
        journal: Journal | None,
        options: MapOptions,
    ) -> None:
        self.backend = backend
        self.inputs = inputs
        self.limit = limit
        self.ledger = ledger
        self.limited_by_balance = False  # The limit was lowered for the balance, so it is not the account's own.
        self.window = window
        self.ordered = ordered
        self.journal = journal
        self.options = options
        self.budget = Budget(options.budget_usd)
        self.stats = MapStats(level=limit.estimate, budget_usd=options.budget_usd)
        self.failure: BaseException | None = None
        self.undelivered = 0  # inputs that were read and not delivered
        self.unsent: deque[Item[T]] = deque()  # inputs that were read and not yet checked or sent
        self.unsent_batches: deque[list[Item[T]]] = deque()  # refused inputs, each batch to be sent (again) together
        self.in_order: deque[Item[T]] = deque()  # if ordered: all undelivered inputs
        self.ready: deque[Item[T]] = deque()  # if not ordered: inputs with an outcome
        self.running: dict[str, list[Item[T]]] = {}  # by execution id; several only if a wait was given an id twice
        self.claimed: set[str] = set()  # ids of executions that belong to an input
        self.lost_before: dict[int, SentInput] = {}  # by number: inputs that an earlier process may have sent
        self.sending = 0
        self.creating = 0  # inputs in creating requests that are in flight
        self.leaving = False  # Nothing more may be sent.
        self.senders_left = backend.senders
        self._changed = asyncio.Event()

    def admit(self, number: int, value: Any) -> None:
        """Add an input to the window, as it is now: the caller may go on to change it."""
        item: Item[T] = Item(value, "", MutableOutcome("", number), began=time.monotonic())
        try:
            item.value = self.backend.checked(value)
        except (TypeError, ValueError) as exc:
            item.invalid = exc.with_traceback(None)
        self.undelivered += 1
        self.unsent.append(item)
        if self.ordered:
            self.in_order.append(item)
        self.signal()

    def drop(self, item: Item[T]) -> None:
        """Remove an input whose outcome was delivered by an earlier process."""
        self.undelivered -= 1
        if self.ordered:
            self.in_order.remove(item)
        self.signal()

    def start(self, item: Item[T], identity: str) -> None:
        """Record that an input runs as this execution."""
        item.outcome.id = identity
        item.outcome.attempts = 1
        if not item.counted:
            self.count(item)
        item.began = time.monotonic()
        self.claimed.add(identity)
        self.ledger.executions.watch(identity)
        self.running.setdefault(identity, []).append(item)
        self.signal()

    def count(self, item: Item[T]) -> None:
        """Let the budget count an input as running."""
        item.counted = True
        self.budget.start()

    def place(self, items: list[Item[T]]) -> None:
        """Record that the executions of items were named together, so that one may turn out to be another's."""
        if self.backend.creates and items:
            placement: Placement[Item[T], Read[T]] = Placement({item: item.value for item in items})
            for item in items:
                item.placement = placement

    def finish(self, item: Item[T], error: Exception | None) -> None:
        """Record the end of an input, so that its outcome can be delivered."""
        item.outcome.error = error
        item.finished = True
        if item.counted:
            record = error.record if isinstance(error, ExecutionFailedError) else item.outcome.value
            has_run = bool(item.outcome.id) or isinstance(error, OutcomeUnknownError)
            self.budget.end(cost_usd(record), has_run=has_run)
        if not self.ordered:
            self.ready.append(item)
        self.signal()

    def stop_for(self, failure: BaseException) -> None:
        """Record an error that ends the map; only the first one counts."""
        self.failure = self.failure or failure
        self.signal()

    def signal(self) -> None:
        """Wake all tasks that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self, timeout_s: float | None = None) -> None:
        """Wait for a change, for at most `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return
