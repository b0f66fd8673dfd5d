"""The engine of a walk: what to request next, and which rows of an answer come next.

`Engine.requests` returns the requests to send, `Engine.accept` decides about an answer. Sending, retries and delivery
are left to `pager`, the keys of rows to `known_rows`.

The theory. A listing is a sequence of rows. Rows enter and leave at any time, and those that stay keep their order. An
answer is a stretch of that sequence without gaps, as it was at some moment. Rows that were delivered are *known*. One
invariant holds: *above every known row, every row that stays (from the first answer to the last) is known too.*

- An answer *joins* if it holds a known row, or begins at the very top. The rows below its last known row come next: a
  row that stays and stands above one of them stands above that known row, and is known, or between the two, and comes
  next as well. It does not matter at which offset or moment the rows were read. What an answer shows above its last
  known row entered late. An answer that joins and reaches the end of the listing ends the walk.
- So ids prove, and offsets are only hints where to look.

Where does the next request begin? At `_next_offset`, where the known rows are expected to end, minus an *overlap*: one
row, which should be the last known one, and as many rows as may vanish above it before the answer (`_churn`, which
follows what was seen to vanish). Each page planned ahead begins where the one before it ends, minus the same overlap.

- A *miss* is an answer without a known row. The engine first looks where the total says that the known rows went, with
  a larger overlap. It keeps the answer: the new page closes the gap above it. If that fails it *searches*: upwards, in
  growing steps that are never longer than the known rows are many, then downwards. After a resume it searches on both
  sides. If it finds none, a walk from the very top starts anew; any other raises a `DriftError`.
- A page of known rows alone means that the known rows end further down, by as many as are known below it. But a server
  may have repeated itself: a page that the total does not explain is requested again before it is believed.
- A page by number begins at a multiple of its size only, but with a slightly smaller size some page begins just above
  the next offset. That costs rows. So such pages overlap only after the first sign of movement;
  until then a page is trusted if its exact total equals that of the page before.
- *Seeking*. Executions come newest first, and their creation times never change. So the rows not newer than some time
  are a listing of their own, which nothing that enters above can move. If a service serves only `depth` rows of it,
  the next request begins at offset 0 below the time of the lowest row, plus a second, because it is not documented how
  finely times are compared. The first rows of its answer are known, or newer than the lowest row: either joins it.
  Every answer has to show that its rows are in the order of their times; otherwise the walk continues by offset.
- *Cursors*. An answer to a cursor follows the page before by the service's word, so it joins, and all its unknown rows
  come next. Seeking replaces a cursor that is refused. To look ahead, `spans` splits the time into spans, each with an
  engine of its own. What can be reached neither by offset nor by time is looked for from the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import ceil, inf
from typing import Final, NoReturn

from ..errors import DriftError, PaginationError
from .checkpoint import Checkpoint
from .known_rows import ANCHORS, KnownRows
from .page_size import PageSize
from .pages import WalkStats
from .row_times import MARGIN, are_ordered, is_below, is_in_span, is_lower
from .walk_values import Accepted, Answer, Dialect, Drift, JoinedPage, Request, Span, Stretch

MAX_BARREN: Final = 16
MAX_EMPTY: Final = 50
MAX_MISSES: Final = 1000
MAX_RESTARTS: Final = 2


class Engine:
    """The state of one walk, from its first row or from a checkpoint.

    `limit` is the number of rows per request, `largest` the most that the service accepts. Up to `look_ahead` requests
    are planned besides the first. The walk ends after `max_rows` rows. `depth` is the number of rows that the service
    serves below one time; with it the walk seeks. With `drift="raise"` any sign of movement is a `DriftError`. Only
    rows created in the `span`, from its first time on and before its second, are delivered. `from_top` says that the
    rows of the checkpoint cannot be requested by offset.
    """

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
        span: Span = (None, None),
        from_top: bool = False,
    ) -> None:
        before = Checkpoint(start, start) if resume is None else resume
        self._dialect, self._drift = dialect, drift
        self._size = PageSize(limit, max(largest, limit), max(largest, limit))
        self._start, self._resumed = before.start, bool(before.anchors)
        self.look_ahead, self.max_rows, self._depth = look_ahead, max_rows, depth
        self.stats = WalkStats()
        self._known = KnownRows(before.anchors)
        by_offset = not (from_top or dialect == "cursor")
        self._from_top, self.span = not by_offset and before.at is None, span
        self._next_offset: int = before.next_offset if by_offset else 0  # where the known rows should end
        until = None if span[1] is None else span[1] + MARGIN
        self.page = JoinedPage(self._next_offset, self._next_offset, before.total, lowest=before.at, until=until)
        self._churn = float(look_ahead > 0 and dialect == "offset")  # rows that may vanish above it meanwhile
        self._plan: list[Request] = []
        self._answers = 0
        self._misses: int = 0  # answers without a known row, or no further down, since the last new row
        self._barren = 0  # answers that brought nothing since the last new row
        self._searched: tuple[int, int | None] | None = None  # the stretch without a known row; None: to the end
        self._ties = 0 if before.at is None else before.ties  # delivered rows of the lowest time, still to be met
        if before.at is not None:
            self._restart(before.at + MARGIN)

    # ---- what to request

    def requests(self) -> list[Request]:
        """Return the requests to send now, in the order in which `accept` needs their answers.

        Cancel a request that is no longer returned. Keep the answer to one that still is.
        """
        plan, offset = self._plan, self._next_offset
        while self._searched is None and plan and plan[0].offset + min(plan[0].size, self._size.rows) <= offset:
            del plan[0]
        if not plan or plan[0].offset > offset:
            if self._depth is not None and offset + self._size.limit > self._depth:
                self.seek()
            plan.insert(0, self._request(self._next_offset))
        if self.look_ahead and self.page.serial and not (self._misses or self._barren):
            self._plan_ahead()
        return plan

    def _plan_ahead(self) -> None:
        plan, stats = self._plan, self.stats
        end = 0 if self._dialect == "cursor" else self.page.total or inf
        if self.max_rows is not None:
            end = min(end, self._next_offset + self.max_rows - stats.rows)
        if self._depth is not None:
            end = min(end, self._depth - self._size.limit + 1)
        # Plan less where many rows move, and no more than has come where no total says that more follows.
        ahead = min(self.look_ahead, self._size.rows / (2 * self._churn + 0.001))
        while len(plan) <= ahead:
            offset = plan[-1].offset + min(plan[-1].size, self._size.rows)
            following = self._request(offset)
            unsure = offset >= (stats.total or 0) and len(plan) * self._size.usual > self._known.count
            if offset >= end or unsure or following.offset <= plan[-1].offset:
                break
            plan.append(following)

    @property
    def lowest(self) -> datetime | None:
        """The time of the lowest row so far; None if there is none, or the rows are not in order."""
        return self.page.lowest_after(len(self.page.positions))

    def seek(self) -> bool:
        """Continue at the top of what is not newer than the lowest row; return False if that leads no further."""
        page, until = self.page, self.page.until if self.lowest is None else self.lowest + MARGIN
        stuck = until == page.until
        if self._dialect == "cursor":
            # There may be more rows at that time: with a cursor it is worth trying again.
            self._misses += stuck and not page.end
            stuck = stuck and not page.end and (page.cursor is None or self._misses > MAX_RESTARTS)
        if not stuck:
            self._restart(until)
        return not stuck

    def _restart(self, until: datetime | None) -> None:
        self.page = self.page._replace(end=0, total=None, below=0, reach=0, until=until, cursor=None)
        self._next_offset, self._searched = 0, None
        self._plan.clear()

    def limit_depth(self, depth: int) -> None:
        """Seek after at most `depth` rows of what is not newer than some time: the service serves no more."""
        self._depth = depth
        self._plan.clear()

    def _request(self, offset: int) -> Request:
        page = self.page
        if self._dialect == "cursor":
            return Request(0, self._size.limit, 0, self._answers, page.until, page.cursor)
        overlap = 0 if self._searched else max(0, min(self._overlap(), self._size.rows - 1, offset))
        if self._dialect == "page":
            first, size = self._size.numbered(offset, overlap)
            return Request(first, size, offset - first if self._known.count else 0, self._answers)
        size = min(self._size.limit + overlap, self._size.largest)
        return Request(offset - overlap, size, overlap, self._answers, page.until)

    def _overlap(self) -> int:
        page, moved = self.page, self.stats.drift_seen or self._churn
        if not page.serial and not self._from_top:
            return ANCHORS if self._resumed else 0
        trusted = self._dialect == "page" and page.total is not None and not self._resumed
        return 0 if trusted and not moved and not self._barren else 1 + ceil(self._churn)

    # ---- what an answer means

    def accept(self, request: Request, answer: Answer) -> Accepted | None:
        """Return which rows of the answer to the first request come next; None if `requests` has to be called first.

        Raises `PaginationError` if the walk cannot go on, and its subclass `DriftError` if all known rows vanished or
        the drift mode does not allow that the listing moved.
        """
        page, known, keys, count = self.page, self._known, answer.keys, len(answer.keys)
        self._answers += 1
        if self._plan and self._plan[0] == request:
            del self._plan[0]
        self.stats.longest_page = max(self.stats.longest_page, count)
        if count and answer.more and request.cursor is not None and answer.cursor == request.cursor:
            raise PaginationError("the service returned the same cursor for the second time: an endless loop")
        seen = self._stretch(request, answer)
        if seen is None:
            self._count_barren()
            return None
        hit = known.last_of(keys, request.overlap)
        follows = request.cursor is not None and (page.reach > 0 or not known.count)
        first = 0 if follows else hit + 1 if hit >= 0 else self._first_next(request, answer, seen)
        if first is None:
            self._miss(request, answer, seen)
            return None
        below = known.below(keys[hit]) if hit >= 0 else 0
        # On a page of known rows alone the known rows end further down, unless those below it are gone.
        all_known = hit >= 0 and first == count
        off = seen.at + first + (below if all_known else 0) - (page.end if self._misses else self._next_offset)
        if self._dialect == "cursor" or (page.until is not None and not page.end):
            off = hit + 1 if follows and page.end else 0
        too_few = seen.is_last and seen.at and seen.total is not None and known.count < seen.total - self._start
        if all_known and off > max(seen.grown, 0) and (self._barren < 1 + seen.is_last or (too_few and self._is_whole)):
            self._churn = max(self._churn, 1.0)
            self._count_barren()  # The server may have repeated itself.
            return None
        coming: Sequence[int] = range(first, count)
        if follows and hit >= 0:
            coming = [at for at in coming if keys[at] not in known]
        if self.span != (None, None):
            coming = [at for at in coming if is_in_span(self.span, answer.times, at)]
        new = dict.fromkeys(keys[first:] if isinstance(coming, range) else [keys[at] for at in coming])
        self._observe(off, seen, request, known.count + len(new))
        self.stats.duplicates += max(0, hit + 1 - request.overlap)
        if new:
            in_order = request.serial >= page.serial  # An older answer can lack rows that entered since.
            if (known.passed or below) and not follows:
                known.pass_over(keys[: hit + 1], below if in_order else 0)
            if hit > 0 and (in_order or not below) and not follows:
                known.order(keys[: hit + 1])
            known.add(new)
            self._barren = self._misses = below = 0
        skip = below // 4**self._misses if all_known and not seen.is_last else 0
        if new or hit >= 0:
            self._ties = 0
        if not new and known.count - below <= page.reach and not self._ties and not is_lower(answer.times, page.times):
            self._misses += 1
            self._count_barren(MAX_BARREN if count else MAX_EMPTY, seen.is_last)
        self._next_offset, self._searched = seen.end + skip, None
        positions = coming if len(new) == len(coming) else [keys.index(key, first) for key in new]
        end = seen.at + len(new) if self._dialect == "cursor" else seen.end
        self.page = JoinedPage(
            end, seen.at + first, seen.total, self._answers, seen.at, positions, tuple(new), skip,
            known.count - below if new or hit >= 0 else page.reach, page.until, answer.cursor, answer.times,
            self.lowest, page.ordered and are_ordered(answer.times),
        )  # fmt: skip
        return self._finish(answer, positions, seen.is_last)

    def _finish(self, answer: Answer, positions: Sequence[int], ended: bool) -> Accepted:
        stats = self.stats
        if self.max_rows is not None and stats.rows + len(positions) >= self.max_rows:
            positions, ended = positions[: self.max_rows - stats.rows], True
        stats.rows += len(positions)
        stats.total, stats.total_is_exact = answer.total, answer.exact
        if answer.more and not answer.cursor and not ended and not self.seek():
            raise PaginationError("the service says that there are more rows and gives no cursor to ask for them")
        return Accepted(positions, ended)

    def _stretch(self, request: Request, answer: Answer) -> Stretch | None:
        """Return what an answer shows; None if it is probably empty by mistake, or its offset is unknown."""
        page, count, total = self.page, len(answer.keys), answer.total if answer.exact else None
        if request.until != page.until:
            return None
        if self._dialect == "cursor":
            is_last = not answer.more or is_below(answer.times, self.span[0])
            return Stretch(page.end, page.end + count, None, 0, is_last)
        at: int | None = request.offset
        if self._dialect == "page":
            at = self._size.offset_of(request, answer, longest=self.stats.longest_page, again=self._barren > 0)
        if at is None or (not count and ((answer.total or 0) > at or (total is None and self._barren < 2))):
            return None
        is_last = self._size.is_last(request, answer, at, longest=self.stats.longest_page if page.serial else 1)
        if count and not is_last and self._dialect == "offset":
            self._size.rows = count if count < request.size else max(self._size.rows, count)
        grown = 0 if total is None or page.total is None else total - page.total
        return Stretch(at, at + count, total, grown, is_last)

    def _first_next(self, request: Request, answer: Answer, seen: Stretch) -> int | None:
        """Return the position of the first row that comes next on a page that no known row joins; None for a miss."""
        page, count, offset = self.page, len(answer.keys), self._next_offset
        if not page.serial and not self._resumed:
            return min(max(self._start - seen.at, 0), count)
        if not page.serial and self._from_top:
            return None
        if (lowest := self.lowest) is not None and answer.times:
            first = next((at for at, time in enumerate(answer.times) if time is None or time <= lowest), count)
            while self._ties and first < count and answer.times[first] == lowest:
                first, self._ties = first + 1, self._ties - 1  # A checkpoint names only the last of them.
            if first or (page.until is not None and not seen.at):
                return first
        if not seen.at and (not count or (seen.is_last and self._is_whole)):
            return 0
        if self._dialect == "cursor":
            return None
        # A page is trusted if the total is unchanged and a request for this offset would not overlap, or could not.
        unchanged = seen.total == page.total if seen.total is not None else not (count or self.stats.drift_seen)
        if unchanged and seen.at <= offset and self._searched is None:
            return None if request.overlap or self._request(offset).overlap else min(offset - seen.at, count)
        return None

    @property
    def _is_whole(self) -> bool:
        """Whether the walk began at the very top and remembers all its rows."""
        return not (self._resumed or self._start or self._known.forgot)

    def _observe(self, off: int, seen: Stretch, request: Request, rows: int) -> None:
        """Record how much the listing moves: `off` is how far the known rows ended from the expected offset."""
        page, stats, total = self.page, self.stats, seen.total
        at_rest = not stats.drift_seen and not seen.grown and (not off or self._barren > 0) and page.until is None
        if seen.is_last and at_rest and not self._resumed and total is not None and rows < total - self._start:
            raise PaginationError(f"the listing ended after {rows} distinct rows, although its total is {total}")
        if not page.serial:
            return
        if off or seen.grown:
            stats.drift_seen += 1
            if self._drift == "raise":
                raise DriftError(f"the listing moved while it was walked: off by {off}, its total by {seen.grown}")
        # Of answers that were in flight together either can be the older one.
        vanished = abs(off) if request.serial < page.serial else -off
        self._churn = max(min(1.5 * vanished, self._size.rows / 2), self._churn * 0.85 - 0.02, 0.0)

    def _count_barren(self, most: int = MAX_BARREN, is_last: bool = False) -> None:
        self._barren += 1
        if self._barren > most and not is_last:
            self._give_up(self._barren)

    def _give_up(self, count: int) -> NoReturn:
        where = f"at offset {self._next_offset}, although the total is {self.stats.total}"
        raise PaginationError(f"{count} answers in a row brought no new row {where}: the listing cannot be walked")

    def _read_down(self, answer: Answer, seen: Stretch) -> None:
        """Continue with the next page of a listing that is searched for known rows from the top."""
        page = self.page
        if seen.is_last:
            raise DriftError("none of the rows recorded in the checkpoint exists any more")
        self._misses += not is_lower(answer.times, page.times)
        if self._misses > MAX_MISSES:
            self._give_up(self._misses)
        lowest = answer.times[-1] if answer.times and are_ordered(answer.times) else self.lowest
        self.page = page._replace(cursor=answer.cursor, positions=(), keys=(), times=answer.times, lowest=lowest)
        self._next_offset = seen.end

    def _miss(self, request: Request, answer: Answer, seen: Stretch) -> None:
        """Decide where to look for a known row after a page without one."""
        page, stats, at, end = self.page, self.stats, seen.at, seen.end
        if self._dialect == "cursor" or (self._from_top and not page.serial):
            self._read_down(answer, seen)
            return
        if self._drift == "raise" and page.serial:
            raise DriftError(f"the listing moved while it was walked: no known row at offset {at}")
        stats.drift_seen += 1
        if request.serial < page.serial:
            self._count_barren()  # It was in flight when a page was joined, and can be older than that page.
            return
        self._misses += 1
        if self._misses > MAX_MISSES:
            self._give_up(self._misses)
        if self._depth is not None and self.seek():
            return
        if page.below or (self._misses == 1 and (page.serial or seen.grown)):
            self._churn = min(2 * self._churn + 1, self._size.rows / 2)
            self.page = page._replace(below=0)
            self._next_offset = max(0, page.end + seen.grown)
            self._plan[:0] = [self._request(self._next_offset), request]
            stats.steps_back += self._next_offset < page.end
            return
        top, bottom = self._searched or (at, end)
        top, bottom = min(top, at), None if bottom is None or seen.is_last else max(bottom, end)
        rows = self._size.usual
        step = max(rows * 3 // 4, min(rows << min(self._misses, 20) >> 2, self._known.count), 1)
        self._plan.clear()
        self._searched = top, bottom
        if top and (page.serial or bottom is None or page.end - top <= bottom - page.end):
            self._next_offset = max(0, min(top, top if seen.total is None else seen.total) - step)
        elif bottom is not None:
            self._next_offset = bottom - rows + step
        elif self._is_whole:
            self.page, self._next_offset, self._searched = JoinedPage(0, 0), 0, None
        else:
            raise DriftError("none of the rows is there any more at which the walk was")
        stats.steps_back += self._next_offset < at

    # ---- where it stands

    def checkpoint(self, delivered: int | None = None) -> Checkpoint:
        """Return a checkpoint after `delivered` rows of the page accepted last (None: all of them)."""
        page = self.page
        delivered = len(page.keys) if delivered is None else min(delivered, len(page.keys))
        offset = page.end + page.below
        if delivered < len(page.keys):
            offset = page.at + page.positions[delivered - 1] + 1 if delivered else page.next_offset
        anchors = self._known.anchors(page.keys[delivered:])
        return Checkpoint(self._start, offset, anchors, page.total, page.lowest_after(delivered))
