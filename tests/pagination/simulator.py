"""Random histories of a listing that moves while an engine walks it, and the judgement of each walk.

A `History` describes a listing, how it moves, how the server answers and when the walk is killed. `walk` drives one
engine through it with a virtual clock: requests that are in flight together are served in any order, and the listing
moves before each of them. The `Verdict` compares the rows that came with those that were there from the first answer
to the last. The module knows no engine but by the `Walking` protocol, so that different engines can be driven over the
same histories. Rows are whole numbers here: the engine only compares ids.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from eachlabs_async.errors import DriftError, PaginationError

NEW = 10_000_000
"""The number of the first row that is inserted: those of the start have lower ones."""
REMEMBERED = 10_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class History:
    """What happens during one walk; rates are rows per request that is served."""

    rows: int = 1000
    limit: int = 100
    totals: str = "exact"  # exact, capped or none
    bound: int = 0  # the largest total that a server with capped totals states
    by_number: bool = False
    clamp: int = 0  # the most rows that the server gives at once, 0 for as many as asked
    states_size: bool = True
    extra: int = 0  # rows that the server gives beyond those asked for
    start: int = 0
    drift: str = "resync"
    ahead: int = 0
    inserts: float = 0.0
    deletes: float = 0.0
    insert_at: str = "top"  # top, any, above, near or mix
    delete_at: str = "any"
    steady: bool = False  # exactly the rate, not a random number around it
    burst: float = 0.0  # the chance of one per request
    burst_rows: int = 0
    depth: int = 0  # the most rows that can be reached below a time; rows then enter at the top alone
    by_cursor: bool = False
    per_second: int = 1  # rows that are created in one second, for walks by time
    calm_after: int = 10**9  # the number of requests after which nothing moves any more
    empty: float = 0.0  # the chance that an answer has no rows by mistake
    repeated: float = 0.0  # ... that it is the answer before once more
    short: float = 0.0  # ... that rows are missing at its end
    stale: float = 0.0  # ... that it comes from a replica up to `lag` requests behind
    lag: int = 5
    kills: tuple[int, ...] = ()  # the numbers of rows after which the walk is killed and resumed
    pause_inserts: int = 0  # what moves between a kill and the resumed walk
    pause_deletes: int = 0

    @property
    def page(self) -> int:
        """The rows that a page can have."""
        return min(self.limit, self.clamp or self.limit)

    @property
    def ideal(self) -> int:
        """The number of requests for the rows of the start if nothing moved."""
        return max(1, math.ceil((self.rows - self.start) / self.page))

    @property
    def churn(self) -> float:
        return self.inserts + self.deletes

    @property
    def has_faults(self) -> bool:
        return bool(self.empty or self.repeated or self.short or self.stale)


class Served(NamedTuple):
    keys: list[int]
    total: int | None
    exact: bool
    size: int | None
    times: list[datetime] | None = None
    cursor: str | None = None
    more: bool = False


class Walking(Protocol):
    """An engine as `walk` drives it; a request is any hashable value that has `offset` and `size`."""

    def requests(self, ahead: int) -> Iterable[Any]: ...
    def accept(self, request: Any, served: Served) -> tuple[Any, bool] | None: ...
    def checkpoint(self, handed: int) -> Any: ...


Make = Callable[[History, Any], Walking]


class Listing:
    """The rows of a server, which move before each answer but the first."""

    def __init__(self, history: History, chance: random.Random, log: list[str] | None = None) -> None:
        self.history, self.chance, self.log = history, chance, log
        self.rows = list(range(history.rows))
        self.removed: set[int] = set()
        self.next = NEW
        self.served = self.moves = 0
        self.reading = 0  # where the walk reads, for moves near it
        self.owed_inserts = self.owed_deletes = 0.0
        self.before: list[int] = []
        self.replicas: list[list[int]] = []

    def move(self) -> None:
        history, chance = self.history, self.chance
        inserts, deletes = self._counts()
        if history.burst and history.churn and chance.random() < history.burst:
            if chance.random() * history.churn < history.inserts:
                inserts += chance.randint(1, history.burst_rows)
            else:
                deletes += chance.randint(1, history.burst_rows)
        if inserts or deletes:
            self.moves += 1
            moves = [(self.insert, inserts, history.insert_at), (self.remove, deletes, history.delete_at)]
            for act, count, where in moves if chance.random() < 0.5 else reversed(moves):
                act(count, where)

    def _counts(self) -> tuple[int, int]:
        history, chance = self.history, self.chance
        if history.steady:
            self.owed_inserts += history.inserts
            self.owed_deletes += history.deletes
            inserts, deletes = int(self.owed_inserts), int(self.owed_deletes)
            self.owed_inserts -= inserts
            self.owed_deletes -= deletes
            return inserts, deletes
        rates = history.inserts, history.deletes
        first, second = (int(chance.random() < r) if r < 1 else chance.randint(0, int(2 * r)) for r in rates)
        return first, second

    def _position(self, where: str) -> int:
        chance, count = self.chance, len(self.rows)
        if where == "mix":
            where = chance.choice(("top", "any", "above", "near"))
        if where == "top":
            return 0
        if where == "above":
            return chance.randint(0, max(0, min(self.reading - 1, count)))
        if where == "near":
            return max(0, min(count, self.reading + chance.randint(-self.history.limit, self.history.limit)))
        return chance.randint(0, count)

    def insert(self, count: int, where: str) -> None:
        for size in [count] if count > 20 else [1] * count:
            at = self._position(where)
            # The newest at the top, so that a listing by time stays one.
            self.rows[at:at] = range(self.next + size - 1, self.next - 1, -1)
            self.next += size
            if self.log is not None:
                self.log.append(f"  +{size} at {at}")

    def remove(self, count: int, where: str) -> None:
        for size in [count] if count > 20 else [1] * count:
            at = max(0, min(self._position(where), len(self.rows) - size))
            self.removed.update(self.rows[at : at + size])
            if self.log is not None:
                self.log.append(f"  -{size} at {at}")
            del self.rows[at : at + size]

    def second(self, row: int) -> int:
        """When a row was created: those of the start one after the other, newest first, and all others later."""
        return (NEW - 1 - row if row < NEW else row) // self.history.per_second

    def answer(self, request: Any) -> Served:
        history, chance, offset, size = self.history, self.chance, request.offset, request.size
        if self.served and self.served < history.calm_after:
            self.move()
        self.served += 1
        rows, fault = self.rows, ""
        if history.stale:
            self.replicas = [*self.replicas[-history.lag :], list(rows)]
            if chance.random() < history.stale:
                rows, fault = chance.choice(self.replicas), "stale "
        if history.depth or history.by_cursor:
            return self._below(request, rows)
        given = min(size, history.clamp) if history.clamp else size
        at = offset // size * given if history.by_number else offset
        keys = rows[at : at + given + history.extra]
        if history.empty and chance.random() < history.empty:
            keys, fault = [], fault + "empty "
        elif history.repeated and self.before and chance.random() < history.repeated:
            keys, fault = self.before, fault + "repeated "
        elif history.short and len(keys) > 1 and chance.random() < history.short:
            keys, fault = keys[: chance.randint(1, len(keys) - 1)], fault + "short "
        self.before = keys
        total, exact = len(rows), history.totals == "exact"
        if history.totals == "capped":
            total, exact = min(total, history.bound), total < history.bound
        if self.log is not None:
            some = keys if len(keys) < 9 else f"{keys[:3]} .. {keys[-3:]}"
            self.log.append(f"{fault}{offset} size {size} -> {some} of {total}{'' if exact else '+'}")
        stated = given if history.by_number and history.states_size else None
        return Served(keys, None if history.totals == "none" else total, exact, stated)

    def _below(self, request: Any, rows: list[int]) -> Served:
        """The answer of a service that lists rows below a time, or behind a cursor."""
        history = self.history
        if request.until is not None:
            latest = (request.until - NOON).total_seconds()
            rows = [row for row in rows if self.second(row) <= latest]
        order = [row if row < NEW else -row for row in rows]
        at = request.offset if request.cursor is None else bisect_right(order, int(request.cursor))
        keys = rows[at : at + request.size]
        if self.log is not None:
            self.log.append(f"{request} -> {keys[:3]} .. {keys[-3:]} of {len(rows)}")
        times = [NOON + timedelta(seconds=self.second(row)) for row in keys]
        if not history.by_cursor:
            assert at + request.size <= history.depth, f"{request} is too deep"
            return Served(keys, len(rows), exact=True, size=None, times=times)
        more = at + len(keys) < len(rows)
        cursor = str(order[at + len(keys) - 1]) if keys and more else None
        return Served(keys, None, exact=False, size=None, times=times, cursor=cursor, more=more)


@dataclass
class Verdict:
    """What became of a walk: the rows that stayed and did not come, came twice or in the wrong order, and the cost."""

    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    disordered: int = 0
    error: str = ""
    honest: bool = False  # the error names what cannot be had
    out: int = 0
    requests: int = 0
    rounds: float = 0.0
    moves: int = 0
    resumes: int = 0


@dataclass
class _Flight:
    served_at: float
    due: float
    served: Served | None = None
    top: int = 0  # the row at the start when it was served


class _Driver:
    def __init__(self, history: History, seed: int, make: Make, log: list[str] | None) -> None:
        self.history, self.make, self.log = history, make, log
        self.chance = random.Random(seed)
        self.listing = Listing(history, self.chance, log)
        self.out: list[int] = []
        self.verdict = Verdict()
        self.first: int | None = None  # the first row that has to come
        self.now = 0.0
        self.most = 12 * history.ideal + 400

    def run(self) -> Verdict:
        history, verdict, checkpoint = self.history, self.verdict, None
        kills: list[int | None] = [*history.kills, None]
        for kill in kills:
            anchors = set[int](checkpoint.anchors) if checkpoint is not None else set[int]()
            verdict.resumes += checkpoint is not None
            before = len(self.out)
            try:
                killed, checkpoint = self._leg(checkpoint, kill)
            except (PaginationError, DriftError) as exc:
                verdict.error = f"{type(exc).__name__}: {exc}"
                verdict.honest = self._is_honest(anchors | set(self.out[before:]))
                break
            if not killed:
                break
            if self.log is not None:
                self.log.append(f"killed after {len(self.out)} rows: {checkpoint}")
            self.listing.insert(history.pause_inserts, history.insert_at)
            self.listing.remove(history.pause_deletes, history.delete_at)
        self._judge()
        return verdict

    def _leg(self, checkpoint: Any, kill: int | None) -> tuple[bool, Any]:
        engine, ahead = self.make(self.history, checkpoint), self.history.ahead
        flight: dict[Any, _Flight] = {}
        ended = False
        while not ended:
            wanted = list(engine.requests(ahead))[: ahead + 1]
            for request in [each for each in flight if each not in wanted]:
                del flight[request]
            for request in wanted:
                if request not in flight:
                    self.verdict.requests += 1
                    flight[request] = _Flight(self.now + 0.05 + 0.9 * self.chance.random(), self.now + 1.0)
            if self.verdict.requests > self.most:
                raise PaginationError("a walk without end")
            first = flight[wanted[0]]
            self.now = max(self.now, first.due)
            waiting = [(each.served_at, request) for request, each in flight.items() if each.served is None]
            for served_at, request in sorted(waiting, key=lambda pair: pair[0]):
                if served_at <= self.now:
                    flight[request].served = self.listing.answer(request)
                    flight[request].top = self._row_at_the_start()
            served = first.served
            assert served is not None
            taken = engine.accept(wanted[0], served)
            if taken is None:
                continue
            if self.first is None:
                self.first = first.top
            del flight[wanted[0]]
            positions, ended = taken
            got = [served.keys[at] for at in positions]
            self.listing.reading = wanted[0].offset + len(served.keys)
            if self.log is not None:
                self.log.append(f"    {len(got)} rows taken{', the end' if ended else ''}")
            if kill is not None and len(self.out) + len(got) >= kill:
                handed = max(0, kill - len(self.out))
                self.out += got[:handed]
                self.first = self.first if self.out else None
                return True, engine.checkpoint(handed)
            self.out += got
        return False, None

    def _row_at_the_start(self) -> int:
        start = self.history.start
        return next((row for row in self.listing.rows[start:] if row < NEW), self.history.rows) if start else 0

    def _is_honest(self, known: set[int]) -> bool:
        history = self.history
        if history.drift == "raise":
            return self.listing.moves > 0 or history.has_faults
        # None of the rows at which it could go on is left, or more enters than it can read.
        gone = bool(history.start or self.verdict.resumes) and known.isdisjoint(self.listing.rows)
        most = history.inserts + history.burst * history.burst_rows / 2
        return gone or most > history.page / 2

    def _doubled(self) -> list[int]:
        """The rows that came twice within the number of rows that an engine promises to remember."""
        last: dict[int, int] = {}
        doubled: list[int] = []
        for at, row in enumerate(self.out):
            if row in last and at - last[row] <= REMEMBERED:
                doubled.append(row)
            last[row] = at
        return doubled

    def _judge(self) -> None:
        verdict, listing, history = self.verdict, self.listing, self.history
        counts = Counter(self.out)
        removed = listing.removed
        if len(counts) < len(self.out):
            verdict.doubled = self._doubled()
        if not verdict.error:
            stayed = range(self.first or 0, history.rows)
            verdict.lost = [row for row in stayed if row not in counts and row not in removed]
        stays = [row for row in self.out if row < NEW and row not in removed]
        verdict.disordered = sum(later < earlier for earlier, later in pairwise(stays))
        verdict.rounds, verdict.moves, verdict.out = self.now, listing.moves, len(self.out)


def walk(history: History, seed: int, make: Make, log: list[str] | None = None) -> Verdict:
    """Drive an engine through a history; the same seed gives the same moves as long as it asks the same."""
    return _Driver(history, seed, make, log).run()


# ---- histories


def realistic(chance: random.Random, drift: str = "resync") -> History:
    """A listing of 100 to 5,000 rows that moves a little, much, or not at all."""
    most = 5000 if chance.random() < 0.3 else 1500
    history = History(
        rows=int(math.exp(chance.uniform(math.log(100), math.log(most)))),
        limit=chance.choice((20, 25, 30, 50, 60, 75, 100, 100, 100)),
        totals=chance.choice(("exact", "exact", "exact", "capped", "none")),
        drift=drift,
        ahead=chance.choice((0, 0, 0, 1, 2, 4, 8)),
        insert_at=chance.choice(("top", "top", "top", "any", "mix")),
        delete_at=chance.choice(("any", "above", "near", "mix")),
    )
    history.bound = chance.choice((200, 1000, 10000)) if history.totals == "capped" else 0
    history.by_number = history.totals == "exact" and chance.random() < 0.35
    if chance.random() < 0.2:
        history.clamp, history.states_size = chance.randint(10, history.limit), chance.random() < 0.5
    rates = (0.02, 0.1, 0.3, 1, 2, 3, 5, 10)
    kind = chance.random()
    if kind >= 0.12:
        history.inserts = chance.choice(rates) if kind < 0.45 or kind >= 0.65 else 0.0
        history.deletes = chance.choice(rates) if kind >= 0.45 else 0.0
    if chance.random() < 0.15:
        history.burst, history.burst_rows = 0.1, chance.choice((50, 300, 2000))
    if chance.random() < 0.1:
        history.start = chance.randint(1, max(1, history.rows // 2))
    if chance.random() < 0.15:
        history.calm_after = chance.randint(2, 40)
    return history


def nasty(chance: random.Random, drift: str = "resync") -> History:
    """A listing of a few rows in pages of one to three, most of which can vanish at once."""
    rows = chance.randint(0, 14)
    history = History(
        rows=rows,
        limit=chance.randint(1, 3),
        totals=chance.choice(("exact", "exact", "exact", "capped", "none")),
        bound=chance.randint(1, 8),
        drift=drift,
        ahead=chance.choice((0, 0, 0, 1, 2, 3)),
        insert_at=chance.choice(("top", "any", "near", "mix")),
        delete_at=chance.choice(("any", "above", "near", "mix")),
        inserts=chance.choice((0, 0, 0.1, 0.3, 0.6)),
        deletes=chance.choice((0, 0, 0.1, 0.3, 0.6)),
        start=chance.randint(0, rows) if chance.random() < 0.15 else 0,
        calm_after=chance.choice((3, 6, 12, 24)),
    )
    history.by_number = history.totals == "exact" and chance.random() < 0.35
    return history


def with_kills(history: History, chance: random.Random) -> History:
    """The same, killed once to three times; rows enter or leave before it is resumed."""
    history.kills = tuple(sorted(chance.randint(0, history.rows) for _ in range(chance.choice((1, 1, 2, 3)))))
    most = chance.choice((3, 50, 1000)) if history.limit > 3 else chance.choice((1, 3, 8))
    kind = chance.random()
    if kind < 0.5 or 0.7 <= kind < 0.85:
        history.pause_inserts = chance.randint(0, most)
    if 0.5 <= kind < 0.85:
        history.pause_deletes = chance.randint(0, min(most, max(1, history.rows // 4)))
    if chance.random() < 0.35:
        history.inserts = 0.0
    if chance.random() < 0.35:
        history.deletes = 0.0
    return history


def with_faults(history: History, chance: random.Random) -> History:
    """The same on a server that slips: empty, repeated, stale or short answers."""
    kind, rate = chance.choice(("empty", "repeated", "stale", "short", "all")), chance.choice((0.01, 0.05))
    history.empty = rate if kind in ("empty", "all") else 0.0
    history.repeated = rate if kind in ("repeated", "all") else 0.0
    # Where no total tells, a short page is the end.
    history.short = rate if kind == "short" and history.totals == "exact" else 0.0
    history.stale = chance.choice((0.1, 0.5)) if kind in ("stale", "all") else 0.0
    history.lag = chance.choice((1, 5))
    if chance.random() < 0.3:
        history.inserts = history.deletes = history.burst = 0.0
    return history


# ---- many of them


@dataclass
class Sum:
    """The figures of many walks."""

    walks: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    false_errors: int = 0
    honest_errors: int = 0
    requests: int = 0
    ideal: int = 0
    rounds: float = 0.0
    resumes: int = 0
    out: int = 0
    seeds: dict[str, list[int]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.requests / max(1, self.ideal)

    def add(self, history: History, verdict: Verdict, seed: int) -> None:
        bad = {
            "lost": bool(verdict.lost),
            "doubled": bool(verdict.doubled),
            "disordered": bool(verdict.disordered),
            "false_errors": bool(verdict.error and not verdict.honest),
            "honest_errors": bool(verdict.error and verdict.honest),
        }
        for name, is_so in bad.items():
            if is_so:
                setattr(self, name, getattr(self, name) + 1)
                self.seeds.setdefault(name, []).append(seed)
        self.walks += 1
        self.out += verdict.out
        self.rounds += verdict.rounds
        self.resumes += verdict.resumes
        if not verdict.error:
            self.requests += verdict.requests
            self.ideal += history.ideal

    def __str__(self) -> str:
        return (
            f"{self.walks:7} walks, lost {self.lost:5} ({self.lost / max(1, self.walks):.3%}), "
            f"doubled {self.doubled:4} of {self.resumes} resumes "
            f"({self.doubled / max(1, self.walks):.3%}), false errors {self.false_errors:4} "
            f"({self.false_errors / max(1, self.walks):.3%}), honest {self.honest_errors:4}, requests {self.ratio:.3f}"
        )


Sample = Callable[[random.Random], History]


def plain(chance: random.Random) -> History:
    return realistic(chance)


def killed(chance: random.Random) -> History:
    return with_kills(realistic(chance), chance)


def faulty(chance: random.Random) -> History:
    return with_faults(realistic(chance), chance)


def by_time(chance: random.Random) -> History:
    """A listing of executions: by seeking, or by cursor; it can be killed."""
    history = realistic(chance)
    history.by_number, history.clamp, history.start, history.totals = False, 0, 0, "exact"
    history.burst, history.insert_at = 0.0, "top"
    history.per_second = chance.choice((1, 1, 3, 20))
    history.by_cursor = chance.random() < 0.3
    history.depth = 0 if history.by_cursor else 1000
    history.ahead = 0 if history.by_cursor else history.ahead
    return with_kills(history, chance) if chance.random() < 0.5 else history


def groups(history: History) -> Iterable[str]:
    """The names of the bounds that a history counts for."""
    kind = "numbers" if history.by_number else "cursor" if history.by_cursor else "seek" if history.depth else "offset"
    yield kind
    yield f"{kind} bursts" if history.burst and history.churn else f"{kind} no bursts"
    if history.has_faults or history.kills or (history.burst and history.churn):
        return
    if not history.churn and not history.clamp:
        yield f"{kind} at rest, " + ("ahead" if history.ahead else "alone")
    if not history.ahead and history.churn <= 5:
        yield f"{kind} up to 5, alone"
    if history.ahead == 8 and history.churn <= 1:
        yield f"{kind} up to 1, ahead 8"
    if history.ahead == 8 and history.churn > 1:
        yield f"{kind} over 1, ahead 8"


def campaign(count: int, sample: Sample, make: Make, first: int = 0) -> dict[str, Sum]:
    """Drive an engine through `count` histories; gives the figures by group."""
    sums: dict[str, Sum] = {}
    for seed in range(first, first + count):
        history = sample(random.Random(seed))
        verdict = walk(history, seed, make)
        for name in groups(history):
            sums.setdefault(name, Sum()).add(history, verdict, seed)
    return sums
