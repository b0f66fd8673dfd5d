"""The engine of a walk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from math import ceil
from typing import Final, Literal, NamedTuple

from attrs import field, frozen

from ..errors import DriftError, PaginationError
from .bookmark import WalkStats

Drift = Literal["resync", "raise"]
WINDOW: Final = 10_000
ANCHORS: Final = 24
PASSED: Final = 8
MAX_BARREN: Final = 16


class Request(NamedTuple):
    offset: int
    size: int
    overlap: int = 0
    serial: int = 0

    @property
    def number(self) -> int:
        return self.offset // self.size + 1


class Answer(NamedTuple):
    keys: Sequence[str]
    total: int | None = None
    exact: bool = False
    size: int | None = None


class Taken(NamedTuple):
    positions: Sequence[int]
    ended: bool


@frozen
class Checkpoint:
    start: int
    place: int
    anchors: tuple[str, ...] = ()
    total: int | None = None


class Known:
    """The keys of the rows that are out: at least the last `WINDOW` of them, numbered in the order they came."""

    __slots__ = ("count", "forgot", "older", "recent")

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self.recent: dict[str, int] = {}
        self.older: dict[str, int] = {}
        self.count = 0
        self.forgot = False
        self.add(keys)

    def add(self, keys: Sequence[str]) -> None:
        if len(self.recent) + len(keys) > WINDOW:
            self.forgot = self.forgot or bool(self.older)
            self.older, self.recent = self.recent, {}
        self.recent.update(zip(keys, range(self.count + 1, self.count + len(keys) + 1), strict=True))
        self.count += len(keys)

    def number(self, key: str) -> int:
        """The number of a row, from 1; 0 if it is not known."""
        return self.recent.get(key) or self.older.get(key, 0)

    def none_of(self, keys: Sequence[str]) -> bool:
        return self.recent.keys().isdisjoint(keys) and self.older.keys().isdisjoint(keys)

    def last_of(self, keys: Sequence[str]) -> int:
        """The position of the last known row of a page; -1 if there is none."""
        if self.none_of(keys):
            return -1
        return next(at for at in range(len(keys) - 1, -1, -1) if self.number(keys[at]))

    def backwards(self) -> chain[str]:
        return chain(reversed(self.recent), reversed(self.older))


@frozen
class Page:
    """The page that was taken last: its rows that come next, by position and by key, and what its answer said."""

    at: int = 0
    positions: Sequence[int] = ()
    keys: Sequence[str] = ()
    before: int = 0  # the place where it begins if none of its rows is out


class Engine:
    def __init__(
        self,
        *,
        by_number: bool = False,
        largest: int = 100,
        start: int = 0,
        limit: int = 100,
        drift: Drift = "resync",
        max_rows: int | None = None,
        resume: Checkpoint | None = None,
        stats: WalkStats | None = None,
    ) -> None:
        self._by_number, self._largest, self._limit, self._drift = by_number, max(largest, limit), limit, drift
        self._start = start if resume is None else resume.start
        self._resumed = resume is not None and bool(resume.anchors)
        self._max_rows = max_rows
        self.stats = WalkStats() if stats is None else stats
        self._known = Known(resume.anchors if resume else ())
        self._passed: tuple[str, ...] = ()  # the last known rows that were passed over: gone, or further down
        self._end = start if resume is None else resume.place  # where the run ended in the page that was joined last
        self._total = resume.total if resume else None  # the exact total of that answer
        self._page = Page(before=self._end)
        self._aim = self._end  # where the end of the run is looked for
        self._churn = 0.0  # rows that vanish above the place from one page to the next, and half as many again
        self._plan: list[Request] = []
        self._serial = 0  # answers so far
        self._joined = 0  # how many there were when a page was joined last
        self._misses = 0  # answers without a known row, since the last new row
        self._barren = 0  # answers without a new row, since the last new row
        self._searched: tuple[int, int | None] | None = None
        self._given = self._largest  # rows that the server gives at once

    # ---- what to ask for

    def requests(self, ahead: int = 0) -> list[Request]:
        plan, aim, total = self._plan, self._aim, self._total
        if self._searched is None:
            while plan and plan[0].offset + min(plan[0].size, self._given) <= aim:
                plan.pop(0)
        if not plan or plan[0].offset > aim:
            plan.insert(0, self._request(aim))
        if self._searched is None and self._joined:
            most = aim + self._wanted if total is None else min(total, aim + self._wanted)
            while len(plan) <= ahead:
                last = plan[-1]
                place = last.offset + min(last.size, self._given)
                following = self._request(place)
                if place >= most or following.offset <= last.offset:
                    break
                plan.append(following)
        return plan

    @property
    def _wanted(self) -> int:
        return 1 << 60 if self._max_rows is None else self._max_rows - self.stats.rows

    @property
    def _begun(self) -> bool:
        return self._joined > 0 or self._resumed

    def _request(self, place: int) -> Request:
        overlap = self._overlap()
        overlap = max(0, min(overlap, self._given - 1, place))
        if not self._by_number:
            return Request(place - overlap, min(self._limit + overlap, self._largest), overlap, self._serial)
        return self._numbered(place, overlap)

    def _overlap(self) -> int:
        if not self._begun:
            return 0
        if self._by_number and self._total is not None and not self._moved and self._joined and not self._barren:
            return 0
        return 1 + ceil(self._churn) if self._joined else ANCHORS

    @property
    def _moved(self) -> bool:
        return self._drift != "raise" and self.stats.drift_seen > 0

    def _numbered(self, place: int, overlap: int) -> Request:
        most = min(self._limit + overlap, self._given, self._largest)
        best, gain = (place // most * most, most), 0
        for shared in (overlap, min(overlap, 1)):
            for size in range(most, most // 2 if gain else 0, -1):
                first = (place - shared) // size * size
                if first + size - place > gain:
                    best, gain = (first, size), first + size - place
                if gain >= size - shared:
                    break
            if gain:
                break
        offset, size = best
        return Request(offset, size, max(0, place - offset) if self._begun else 0, self._serial)

    # ---- what an answer means

    def take(self, request: Request, answer: Answer) -> Taken | None:
        keys, total, exact, _ = answer
        count = len(keys)
        self._serial += 1
        if self._plan and self._plan[0] == request:
            del self._plan[0]
        self.stats.longest_page = max(self.stats.longest_page, count)
        at = self._position(request, answer)
        if at is None or (not count and total is not None and total > at):
            return self._again()
        known = self._known
        if exact and total is not None:
            reaches_end, grown = total <= at + count, 0 if self._total is None else total - self._total
        else:
            longest = self.stats.longest_page if self._joined else 1
            reaches_end, grown = count < min(longest, request.size) and (total or 0) <= at + count, 0
        hit = known.last_of(keys)
        jump = 0
        if hit >= 0:
            first = hit + 1
            jump = known.count - known.number(keys[hit])
        elif not self._begun:
            first = min(max(self._start - at, 0), count)
        elif at == 0 and (not count or (self._misses or reaches_end) and self._from_top):
            first = 0
        elif self._is_trusted(request, at, total if exact else None):
            first = min(max(self._aim - at, 0), count)
        else:
            return self._miss(request, at, count, total if exact else None, grown, reaches_end)
        off = at + first + (jump if first == count else 0) - (self._end if self._misses else self._aim)
        if first == count and hit >= 0 and off > 0 and not self._barren and (grown < off or reaches_end):
            return self._again()
        positions = self._fresh(keys, first)
        new = keys[first:] if len(positions) == count - first else [keys[at] for at in positions]
        moved = self._joined > 0 and (off != 0 or grown != 0)
        if moved:
            self.stats.drift_seen += 1
            if self._drift == "raise":
                raise DriftError(f"the listing moved while it was walked: off by {off}, the total by {grown}")
        if jump and new:
            self._pass_over(jump)
        self._learn(off)
        before = at + first
        if new:
            known.add(new)
            self._barren = self._misses = 0
        else:
            self._barren += 1
            self._check_barren()
        self._end = at + count
        self._aim = self._end + (0 if new else jump // 4**self._misses)
        self._total = total if exact else None
        self._searched = None
        self._joined = self._serial
        if count and not reaches_end:
            self._given = count if count < request.size else max(self._given, count)
        stats = self.stats
        stats.total, stats.total_is_exact = total, exact
        stats.duplicates += max(0, first - request.overlap) if hit >= 0 else 0
        self._page = Page(at, positions, new, before)
        if reaches_end and exact and not stats.drift_seen and not self._resumed and known.count < total - self._start:
            raise PaginationError(f"the listing ended after {known.count} distinct rows, although the total is {total}")
        return Taken(positions, reaches_end)

    def _fresh(self, keys: Sequence[str], first: int) -> Sequence[int]:
        positions = range(first, len(keys))
        if len(set(keys)) == len(keys):
            return positions
        return [at for at in positions if keys.index(keys[at], first) == at]

    @property
    def _from_top(self) -> bool:
        return not self._resumed and not self._start and not self._known.forgot

    def _position(self, request: Request, answer: Answer) -> int | None:
        count, stated = len(answer.keys), answer.size
        if not self._by_number or stated == request.size or count > request.size:
            return request.offset
        if stated and stated != request.size:
            self._given = stated
            return (request.number - 1) * stated
        if not count or count == request.size or request.size <= self.stats.longest_page != count:
            return request.offset
        if answer.exact and request.offset + count == answer.total:
            return request.offset
        if not self._barren:
            return None
        self._given = count
        return 0 if request.number == 1 else None

    def _is_trusted(self, request: Request, at: int, total: int | None) -> bool:
        if request.overlap or at > self._aim:
            return False
        return total is not None and total == self._total

    def _pass_over(self, count: int) -> None:
        last = list(islice(self._known.backwards(), min(count, PASSED)))
        self._passed = (*self._passed, *reversed(last))[-PASSED:]

    def _learn(self, off: int) -> None:
        if self._joined:
            self._churn = max(min(-1.5 * off, self._given / 2), self._churn * 0.85 - 0.02, 0.0)

    def _again(self) -> None:
        self._barren += 1
        self._check_barren()

    def _check_barren(self) -> None:
        if self._barren > MAX_BARREN:
            raise PaginationError(
                f"{self._barren} answers in a row brought no new row at offset {self._aim}, although the total is "
                f"given as {self._total}: the listing cannot be walked"
            )

    def _miss(
        self, request: Request, at: int, count: int, total: int | None, grown: int, reaches_end: bool
    ) -> Taken | None:
        if self._drift == "raise" and self._joined:
            raise DriftError(f"the listing moved while it was walked: no known row at offset {at}")
        self.stats.drift_seen += 1
        if request.serial < self._joined:
            return self._again()
        self._again()
        self._misses += 1
        if self._misses == 1 and self._joined:
            self._churn = min(max(2 * self._churn + 1, -1.5 * grown), self._given / 2)
            self._aim = max(0, self._end + grown)
            self._plan[:] = [self._request(self._aim), request, *self._plan]
            return None
        self._plan.clear()
        top, bottom = self._searched or (at, at + count)
        top = min(top, at)
        bottom = None if bottom is None or reaches_end else max(bottom, at + count)
        self._searched = top, bottom
        if top and (self._joined or bottom is None or self._end - top <= bottom - self._end):
            step = max(self._limit, min(self._limit * 2 ** (self._misses - 2), self._known.count))
            self._aim = max(0, min(top, top if total is None else total) - step)
            self.stats.steps_back += 1
        elif bottom is not None:
            self._aim = bottom
        else:
            raise DriftError("none of the rows is there any more at which the walk stood")
        self._plan.append(self._request(self._aim))
        return None

    # ---- where it stands

    def checkpoint(self, handed: int) -> Checkpoint:
        page = self._page
        pending = set(page.keys[handed:])
        if handed:
            place = page.at + page.positions[handed - 1] + 1
        else:
            place = page.before
        if handed == len(page.keys):
            place = self._aim
        last = list(islice((key for key in self._known.backwards() if key not in pending), ANCHORS))
        anchors = (*reversed(last), *(key for key in self._passed if key not in last))
        return Checkpoint(self._start, place, anchors, self._total)
