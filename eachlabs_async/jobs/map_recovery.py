"""Look for the executions of inputs of a map whose request may have been carried out; such inputs are never sent again.

Used by `map_sender` after a lost answer, and by `map_watcher` if an execution turns out to be another input's.
"""

from __future__ import annotations

import asyncio
import copy
import time
from typing import Final, Generic, TypeVar

from ..errors import EachLabsError, OutcomeUnknownError
from .map_state import Item, MapState
from .reconcile import Search

T = TypeVar("T")

LOOKUP_DELAYS_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Pauses before the look-ups for lost executions, in seconds: a listing may show them late."""


class MapRecovery(Generic[T]):
    """The look-ups of one map. `requests` bounds its creating requests in flight."""

    def __init__(self, state: MapState[T]) -> None:
        self.state = state
        self.requests = asyncio.Semaphore(state.backend.senders)
        self._looking_up = asyncio.Lock()

    async def recover(self, items: list[Item[T]], reason: OutcomeUnknownError) -> None:
        """Look for the executions of items, and start those that are found. The others end with copies of `reason`.

        The items count as running. A look waits for the creating requests of this map, because a request in flight may
        carry an equal input.
        """
        state, left = self.state, items
        inputs = [item.sent for item in items if item.sent is not None]
        state.ledger.claims.lose(inputs, time.time())
        search = state.backend.search(inputs, state.claimed)
        pauses = iter(LOOKUP_DELAYS_S)
        wait_s = next(pauses, None)
        while wait_s is not None:
            await asyncio.sleep(wait_s)
            left = await self._start_found(search, left)
            if not left:
                return
            confirmed_in_s = search.confirmed_in_s
            wait_s = next(pauses, None) if confirmed_in_s is None else confirmed_in_s
        state.limit.discard(len(left))
        reason.lookup = state.backend.lookup(min(one.since for one in inputs))
        if state.journal is not None:
            await state.journal.unknown([item.outcome.index for item in left], reason.message)
        for item in left:
            error = copy.copy(reason).with_traceback(None)
            search.explain(error, [] if item.sent is None else [item.sent])
            state.finish(item, error)

    async def _start_found(self, search: Search, items: list[Item[T]]) -> list[Item[T]]:
        """Look once, start the executions that were found, and return the items without one."""
        state, acquired = self.state, 0
        async with self._looking_up:
            try:
                while acquired < state.backend.senders:
                    await self.requests.acquire()
                    acquired += 1
                found = await search.look()
            except EachLabsError:
                return items  # The transport has retried already; the next look is another attempt.
            finally:
                for _ in range(acquired):
                    self.requests.release()
            search.accept(found)
            pairs = [(item, found[item.sent].id) for item in items if item.sent in found]
            state.ledger.created(identity for _, identity in pairs)
            if state.journal is not None:
                await state.journal.answered([(item.outcome.index, identity) for item, identity in pairs])
        for item, identity in pairs:
            state.stats.submitted += 1
            state.stats.recovered += 1
            state.start(item, identity)
        state.place([item for item, _ in pairs])
        return [item for item in items if item.sent not in found]
