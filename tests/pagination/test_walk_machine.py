"""Stateful tests of the real client against a server whose listing moves between and during requests.

A state machine draws the listing, the limit, the clamp, the totals, the look-ahead and the drift mode. Rows are then
inserted, removed and filtered out while the walk advances, is interrupted and resumed. At the end it checks:

- `resync`: every row that stayed exactly once, in order, by offset; by page number if rows are only inserted or only
  removed;
- `raise`: an error at the first detectable movement, and no wrong row before it;
- interrupted anywhere: resuming from the checkpoint misses and repeats nothing.

An error that the listing cannot be walked is acceptable; a silent gap or repetition is not. Since sockets are not
deterministic, draws never depend on results: a rule that has nothing to do does nothing. `test_engine_histories.py`
does the same without sockets, with many more examples.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from listings import KINDS, Reached, ids_of, reached

from eachlabs_async import DriftError, PaginationError
from eachlabs_async.emulator import Fault, Move

STATUS = {"executions.list": "success", "workflow_executions.list": "completed", "runs.list": "completed"}

some = st.integers(1, 9)
places = st.integers(0, 80)
moments = st.sampled_from(["before", "during", "after"])


class WalkMachine(RuleBasedStateMachine):
    """One walk over one listing, with events that affect either."""

    @initialize(
        kind=st.sampled_from(KINDS),
        rows=st.integers(0, 60),
        limit=st.integers(1, 15),
        clamp=st.none() | st.integers(2, 15),
        cap=st.none() | st.integers(1, 40),
        look_ahead=st.integers(0, 5),
        drift=st.sampled_from(["resync", "raise"]),
        filtered=st.booleans(),
    )
    def begin(
        self,
        kind: str,
        rows: int,
        limit: int,
        clamp: int | None,
        cap: int | None,
        look_ahead: int,
        drift: str,
        filtered: bool,
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.listing: Reached = self.run(
            self.stack.enter_async_context(reached(kind, rows, failed=0.0, cancelled=0.0, unfinished=0.0))
        )
        faults = self.listing.emulator.faults
        faults.add(Fault.latency(0.0, jitter=0.001))
        if clamp is not None:
            faults.add(Fault.clamped_limit(clamp))
        self.exact = cap is None or kind.split()[0] != "executions.list"
        if not self.exact:
            faults.add(Fault.capped_total(cap or 0))
        # Only executions can be filtered by status; in the other listings, leaving the filter means removal.
        self.filters = {"status": "success"} if filtered and kind.startswith("executions") else {}
        self.limit, self.look_ahead, self.drift = limit, look_ahead, drift
        self.by_page = "runs" in kind
        self.there = self.now()
        self.rows: list[str] = []
        self.inserted = self.removed = False
        self.flooded = self.elsewhere = self.killed = False
        self.said = ""
        self.ended = False
        self.walk = self.open()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def now(self) -> list[str]:
        """The ids of the listing as it is, filtered as the walk is."""
        rows = self.listing.rows
        wanted = self.filters.get("status")
        return [
            row_id for row_id, row in zip(rows.ids(), rows.select(), strict=True) if wanted in (None, row["status"])
        ]

    def open(self, resume: str | None = None) -> AsyncGenerator[Any, None]:
        self.pager = self.listing.list(
            self.limit, look_ahead=self.look_ahead, drift=self.drift, resume=resume, **self.filters
        )
        return aiter(self.pager)

    @property
    def moved(self) -> bool:
        return self.inserted or self.removed

    @property
    def only_at_the_top(self) -> bool:
        return not (self.removed or self.elsewhere)

    # ---- the listing moves

    @rule(count=some)
    def enter_at_the_top(self, count: int) -> None:
        self.flooded |= count >= len(self.rows)
        self.listing.rows.insert(count, status=STATUS[self.listing.endpoint])
        self.inserted |= bool(self.listing.requests)
        self.note_start()

    @precondition(lambda self: not self.by_page)
    @rule(count=some, at=places)
    def enter_anywhere(self, count: int, at: int) -> None:
        self.flooded |= count >= len(self.rows)
        self.listing.rows.insert(count, min(at, len(self.listing.rows)), status=STATUS[self.listing.endpoint])
        self.elsewhere = True
        self.inserted |= bool(self.listing.requests)
        self.note_start()

    @rule(count=st.integers(1, 4), at=places)
    def vanish(self, count: int, at: int) -> None:
        there = range(len(self.listing.rows))
        self.listing.rows.remove(*there[at : at + count])
        self.removed |= bool(self.listing.requests)
        self.note_start()

    @rule(count=st.integers(1, 4), seed=st.integers(0, 999))
    def leave_the_filter(self, count: int, seed: int) -> None:
        ids = self.now()
        for row_id in Random(seed).sample(ids, min(count, len(ids))):
            self.listing.rows.change(row_id, status="error")
        self.removed |= bool(self.listing.requests)
        self.note_start()

    @rule(count=some, after=st.integers(0, 4), times=st.integers(1, 3), when=moments)
    def script_rows_to_enter(self, count: int, after: int, times: int, when: Any) -> None:
        move = Move.insert(count, status=STATUS[self.listing.endpoint])
        self.flooded = True  # Nobody knows yet how many rows will be out by then.
        self.script(move, after, times, when)
        self.inserted = True

    @rule(count=st.integers(1, 3), after=st.integers(0, 4), times=st.integers(1, 3), when=moments)
    def script_rows_to_vanish(self, count: int, after: int, times: int, when: Any) -> None:
        self.script(Move.remove(count=count), after, times, when)
        self.removed = True

    def script(self, move: Move, after: int, times: int, when: Any) -> None:
        # Never before the first answer: the guarantees are about the rows that exist then.
        first = not self.listing.requests
        self.listing.emulator.moves.add(
            move, endpoint=self.listing.endpoint, after=after + first, times=times, when=when
        )

    def note_start(self) -> None:
        if not self.listing.requests:
            self.there = self.now()

    # ---- the walk advances

    @rule(count=st.integers(1, 25))
    def walk_on(self, count: int) -> None:
        if not self.ended:
            self.run(self.take(count))

    async def take(self, count: int) -> None:
        for _ in range(count):
            try:
                self.rows += ids_of([await anext(self.walk)])
            except StopAsyncIteration:
                self.ended = True
                return
            except PaginationError as exc:
                moved = isinstance(exc, DriftError) and "the listing moved" in str(exc)
                self.said = "moved" if moved else str(exc) if exc.checkpoint else "no checkpoint"
                self.ended = True
                return

    @rule(limit=st.integers(1, 15), look_ahead=st.integers(0, 5))
    def kill_and_resume(self, limit: int, look_ahead: int) -> None:
        if self.ended:
            return
        checkpoint = self.pager.checkpoint
        self.run(self.pager.aclose())
        self.limit, self.look_ahead = limit, look_ahead
        self.killed = True
        self.walk = self.open(checkpoint)

    # ---- the checks

    def teardown(self) -> None:
        try:
            while not self.ended:
                self.run(self.take(1000))
            self.look()
        finally:
            self.run(self.pager.aclose())
            self.run(self.stack.aclose())
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def look(self) -> None:
        left = set(self.now())
        staying = [row_id for row_id in self.there if row_id in left]
        came = [row_id for row_id in self.rows if row_id in set(staying)]
        event(f"{self.drift}: {self.said[:30] or 'walked to the end'}")
        if self.drift != "resync" and self.killed and self.flooded and not (self.exact and self.only_at_the_top):
            # More rows were inserted than delivered, without a total that shows it. If a walk without overlap is
            # interrupted among those rows, its checkpoint cannot know the rows below them.
            return
        assert len(came) == len(set(came)), "a row came twice"
        assert self.said != "no checkpoint"
        if self.said:
            assert self.moved, "a listing at rest cannot be walked"
            if self.said == "moved":
                assert self.drift == "raise"
        elif self.by_page and self.inserted and self.removed:
            pass
        else:
            assert came == staying, "a row that stayed is missing, or out of order"


TestWalks = WalkMachine.TestCase
TestWalks.settings = settings(settings(), stateful_step_count=15)
