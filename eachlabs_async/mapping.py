"""Owns the running of any number of inputs through a workflow or a model: its tasks, and the handing out.

It refuses to know what is run (`Work` does), where the cap lies (`_cap` guesses), how inputs are sent (`_map_sending`)
and watched (`_map_watching`). A few senders and one watcher are its only tasks, and the run's own `finally` ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar
from weakref import ReferenceType, ref

from ._map_run import Item, Run
from ._map_sending import Sending
from ._map_watching import Watching
from ._tasks import end
from .errors import EachLabsError, OutcomeUnknownError, WaitTimeoutError
from .outcomes import BulkResult, MapStats, Outcome

T = TypeVar("T")


class MapFetch(Generic[T]):
    """Inputs run through a workflow or a model; making one does no I/O, and it is run once.

    `async with run as outcomes: async for outcome in outcomes` ends everything when the block is left; a plain
    `async for` works too, and `await run.collect()` gives all outcomes at once. `Outcome.index` is the input's place,
    `Outcome.id` the execution's id ("" where none was created).
    """

    def __init__(
        self,
        run: Run[T],
        *,
        on_progress: Callable[[MapStats], object] | None = None,
        remember: Callable[[int], None] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._run_state = run
        self._on_progress = on_progress
        self._remember = remember
        self._timeout_s = timeout_s
        self._started = False
        self._outcomes: ReferenceType[AsyncGenerator[Outcome[T], None]] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.stats = run.stats

    def __repr__(self) -> str:
        return f"<MapFetch: {self.stats.done} outcomes so far>"

    # ---- ways to run

    def __aiter__(self) -> AsyncIterator[Outcome[T]]:
        """Run, giving outcomes as executions finish (or in input order, if asked for)."""
        if self._started:
            raise RuntimeError("a map is run once: make a new one with map()")
        self._started = True
        outcomes = self._run()
        # Weak: a loop left by `break` then lets the generator go, and its clean-up starts at once.
        self._outcomes = ref(outcomes)
        return outcomes

    async def collect(self) -> BulkResult[T]:
        """Run and give all outcomes by the input's place, as text; an error that ends the run has them as `partial`."""
        result: BulkResult[T] = BulkResult()
        try:
            async with self as outcomes:
                async for outcome in outcomes:
                    if outcome.error is None:
                        result.values[str(outcome.index)] = outcome.unwrap()
                    else:
                        result.errors[str(outcome.index)] = outcome.error
        except EachLabsError as exc:
            exc.partial = result
            raise
        return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run now: nothing more is sent, and without a journal what runs is cancelled where it can be."""
        outcomes = self._outcomes() if self._outcomes is not None else None
        if outcomes is not None:
            await outcomes.aclose()
        await self._stop()

    # ---- handing out

    async def _run(self) -> AsyncGenerator[Outcome[T], None]:
        run, loop = self._run_state, asyncio.get_running_loop()
        ends = None if self._timeout_s is None else loop.time() + self._timeout_s
        try:
            if run.journal is not None:
                await run.journal.open()
                run.claimed = await run.journal.claimed()
            sending, watching = Sending(run), Watching(run)
            jobs = [*(sending.send() for _ in range(run.work.senders)), watching.watch()]
            self._tasks = [asyncio.create_task(job) for job in jobs]
            for task in self._tasks:
                task.add_done_callback(self._task_done)
            while True:
                while (item := self._next_finished()) is not None:
                    if run.journal is not None:
                        # Before it is handed out: in whatever moment the process dies, no outcome comes twice.
                        await run.journal.delivered(item.outcome.index)
                    self._count(item.outcome)
                    yield item.outcome
                if self._is_over():
                    break
                if ends is not None and loop.time() >= ends:
                    raise WaitTimeoutError(f"{len(run.running)} executions did not end within {self._timeout_s:g} s")
                await run.change(None if ends is None else ends - loop.time())
            if run.failure is not None:
                failure, run.failure = run.failure, None
                raise failure
        finally:
            await self._stop()

    def _next_finished(self) -> Item[T] | None:
        run = self._run_state
        if run.ordered:
            # Once the run is over, what stands behind an input that was never sent comes too.
            while run.line and not run.line[0].finished and self._is_over():
                run.line.popleft()
            found = run.line.popleft() if run.line and run.line[0].finished else None
        else:
            found = run.ready.popleft() if run.ready else None
        if found is not None:
            run.held -= 1
            run.signal()
        return found

    def _is_over(self) -> bool:
        return all(task.done() for task in self._tasks)

    def _count(self, outcome: Outcome[T]) -> None:
        run, stats = self._run_state, self.stats
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.unknown += isinstance(outcome.error, OutcomeUnknownError)
        stats.running, stats.level, stats.refusals = len(run.running), run.cap.level, run.cap.refusals
        if self._on_progress is not None:
            self._on_progress(stats)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        run = self._run_state
        if not task.cancelled() and (failure := task.exception()) is not None:
            run.stop_for(failure)
            for other in self._tasks:
                other.cancel()
        run.signal()

    async def _stop(self) -> None:
        run = self._run_state
        tasks, self._tasks = self._tasks, []
        try:
            await end(tasks)
            if self._remember is not None and run.cap.refusals:
                self._remember(run.cap.level)
            running, run.running = list(run.running), {}
            if running and run.journal is None:
                await run.work.cancel(running)
        finally:
            if run.journal is not None:
                journal, run.journal = run.journal, None
                await journal.close()
