"""Changes of a listing while it is walked: the kinds of move, and the rules that decide when they are made.

A move changes the listing that a request reads: rows are inserted, removed, or changed, for example so that they no
longer match a filter. A rule counts the requests of a listing and makes its move at one of three moments: `"before"`,
when the request arrives; `"during"`, after any latency and just before the rows are read; `"after"`, when the rows were
read and the response is about to be sent, and is already outdated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Final, Literal, get_args

from attrs import define, frozen

from .collection import Collection
from .dataset import Dataset
from .request_log import RecordedRequest

__all__ = ["LISTINGS", "Moment", "Move", "MoveRule", "Moves"]

Moment = Literal["before", "during", "after"]
LISTINGS: Final = ("executions.list", "executions.list_by_cursor", "workflow_executions.list", "runs.list")
"""The endpoints of the listings that can be changed."""

_MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)


@frozen(kw_only=True)
class Move:
    """One change of a listing: made by one of the constructors below, and passed to `Moves.add`.

    Positions count from the newest row, 0; negative ones count from the end, and those out of range are ignored.
    `where` (fields and their values) selects rows; positions then refer to these rows only. Random choices depend only
    on the emulator's seed, the rule, and how often the move was made.
    """

    kind: str
    make: Callable[[Collection, Random], object]

    @classmethod
    def insert(cls, count: int = 1, at: int | Literal["anywhere"] = 0, /, **fields: Any) -> Move:
        """Insert `count` adjacent rows before position `at` (0 is the top), or at a random one with `"anywhere"`.

        `fields` override the fields of each new row.
        """
        _at_least("count", count, 1)

        def make(rows: Collection, rng: Random) -> object:
            index = rng.randint(0, len(rows)) if at == "anywhere" else at
            if index < 0:
                index = max(0, len(rows) + index)
            return rows.insert(count, min(index, len(rows)), **fields)

        return cls(kind="insert", make=make)

    @classmethod
    def remove(cls, *positions: int, count: int = 1, where: Mapping[str, Any] | None = None) -> Move:
        """Remove the rows at `positions` (as of before the move), or `count` random ones."""
        choose = _chooser(positions, count, where)
        return cls(kind="remove", make=lambda rows, rng: rows.remove(*choose(rows, rng)))

    @classmethod
    def change(cls, *positions: int, count: int = 1, where: Mapping[str, Any] | None = None, **fields: Any) -> Move:
        """Overwrite `fields` of the rows at `positions`, or of `count` random ones.

        For example, `Move.change(0, where={"status": "starting"}, status="success")` takes a row out of a filter by
        status.
        """
        choose = _chooser(positions, count, where)
        if not fields:
            raise ValueError("change needs the fields to overwrite")

        def make(rows: Collection, rng: Random) -> None:
            ids = rows.ids()
            for row_id in [ids[position] for position in choose(rows, rng)]:
                rows.change(row_id, **fields)

        return cls(kind="change", make=make)

    @classmethod
    def by(cls, make: Callable[[Collection, Random], object]) -> Move:
        """Call `make(rows, rng)` with the listing and a source of random numbers."""
        return cls(kind="by", make=make)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _chooser(
    positions: tuple[int, ...], count: int, where: Mapping[str, Any] | None
) -> Callable[[Collection, Random], list[int]]:
    _at_least("count", count, 1)

    def choose(rows: Collection, rng: Random) -> list[int]:
        wanted = where or {}
        found = [
            position
            for position, row in enumerate(rows.select())
            if all(row.get(name) == value for name, value in wanted.items())
        ]
        if positions:
            there = range(-len(found), len(found))
            return sorted({found[position] for position in positions if position in there})
        return sorted(rng.sample(found, min(count, len(found))))

    return choose


@define(eq=False)
class MoveRule:
    """When a move is made. `matched` counts the matching requests, `fired` the moves made."""

    move: Move
    endpoints: frozenset[str]
    times: int | None
    after: int
    when: Moment
    number: int
    matched: int = 0
    fired: int = 0


@define
class PendingMoves:
    """The moves of one request, which `make(moment)` makes."""

    rows: Collection | None
    rules: list[MoveRule]
    made: Counter[str]
    seed: int

    def make(self, when: Moment) -> None:
        """Make the moves of this moment, in the order in which they were added."""
        for rule in self.rules:
            if rule.when != when or self.rows is None or (rule.times is not None and rule.fired >= rule.times):
                continue
            rule.move.make(self.rows, Random(f"{self.seed}/moves/{rule.number}/{rule.fired}"))
            rule.fired += 1
            self.made[rule.move.kind] += 1


class Moves:
    """The moves of one emulator: scripted by `add`, removed by `clear`. `made` counts the moves made, by kind."""

    def __init__(self, listings: Dataset, seed: int) -> None:
        self.made: Counter[str] = Counter()
        self._listings = listings
        self._seed = seed
        self._added = 0
        self._rules: list[MoveRule] = []

    def add(
        self,
        move: Move,
        *,
        endpoint: str | Iterable[str] | None = None,
        after: int = 0,
        times: int | None = None,
        when: Moment = "before",
    ) -> MoveRule:
        """Add a scripted move and return its rule, whose `fired` counts the moves made.

        `endpoint` is one listing or several (default: all); the move changes the listing that the request reads.
        `after` is the number of matching requests that come first without a move. `times` limits how often the move is
        made (default: once for each later request). `when` is the moment: `"before"`, `"during"` or `"after"` the
        request. A fault that replaces the response before the request is carried out leaves no moment `"after"`.
        """
        names = frozenset(LISTINGS if endpoint is None else {endpoint} if isinstance(endpoint, str) else endpoint)
        if unknown := names - frozenset(LISTINGS):
            raise ValueError(f"no such listing: {', '.join(sorted(unknown))} (there are {', '.join(LISTINGS)})")
        if when not in _MOMENTS:
            raise ValueError(f"when must be one of {', '.join(_MOMENTS)}, not {when!r}")
        _at_least("after", after, 0)
        rule = MoveRule(move, names, times, after, when, self._added)
        self._added += 1
        self._rules.append(rule)
        return rule

    def remove(self, rule: MoveRule) -> None:
        """Remove one rule; does nothing if it is not there any more."""
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def moves_for(self, request: RecordedRequest, fields: Mapping[str, str]) -> PendingMoves:
        """Count a request that has just arrived, and return its moves."""
        due: list[MoveRule] = []
        for rule in self._rules:
            if request.endpoint in rule.endpoints:
                rule.matched += 1
                if rule.matched > rule.after:
                    due.append(rule)
        return PendingMoves(self._rows_of(request.endpoint, fields) if due else None, due, self.made, self._seed)

    def _rows_of(self, endpoint: str, fields: Mapping[str, str]) -> Collection | None:
        if endpoint == "workflow_executions.list":
            workflow_id = self._listings.workflow_id_of(fields["workflow_id"])
            return None if workflow_id is None else self._listings.workflow_executions[workflow_id]
        return self._listings.runs if endpoint == "runs.list" else self._listings.executions
