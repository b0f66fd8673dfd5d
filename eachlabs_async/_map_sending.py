"""Owns the sending of a map's inputs: under the cap, in chunks, each once; refuses to watch what runs.

What is certain not to have been carried out is sent again or given up; what may have been is looked for, never sent
again.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Generic, TypeVar

from ._journal import Entry, digest
from ._map_run import STOPS_ALL, Item, Run, refused
from .errors import (
    APIStatusError,
    BadRequestError,
    EachLabsError,
    OutcomeUnknownError,
    RateLimitError,
    UnprocessableEntityError,
)

T = TypeVar("T")

LOOKS_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Pauses before the look-ups for what may have been carried out: a listing may show it late."""
_OTHERS_MOST_S: Final = 5.0
"""The longest pause, in seconds, while others fill the account."""


class Sending(Generic[T]):
    """What the senders of one map share."""

    def __init__(self, run: Run[T]) -> None:
        self.run = run
        self._sends = asyncio.Semaphore(run.work.senders)
        self._looking = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._not_before = 0.0
        self._refused_in_a_row = 0

    async def send(self) -> None:
        """Send until nothing is left to send; one of `senders` tasks."""
        run = self.run
        try:
            while (batch := await self._take()) is not None:
                if not batch:
                    continue
                run.sending += 1
                try:
                    await self._submit(batch)
                finally:
                    run.sending -= 1
                    run.signal()
        finally:
            run.senders_left -= 1
            run.signal()

    async def _take(self) -> list[Item[T]] | None:
        """Wait until something may be sent and give it; None when nothing is left to send."""
        run, cap = self.run, self.run.cap
        while run.failure is None:
            wait_s = self._not_before - time.monotonic()
            if run.again or not run.inputs.exhausted:
                if cap.room and wait_s <= 0 and (run.again or run.held < run.window):
                    async with self._reading:
                        if not cap.room:
                            continue
                        batch = await self._next_batch(min(cap.room, run.work.chunk))
                        cap.start(len(batch))
                    return batch
            elif not run.sending:
                return None
            await run.change(wait_s if wait_s > 0 and cap.room else None)
        return None

    async def _next_batch(self, count: int) -> list[Item[T]]:
        run = self.run
        if run.again:
            batch = run.again.popleft()
            if len(batch) > count:
                run.again.appendleft(batch[count:])
            return batch[:count]
        fresh: list[Item[T]] = []
        for number, value in await run.inputs.read(count):
            item = run.admit(number, value)
            try:
                item.value = run.work.checked(value)
                item.digest = digest(item.value)
            except (TypeError, ValueError) as exc:
                run.finish(item, exc.with_traceback(None))
            else:
                fresh.append(item)
        if run.inputs.failure is not None:
            run.stop_for(run.inputs.failure)
        return await self._not_yet_sent(fresh) if run.journal is not None and fresh else fresh

    async def _not_yet_sent(self, items: list[Item[T]]) -> list[Item[T]]:
        """Take up what the journal knows of these inputs; give those that it does not know."""
        assert self.run.journal is not None
        entries = await self.run.journal.entries([item.outcome.index for item in items])
        unknown: list[tuple[Item[T], Entry]] = []
        fresh: list[Item[T]] = []
        for item in items:
            entry = entries.get(item.outcome.index)
            if entry is None:
                fresh.append(item)
            elif entry.digest != item.digest:
                raise ValueError(f"input {entry.number} is not the one that the journal knows: it is another job's")
            elif entry.delivered:
                self.run.drop(item)
            elif entry.state == "failed":
                self.run.finish(item, refused(entry.message or "it was refused"))
            elif entry.execution_id is not None:
                self.run.cap.start(1)
                self.run.starts(item, entry.execution_id)
            else:
                unknown.append((item, entry))
        if unknown:
            since = min(entry.sent_at for _, entry in unknown)
            self.run.cap.start(len(unknown))
            reason = OutcomeUnknownError("the job was ended while this input was being sent")
            await self._look([item for item, _ in unknown], since, reason)
        return fresh

    async def _submit(self, batch: list[Item[T]]) -> None:
        run, now = self.run, time.time()
        if run.journal is not None:
            await run.journal.intend([(item.outcome.index, item.digest) for item in batch], now)
        try:
            async with self._sends:
                results = await run.work.submit([item.value for item in batch])
                await self._take_results(batch, results)
        except EachLabsError as exc:
            failure = exc
        else:
            if len(results) < len(batch):
                missing = OutcomeUnknownError("the answer tells of fewer executions than there were inputs")
                await self._look(batch[len(results) :], now, missing)
            return
        if isinstance(failure, OutcomeUnknownError):
            await self._look(batch, now, failure)
            return
        # Everything else is a refusal, or was never sent: it is certain that nothing was carried out.
        if run.journal is not None:
            await run.journal.withdraw([item.outcome.index for item in batch])
        if isinstance(failure, RateLimitError):
            self._refuse(batch, failure)
            return
        self._refused_in_a_row = 0
        run.cap.withdraw(len(batch))
        if isinstance(failure, STOPS_ALL):
            run.stop_for(failure)
        elif len(batch) > 1 and _concerns_inputs(failure):
            middle = len(batch) // 2
            run.again.extend((batch[:middle], batch[middle:]))
        else:
            for item in batch:
                await run.fail(item, failure)

    async def _take_results(self, batch: list[Item[T]], results: list[tuple[str | None, str]]) -> None:
        run = self.run
        run.cap.accept()
        self._refused_in_a_row = 0
        answered = list(zip(batch, results, strict=False))
        started = [(item, identity) for item, (identity, _) in answered if identity is not None]
        if run.journal is not None:
            await run.journal.started([(item.outcome.index, identity) for item, identity in started])
        for item, identity in started:
            run.stats.submitted += 1
            run.starts(item, identity)
        for item, (name, message) in answered:
            if name is None:
                run.cap.withdraw(1)
                await run.fail(item, refused(message))

    def _refuse(self, batch: list[Item[T]], failure: RateLimitError) -> None:
        """The account runs as much as it may: try these again when something has settled, or after a while."""
        cap = self.run.cap
        self.run.again.appendleft(batch)
        cap.refuse(len(batch))
        self._refused_in_a_row += 1
        wait_s = failure.retry_after_s or 0.0
        if cap.running == 0 and len(batch) == 1:
            # None of ours runs, so nothing of ours can settle: others use the account.
            wait_s = max(wait_s, min(_OTHERS_MOST_S, 0.1 * 2.0 ** min(self._refused_in_a_row, 10)))
        self._not_before = max(self._not_before, time.monotonic() + wait_s)

    async def _look(self, batch: list[Item[T]], since: float, reason: OutcomeUnknownError) -> None:
        """Look for executions of inputs that may have been carried out; nothing else is sent meanwhile."""
        run, left = self.run, batch
        async with self._looking:
            places = 0
            try:
                # Another request on its way may be about an equal input: its execution must not be taken for ours.
                while places < run.work.senders:
                    await self._sends.acquire()
                    places += 1
                for pause_s in LOOKS_S:
                    await asyncio.sleep(pause_s)
                    left = await self._found(left, since)
                    if not left:
                        return
            finally:
                for _ in range(places):
                    self._sends.release()
        run.cap.withdraw(len(left))
        for item in left:
            await run.fail(item, reason)

    async def _found(self, items: list[Item[T]], since: float) -> list[Item[T]]:
        """Look once; take up what is found and give the rest."""
        run = self.run
        try:
            found = await run.work.find([item.value for item in items], since, run.claimed)
        except EachLabsError:
            return items  # The session tried again already; the next look is another try.
        pairs = list(zip(items, found, strict=True))
        matched = [(item, identity) for item, identity in pairs if identity is not None]
        if run.journal is not None:
            await run.journal.started([(item.outcome.index, identity) for item, identity in matched])
        for item, identity in matched:
            run.stats.submitted += 1
            run.stats.recovered += 1
            run.starts(item, identity)
        return [item for item, identity in pairs if identity is None]


def _concerns_inputs(failure: EachLabsError) -> bool:
    """Say whether a refusal may be the doing of one input, or of their number."""
    if isinstance(failure, BadRequestError | UnprocessableEntityError):
        return True
    return isinstance(failure, APIStatusError) and failure.status == 413
