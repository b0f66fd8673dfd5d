"""One call for each of many ids: starts the workers, yields their outcomes and ends them.

What is fetched is a `Worker`'s business, which ids are held is `IdWindow`'s, and retries are the transport's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, Generic, Literal, TypeVar

from ..errors import EachLabsError
from ..transport.arguments import checked_callback, checked_count
from ..transport.stream import NOTHING, Nothing, Stream
from ..transport.tasks import cancel_and_wait
from .id_window import IdWindow
from .id_window import Known as Known
from .outcomes import BulkResult, BulkStats, Outcome, as_key
from .workers import Worker

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")

WINDOW: Final = 4
"""The default `window`, as a multiple of the ids that are fetched at once."""
LOG_EVERY_S: Final = 10.0


class BulkFetch(Stream, Generic[T]):
    """A fetch of many ids. Creating one does no I/O; it is iterated once.

    `async with fetch as outcomes: async for outcome in outcomes` ends everything when the block is left. A plain
    `async for` works too, and `await fetch.collect()` returns all outcomes at once. After a cancelled wait, such as
    `asyncio.wait_for(anext(outcomes), 1)`, the next one goes on.
    """

    def __init__(
        self,
        worker: Worker[T],
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
        on_outcome: Callable[[Outcome[Any]], object] | None = None,
    ) -> None:
        super().__init__(
            reused="a BulkFetch is run once: make a new one with get_many()",
            closed="the fetch was closed while an outcome was awaited",
        )
        self._worker = worker
        self._concurrency = checked_count("concurrency", concurrency, least=1)
        chunk = checked_count("chunk_size", chunk_size, least=1)
        least = self._concurrency * chunk
        size = WINDOW * least if window is None else checked_count("window", window, least=least)
        self._stats = BulkStats()
        self._window = IdWindow(ids, size=size, chunk_size=chunk, ordered=ordered, known=known, stats=self._stats)
        self._on_progress = checked_callback("on_progress", on_progress)
        self._paused = paused
        self._close = close
        self._on_outcome = on_outcome
        self._log_at = 0.0
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Lock()
        self._started = False
        self._failed = False
        self._wakeup: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<BulkFetch: {self._stats.done} outcomes so far>"

    @property
    def stats(self) -> BulkStats:
        """What the fetch has done so far; always the same object."""
        if self._paused is not None:
            self._stats.paused = self._paused()
        return self._stats

    def __aiter__(self) -> AsyncIterator[Outcome[T]]:
        """Run, and yield each outcome as it is there (in input order if that was asked for)."""
        return self._iterate(self._take)

    async def collect(self) -> BulkResult[T]:
        """Run and return all outcomes by id. An error that ends the fetch carries those before it as `partial`."""
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

    # ---- iteration

    def _take(self) -> Outcome[T] | Literal[Nothing.NOTHING]:
        ready = self._window.ready
        if not ready:
            return NOTHING
        pending = ready.popleft()
        self._window.release(pending)
        outcome = pending.outcome.delivered()
        self._count(outcome)
        return outcome

    async def _advance(self) -> None:
        loop, window = asyncio.get_running_loop(), self._window
        if not self._started:
            self._started = True
            window.wake_consumer = self._wake
            self._workers = [loop.create_task(self._worker(window)) for _ in range(self._concurrency)]
            for worker in self._workers:
                worker.add_done_callback(self._worker_done)
            if window.ready:
                return  # Eager tasks have run already.
        if self._workers:
            self._wakeup = loop.create_future()
            await self._wakeup
            if window.ready:
                self._log_progress(loop.time())
            return
        window.ready.extend(window.remaining())
        if window.ready:
            return
        failure, window.failure = window.failure, None
        if failure is None:
            raise StopAsyncIteration
        try:
            raise failure
        finally:
            del failure

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _count(self, outcome: Outcome[T]) -> None:
        stats = self._stats
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.errors[type(outcome.error).__name__] += 1
        if self._on_outcome is not None:
            self._on_outcome(outcome)
        if self._on_progress is not None:
            self._on_progress(self.stats)

    def _log_progress(self, now: float) -> None:
        """Log the counts, once every `LOG_EVERY_S` seconds."""
        if now >= self._log_at:
            if self._log_at:
                stats = self.stats
                facts = {"event": "bulk progress", "done": stats.done, "failed": stats.failed}
                log.info("bulk fetch: %s", stats, extra={**facts, "in_flight": stats.in_flight})
            self._log_at = now + LOG_EVERY_S

    # ---- the end

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        if worker not in self._workers:
            return  # `_stop` cancelled it.
        self._workers.remove(worker)
        window = self._window
        # A worker that somebody else cancelled leaves ids without an outcome: that must not pass for the end.
        failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        if failure is not None and not self._failed:
            # The first failure ends the fetch: the requests of the other workers are given up.
            self._failed = True
            window.fail(failure)
            for other in self._workers:
                other.cancel()
        window.wake_all()
        if not self._workers:
            self._wake()

    async def _stop(self) -> None:
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
