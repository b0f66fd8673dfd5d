"""Owns the reading and sending of a map's inputs: under the cap, in chunks, each once; refuses to watch what runs.

What is certain not to have been carried out is sent again or given up; what may have been is looked for, never sent
again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Generic, TypeVar

from ..errors import (
    APIStatusError,
    BadRequestError,
    EachLabsError,
    OutcomeUnknownError,
    PaymentRequiredError,
    RateLimitError,
    UnprocessableEntityError,
)
from .balance_backoff import BalanceBackoff
from .journal import JournalEntry, digest
from .map_state import AT_THE_CAP, FATAL_FOR_MAP, OUT_OF_MONEY, Item, MapState, refused

T = TypeVar("T")

LOOKUP_DELAYS_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Pauses before the look-ups for what may have been carried out: a listing may show it late."""
BATCH_DELAY_S: Final = 0.05
"""How long the first inputs of a chunk wait for the others, in seconds, where the source is slow."""
_OTHERS_MOST_S: Final = 5.0
"""The longest pause, in seconds, while others fill the account."""
_NOBODY_TELLS_MOST_S: Final = 60.0
"""The same where what fills it may be our own, and nobody would tell of its end."""
_NEVER: Final = float("inf")
log: Final = logging.getLogger("eachlabs_async")


class MapSender(Generic[T]):
    """What the reader and the senders of one map share."""

    def __init__(self, run: MapState[T]) -> None:
        self.run = run
        self._sends = asyncio.Semaphore(run.work.senders)
        self._looking = asyncio.Lock()
        self._not_before = 0.0
        self._refused_in_a_row = 0
        self._balance_backoff = BalanceBackoff()
        self._one_by_one = False  # After a refusal that more tries would only prolong, until one is accepted.

    async def read(self) -> None:
        """Read inputs, a chunk ahead of the sending and a window ahead of the handing out; a task of its own.

        So no sender waits for a slow source while there is something to send.
        """
        run = self.run
        while not run.inputs.exhausted:
            if len(run.fresh) >= run.work.chunk or run.held >= run.window:
                await run.change()
            elif (found := await run.inputs.next()) is not None:
                run.admit(*found)
        run.signal()

    async def send(self) -> None:
        """Send until nothing is left to send; one of `senders` tasks."""
        run = self.run
        try:
            while (batch := await self._take()) is not None:
                run.sending += 1
                try:
                    if not batch[0].digest:
                        batch = await self._looked_at(batch)
                    if batch:
                        await self._submit(batch)
                finally:
                    run.sending -= 1
                    run.signal()
        finally:
            run.senders_left -= 1
            run.signal()

    async def _take(self) -> list[Item[T]] | None:
        """Wait until something may be sent and give it, counted as running; None when nothing is left to send."""
        run, limit = self.run, self.run.limit
        while run.failure is None:
            wait_s = self._wait_s()
            if run.again or run.fresh:
                most = min(limit.available, run.work.chunk)
                if wait_s <= 0 and most:
                    wait_s = self._gathers_s(most)
                    if wait_s <= 0:
                        batch = self._next_batch(most)
                        limit.start(len(batch))
                        return batch
            elif run.inputs.exhausted and not run.sending:
                return None
            await run.change(wait_s if 0 < wait_s < _NEVER and limit.available else None)
        return None

    def _wait_s(self) -> float:
        """Say for how many seconds nothing may be sent: `_NEVER` until something else changes."""
        run = self.run
        if not run.work.creates:
            return 0.0
        if self._one_by_one and run.sending:
            return _NEVER
        now = _now()
        silence_s, money_s = run.ours.silent_until - now, self._balance_backoff.wait_s(run.ours, now)
        return max(self._not_before - time.monotonic(), silence_s, money_s)

    def _gathers_s(self, most: int) -> float:
        """Say for how long `most` inputs are worth waiting for: a source may itself wait for an outcome."""
        run = self.run
        if run.again or len(run.fresh) >= most or run.inputs.exhausted or run.held >= run.window:
            return 0.0
        return run.fresh[0].began + BATCH_DELAY_S - time.monotonic()

    def _next_batch(self, most: int) -> list[Item[T]]:
        run = self.run
        if run.again:
            batch = run.again.popleft()
            if len(batch) > most:
                run.again.appendleft(batch[most:])
            return batch[:most]
        batch = [run.fresh.popleft() for _ in range(min(most, len(run.fresh)))]
        run.signal()
        return batch

    async def _looked_at(self, items: list[Item[T]]) -> list[Item[T]]:
        """Check inputs, and take up what the journal knows of them; give those that are to be sent."""
        run = self.run
        wrong: list[tuple[Item[T], Exception]] = []
        good: list[Item[T]] = []
        for item in items:
            try:
                item.value = run.work.checked(item.value)
                item.digest = digest(item.value)
            except (TypeError, ValueError) as exc:
                wrong.append((item, exc.with_traceback(None)))
            else:
                good.append(item)
        entries: dict[int, JournalEntry] = {}
        if run.journal is not None:
            entries = await run.journal.entries([item.outcome.index for item in items])
        for item, error in wrong:
            run.limit.withdraw(1)
            if not self._was_delivered(item, entries):
                run.finish(item, error)
        return await self._not_yet_sent(good, entries)

    def _was_delivered(self, item: Item[T], entries: dict[int, JournalEntry]) -> bool:
        entry = entries.get(item.outcome.index)
        if entry is None:
            return False
        if entry.digest != item.digest:
            raise ValueError(f"input {entry.number} is not the one that the journal knows: it is another job's")
        if entry.delivered:
            self.run.drop(item)
        return entry.delivered

    async def _not_yet_sent(self, items: list[Item[T]], entries: dict[int, JournalEntry]) -> list[Item[T]]:
        run = self.run
        sent: list[tuple[Item[T], JournalEntry]] = []
        fresh: list[Item[T]] = []
        for item in items:
            if self._was_delivered(item, entries):
                run.limit.withdraw(1)
                continue
            entry = entries.get(item.outcome.index)
            if entry is None or entry.state == "refused":
                fresh.append(item)
            elif entry.state == "unknown":
                run.limit.withdraw(1)
                run.finish(item, OutcomeUnknownError(entry.message or "", lookup=run.work.lookup(entry.sent_at)))
            elif entry.execution_id is not None:
                run.starts(item, entry.execution_id)
            else:
                sent.append((item, entry))
        if sent:
            since = min(entry.sent_at for _, entry in sent)
            reason = OutcomeUnknownError("the job was ended while this input was being sent")
            await self._reconcile([item for item, _ in sent], since, reason)
        return fresh

    async def _submit(self, batch: list[Item[T]]) -> None:
        run, now = self.run, time.time()
        ended, alone = run.ours.ended, not run.ours.running(_now())
        failure: EachLabsError | None = None
        doubtful: list[Item[T]] = []
        reason = OutcomeUnknownError("the answer does not tell what became of this input")
        if run.journal is not None:
            await run.journal.intend([(item.outcome.index, item.digest) for item in batch], now)
        try:
            async with self._sends:
                results = await run.work.submit([item.value for item in batch])
                doubtful = await self._take_results(batch, results, ended)
        except OutcomeUnknownError as exc:
            doubtful, reason = batch, exc
        except EachLabsError as exc:
            failure = exc
        if failure is not None:
            await self._refused(batch, failure, ended=ended, alone=alone)
        elif doubtful:
            # Before anything else can happen: who looks for another input must not take an execution of these.
            run.lost.update(item.digest for item in doubtful)
            await self._reconcile(doubtful, now, reason)

    async def _refused(self, batch: list[Item[T]], failure: EachLabsError, *, ended: int, alone: bool) -> None:
        """Go on after a refusal, or what was never sent: it is certain that nothing was carried out.

        When it was sent, so many of ours had `ended`, and if it was sent `alone` none ran.
        """
        run = self.run
        if run.journal is not None:
            await run.journal.withdraw([item.outcome.index for item in batch])
        if isinstance(failure, RateLimitError):
            if run.ours.silent_until > _now():
                self._keep_silence(batch)
            else:
                self._refuse(batch, failure.retry_after_s or 0.0)
            return
        self._refused_in_a_row = 0
        if isinstance(failure, PaymentRequiredError) and (not alone or len(batch) > 1 or run.ours.running(_now())):
            self._out_of_money(batch, failure.message, ended=ended, alone=alone)
            return
        run.limit.withdraw(len(batch))
        if isinstance(failure, FATAL_FOR_MAP):
            run.stop_for(failure)
        elif len(batch) > 1 and _concerns_inputs(failure):
            middle = len(batch) // 2
            run.again.extend((batch[:middle], batch[middle:]))
        else:
            for item in batch:
                run.finish(item, failure.with_traceback(None))

    async def _take_results(
        self, batch: list[Item[T]], results: list[tuple[str | None, str]], ended: int
    ) -> list[Item[T]]:
        """Take up what an answer says; give the inputs of which it says nothing."""
        run = self.run
        answered = list(zip(batch, results, strict=False))
        started = [(item, identity) for item, (identity, _) in answered if identity is not None]
        failed = [(item, message) for item, (identity, message) in answered if identity is None and message]
        doubtful = [item for item, (identity, message) in answered if identity is None and not message]
        if run.journal is not None:
            await run.journal.answered(
                [(item.outcome.index, identity) for item, identity in started],
                [item.outcome.index for item, _ in failed],
            )
        for item, identity in started:
            run.stats.submitted += 1
            run.starts(item, identity)
        at_the_cap: list[Item[T]] = []
        unpaid: list[Item[T]] = []
        for item, message in failed:
            if AT_THE_CAP.search(message):
                at_the_cap.append(item)
            elif OUT_OF_MONEY.search(message):
                unpaid.append(item)
            else:
                run.limit.withdraw(1)
                run.finish(item, refused(message))
        if at_the_cap:
            self._refuse(at_the_cap, 0.0)
        if unpaid:
            self._out_of_money(unpaid, "entries of a bulk trigger", ended=ended, alone=False)
        if not at_the_cap and not unpaid:
            run.limit.accept()
            self._balance_backoff.accept()
            self._refused_in_a_row = 0
            self._one_by_one = False
        return doubtful + batch[len(results) :]

    def _refuse(self, batch: list[Item[T]], wait_s: float) -> None:
        """The account runs as much as it may: try these again when something has settled, or after a while."""
        limit = self.run.limit
        self.run.again.appendleft(batch)
        limit.refuse(len(batch))
        self._refused_in_a_row += 1
        if limit.running == 0 and len(batch) == 1:
            # None of ours runs, so nothing of ours can settle: others use the account.
            most_s = _OTHERS_MOST_S if self.run.ours.is_watched else _NOBODY_TELLS_MOST_S
            wait_s = max(wait_s, min(most_s, 0.1 * 2.0 ** min(self._refused_in_a_row, 10)))
        self._not_before = max(self._not_before, time.monotonic() + wait_s)

    def _keep_silence(self, batch: list[Item[T]]) -> None:
        """Try these again when the client's silence is over, and then one request at a time."""
        self.run.again.appendleft(batch)
        self.run.limit.hold(len(batch))
        self._one_by_one = True

    def _out_of_money(self, batch: list[Item[T]], said: str, *, ended: int, alone: bool) -> None:
        """What runs reserves the balance: try these again when something of ours has ended, and fewer at once."""
        run = self.run
        run.again.appendleft(batch)
        run.limit.lower(len(batch))
        run.level_lasts = False
        self._one_by_one = True
        if alone:
            return  # Nothing reserves anything: fewer may still be paid for.
        if not self._balance_backoff.refusals:
            log.info("inputs wait until executions that run leave money for them: HTTP 402: %s", said)
        self._balance_backoff.refuse(ended, _now())

    async def _reconcile(self, batch: list[Item[T]], since: float, reason: OutcomeUnknownError) -> None:
        """Look for executions of inputs that may have been carried out; nothing else is sent meanwhile."""
        run, left = self.run, batch
        async with self._looking:
            places = 0
            try:
                # Another request on its way may be about an equal input: its execution must not be taken for ours.
                while places < run.work.senders:
                    await self._sends.acquire()
                    places += 1
                for pause_s in LOOKUP_DELAYS_S:
                    await asyncio.sleep(pause_s)
                    left = await self._found(left, since)
                    if not left:
                        return
            finally:
                for _ in range(places):
                    self._sends.release()
        run.limit.withdraw(len(left))
        reason.lookup = run.work.lookup(since)
        if run.journal is not None:
            await run.journal.unknown([item.outcome.index for item in left], reason.message)
        for item in left:
            run.finish(item, reason.with_traceback(None))

    async def _found(self, items: list[Item[T]], since: float) -> list[Item[T]]:
        """Look once; take up what is found and give the rest."""
        run = self.run
        try:
            found = await run.work.find([item.value for item in items], since, run.claimed, run.lost)
        except EachLabsError:
            return items  # The session tried again already; the next look is another try.
        pairs = list(zip(items, found, strict=True))
        matched = [(item, identity) for item, identity in pairs if identity is not None]
        if run.journal is not None:
            await run.journal.answered([(item.outcome.index, identity) for item, identity in matched])
        for item, identity in matched:
            run.stats.submitted += 1
            run.stats.recovered += 1
            run.lost[item.digest] -= 1
            run.starts(item, identity)
        return [item for item, identity in pairs if identity is None]


def _concerns_inputs(failure: EachLabsError) -> bool:
    """Say whether a refusal may be the doing of one input, or of their number."""
    if isinstance(failure, BadRequestError | UnprocessableEntityError):
        return True
    return isinstance(failure, APIStatusError) and failure.status == 413


def _now() -> float:
    return asyncio.get_running_loop().time()
