"""Owns the fanning out of one call over many ids: the workers, the handing out, the clean-up.

It refuses to know what is fetched (a `Job` does), which ids are held (the `IdWindow` does) and to retry (`transport`
does). The workers are tasks of the fetch alone; its `finally` ends them, and no `yield` stands inside a task group.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar
from weakref import ref

from ..errors import EachLabsError
from ..transport.arguments import checked_callback, checked_count
from ..transport.tasks import cancel_and_wait, is_running
from .id_window import IdWindow, PendingId
from .id_window import Known as Known
from .outcomes import BulkResult, BulkStats, Outcome, as_key
from .workers import Job

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")

WINDOW: Final = 4
"""Ids (for flows: chunks) held, as a multiple of the concurrency: read and not yet handed out."""
LOG_EVERY_S: Final = 10.0


class BulkFetch(Generic[T]):
    """A fetch of many ids; making one does no I/O, and it is run once.

    `async with fetch as outcomes: async for outcome in outcomes` ends everything when the block is left. A plain
    `async for` works too, and `await fetch.collect()` gives all outcomes at once.
    """

    def __init__(
        self,
        job: Job[T],
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int,
        ordered: bool,
        chunk_size: int = 1,
        window: int | None = None,
        known: Known[T] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
        paused: Callable[[], int] | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._job = job
        self._concurrency = checked_count("concurrency", concurrency, least=1)
        chunk = checked_count("chunk_size", chunk_size, least=1)
        least = self._concurrency * chunk
        size = WINDOW * least if window is None else checked_count("window", window, least=least)
        self._stats = BulkStats()
        self._window = IdWindow(ids, size=size, chunk_size=chunk, ordered=ordered, known=known, stats=self._stats)
        self._on_progress = checked_callback("on_progress", on_progress)
        self._paused = paused
        self._close = close
        self._log_at = 0.0
        self._started = False
        self._in_block = False
        self._outcomes: Callable[[], AsyncGenerator[Outcome[T], None] | None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Lock()
        self._ended = False  # by a failure that was every id's
        self._wakeup: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<BulkFetch: {self._stats.done} outcomes so far>"

    @property
    def stats(self) -> BulkStats:
        """What the fetch did so far; always the same object."""
        if self._paused is not None:
            self._stats.paused = self._paused()
        return self._stats

    # ---- ways to run

    def __aiter__(self) -> AsyncIterator[Outcome[T]]:
        """Run, giving each outcome as it comes (or in input order, if asked for)."""
        if self._started:
            raise RuntimeError("a BulkFetch is run once: make a new one with get_many()")
        self._started = True
        outcomes = self._run()
        # Weak outside of a block: a loop left by `break` then lets the generator go, and its clean-up starts at once.
        self._outcomes = (lambda: outcomes) if self._in_block else ref(outcomes)
        return outcomes

    async def collect(self) -> BulkResult[T]:
        """Run and give all outcomes by id; an error that ends the fetch carries those that came as `partial`."""
        result: BulkResult[T] = BulkResult()
        try:
            async with self as outcomes:
                async for outcome in outcomes:
                    if outcome.error is None:
                        result.values[outcome.id] = outcome.unwrap()
                    else:
                        result.errors[as_key(outcome.id)] = outcome.error
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
        """End the fetch now: its requests are cancelled, and gone when this returns."""
        self._started = True
        outcomes = self._outcomes() if self._outcomes is not None else None
        if outcomes is not None:
            if is_running(outcomes):
                # Another task awaits an outcome: it must not take this end for the end of the ids.
                self._window.failure = self._window.failure or RuntimeError(
                    "the fetch was closed while an outcome was awaited"
                )
            else:
                await outcomes.aclose()
        await self._stop()

    # ---- handing out

    async def _run(self) -> AsyncGenerator[Outcome[T], None]:
        loop, window = asyncio.get_running_loop(), self._window
        ready, window.wake_consumer = window.ready, self._wake
        self._workers = [loop.create_task(self._job(window)) for _ in range(self._concurrency)]
        for worker in self._workers:
            worker.add_done_callback(self._worker_done)
        try:
            while True:
                if ready:
                    self._log_progress(loop.time())
                while ready:
                    slot = ready.popleft()
                    self._release(slot)
                    yield slot.outcome
                if not self._workers:
                    break
                self._wakeup = loop.create_future()
                await self._wakeup
            for slot in window.left():
                self._release(slot)
                yield slot.outcome
            if window.failure is not None:
                try:
                    raise window.failure
                finally:
                    window.failure = None
        finally:
            await self._stop()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _release(self, slot: PendingId[T]) -> None:
        """Count an outcome as handed out."""
        self._window.release(slot)
        outcome, stats = slot.outcome, self._stats
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.errors[type(outcome.error).__name__] += 1
        if self._on_progress is not None:
            self._on_progress(self.stats)

    def _log_progress(self, now: float) -> None:
        """Log how it goes, once a period."""
        if now >= self._log_at:
            if self._log_at:
                log.info("bulk fetch: %s", self.stats)
            self._log_at = now + LOG_EVERY_S

    # ---- ending

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        if worker not in self._workers:
            return  # `_stop` ended it.
        self._workers.remove(worker)
        window = self._window
        # Cancelled by others, or by what it awaited: its ids have no outcome, which must not pass for the end.
        failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        if failure is not None and not self._ended:
            # The first failure ends the fetch: the other workers' requests are given up.
            self._ended = True
            window.fail(failure)
            for other in self._workers:
                other.cancel()
        window.wake_all()
        if not self._workers:
            self._wake()

    async def _stop(self) -> None:
        """End the workers and forget what they held; who comes second waits for the first."""
        self._window.exhausted = True
        async with self._stopping:
            workers, self._workers = self._workers, []
            try:
                await cancel_and_wait(workers)
            finally:
                self._window.close()
                self._wake()
                close, self._close = self._close, None
                if close is not None:
                    await close()
