"""Read the inputs of a map and send them in batches, within the account limit, each input once.

Inputs that were certainly not carried out are sent again or given up. Those that may have been carried out are looked
up, and never sent again. `map_watcher` watches what runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final, Generic, TypeVar

from ..bulk.halving import halves
from ..errors import EachLabsError, JournalError, OutcomeUnknownError, PaymentRequiredError, RateLimitError
from .balance_backoff import BalanceBackoff
from .claims import SentInput
from .map_recovery import MapRecovery
from .map_resume import MapResume
from .map_state import Item, MapState
from .refusals import FATAL_FOR_MAP, is_at_limit, is_out_of_balance, refused_input
from .refused_entries import RefusedEntries

T = TypeVar("T")

BATCH_DELAY_S: Final = 0.05
"""How long the first inputs of a batch wait for the others if the source is slow, in seconds."""
_MAX_PAUSE_S: Final = 5.0
"""The longest pause, in seconds, while others use up the account's limit."""
_MAX_UNOBSERVED_PAUSE_S: Final = 60.0
"""The longest pause, in seconds, if it may be executions of this client whose end would not be observed."""
_UNTIL_CHANGE: Final = float("inf")
log: Final = logging.getLogger("eachlabs_async")


class MapSender(Generic[T]):
    """The reader and the senders of one map, and the state that they share."""

    def __init__(self, state: MapState[T], recovery: MapRecovery[T]) -> None:
        self.state = state
        self._recovery = recovery
        self._resume = MapResume(state, recovery)
        self._not_before = 0.0
        self._refusals = 0  # consecutive 429s
        self._balance_backoff = BalanceBackoff()
        self._refused: RefusedEntries[Item[T]] = RefusedEntries()
        self._one_by_one = False  # After a refusal that further requests would prolong, until one is accepted.

    async def read(self) -> None:
        """Read inputs until the source is exhausted; runs as a task of its own.

        It reads one batch ahead of the senders and one window ahead of the delivery, so that no sender waits for a slow
        source while there is something to send.
        """
        state = self.state
        while not state.inputs.exhausted:
            if len(state.unsent) >= state.backend.chunk_size or state.undelivered >= state.window:
                await state.wait_for_change()
            elif (found := await state.inputs.next()) is not None:
                state.admit(*found)
        state.signal()

    async def send(self) -> None:
        """Send inputs until none are left; runs as one of `senders` tasks."""
        state = self.state
        try:
            while (batch := await self._take()) is not None:
                state.sending += 1
                try:
                    if not batch[0].digest:
                        batch = await self._resume.unsent(batch)
                    batch = self._affordable(batch)
                    if batch:
                        await self._submit(batch)
                finally:
                    state.sending -= 1
                    state.signal()
        finally:
            state.senders_left -= 1
            state.signal()

    async def _take(self) -> list[Item[T]] | None:
        """Wait until inputs may be sent and return them, counted as running; None if no inputs are left."""
        state, limit = self.state, self.state.limit
        while state.failure is None and not state.leaving:
            limit.probe(_now())
            wait_s = self._wait_s()
            if wait_s <= 0 and limit.available:
                item = self._refused.take(state.ledger.executions.ended, limit.running)
                if item is not None:
                    limit.start(1)
                    return [item]
            if self._refused.holds_others:
                wait_s = _UNTIL_CHANGE
            elif state.unsent_batches or state.unsent:
                most = min(limit.available, state.backend.chunk_size)
                if wait_s <= 0 and most and not self._awaits_budget():
                    wait_s = self._batch_delay_s(most)
                    if wait_s <= 0:
                        batch = self._next_batch(most)
                        limit.start(len(batch))
                        return batch
            elif state.inputs.exhausted and not state.sending and not self._refused:
                return None
            if not limit.available:
                await state.wait_for_change(limit.probe_in_s(_now()) if state.unsent_batches or state.unsent else None)
            else:
                await state.wait_for_change(wait_s if 0 < wait_s < _UNTIL_CHANGE else None)
        return None

    def _wait_s(self) -> float:
        """Return for how many seconds nothing may be sent: `_UNTIL_CHANGE` if that depends on something else."""
        state = self.state
        if not state.backend.creates:
            return 0.0
        if self._one_by_one and state.sending:
            return _UNTIL_CHANGE
        balance_s = self._balance_backoff.wait_s(state.ledger, _now())
        return max(self._not_before - time.monotonic(), state.ledger.paused_for_s(), balance_s)

    def _batch_delay_s(self, most: int) -> float:
        """Return how long to wait for `most` inputs to arrive; the source may itself wait for an outcome."""
        state = self.state
        enough = state.unsent_batches or len(state.unsent) >= most
        if enough or state.inputs.exhausted or state.undelivered >= state.window:
            return 0.0
        return state.unsent[0].began + BATCH_DELAY_S - time.monotonic()

    def _next_batch(self, most: int) -> list[Item[T]]:
        state = self.state
        if state.unsent_batches:
            batch = state.unsent_batches.popleft()
            if len(batch) > most:
                state.unsent_batches.appendleft(batch[most:])
            return batch[:most]
        batch = [state.unsent.popleft() for _ in range(min(most, len(state.unsent)))]
        state.signal()
        return batch

    # ---- the budget

    def _awaits_budget(self) -> bool:
        """Whether the next inputs can be sent, or refused for the budget, only after an execution has ended."""
        state = self.state
        if not state.unsent_batches or state.unsent_batches[0][0].counted:
            return False
        return not state.budget.available and state.budget.running > 0

    def _affordable(self, batch: list[Item[T]]) -> list[Item[T]]:
        """Return those of the inputs that the budget allows to send now; the others wait, or end if it is reached."""
        state, budget = self.state, self.state.budget
        new = [item for item in batch if not item.counted]
        if not new or not state.backend.creates:
            return batch
        most = budget.available
        held = new[most:]
        state.limit.discard(len(held))
        if most or budget.running:
            if held:
                state.unsent_batches.appendleft(held)
        else:
            for item in held:
                state.finish(item, budget.reached())
        for item in new[:most]:
            state.count(item)
        return [item for item in batch if item.counted]

    # ---- sending

    async def _submit(self, batch: list[Item[T]]) -> None:
        state, claims = self.state, self.state.ledger.claims
        ended, alone = state.ledger.executions.ended, not state.ledger.running()
        failure: EachLabsError | None = None
        doubtful: list[Item[T]] = []
        reason = OutcomeUnknownError("the answer does not say what became of this input")
        inputs: list[SentInput] = []
        async with self._recovery.requests:
            # Leaving the map waits for this, so that the ids of what is created are known, and in the journal.
            state.creating += len(batch)
            try:
                now = time.time()
                if state.journal is not None:
                    await state.journal.intend([(item.outcome.index, item.digest) for item in batch], now)
                inputs = self._begin(batch, now)
                try:
                    results = await state.backend.submit([item.value for item in batch])
                except OutcomeUnknownError as exc:
                    doubtful, reason = batch, exc
                except EachLabsError as exc:
                    failure = exc
                    claims.settle(inputs)
                else:
                    doubtful = await self._record_results(batch, results, ended)
            except BaseException:
                # What is known by now is claimed, and stays so. The rest may have been sent.
                claims.lose([one for one in inputs if claims.is_under_way(one)], time.time())
                raise
            finally:
                state.creating -= len(batch)
                state.signal()
        if failure is not None:
            await self._record_refusal(batch, failure, ended=ended, alone=alone)
        elif doubtful:
            await self._recovery.recover(doubtful, self._reason(doubtful, reason))

    def _begin(self, batch: list[Item[T]], now: float) -> list[SentInput]:
        backend, journal = self.state.backend, self.state.journal
        if not backend.creates:
            return []
        values = [item.value for item in batch]
        inputs = self.state.ledger.claims.begin(backend.scope, values, bulk=backend.bulk, now=now)
        for item, one in zip(batch, inputs, strict=True):
            item.sent = one
            one.entry = None if journal is None else (journal.path, item.outcome.index)
        return inputs

    def _reason(self, doubtful: list[Item[T]], reason: OutcomeUnknownError) -> OutcomeUnknownError:
        names = [item.outcome.id for item in doubtful if item.outcome.id]
        for item in doubtful:
            item.outcome.id = ""
        if not names:
            return reason
        return OutcomeUnknownError(f"the answer names {', '.join(names)}, which already belongs to another call")

    async def _record_refusal(self, batch: list[Item[T]], failure: EachLabsError, *, ended: int, alone: bool) -> None:
        """Act on a refused batch, or one that was not sent: certainly none of its inputs was carried out.

        When the request was sent, `ended` executions of this client had ended, and with `alone` none of them ran.
        """
        state = self.state
        if state.journal is not None:
            await state.journal.forget([item.outcome.index for item in batch])
        if isinstance(failure, RateLimitError):
            if state.ledger.paused_for_s() > 0:
                self._retry_after_pause(batch)
            else:
                self._retry_at_limit(batch, failure.retry_after_s or 0.0)
            return
        self._refusals = 0
        if isinstance(failure, PaymentRequiredError) and (not alone or len(batch) > 1 or state.ledger.running()):
            self._retry_for_balance(batch, failure.message, ended=ended, alone=alone)
            return
        state.limit.discard(len(batch))
        if isinstance(failure, FATAL_FOR_MAP):
            state.stop_for(failure)
        elif (pair := halves(batch, failure)) is not None:
            state.unsent_batches.extend(pair)
        else:
            for item in batch:
                state.finish(item, failure.with_traceback(None))

    async def _record_results(
        self, batch: list[Item[T]], results: list[tuple[str | None, str]], ended: int
    ) -> list[Item[T]]:
        """Record the results of a batch, and return the inputs that the answer says nothing about."""
        state = self.state
        answered = list(zip(batch, results, strict=False))
        started, doubtful = self._claim(answered)
        refused = [(item, message) for item, (identity, message) in answered if identity is None and message]
        for item, identity in started:
            state.stats.submitted += 1
            state.start(item, identity)
            state.unsent_batches.extend([other] for other in self._refused.accept(item))
        state.place([item for item, _ in started])
        if state.journal is not None:
            pairs = [(item.outcome.index, identity) for item, identity in started]
            try:
                await state.journal.answered(pairs, [item.outcome.index for item, _ in refused])
            except JournalError:
                state.ledger.claims.release((item.sent, identity) for item, identity in started)
                raise
        at_limit: list[Item[T]] = []
        not_covered: list[Item[T]] = []
        for item, message in refused:
            if is_at_limit(message) or self._refused.is_limit(message):
                at_limit.append(item)
            elif is_out_of_balance(message):
                not_covered.append(item)
            else:
                state.limit.discard(1)
                if self._refused.refuse(item, message, ended):
                    state.finish(item, refused_input(message))
        if at_limit:
            self._retry_at_limit(at_limit, 0.0)
        if not_covered:
            self._retry_for_balance(not_covered, "entries of a bulk trigger", ended=ended, alone=False)
        if not at_limit and not not_covered:
            state.limit.accept()
            self._balance_backoff.accept()
            self._refusals = 0
            self._one_by_one = False
        return doubtful + batch[len(results) :]

    def _claim(
        self, answered: list[tuple[Item[T], tuple[str | None, str]]]
    ) -> tuple[list[tuple[Item[T], str]], list[Item[T]]]:
        """Claim the executions that an answer names. Return them, and the items of which it is not known whose.

        An execution that already belongs to another input is kept as the id of the item's outcome.
        """
        state, now = self.state, time.time()
        claims = state.ledger.claims
        started: list[tuple[Item[T], str]] = []
        doubtful: list[Item[T]] = []
        for item, (identity, message) in answered:
            if item.sent is None:  # Nothing is sent.
                started += [(item, identity)] if identity is not None else []
                continue
            item.sent.until = now
            if identity is None and message:
                claims.settle([item.sent])
            elif identity is None or identity in claims or identity in state.claimed:
                item.outcome.id = identity or ""
                doubtful.append(item)
            else:
                claims.claim(item.sent, identity)
                started.append((item, identity))
        if state.backend.creates:
            state.ledger.created(identity for _, identity in started)
        return started, doubtful

    # ---- sending again

    def _retry_at_limit(self, batch: list[Item[T]], wait_s: float) -> None:
        """Send a batch again when one of the running executions has ended, or after a pause if there are none."""
        state = self.state
        state.unsent_batches.appendleft(batch)
        state.limit.refuse(len(batch), _now())
        self._refusals += 1
        if state.limit.running == 0 and len(batch) == 1:
            # No execution of this map runs, so none can end: others use the account.
            most_s = _MAX_PAUSE_S if state.ledger.ends_are_observed else _MAX_UNOBSERVED_PAUSE_S
            wait_s = max(wait_s, min(most_s, 0.1 * 2.0 ** min(self._refusals, 10)))
        self._not_before = max(self._not_before, time.monotonic() + wait_s)

    def _retry_after_pause(self, batch: list[Item[T]]) -> None:
        """Send a batch again when the client's pause of creations is over, then one request at a time."""
        self.state.unsent_batches.appendleft(batch)
        self.state.limit.refuse_for_pause(len(batch))
        self._one_by_one = True

    def _retry_for_balance(self, batch: list[Item[T]], reason: str, *, ended: int, alone: bool) -> None:
        """Send a batch again, fewer inputs at once, when an execution has ended and released its reservation."""
        state = self.state
        state.unsent_batches.appendleft(batch)
        state.limit.refuse_for_balance(len(batch), _now())
        state.limited_by_balance = True
        self._one_by_one = True
        if alone:
            return  # Nothing reserves a part of the balance: it may still cover fewer inputs.
        if not self._balance_backoff.refusals:
            facts = {"event": "balance awaited", "status": 402}
            text = "inputs wait until running executions release a part of the balance: HTTP 402: %s"
            log.info(text, reason, extra=facts)
        self._balance_backoff.refuse(ended, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
