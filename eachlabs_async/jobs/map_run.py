"""Many inputs run through a workflow or a model: starts the tasks, yields the outcomes and ends both.

What is run is the `Backend`'s business, the account's limit is `AccountLimit`'s; `MapSender` reads and sends the inputs
and `MapWatcher` follows what runs. With a journal, an outcome is recorded as delivered when the consumer asks for the
next one, or when it acknowledges it: one that is still in its hands when it fails comes again in the next run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, Generic, Literal, TypeVar

from ..bulk.outcome_events import outcome_reporter
from ..bulk.outcomes import BulkResult, MapStats, Outcome
from ..errors import BudgetReachedError, EachLabsError, OutcomeUnknownError, WaitTimeoutError
from ..transport.arguments import checked_callback
from ..transport.stream import NOTHING, Nothing, Stream
from ..transport.tasks import cancel_and_wait
from .claims import SentInput
from .failure import listed, name_running
from .map_recovery import MapRecovery
from .map_sender import MapSender
from .map_state import Item, MapState
from .map_watcher import MapWatcher

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")


class MapRun(Stream, Generic[T]):
    """Inputs run through a workflow or a model. Creating one does no I/O; it is iterated once.

    `async with run as outcomes: async for outcome in outcomes` ends everything when the block is left; a plain
    `async for` works too, and `await run.collect()` returns all outcomes at once. `Outcome.index` is the position of
    the input, `Outcome.id` the id of its execution ("" where none was created). `stats` says at any time what the run
    has done so far. After a cancelled wait, such as `asyncio.wait_for(anext(outcomes), 1)`, the next one goes on.
    """

    def __init__(
        self,
        run: MapState[T],
        *,
        on_progress: Callable[[MapStats], object] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        super().__init__(
            reused="a map is run once: make a new one with map()",
            closed="the map was closed while an outcome was awaited",
        )
        self._run_state = run
        self._on_progress = checked_callback("on_progress", on_progress)
        self._timeout_s = timeout_s
        self._ends: float | None = None
        self._opening: asyncio.Task[None] | None = None
        self._handed_out: list[Item[T]] = []  # with a journal: given to the consumer and not yet recorded
        self._collecting = False
        self._tasks: list[asyncio.Task[None]] = []
        self._reader: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Lock()
        self._on_outcome = outcome_reporter(run.ledger.hooks, run.backend.source)
        self.stats = run.stats

    def __repr__(self) -> str:
        return f"<MapRun: {self.stats.done} outcomes so far>"

    def __aiter__(self) -> AsyncIterator[Outcome[T]]:
        """Run, and yield outcomes as executions finish (in input order if that was asked for)."""
        return self._iterate(self._take)

    async def collect(self) -> BulkResult[T]:
        """Run and return all outcomes by the input's position, as text.

        An error that ends the run carries those before it as `partial`.
        """
        result: BulkResult[T] = BulkResult()
        self._collecting = True
        async with self as outcomes:
            try:
                async for outcome in outcomes:
                    if outcome.error is None:
                        result.values[str(outcome.index)] = outcome.unwrap()
                    else:
                        result.errors[str(outcome.index)] = outcome.error
            except EachLabsError as exc:
                exc.partial = result
                raise
        return result

    # ---- iteration

    def _take(self) -> Outcome[T] | Literal[Nothing.NOTHING]:
        if self._handed_out and not self._collecting:
            return NOTHING  # The consumer asks for the next one: the one before is recorded first.
        item = self._next_finished()
        if item is None:
            return NOTHING
        self._count(item.outcome.delivered())  # An error of `on_progress` leaves the outcome to the next run.
        if isinstance(item.outcome.error, BudgetReachedError):
            item.outcome.acknowledge_with(_nothing_to_record)  # The next run is to send the input.
        elif self._run_state.journal is not None:
            if self._run_state.options.acknowledge and not self._collecting:
                item.outcome.acknowledge_with(partial(self._acknowledge, item))
            else:
                self._handed_out.append(item)
        return item.outcome.delivered()

    async def _advance(self) -> None:
        run = self._run_state
        if self._opening is None or not self._opening.done():
            await self._begin()
            return  # Outcomes may be there by now.
        if self._handed_out and not self._collecting:
            await self._record_delivery()
            return
        if self._is_over():
            await self._record_delivery()  # What `collect` is about to return.
            self._end()
        if self._ends is not None and _now() >= self._ends:
            ids = list(run.running)
            failure = WaitTimeoutError(f"{len(ids)} executions did not end within {self._timeout_s:g} s: {listed(ids)}")
            failure.running = tuple(ids)
            raise failure
        await run.wait_for_change(None if self._ends is None else self._ends - _now())

    async def _begin(self) -> None:
        """Open the journal and start the tasks, in a task of its own: a cancelled wait must not do it by halves."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        await asyncio.wait([self._opening])
        self._opening.result()

    async def _open(self) -> None:
        run = self._run_state
        if self._timeout_s is not None:
            self._ends = _now() + self._timeout_s
        remembered = run.ledger.account_limit
        if run.backend.creates and remembered is not None and remembered.is_recent(_now()):
            run.limit.start_from(remembered.estimate)
        if run.journal is not None:
            await run.journal.open()
            run.claimed = await run.journal.claimed()
            self._register_lost(await run.journal.in_doubt())
        recovery = MapRecovery(run)
        sender, watcher = MapSender(run, recovery), MapWatcher(run, recovery)
        self._reader = [asyncio.create_task(sender.read())]
        jobs = [*(sender.send() for _ in range(run.backend.senders)), watcher.watch()]
        self._tasks = [asyncio.create_task(job) for job in jobs]
        for task in [*self._reader, *self._tasks]:
            task.add_done_callback(self._task_done)

    def _register_lost(self, in_doubt: list[tuple[int, str, float]]) -> None:
        """Register what an earlier process may have sent: another input must not be given its execution."""
        run, now = self._run_state, time.time()
        backend = run.backend
        path = run.journal.path if run.journal is not None else ""
        for number, fingerprint, sent_at in in_doubt:
            run.lost_before[number] = SentInput(
                backend.scope,
                None,
                backend.bulk,
                ("journal", sent_at),
                sent_at,
                until=min(now, sent_at + backend.deadline_s),
                entry=(path, number),
                key=fingerprint,
            )
        run.ledger.claims.lose(run.lost_before.values(), now)

    def _next_finished(self) -> Item[T] | None:
        run = self._run_state
        if run.ordered:
            # Once the run is over, outcomes behind an input that was never sent come too.
            while run.in_order and not run.in_order[0].finished and self._is_over():
                run.in_order.popleft()
            found = run.in_order.popleft() if run.in_order and run.in_order[0].finished else None
        else:
            found = run.ready.popleft() if run.ready else None
        if found is not None:
            run.undelivered -= 1
            run.signal()
        return found

    async def _record_delivery(self) -> None:
        """Record that the outcomes which were handed out are delivered; it is seen through even if it is cancelled."""
        items, self._handed_out = self._handed_out, []
        journal = self._run_state.journal
        if items and journal is not None:
            await journal.delivered([(item.outcome.index, item.digest) for item in items])

    async def _acknowledge(self, item: Item[T]) -> None:
        journal = self._run_state.journal
        if journal is None:
            raise RuntimeError("the map has ended and its journal is closed: acknowledge outcomes within its block")
        await journal.delivered([(item.outcome.index, item.digest)])

    def _is_over(self) -> bool:
        # Not whether all tasks are done: how one ended is known only once `_task_done` has seen it.
        return not self._tasks

    def _end(self) -> None:
        run = self._run_state
        failure = run.failure or run.inputs.failure
        if failure is None:
            raise StopAsyncIteration
        if run.running and isinstance(failure, EachLabsError):
            name_running(failure, list(run.running))
        try:
            raise failure
        finally:
            run.failure = run.inputs.failure = failure = None

    def _count(self, outcome: Outcome[T]) -> None:
        stats = self.stats
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.unknown += isinstance(outcome.error, OutcomeUnknownError)
        self._take_stock()
        if self._on_outcome is not None:
            self._on_outcome(outcome)
        if self._on_progress is not None:
            self._on_progress(stats)

    def _take_stock(self) -> None:
        run, stats = self._run_state, self.stats
        stats.running, stats.level, stats.refusals = len(run.running), run.limit.estimate, run.limit.refusals
        stats.spent_usd, stats.running_usd = run.budget.spent, run.budget.expected - run.budget.spent

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks and task not in self._reader:
            return  # `_stop` cancelled it.
        # A task that somebody else cancelled leaves inputs without an outcome: that must not pass for the end.
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is not None:
            self._run_state.stop_for(failure)
            for other in self._tasks:
                other.cancel()
        if task in self._tasks:
            self._tasks.remove(task)
        self._run_state.signal()

    async def _stop(self) -> None:
        """End the tasks, cancel what runs where there is no journal, and close the journal.

        It takes as long as creating requests in flight do, but at most `leave_s` seconds, and two seconds more.
        """
        async with self._stopping:
            if self._opening is not None:
                await cancel_and_wait([self._opening])
            try:
                await self._wait_for_creations()
            finally:
                await self._stop_now()

    async def _wait_for_creations(self) -> None:
        """Wait until the ids of what is being created are known, for a short time."""
        run = self._run_state
        run.leaving = True
        run.signal()
        ends = _now() + run.options.leave_s
        while run.creating and self._tasks and (left_s := ends - _now()) > 0:
            await run.wait_for_change(left_s)

    async def _stop_now(self) -> None:
        run = self._run_state
        tasks, self._tasks, self._reader = [*self._reader, *self._tasks], [], []
        if run.backend.creates and run.limit.known and not run.limited_by_balance:
            run.ledger.account_limit = run.limit.remembered(_now())
        unanswered = run.creating
        try:
            await cancel_and_wait(tasks)
            running, run.running = list(run.running), {}
            run.ledger.executions.unwatch(running, _now())
            if running and run.journal is None:
                running = await run.backend.cancel(running)
            if run.backend.creates and (running or unanswered):
                self._warn_of(running, unanswered)
        finally:
            run.inputs.close()
            # Nothing more may be handed out: the journal is closed.
            for held in (run.unsent, run.in_order, run.ready, run.unsent_batches):
                held.clear()
            self._take_stock()
            journal, run.journal = run.journal, None
            try:
                if journal is not None:
                    await journal.close()
            finally:
                run.signal()

    def _warn_of(self, running: list[str], unanswered: int) -> None:
        """Log what runs on although the map was left."""
        kept = self._run_state.journal is not None
        found: list[str] = []
        if running:
            found.append(f"{len(running)} executions may still run: {listed(running)}")
        if unanswered:
            found.append(f"{unanswered} inputs were being sent and may have been carried out")
        hint = (
            "start the job again with the same journal to get their outcomes" if kept else "their outcomes are not kept"
        )
        log.warning(
            "the map was left before its end, %s; %s",
            " and ".join(found),
            hint,
            extra={"event": "map left", "running": running, "unanswered": unanswered, "kept": kept},
        )


async def _nothing_to_record() -> None:
    """Acknowledge an outcome that the journal does not record."""


def _now() -> float:
    return asyncio.get_running_loop().time()
