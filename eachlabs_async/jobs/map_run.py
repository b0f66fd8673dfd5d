"""Owns the running of any number of inputs through a workflow or a model: its tasks, and the handing out.

It refuses to know what is run (`Backend` does), where the cap lies (`account_limit` guesses), how inputs are sent
(`map_sender`) and watched (`map_watcher`). A reader, a few senders and one watcher are its tasks, and the run's own
`finally` ends them. With a journal an outcome is handed out once: what is cancelled while it is being written down was
not handed out, and only a process that dies in that very moment may lose one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from weakref import ref

from ..bulk.outcomes import BulkResult, MapStats, Outcome
from ..errors import EachLabsError, OutcomeUnknownError, WaitTimeoutError
from ..transport.arguments import checked_callback
from ..transport.tasks import cancel_and_wait, is_running
from .journal import Journal
from .map_sender import MapSender
from .map_state import Item, MapState
from .map_watcher import MapWatcher

T = TypeVar("T")


class MapRun(Generic[T]):
    """Inputs run through a workflow or a model; making one does no I/O, and it is run once.

    `async with run as outcomes: async for outcome in outcomes` ends everything when the block is left; a plain
    `async for` works too, and `await run.collect()` gives all outcomes at once. `Outcome.index` is the input's place,
    `Outcome.id` the execution's id ("" where none was created). `stats` tells at any time what the run did so far.
    """

    def __init__(
        self,
        run: MapState[T],
        *,
        on_progress: Callable[[MapStats], object] | None = None,
        remember: Callable[[int], None] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._run_state = run
        self._on_progress = checked_callback("on_progress", on_progress)
        self._remember = remember
        self._timeout_s = timeout_s
        self._started = False
        self._in_block = False
        self._outcomes: Callable[[], AsyncGenerator[Outcome[T], None] | None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reader: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Lock()
        self.stats = run.stats

    def __repr__(self) -> str:
        return f"<MapRun: {self.stats.done} outcomes so far>"

    # ---- ways to run

    def __aiter__(self) -> AsyncIterator[Outcome[T]]:
        """Run, giving outcomes as executions finish (or in input order, if asked for)."""
        if self._started:
            raise RuntimeError("a map is run once: make a new one with map()")
        self._started = True
        outcomes = self._run()
        # Weak outside of a block: a loop left by `break` then lets the generator go, and its clean-up starts at once.
        self._outcomes = (lambda: outcomes) if self._in_block else ref(outcomes)
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
        self._in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run now: nothing more is sent, and without a journal what runs is cancelled where it can be."""
        self._started = True
        outcomes = self._outcomes() if self._outcomes is not None else None
        if outcomes is not None:
            if is_running(outcomes):
                # Another task awaits an outcome: it must not take this end for the end of the inputs.
                self._run_state.stop_for(RuntimeError("the map was closed while an outcome was awaited"))
            else:
                await outcomes.aclose()
        await self._stop()

    # ---- handing out

    async def _run(self) -> AsyncGenerator[Outcome[T], None]:
        run, loop = self._run_state, asyncio.get_running_loop()
        ends = None if self._timeout_s is None else loop.time() + self._timeout_s
        try:
            if (journal := run.journal) is not None:
                await journal.open()
                run.claimed, run.lost = await journal.claimed(), await journal.lost()
            sending, watching = MapSender(run), MapWatcher(run)
            self._reader = [asyncio.create_task(sending.read())]
            jobs = [*(sending.send() for _ in range(run.work.senders)), watching.watch()]
            self._tasks = [asyncio.create_task(job) for job in jobs]
            for task in [*self._reader, *self._tasks]:
                task.add_done_callback(self._task_done)
            while True:
                while (item := self._next_finished()) is not None:
                    self._count(item.outcome)
                    if journal is not None:
                        await _note_delivered(journal, item)
                    yield item.outcome
                if self._is_over():
                    break
                if ends is not None and loop.time() >= ends:
                    raise WaitTimeoutError(f"{len(run.running)} executions did not end within {self._timeout_s:g} s")
                await run.change(None if ends is None else ends - loop.time())
            failure = run.failure or run.inputs.failure
            if failure is not None:
                try:
                    raise failure
                finally:
                    run.failure = run.inputs.failure = failure = None
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
        # Not whether all are done: how one ended is known only when `_task_done` has looked.
        return not self._tasks

    def _count(self, outcome: Outcome[T]) -> None:
        stats = self.stats
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.unknown += isinstance(outcome.error, OutcomeUnknownError)
        self._take_stock()
        if self._on_progress is not None:
            self._on_progress(stats)

    def _take_stock(self) -> None:
        run, stats = self._run_state, self.stats
        stats.running, stats.level, stats.refusals = len(run.running), run.limit.level, run.limit.refusals

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks and task not in self._reader:
            return  # `_stop` ended it.
        # Cancelled by others, or by what it awaited: inputs have no outcome, which must not pass for the end.
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if failure is not None:
            self._run_state.stop_for(failure)
            for other in self._tasks:
                other.cancel()
        if task in self._tasks:
            self._tasks.remove(task)
        self._run_state.signal()

    async def _stop(self) -> None:
        """End the tasks, cancel what runs and close the journal; who comes second waits for the first."""
        run = self._run_state
        async with self._stopping:
            tasks, self._tasks, self._reader = [*self._reader, *self._tasks], [], []
            if self._remember is not None and run.limit.known and run.level_lasts:
                self._remember(run.limit.level)
            try:
                await cancel_and_wait(tasks)
                running, run.running = list(run.running), {}
                run.ours.leave(running, asyncio.get_running_loop().time())
                if running and run.journal is None:
                    await run.work.cancel(running)
            finally:
                run.inputs.close()
                # What nobody was given may not be handed out any more: the journal is closed.
                for held in (run.fresh, run.line, run.ready, run.again):
                    held.clear()
                self._take_stock()
                journal, run.journal = run.journal, None
                try:
                    if journal is not None:
                        await journal.close()
                finally:
                    run.signal()


async def _note_delivered(journal: Journal, item: Item[Any]) -> None:
    """Note that an outcome is handed out, before it is: in whatever moment the process dies, none comes twice."""
    try:
        await journal.delivered(item.outcome.index, item.digest)
    except asyncio.CancelledError:
        await journal.kept(item.outcome.index)
        raise
