"""Print the outcomes of a map as they come, with a live view, and say how to go on if it stops early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from attrs import frozen

from ..bulk.outcomes import MapStats
from ..errors import EachLabsError
from ..jobs.map_run import MapRun
from .context import Context
from .failures import FAILED, OK, UsageError, failure_of
from .input_source import InputSource
from .live.board import Board, Counts, Money
from .live.facts import reason_of
from .live.live_view import LiveView
from .live.showing import live_view
from .outcome_rows import cost_of_outcome, outcome_row, outcomes_view, record_of, was_not_started

__all__ = ["MapCommand", "checked_budget"]

_WINDOW: Final = 4
"""Inputs that a map holds, as a multiple of the executions at once."""


@frozen
class MapCommand:
    """One map: its title, its inputs, and the options that its view and its messages need."""

    context: Context
    title: str
    source: InputSource
    concurrency: int
    budget: Decimal | None = None
    journal: str | None = None

    async def run(self, make: Callable[[AsyncIterator[dict[str, Any]]], MapRun[Any]]) -> int:
        """Run all inputs, print their outcomes, and return the exit code. `make` starts the map with the inputs."""
        self.context.view(outcomes_view())  # so that a wrong field is refused before anything is paid for
        total = await self.source.check()
        if total == 0:
            raise UsageError(f"there are no inputs in {self.source.path}")
        return await _Run(self, total).run(make)

    def options(self) -> dict[str, Any]:
        """Return the options of the map that were given."""
        given: dict[str, Any] = {"concurrency": self.concurrency, "journal": self.journal}
        if self.budget is not None:
            given["budget_usd"] = self.budget
        return given


class _Run:
    """One map on its way: what was read and spent, and how its outcomes ended."""

    def __init__(self, command: MapCommand, total: int | None) -> None:
        self._command = command
        self._context = command.context
        self._total = total
        self._read = 0
        self._spent = Decimal(0)
        self._succeeded = 0
        self._not_started = 0
        self._codes: set[int] = set()
        self._stats = MapStats()
        self._board = Board(command.title, total=total, budget=command.budget)

    async def run(self, make: Callable[[AsyncIterator[dict[str, Any]]], MapRun[Any]]) -> int:
        context = self._context
        rows = context.rows(outcomes_view(), live=True)
        run = make(self._inputs())
        self._stats = run.stats
        view = live_view(context, self._board, refresh=self._refresh, lists_each=False)
        try:
            async with view:
                await self._print(run, rows, view)
        except asyncio.CancelledError:
            self._say_how_to_go_on()
            raise
        except EachLabsError:
            if self._command.journal is not None:
                self._say_how_to_go_on()
            raise
        finally:
            rows.end()
        context.note(f"{self._command.title}: {view.summary()}")
        if self._not_started:
            self._say_what_was_not_started()
        return self._code()

    async def _print(self, run: MapRun[Any], rows: Any, view: LiveView) -> None:
        async with run as outcomes:
            try:
                async for outcome in outcomes:
                    if outcome.error is not None and was_not_started(outcome.error):
                        self._not_started += 1
                        continue
                    self._spent += cost_of_outcome(outcome) or 0
                    if outcome.error is None:
                        self._succeeded += 1
                    else:
                        self._codes.add(failure_of(outcome.error).code)
                    row = outcome_row(outcome)
                    view.ended(
                        outcome.id or f"input {outcome.index}",
                        record_of(outcome),
                        failed=outcome.error is not None,
                        note="" if outcome.error is None else reason_of(outcome.error),
                        elapsed_s=outcome.elapsed_s,
                    )
                    rows.write(row)
            except asyncio.CancelledError:
                view.stop()
                self._context.warn(
                    "stopping: nothing more is sent, and the ids of what was just sent are awaited "
                    "(up to 7 s; Ctrl-C again ends at once)"
                )
                raise

    async def _inputs(self) -> AsyncIterator[dict[str, Any]]:
        async for row in self._command.source.rows():
            self._read += 1
            yield row

    def _refresh(self) -> None:
        stats, done = self._stats, self._succeeded + self._failed
        running = max(0, stats.submitted - stats.done, stats.running)
        waiting = None
        if self._total is not None:
            # What an earlier run delivered is read, and neither sent nor held.
            held = min(max(0, self._read - stats.done - running), _WINDOW * self._command.concurrency)
            waiting = max(0, self._total - self._read) + held
        spent = max(self._spent, Decimal(str(getattr(stats, "spent_usd", None) or 0)))
        estimate = getattr(stats, "running_usd", None)
        self._board.counted(
            Counts(done, self._failed, running, waiting),
            Money(spent, None if not estimate else Decimal(str(estimate)), self._command.budget),
        )

    @property
    def _failed(self) -> int:
        return max(0, self._stats.failed - self._not_started)

    def _code(self) -> int:
        if not self._codes:
            return FAILED if self._not_started else OK
        return self._codes.pop() if not self._succeeded and len(self._codes) == 1 else FAILED

    # ---- how to go on

    def _say_how_to_go_on(self) -> None:
        context, command = self._context, self._command
        done = self._succeeded + self._failed
        if command.journal is None:
            context.warn(
                f"stopped after {done:,} outcomes; without --journal FILE a map cannot go on, and the same command "
                "would run these inputs again"
            )
            return
        stdin = "" if command.source.path is not None else "\nthe same inputs have to come on standard input"
        context.warn(f"stopped after {done:,} outcomes\ngo on with: {context.continued()}{stdin}")

    def _say_what_was_not_started(self) -> None:
        context = self._context
        context.warn(f"{self._not_started:,} inputs were not started: the budget is reached")
        if self._command.journal is not None:
            more = None if self._command.budget is None else f"{self._command.budget * 2:f}"
            context.warn(f"go on with: {context.continued(budget_usd=more)}")


def checked_budget(text: str | None) -> Decimal | None:
    """Return the value of `--budget-usd`. Raises `UsageError` for what is no amount above 0."""
    if text is None:
        return None
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        raise UsageError(f"--budget-usd is an amount in USD, such as 20, not {text!r}") from None
    if not amount.is_finite() or amount <= 0:
        raise UsageError(f"--budget-usd must be more than 0, not {text}")
    return amount
