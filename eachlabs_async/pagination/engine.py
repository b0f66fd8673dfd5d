"""The engine of a walk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from math import ceil
from typing import Final, Literal, NamedTuple, NoReturn

from attrs import frozen

from ..errors import DriftError, PaginationError
from .bookmark import WalkStats

Drift = Literal["resync", "raise"]
Dialect = Literal["offset", "page", "cursor"]
WINDOW: Final = 10_000
ANCHORS: Final = 32
PASSED: Final = 24
MAX_BARREN: Final = 16
MAX_MISSES: Final = 1000
MARGIN: Final = timedelta(seconds=1)
NO_LIMIT: Final = 1 << 60


class Request(NamedTuple):
    offset: int
    size: int
    overlap: int = 0
    serial: int = 0
    until: datetime | None = None
    cursor: str | None = None

    @property
    def number(self) -> int:
        return self.offset // self.size + 1


class Answer(NamedTuple):
    keys: Sequence[str]
    total: int | None = None
    exact: bool = False
    size: int | None = None
    times: Sequence[datetime | None] | None = None
    cursor: str | None = None
    more: bool = False


class Taken(NamedTuple):
    positions: Sequence[int]
    ended: bool


@frozen
class Checkpoint:
    start: int
    place: int
    anchors: tuple[str, ...] = ()
    total: int | None = None
    at: datetime | None = None


class Page(NamedTuple):
    """The page that was joined last."""

    end: int  # the place behind it
    at: int = 0
    positions: Sequence[int] = ()  # of the rows that come next
    keys: Sequence[str] = ()  # their keys
    place: int = 0  # where the first of them stands, or would
    total: int | None = None  # the exact total of its answer
    serial: int = 0  # the number of its answer; 0 if no page was joined yet
    reach: int = 0  # the number of its last row that is known now
    until: datetime | None = None
    lowest: datetime | None = None
    cursor: str | None = None


class Known:
    """The keys of the rows that are out: at least the last `WINDOW` of them, in the order of the listing."""

    __slots__ = ("count", "forgot", "older", "recent")

    def __init__(self, keys: Sequence[str]) -> None:
        # Two generations: forgetting is then one assignment, whatever the size.
        self.recent: dict[str, None] = {}
        self.older: dict[str, None] = {}
        self.count = 0
        self.forgot = False
        self.add(dict.fromkeys(keys))

    def __contains__(self, key: str) -> bool:
        return key in self.recent or key in self.older

    def add(self, keys: dict[str, None]) -> None:
        """Add rows that stand below all others."""
        if len(self.recent) + len(keys) > WINDOW:
            self.forgot = self.forgot or bool(self.older)
            self.older, self.recent = self.recent, {}
        self.recent.update(keys)
        self.count += len(keys)

    def reorder(self, keys: Sequence[str]) -> None:
        """Move rows below all others, in this order; those that are not known are left out."""
        known = {key: None for key in keys if key in self}
        for key in known:
            self.recent.pop(key, None)
            self.older.pop(key, None)
        self.add(known)

    def last_of(self, keys: Sequence[str], shared: int) -> int:
        """The position of the last known row of a page, which is expected above `shared`; -1 if there is none."""
        rest = keys[shared:] if shared else keys
        if self.recent.keys().isdisjoint(rest) and self.older.keys().isdisjoint(rest):
            keys = keys[:shared]
        return next((at for at in range(len(keys) - 1, -1, -1) if keys[at] in self), -1)

    def backwards(self) -> Iterator[str]:
        return chain(reversed(self.recent), reversed(self.older))

    def below(self, key: str) -> int:
        """How many known rows stand below one."""
        return next(count for count, each in enumerate(self.backwards()) if each == key)


class Engine:
    def __init__(
        self,
        *,
        dialect: Dialect = "offset",
        largest: int = 100,
        start: int = 0,
        limit: int = 100,
        drift: Drift = "resync",
        look_ahead: int = 0,
        max_rows: int | None = None,
        depth: int | None = None,
        resume: Checkpoint | None = None,
        stats: WalkStats | None = None,
    ) -> None:
        before = Checkpoint(start, start) if resume is None else resume
        self._dialect, self._limit, self._largest, self._drift = dialect, limit, max(largest, limit), drift
        self._start, self._resumed = before.start, bool(before.anchors)
        self._look_ahead, self._max_rows, self._depth = look_ahead, max_rows, depth
        self.stats = WalkStats() if stats is None else stats
        self._known = Known(before.anchors)
        self._passed: tuple[str, ...] = ()
        self._page = Page(before.place, place=before.place, total=before.total, lowest=before.at)
        self._skip = 0
        self._aim = before.place
        self._churn = float(look_ahead > 0 and dialect == "offset")
        self._plan: list[Request] = []
        self._serial = 0
        self._misses = 0
        self._barren = 0
        self._searched: tuple[int, int | None, bool] | None = None
        self._given = self._largest
        if before.at is not None:
            self.seek()

    # ---- what to ask for

    def requests(self) -> list[Request]:
        plan, total = self._plan, self._page.total
        if self._depth is not None and self._aim + self._limit > self._depth and not self._misses and not plan:
            self.seek()
        aim = self._aim
        if self._searched is None:
            while plan and plan[0].offset + min(plan[0].size, self._given) <= aim:
                plan.pop(0)
        if not plan or plan[0].offset > aim:
            plan.insert(0, self._request(aim))
        if self._page.serial and not self._misses and not self._barren and self._dialect != "cursor":
            wanted = NO_LIMIT if self._max_rows is None else self._max_rows - self.stats.rows
            most = min(aim + wanted, NO_LIMIT if total is None else total)
            while len(plan) <= min(self._look_ahead, self._given / (2 * self._churn + 0.001)):
                place = plan[-1].offset + min(plan[-1].size, self._given)
                following = self._request(place)
                unsure = place >= (self.stats.total or 0) and len(plan) * self._given > self._known.count
                if place >= most or unsure or following.offset <= plan[-1].offset:
                    break
                if self._depth is not None and place + self._limit > self._depth:
                    break
                plan.append(following)
        return plan

    def seek(self) -> bool:
        page = self._page
        if page.lowest is None:
            return False
        self._page = page._replace(end=0, place=0, total=None, cursor=None, until=page.lowest + MARGIN)
        self._aim = 0
        self._plan.clear()
        return True

    def _request(self, place: int) -> Request:
        page = self._page
        overlap = 0 if self._searched else max(0, min(self._overlap(), self._given - 1, place))
        if self._dialect == "page":
            return self._numbered(place, overlap)
        offset, size = place - overlap, min(self._limit + overlap, self._largest)
        if self._dialect == "cursor":
            return Request(0, self._limit, 0, self._serial, page.until, page.cursor)
        return Request(offset, size, overlap, self._serial, page.until)

    def _overlap(self) -> int:
        page = self._page
        if not page.serial:
            return ANCHORS if self._resumed else 0
        still = self._drift == "raise" or not (self.stats.drift_seen or self._churn or self._resumed)
        if self._dialect == "page" and still and page.total is not None and not self._barren and page.at:
            return 0
        return 1 + ceil(self._churn)

    def _numbered(self, place: int, overlap: int) -> Request:
        most = min(self._limit + overlap, self._given, self._largest)
        offset, size, gain = place // most * most, most, 0
        for shared in (overlap, min(overlap, 1)):
            for each in range(most, most // 2 if gain else 0, -1):
                first = (place - shared) // each * each
                if first + each - place > gain:
                    offset, size, gain = first, each, first + each - place
                if gain >= each - shared:
                    break
            if gain:
                break
        return Request(offset, size, place - offset if self._known.count else 0, self._serial)

    # ---- what an answer means

    def take(self, request: Request, answer: Answer) -> Taken | None:
        keys, total = answer.keys, answer.total if answer.exact else None
        count, page, stats = len(keys), self._page, self.stats
        self._serial += 1
        if self._plan and self._plan[0] == request:
            del self._plan[0]
        by_cursor = self._dialect == "cursor"
        longest = max(stats.longest_page, count)
        at = page.end if by_cursor else self._position(request, answer)
        if at is None or request.until != page.until:
            return self._again()
        stats.longest_page = longest
        end, grown = at + count, 0
        if by_cursor:
            is_last = not answer.more
        elif total is not None:
            is_last, grown = total <= end, 0 if page.total is None else total - page.total
        else:
            is_last = count < min(longest if page.serial else 1, request.size) and (answer.total or 0) <= end
        if not count and not by_cursor and ((answer.total or 0) > at or (total is None and self._barren < 2)):
            return self._again()
        if count and not is_last and self._dialect != "page":
            self._given = count if count < request.size else max(self._given, count)
        hit = self._known.last_of(keys, request.overlap)
        first, jump, skip = hit + 1, 0, 0
        if hit >= 0:
            jump = self._below(keys[hit])
            skip = 0 if is_last else jump // 4**self._misses
        elif not page.serial and not self._resumed:
            first = min(max(self._start - at, 0), count)
        elif request.cursor is None and (by_time := self._first_by_time(at, answer)) is not None:
            first = by_time
        elif by_cursor or (at == 0 and (not count or (is_last and self._from_top))):
            first = 0
        elif self._is_trusted(request, at, total):
            first = min(max(self._aim - at, 0), count)
        else:
            return self._miss(request, at, end, total, grown, is_last)
        if first < count and skip <= PASSED:
            skip = 0
        off = at + first + (skip or (jump if first == count else 0)) - (page.end if self._misses else self._aim)
        doubtful = self._barren < 1 + is_last or request.serial < page.serial
        if doubtful and first == count and hit >= 0 and off > max(grown, 0) and not by_cursor:
            self._churn = max(self._churn, 1.0)
            return self._again()
        quiet = not stats.drift_seen and not self._resumed and page.until is None
        if page.serial and (off or grown) and not by_cursor:
            stats.drift_seen += 1
            if self._drift == "raise":
                raise DriftError(f"the listing moved while it was walked: off by {off}, the total by {grown}")
        if page.serial:
            gone = abs(off) if request.serial < page.serial else -off
            self._churn = max(min(1.5 * gone, self._given / 2), self._churn * 0.85 - 0.02, 0.0)
        new = dict.fromkeys(keys[first:] if not skip else ())
        positions: Sequence[int] = range(first, first + len(new))
        if len(new) < count - first and new:
            positions = [keys.index(key, first) for key in new]
        if new:
            if self._passed or jump:
                self._pass_over(keys[: hit + 1], jump if request.serial >= page.serial else 0)
            if jump or (hit > 0 and list(islice(self._known.backwards(), hit + 1)) != list(keys[hit::-1])):
                self._known.reorder(keys[: hit + 1])
            self._known.add(new)
        reach = self._known.count - (0 if new else jump)
        if new:
            self._barren = self._misses = 0
        elif reach <= page.reach:
            self._barren += 1
            self._misses += 1
        else:
            self._misses = min(self._misses, 1)
        self._page = Page(
            at + first if skip else end, at, positions, tuple(new), at + first, total, self._serial, reach, page.until,
            self._lowest(answer, positions), answer.cursor,
        )
        self._skip = skip
        self._aim = self._page.end + skip
        self._searched = None
        stats.total, stats.total_is_exact = answer.total, answer.exact
        stats.duplicates += max(0, first - request.overlap) if hit >= 0 else 0
        if not is_last and self._barren > MAX_BARREN:
            self._stuck(self._barren)
        quiet = quiet and not grown and (not off or self._barren > 0)
        if is_last and quiet and total is not None and self._known.count < total - self._start:
            raise PaginationError(
                f"the listing ended after {self._known.count} distinct rows, although the total is {total}"
            )
        return Taken(positions, is_last)

    def _below(self, key: str) -> int:
        if key in self._passed:
            return len(self._passed) - self._passed.index(key) - 1
        return self._known.below(key)

    def _pass_over(self, above: Sequence[str], count: int) -> None:
        hit, passed = above[-1] if above else "", self._passed
        if hit in passed:
            passed = passed[passed.index(hit) + 1 :]
        else:
            last = islice((key for key in self._known.backwards() if key not in passed), min(count, 500))
            passed = (*reversed(list(last)), *(key for key in passed if key not in above))
        self._passed = passed[-500:]

    def _lowest(self, answer: Answer, positions: Sequence[int]) -> datetime | None:
        lowest = self._page.lowest
        if answer.times is None or (lowest is None and self._page.serial):
            return None
        times = [time for time in answer.times if time is not None]
        if len(times) < len(answer.times) or times != sorted(times, reverse=True):
            return None
        return answer.times[positions[-1]] if positions else lowest

    def _first_by_time(self, at: int, answer: Answer) -> int | None:
        page = self._page
        if page.lowest is None or answer.times is None:
            return None
        first = next((at for at, time in enumerate(answer.times) if time is None or time <= page.lowest), None)
        if first is None or (not first and (at or page.until is None)):
            return None
        return first

    @property
    def _from_top(self) -> bool:
        return not self._resumed and not self._start and not self._known.forgot

    def _position(self, request: Request, answer: Answer) -> int | None:
        count, stated = len(answer.keys), answer.size
        if self._dialect != "page" or stated == request.size or count > request.size:
            return request.offset
        if stated:
            self._given = stated
            return (request.number - 1) * stated
        reaches_end = request.offset + count == answer.total if answer.exact else request.size <= self.stats.longest_page
        if not count or count == request.size or reaches_end:
            return request.offset
        if not self._barren:
            return None
        self._given = count
        return 0 if request.number == 1 else None

    def _is_trusted(self, request: Request, at: int, total: int | None) -> bool:
        if request.overlap or at > self._aim or self._searched is not None or self._request(self._aim).overlap:
            return False
        return total is not None and total == self._page.total

    def _again(self) -> None:
        self._barren += 1
        if self._barren > MAX_BARREN:
            self._stuck(self._barren)

    def _stuck(self, count: int) -> NoReturn:
        raise PaginationError(
            f"{count} answers in a row brought no new row at offset {self._aim}, although the total is "
            f"given as {self._page.total}: the listing cannot be walked"
        )

    def _miss(self, request: Request, at: int, end: int, total: int | None, grown: int, is_last: bool) -> None:
        page, joined = self._page, self._page.serial > 0
        if self._drift == "raise" and joined:
            raise DriftError(f"the listing moved while it was walked: no known row at offset {at}")
        self.stats.drift_seen += 1
        if request.serial < page.serial:
            return self._again()
        self._misses += 1
        if self._misses > MAX_MISSES:
            self._stuck(self._misses)
        if self._skip or (self._misses == 1 and (joined or grown)):
            if joined:
                self._churn = min(max(2 * self._churn + 1, -1.5 * grown), self._given / 2)
            self._skip = 0
            self._aim = max(0, page.end + grown)
            self._plan[:] = [self._request(self._aim), request, *self._plan]
            return None
        self._plan.clear()
        top, bottom, again = self._searched or (at, end, False)
        top = min(top, at)
        bottom = None if bottom is None or is_last else max(bottom, end)
        rows = min(self._limit, self._given)
        step = max(rows * 3 // 4, min(rows * 2 ** min(self._misses - 2, 20), self._known.count), 1) if self._misses > 1 else rows * 3//4 or 1
        if top and (joined or bottom is None or page.end - top <= bottom - page.end):
            self._aim = max(0, min(top, top if total is None else total) - step)
            self.stats.steps_back += 1
        elif bottom is not None:
            self._aim = bottom - rows + step
        elif self._from_top:
            self._page, self._aim, self._searched = Page(0), 0, None
            return None
        elif not again:
            top, bottom, again = at, end, True
            self._aim = page.end
        else:
            raise DriftError("none of the rows is there any more at which the walk stood")
        self._searched = top, bottom, again
        return None

    # ---- where it stands

    def checkpoint(self, handed: int) -> Checkpoint:
        page = self._page
        passed = self._passed[-PASSED:]
        hidden = {*page.keys[handed:], *self._passed}
        place = page.at + page.positions[handed - 1] + 1 if handed else page.place
        if handed == len(page.keys):
            place = self._aim
        last = list(islice((key for key in self._known.backwards() if key not in hidden), max(24, ANCHORS - len(passed))))
        return Checkpoint(self._start, place, (*reversed(last), *passed), page.total)
