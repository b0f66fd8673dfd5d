"""The state of a live view, fed by events: what runs, what has ended, and what it cost. It has no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from attrs import define, field, frozen

from ...records import State
from .facts import Facts, StepFacts

__all__ = ["Board", "Counts", "Item", "Money", "Snapshot"]

_RECENT: Final = 5
"""How many executions that have ended are remembered."""
_UNKNOWN: Final = Facts("", State.PENDING)


@frozen
class Item:
    """One execution: its id, since when it is watched, what is known of it, and since when its steps run."""

    key: str
    began_s: float
    facts: Facts = _UNKNOWN
    step_began_s: Mapping[str, float] = field(factory=dict[str, float])
    ended_s: float | None = None
    note: str = ""

    def elapsed_s(self, now_s: float) -> float:
        """For how long it has been watched."""
        return max(0.0, (now_s if self.ended_s is None else self.ended_s) - self.began_s)

    def step_elapsed_s(self, step: StepFacts, now_s: float) -> float | None:
        """How long a step took, or has been seen running; None if it has not begun."""
        if step.seconds is not None:
            return step.seconds
        began_s = self.step_began_s.get(step.name)
        return None if began_s is None else max(0.0, now_s - began_s)


@frozen
class Counts:
    """How many executions are in which state; `waiting` is None where nobody knows how many will follow.

    `word` is what those that are counted as done are called.
    """

    done: int = 0
    failed: int = 0
    running: int = 0
    waiting: int | None = None
    word: str = "done"


@frozen
class Money:
    """What was spent, what the running ones may cost (an estimate), and the budget, in USD."""

    spent: Decimal = Decimal(0)
    running: Decimal | None = None
    budget: Decimal | None = None

    @property
    def left(self) -> Decimal | None:
        """What is left of the budget."""
        return None if self.budget is None else max(Decimal(0), self.budget - self.spent - (self.running or 0))


@frozen
class Snapshot:
    """The state at one moment: what runs, longest first, and what ended last."""

    title: str
    now_s: float
    elapsed_s: float
    counts: Counts
    money: Money
    open: tuple[Item, ...] = ()
    recent: tuple[Item, ...] = ()
    note: str = ""


@define
class Board:
    """The state of a live view. Memory is bounded by what runs: of the others the last five are kept.

    `total` is the number of executions there will be, None if unknown. `shows_recent` is whether a snapshot has what
    ended last, which is on the screen already where rows are printed. `note` is a line about the whole, such as that
    the service does not answer. The times are those of any steady clock.
    """

    title: str
    began_s: float = 0.0
    total: int | None = None
    budget: Decimal | None = None
    shows_recent: bool = False
    note: str = ""
    _open: dict[str, Item] = field(factory=dict[str, Item], init=False)
    _recent: deque[Item] = field(factory=lambda: deque[Item](maxlen=_RECENT), init=False)
    _done: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _spent: Decimal = field(default=Decimal(0), init=False)
    _counted: Counts | None = field(default=None, init=False)
    _money: Money | None = field(default=None, init=False)

    def started(self, key: str, now_s: float) -> Item:
        """Note that an execution is watched from now on."""
        item = self._open[key] = self._open.get(key, Item(key, now_s))
        return item

    def updated(self, key: str, facts: Facts, now_s: float, now: datetime | None = None) -> tuple[Item | None, Item]:
        """Note what is known of an execution, and return it as it was and as it is.

        With `now`, the time of day, what began before it was watched has run since then.
        """
        before = self._open.get(key)
        known = before or Item(key, now_s)
        running = {
            step.name: min(known.step_began_s.get(step.name, now_s), _since(step.started_at, now_s, now))
            for step in facts.steps
            if step.state is State.RUNNING
        }
        began_s = min(known.began_s, _since(facts.started_at, now_s, now))
        item = self._open[key] = Item(key, began_s, facts, running)
        return before, item

    def ended(
        self,
        key: str,
        facts: Facts | None,
        now_s: float,
        *,
        failed: bool = False,
        note: str = "",
        elapsed_s: float = 0.0,
    ) -> Item:
        """Note that an execution is not watched any more, and how it ended; `note` is the reason of a failure.

        `elapsed_s` is how long one took that was not watched before.
        """
        known = self._open.pop(key, None) or Item(key, now_s - elapsed_s)
        item = Item(key, known.began_s, facts or known.facts, {}, now_s, note)
        self._done += 1
        self._failed += failed
        self._spent += item.facts.cost or 0
        self._recent.append(item)
        return item

    def counted(self, counts: Counts, money: Money) -> None:
        """Take counts and sums from elsewhere, for work whose executions are not watched one by one."""
        self._counted, self._money = counts, money

    def open_keys(self) -> list[str]:
        """Return the ids of what runs."""
        return list(self._open)

    def snapshot(self, now_s: float) -> Snapshot:
        """Return the state at a moment."""
        items = sorted(self._open.values(), key=lambda item: item.began_s)
        counts = self._counted
        if counts is None:
            left = None if self.total is None else max(0, self.total - self._done - len(items))
            counts = Counts(self._done, self._failed, len(items), left)
        running = [item.facts.cost for item in items if item.facts.cost is not None]
        money = self._money or Money(self._spent + sum(running), None, self.budget)
        recent = tuple(self._recent) if self.shows_recent else ()
        elapsed_s = max(0.0, now_s - self.began_s)
        return Snapshot(self.title, now_s, elapsed_s, counts, money, tuple(items), recent, self.note)


def _since(moment: datetime | None, now_s: float, now: datetime | None) -> float:
    """Return a time of day on the steady clock; now, if it is unknown or in the future by this machine's clock."""
    if moment is None or now is None:
        return now_s
    return now_s - max(0.0, (now - moment).total_seconds())
