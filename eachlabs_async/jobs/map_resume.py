"""Check the inputs of a map before they are sent, and act on what its journal records of them."""

from __future__ import annotations

import time
from typing import Generic, TypeVar

from ..errors import OutcomeUnknownError
from .claims import SentInput
from .journal import JournalEntry
from .map_recovery import MapRecovery
from .map_state import Item, MapState
from .sent_inputs import digest

T = TypeVar("T")


class MapResume(Generic[T]):
    """The inputs that earlier runs of one map may have dealt with."""

    def __init__(self, state: MapState[T], recovery: MapRecovery[T]) -> None:
        self.state = state
        self._recovery = recovery

    async def unsent(self, items: list[Item[T]]) -> list[Item[T]]:
        """Check inputs, act on what the journal records of them, and return those that are to be sent."""
        state = self.state
        for item in items:
            if item.invalid is None:
                item.digest = digest(item.value)
        entries: dict[int, JournalEntry] = {}
        if state.journal is not None:
            entries = await state.journal.entries([item.outcome.index for item in items])
        for item in items:
            if item.invalid is not None:
                state.limit.discard(1)
                if not self._was_delivered(item, entries):
                    state.finish(item, item.invalid)
        return await self._resumed([item for item in items if item.invalid is None], entries)

    def _was_delivered(self, item: Item[T], entries: dict[int, JournalEntry]) -> bool:
        entry = entries.get(item.outcome.index)
        if entry is None:
            return False
        if entry.digest != item.digest:
            raise ValueError(f"input {entry.number} is not the one in the journal, which belongs to another job")
        if entry.delivered and not (entry.state == "unknown" and self.state.options.retry_unknown):
            self.state.drop(item)
            return True
        return False

    async def _resumed(self, items: list[Item[T]], entries: dict[int, JournalEntry]) -> list[Item[T]]:
        """Resume the inputs that an earlier process sent, and return those that it did not send."""
        state = self.state
        lost: list[Item[T]] = []
        started: list[Item[T]] = []
        unsent: list[Item[T]] = []
        for item in items:
            if self._was_delivered(item, entries):
                state.limit.discard(1)
                continue
            entry = entries.get(item.outcome.index)
            if entry is None or entry.state == "refused":
                unsent.append(item)
                continue
            item.sent = self._sent_before(item, entry)
            if entry.state == "unknown" and not state.options.retry_unknown:
                state.limit.discard(1)
                state.finish(item, OutcomeUnknownError(entry.message or "", lookup=state.backend.lookup(entry.sent_at)))
            elif entry.execution_id:
                item.resumed = True
                state.start(item, entry.execution_id)
                started.append(item)
            else:
                lost.append(item)
        state.place(started)
        if lost:
            reason = OutcomeUnknownError("the job was ended while this input was being sent")
            await self._recovery.recover(lost, reason)
        return unsent

    def _sent_before(self, item: Item[T], entry: JournalEntry) -> SentInput:
        """Return the record of an input that an earlier process sent, or may have sent."""
        backend = self.state.backend
        known = self.state.lost_before.get(entry.number)
        if known is not None:
            known.value = item.value
            return known
        until = min(time.time(), entry.sent_at + backend.deadline_s)
        name = None if self.state.journal is None else (self.state.journal.path, entry.number)
        return SentInput(backend.scope, item.value, backend.bulk, object(), entry.sent_at, until=until, entry=name)
