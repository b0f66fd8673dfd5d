"""The ids of a bulk fetch from reading to delivery: back-pressure, order and duplicates.

Workers `take` ids, fill in their outcomes and pass them to `done`; the consumer pops them from `ready`. The window
holds a limited number of ids, so a slow consumer stops the reading. It sends nothing and makes no tasks: `workers` and
`fetch` do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from ..errors import AuthenticationError, ConfigurationError
from ..transport.wire import segment
from .outcomes import BulkStats, MutableOutcome

T = TypeVar("T")

Known = Mapping[str, T] | Callable[[str], T | None]

FATAL_FOR_BULK: Final = (AuthenticationError, ConfigurationError)
"""Errors that every id would meet."""


class PendingId(Generic[T]):
    """An id in the window, with its outcome and the duplicates that wait for it."""

    __slots__ = ("duplicates", "encoded", "finished", "outcome")

    def __init__(self, identity: Any, index: int) -> None:
        self.outcome: MutableOutcome[T] = MutableOutcome(identity, index)
        self.encoded = ""
        self.finished = False
        self.duplicates: list[PendingId[T]] | None = None


class IdWindow(Generic[T]):
    """The ids that were read and not yet delivered: at most `size`, taken in batches of up to `chunk_size`.

    `ready` holds the ids whose outcomes can be delivered; `wake_consumer` is called when it is not empty. `exhausted`
    is True when no more ids will be read, `closed` when nobody wants further outcomes. `failure` is the error to raise
    once everything in `ready` has been delivered.
    """

    def __init__(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        size: int,
        chunk_size: int,
        ordered: bool,
        known: Known[T] | None,
        stats: BulkStats,
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
        self._size = size
        self._chunk_size = chunk_size
        self._full_above = size - chunk_size  # With more undelivered ids there is no space for another chunk.
        self._ordered = ordered
        self._stats = stats
        self._reading = asyncio.Lock()
        self._read = 0  # ids read from the source
        self.undelivered = 0
        self._by_id: dict[str, PendingId[T]] = {}
        self._in_order: deque[PendingId[T]] = deque()  # If ordered: the ids that are not in `ready`, in input order.
        self._space_waiters: deque[asyncio.Future[None]] = deque()
        self.ready: deque[PendingId[T]] = deque()
        self.wake_consumer: Callable[[], object] = _do_nothing
        self.exhausted = False
        self.closed = False
        self.failure: BaseException | None = None

    # ---- for workers

    def take(self) -> list[PendingId[T]]:
        """Return up to `chunk_size` ids. An empty list means that none are available now; await `wait_for_ids()`."""
        batch: list[PendingId[T]] = []
        source = self._source
        if source is None or self.exhausted or self.undelivered > self._full_above:
            return batch
        while len(batch) < self._chunk_size and self.undelivered < self._size:
            try:
                identity = next(source)
            except StopIteration:
                self.exhausted = True
                break
            except Exception as exc:
                self.fail(exc)
                break
            pending = self._admit(identity)
            if pending is not None:
                batch.append(pending)
        self._stats.in_flight += len(batch)
        return batch

    async def wait_for_ids(self) -> list[PendingId[T]]:
        """Wait for space in the window and return up to `chunk_size` ids. An empty list means that none are left."""
        loop = asyncio.get_running_loop()
        while not self.exhausted:
            if self.undelivered > self._full_above:
                waiter = loop.create_future()
                self._space_waiters.append(waiter)
                await waiter
                continue
            batch = self.take() if self._source is not None else await self._take_async()
            if batch:
                return batch
        return []

    def answered(self, batch: Sequence[PendingId[T]]) -> None:
        """Record that the answer for these ids has arrived, decoded or not: they are no longer in flight."""
        self._stats.in_flight -= len(batch)

    def done(self, batch: Sequence[PendingId[T]], elapsed_s: float) -> None:
        """Finish ids whose outcomes are filled in, `elapsed_s` seconds after they were taken.

        Raises the error of an id if every other id would meet it too.
        """
        stats = self._stats
        for pending in batch:
            outcome = pending.outcome
            if outcome.error is not None and isinstance(outcome.error, FATAL_FOR_BULK):
                raise outcome.error
            outcome.elapsed_s = elapsed_s
            stats.record_latency(elapsed_s)
            if outcome.attempts > 1:
                stats.retries += outcome.attempts - 1
            self._finish(pending)

    async def _take_async(self) -> list[PendingId[T]]:
        """Take ids from an async source, which one worker reads at a time."""
        batch: list[PendingId[T]] = []
        source = self._async_source
        assert source is not None
        async with self._reading:
            if self.undelivered > self._full_above:
                return batch  # The worker that held the lock before filled the window.
            while not self.exhausted and len(batch) < self._chunk_size and self.undelivered < self._size:
                try:
                    identity = await anext(source)
                except StopAsyncIteration:
                    self.exhausted = True
                    break
                except Exception as exc:
                    self.fail(exc)
                    break
                pending = self._admit(identity)
                if pending is not None:
                    batch.append(pending)
        self._stats.in_flight += len(batch)
        return batch

    def fail(self, exc: BaseException) -> None:
        """Stop reading. Finished outcomes are still delivered before the first failure is raised."""
        self.exhausted = True
        self.failure = self.failure or exc

    def _admit(self, identity: Any) -> PendingId[T] | None:
        """Add an id to the window and return it if it has to be fetched."""
        pending: PendingId[T] = PendingId(identity, self._read)
        self._read += 1
        self.undelivered += 1
        if self._ordered:
            self._in_order.append(pending)
        try:
            pending.encoded = encoded = segment("id", identity)
        except (TypeError, ValueError) as exc:
            pending.outcome.error = exc.with_traceback(None)
            self._finish(pending)
            return None
        first = self._by_id.get(encoded)
        if first is not None:
            if first.finished:
                self._copy_outcome(first, pending)
            elif first.duplicates is None:
                first.duplicates = [pending]
            else:
                first.duplicates.append(pending)
            return None
        self._by_id[encoded] = pending
        if self._known is not None:
            value = self._known(identity)
            if value is not None and getattr(value, "is_finished", True):
                pending.outcome.value = value
                self._stats.known += 1
                self._finish(pending)
                return None
        return pending

    def _finish(self, pending: PendingId[T]) -> None:
        pending.finished = True
        if not self._ordered:
            self.ready.append(pending)
        else:
            while self._in_order and self._in_order[0].finished:
                self.ready.append(self._in_order.popleft())
        if self.ready:
            self.wake_consumer()
        if pending.duplicates is not None:
            duplicates, pending.duplicates = pending.duplicates, None
            for duplicate in duplicates:
                self._copy_outcome(pending, duplicate)

    def _copy_outcome(self, first: PendingId[T], duplicate: PendingId[T]) -> None:
        done, outcome = first.outcome, duplicate.outcome
        outcome.value, outcome.error = done.value, done.error
        outcome.attempts, outcome.elapsed_s = done.attempts, done.elapsed_s
        self._finish(duplicate)

    # ---- for the consumer

    def release(self, pending: PendingId[T]) -> None:
        """Remove an id whose outcome was delivered, which makes space for another."""
        self.undelivered -= 1
        if self._by_id.get(pending.encoded) is pending:
            del self._by_id[pending.encoded]
        while self._space_waiters and self.undelivered <= self._full_above:
            waiter = self._space_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    def remaining(self) -> list[PendingId[T]]:
        """Return the finished ids that stand behind one that will not finish, because the fetch was ended."""
        in_order, self._in_order = self._in_order, deque()
        return [pending for pending in in_order if pending.finished]

    def wake_all(self) -> None:
        """Wake the workers that wait for space; nothing is left to read."""
        while self._space_waiters:
            waiter = self._space_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Stop reading and drop all ids."""
        self.exhausted = self.closed = True
        self.wake_consumer = _do_nothing
        # An async generator ends if this was the last reference to it; one that the caller holds stays as it is.
        self._source = self._async_source = None
        self._in_order.clear()
        self.ready.clear()
        self._by_id.clear()
        self._stats.in_flight = 0


def _do_nothing() -> None:
    """Take the place of the consumer's callback while there is no consumer."""
