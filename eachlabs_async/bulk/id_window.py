"""Owns the ids of a bulk fetch from when they are read to when their outcomes are handed out: room, order, twins.

It refuses to fetch and to make tasks: workers `take` ids, fill in their outcomes and say that they are `done`; the
consumer pops what is `ready`. No more is held than the window is wide, so a slow consumer stops the reading.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from ..errors import AuthenticationError, ConfigurationError
from ..transport.wire import segment
from .outcomes import BulkStats, Outcome

T = TypeVar("T")

Known = Mapping[str, T] | Callable[[str], T | None]

FATAL_FOR_BULK: Final = (AuthenticationError, ConfigurationError)
"""Errors that would be every id's alike."""


class PendingId(Generic[T]):
    """One id in the window: its outcome once it has one, and the twins that wait for it."""

    __slots__ = ("duplicates", "encoded", "finished", "outcome")

    def __init__(self, identity: Any, index: int) -> None:
        self.outcome: Outcome[T] = Outcome(identity, index)
        self.encoded = ""
        self.finished = False
        self.duplicates: list[PendingId[T]] | None = None


class IdWindow(Generic[T]):
    """What is read and not yet handed out: at most `size` ids, in batches of up to `chunk_size`.

    `ready` is what can be handed out, `wake_consumer` is called when it
    is not empty. `exhausted` says that nothing more is
    read, `closed` that nobody wants what was; `failure` is what is to be raised when all that is ready was handed out.
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
        self._most = size - chunk_size  # held, at most, while there is room for another chunk
        self._ordered = ordered
        self._stats = stats
        self._reading = asyncio.Lock()
        self._read = 0  # ids read from the source
        self.held = 0  # of these, not handed out yet
        self._by_id: dict[str, PendingId[T]] = {}
        self._line: deque[PendingId[T]] = deque()  # ordered: what is held and not ready, in input order
        self._room: deque[asyncio.Future[None]] = deque()
        self.ready: deque[PendingId[T]] = deque()
        self.wake_consumer: Callable[[], object] = _nobody
        self.exhausted = False
        self.closed = False
        self.failure: BaseException | None = None

    # ---- for workers

    def take(self) -> list[PendingId[T]]:
        """Give up to a chunk of ids to fetch; none where there is nothing at hand, and `more` has to tell."""
        batch: list[PendingId[T]] = []
        source = self._source
        if source is None or self.exhausted or self.held > self._most:
            return batch
        while len(batch) < self._chunk_size and self.held < self._size:
            try:
                identity = next(source)
            except StopIteration:
                self.exhausted = True
                break
            except Exception as exc:
                self.fail(exc)
                break
            slot = self._admit(identity)
            if slot is not None:
                batch.append(slot)
        self._stats.in_flight += len(batch)
        return batch

    async def more(self) -> list[PendingId[T]]:
        """Wait for room and for ids; none at the end."""
        loop = asyncio.get_running_loop()
        while not self.exhausted:
            if self.held > self._most:
                waiter = loop.create_future()
                self._room.append(waiter)
                await waiter
                continue
            batch = self.take() if self._source is not None else await self._next_async()
            if batch:
                return batch
        return []

    def landed(self, batch: Sequence[PendingId[T]]) -> None:
        """Note that the answers to these are there, whether or not they are read yet: they are in flight no longer."""
        self._stats.in_flight -= len(batch)

    def done(self, batch: Sequence[PendingId[T]], elapsed_s: float) -> None:
        """Take ids back whose outcomes are filled in, `elapsed_s` after they were taken.

        Raises the error of one that would be every id's alike.
        """
        stats = self._stats
        for slot in batch:
            outcome = slot.outcome
            if outcome.error is not None and isinstance(outcome.error, FATAL_FOR_BULK):
                raise outcome.error
            outcome.elapsed_s = elapsed_s
            stats.note_latency(elapsed_s)
            if outcome.attempts > 1:
                stats.retries += outcome.attempts - 1
            self._finish(slot)

    async def _next_async(self) -> list[PendingId[T]]:
        """Do as `take` does, from an async source, which one worker reads at a time."""
        batch: list[PendingId[T]] = []
        source = self._async_source
        assert source is not None
        async with self._reading:
            if self.held > self._most:
                return batch  # Who had the source before filled the window.
            while not self.exhausted and len(batch) < self._chunk_size and self.held < self._size:
                try:
                    identity = await anext(source)
                except StopAsyncIteration:
                    self.exhausted = True
                    break
                except Exception as exc:
                    self.fail(exc)
                    break
                slot = self._admit(identity)
                if slot is not None:
                    batch.append(slot)
        self._stats.in_flight += len(batch)
        return batch

    def fail(self, exc: BaseException) -> None:
        """Read no further; what is finished is still handed out before the first failure is raised."""
        self.exhausted = True
        self.failure = self.failure or exc

    def _admit(self, identity: Any) -> PendingId[T] | None:
        """Take an id into the window; give its slot where it has to be fetched."""
        slot: PendingId[T] = PendingId(identity, self._read)
        self._read += 1
        self.held += 1
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
                self._answer_duplicate(first, slot)
            elif first.duplicates is None:
                first.duplicates = [slot]
            else:
                first.duplicates.append(slot)
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

    def _finish(self, slot: PendingId[T]) -> None:
        slot.finished = True
        if not self._ordered:
            self.ready.append(slot)
        else:
            while self._line and self._line[0].finished:
                self.ready.append(self._line.popleft())
        if self.ready:
            self.wake_consumer()
        if slot.duplicates is not None:
            duplicates, slot.duplicates = slot.duplicates, None
            for duplicate in duplicates:
                self._answer_duplicate(slot, duplicate)

    def _answer_duplicate(self, first: PendingId[T], duplicate: PendingId[T]) -> None:
        done, outcome = first.outcome, duplicate.outcome
        outcome.value, outcome.error = done.value, done.error
        outcome.attempts, outcome.elapsed_s = done.attempts, done.elapsed_s
        self._finish(duplicate)

    # ---- for the consumer

    def release(self, slot: PendingId[T]) -> None:
        """Forget an id whose outcome is handed out, and let one more in."""
        self.held -= 1
        if self._by_id.get(slot.encoded) is slot:
            del self._by_id[slot.encoded]
        while self._room and self.held <= self._most:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                break

    def left(self) -> list[PendingId[T]]:
        """Give what is finished behind an id that never will be, because the fetch was ended."""
        line, self._line = self._line, deque()
        return [slot for slot in line if slot.finished]

    def wake_all(self) -> None:
        """Wake who waits for room: there is nothing left to read, so none of them needs any."""
        while self._room:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Read no further and forget everything."""
        self.exhausted = self.closed = True
        self.wake_consumer = _nobody
        # An async generator that only we know ends with this; one of the caller's stays as it is.
        self._source = self._async_source = None
        self._line.clear()
        self.ready.clear()
        self._by_id.clear()
        self._stats.in_flight = 0


def _nobody() -> None:
    """Stand in for a consumer that is not there."""
