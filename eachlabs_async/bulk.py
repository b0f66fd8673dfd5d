"""Owns the fanning out of one call over many ids: workers, the window, order, clean-up.

It refuses to know what is fetched (a `Job` does), to retry (`_session` does) and to hold more than its window: ids
are read as workers come free, and a slow consumer stops the reading. The workers are tasks of the fetch alone; its
`finally` ends them, and no `yield` stands inside a task group.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar
from weakref import ref

from ._arguments import checked_callback, checked_count
from ._jobs import Job, Slot
from ._tasks import end
from ._wire import segment
from .errors import AuthenticationError, ConfigurationError, EachLabsError
from .outcomes import BulkResult, BulkStats, Outcome, as_key

T = TypeVar("T")

log: Final = logging.getLogger("eachlabs_async")

WINDOW: Final = 4
"""Ids (for flows: chunks) held, as a multiple of the concurrency: read and not yet handed out."""
LOG_EVERY_S: Final = 10.0
_ENDS_ALL: Final = (AuthenticationError, ConfigurationError)
"""Errors that would be every id's alike."""

Known = Mapping[str, T] | Callable[[str], T | None]


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
        if isinstance(ids, str | bytes):
            raise TypeError(f"ids must be an iterable of ids, not one {type(ids).__name__}")
        self._source: Iterator[str] | None = None
        self._async_source: AsyncIterator[str] | None = None
        if isinstance(ids, AsyncIterable):
            self._async_source = aiter(ids)
        elif isinstance(ids, Iterable):
            self._source = iter(ids)
        else:
            raise TypeError(f"ids must be an iterable or async iterable of ids, not {type(ids).__name__}")
        if known is not None and not callable(known) and not isinstance(known, Mapping):
            raise TypeError(f"known must be a mapping or a callable, not {type(known).__name__}")
        given: Any = known
        self._known: Callable[[str], T | None] | None = given.get if isinstance(known, Mapping) else given
        self._job = job
        self._concurrency = checked_count("concurrency", concurrency, least=1)
        self._chunk_size = checked_count("chunk_size", chunk_size, least=1)
        self._ordered = ordered
        self._on_progress = checked_callback("on_progress", on_progress)
        least = self._concurrency * self._chunk_size
        self._window = WINDOW * least if window is None else checked_count("window", window, least=least)
        self._most = self._window - self._chunk_size  # held, at most, while there is room for another chunk
        self._paused = paused
        self._close = close
        self._log_at = 0.0
        self._started = False
        self._in_block = False
        self._outcomes: Callable[[], AsyncGenerator[Outcome[T], None] | None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._reading = asyncio.Lock()
        self._stopping = asyncio.Lock()
        self._exhausted = False
        self._read = 0  # ids read from the source
        self._held = 0  # of these, not handed out yet
        self._by_id: dict[str, Slot[T]] = {}
        self._line: deque[Slot[T]] = deque()  # ordered: what is held and not ready, in input order
        self._ready: deque[Slot[T]] = deque()  # what can be handed out
        self._ended = False  # by a failure that was every id's
        self._failure: BaseException | None = None
        self._bell: asyncio.Future[None] | None = None
        self._room: deque[asyncio.Future[None]] = deque()
        self._stats = BulkStats()

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
            if outcomes.ag_running:  # type: ignore[attr-defined]  # the abstract class lacks it
                # Another task awaits an outcome: it must not take this end for the end of the ids.
                self._failure = self._failure or RuntimeError("the fetch was closed while an outcome was awaited")
            else:
                await outcomes.aclose()
        await self._stop()

    # ---- handing out

    async def _run(self) -> AsyncGenerator[Outcome[T], None]:
        loop, ready = asyncio.get_running_loop(), self._ready
        self._workers = [loop.create_task(self._work()) for _ in range(self._concurrency)]
        for worker in self._workers:
            worker.add_done_callback(self._worker_done)
        try:
            while True:
                while ready:
                    slot = ready.popleft()
                    self._let_go(slot)
                    yield slot.outcome
                if not self._workers:
                    break
                self._bell = loop.create_future()
                await self._bell
            # What is left in line behind an id that was never finished, because the fetch was ended.
            while self._line:
                slot = self._line.popleft()
                if slot.finished:
                    self._let_go(slot)
                    yield slot.outcome
            if self._failure is not None:
                try:
                    raise self._failure
                finally:
                    self._failure = None
        finally:
            await self._stop()

    def _let_go(self, slot: Slot[T]) -> None:
        """Count an outcome as handed out, and let one more id in."""
        outcome, stats = slot.outcome, self._stats
        self._held -= 1
        if self._by_id.get(slot.encoded) is slot:
            del self._by_id[slot.encoded]
        while self._room and self._held <= self._most:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break
        stats.done += 1
        if outcome.error is not None:
            stats.failed += 1
            stats.errors[type(outcome.error).__name__] += 1
        if self._on_progress is not None:
            self._on_progress(self.stats)

    # ---- working

    async def _work(self) -> None:
        """Read and fetch until there is nothing left; one of `concurrency` workers."""
        loop = asyncio.get_running_loop()
        stats = self._stats
        while not self._exhausted:
            if self._held > self._most:
                waiter = loop.create_future()
                self._room.append(waiter)
                await waiter
                continue
            batch = self._next_batch() if self._source is not None else await self._next_async_batch()
            if not batch:
                continue
            began = loop.time()
            stats.in_flight += len(batch)
            try:
                await self._job(batch)
            finally:
                stats.in_flight -= len(batch)
            ended = loop.time()
            elapsed_s = ended - began
            for slot in batch:
                outcome = slot.outcome
                if outcome.error is not None and isinstance(outcome.error, _ENDS_ALL):
                    raise outcome.error
                outcome.elapsed_s = elapsed_s
                stats.note_latency(elapsed_s)
                if outcome.attempts > 1:
                    stats.retries += outcome.attempts - 1
                self._finish(slot)
            if ended >= self._log_at:
                self._tell(ended)

    def _tell(self, now: float) -> None:
        """Log how it goes, once a period."""
        if self._log_at:
            log.info("bulk fetch: %s", self.stats)
        self._log_at = now + LOG_EVERY_S

    def _next_batch(self) -> list[Slot[T]]:
        """Read up to a chunk of ids that need fetching; empty if the window filled or the source ended."""
        batch: list[Slot[T]] = []
        source = self._source
        assert source is not None
        while len(batch) < self._chunk_size and self._held < self._window:
            try:
                identity = next(source)
            except StopIteration:
                self._exhausted = True
                break
            except Exception as exc:
                self._source_failed(exc)
                break
            slot = self._admit(identity)
            if slot is not None:
                batch.append(slot)
        return batch

    async def _next_async_batch(self) -> list[Slot[T]]:
        """Do as `_next_batch` does, from an async source, which one worker reads at a time."""
        batch: list[Slot[T]] = []
        source = self._async_source
        assert source is not None
        async with self._reading:
            if self._held > self._most:
                return batch  # Who had the source before filled the window.
            while not self._exhausted and len(batch) < self._chunk_size and self._held < self._window:
                try:
                    identity = await anext(source)
                except StopAsyncIteration:
                    self._exhausted = True
                    break
                except Exception as exc:
                    self._source_failed(exc)
                    break
                slot = self._admit(identity)
                if slot is not None:
                    batch.append(slot)
        return batch

    def _source_failed(self, exc: Exception) -> None:
        """Read no further; what was read is still fetched and handed out before the error is raised."""
        self._exhausted = True
        self._failure = self._failure or exc

    def _admit(self, identity: Any) -> Slot[T] | None:
        """Take an id into the window; give its slot where it has to be fetched."""
        slot: Slot[T] = Slot(identity, self._read)
        self._read += 1
        self._held += 1
        if self._ordered:
            self._line.append(slot)
        try:
            slot.encoded = encoded = segment("id", identity)
        except (TypeError, ValueError) as exc:
            slot.outcome.error = exc.with_traceback(None)
            self._finish(slot)
            return None
        first = self._by_id.get(encoded)
        if first is not None:
            if first.finished:
                self._answer_twin(first, slot)
            elif first.twins is None:
                first.twins = [slot]
            else:
                first.twins.append(slot)
            return None
        self._by_id[encoded] = slot
        if self._known is not None:
            value = self._known(identity)
            if value is not None and getattr(value, "is_finished", True):
                slot.outcome.value = value
                self._stats.known += 1
                self._finish(slot)
                return None
        return slot

    def _finish(self, slot: Slot[T]) -> None:
        slot.finished = True
        if not self._ordered:
            self._ready.append(slot)
        else:
            while self._line and self._line[0].finished:
                self._ready.append(self._line.popleft())
        bell = self._bell
        if self._ready and bell is not None and not bell.done():
            bell.set_result(None)
        if slot.twins is not None:
            twins, slot.twins = slot.twins, None
            for twin in twins:
                self._answer_twin(slot, twin)

    def _answer_twin(self, first: Slot[T], twin: Slot[T]) -> None:
        done, outcome = first.outcome, twin.outcome
        outcome.value, outcome.error = done.value, done.error
        outcome.attempts, outcome.elapsed_s = done.attempts, done.elapsed_s
        self._finish(twin)

    # ---- ending

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        if worker not in self._workers:
            return  # `_stop` ended it.
        self._workers.remove(worker)
        # Cancelled by others, or by what it awaited: its ids have no outcome, which must not pass for the end.
        failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
        if failure is not None and not self._ended:
            # The first failure ends the fetch: the other workers' requests are given up.
            self._ended = self._exhausted = True
            self._failure = self._failure or failure
            for other in self._workers:
                other.cancel()
        # There is nothing left to read. The others may wait for room, which only the consumer makes: let them end.
        while self._room:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)
        if not self._workers and self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def _stop(self) -> None:
        """End the workers and forget what they held; who comes second waits for the first."""
        self._exhausted = True
        async with self._stopping:
            workers, self._workers = self._workers, []
            try:
                await end(workers)
            finally:
                # An async generator that only we know ends with this; one of the caller's stays as it is.
                self._source = self._async_source = None
                self._line.clear()
                self._ready.clear()
                self._by_id.clear()
                if self._bell is not None and not self._bell.done():
                    self._bell.set_result(None)
                close, self._close = self._close, None
                if close is not None:
                    await close()
