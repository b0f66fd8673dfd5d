"""What following a listing of executions has to read at each poll, and which rows are new; `follow` sends the requests.

The theory. A row is created once, and can be seen up to `settle` later. The listing is sorted by creation time.

- The *floor* is a time. Every row created before it was seen. A poll reads the rows from the floor on. The top row of
  its first answer was created before that answer, so a row that this answer does not show yet was created less than
  `settle` before the top row at the earliest. That time is the next floor. While nothing is created, the floor follows
  the time that has passed here, up to the newest row.
- Rows from the floor on are read again at each poll. Their keys are *remembered*, so that none is delivered twice.
- With `finished`, rows that still run are *open*. Those older than the floor are watched by the listing of running
  executions, which has few rows. An open row that it lacks has ended, and is read by its creation time.
- A long poll is delivered in parts. After each one, `below` is the time down to which its rows were delivered. The rows
  above are remembered only from `above` on, which becomes the floor at the end.

A key is a digest of an id, so that the state stays small.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

from attrs import define, field, frozen

REQUESTS_PER_POLL: Final = 15
"""Requests of a poll for executions that run and are older than the floor, at most."""
_FOR_ENDED: Final = 3
"""How many of them are reserved for executions that have ended."""
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
UNKNOWN: Final = datetime.max.replace(tzinfo=UTC)
"""The time of a remembered row of a checkpoint until the row is read again."""


def key_of(identity: str) -> bytes:
    """Return the key of a row."""
    return blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=9).digest()


@frozen
class Reading:
    """A part of the listing that a poll reads: rows created from `since` to `until`, at most `pages` pages.

    None means no bound. `running` is whether only executions that run are needed.
    """

    since: datetime | None = None
    until: datetime | None = None
    running: bool = False
    pages: int | None = None


@frozen
class ReadingEnd:
    """The end of a reading: whether all of its rows were read, by how many requests, and when (monotonic seconds)."""

    complete: bool
    requests: int
    at: float


@define
class FollowState:
    """The state of following. The times are those of the service, except for `now` and `at`.

    `floor`, `newest` and `above` are None before the first row. `skips` is True until the rows that were there at the
    beginning were read, which are not new: those created until `start`, when the first row that came was created.
    `adopts` is True until those of them that run were found.
    """

    settle: timedelta
    finished: bool = False
    floor: datetime | None = None
    newest: datetime | None = None
    below: datetime | None = None
    above: datetime | None = None
    start: datetime | None = None
    skips: bool = False
    adopts: bool = False
    remembered: dict[bytes, datetime] = field(factory=dict[bytes, datetime])
    open: dict[bytes, datetime] = field(factory=dict[bytes, datetime])
    pending: dict[bytes, datetime] = field(factory=dict[bytes, datetime])
    """Rows that are to be delivered."""
    vanished: int = 0
    lowest: datetime = _FIRST
    """The creation time of the row that was read last."""
    _top: datetime | None = None  # the creation time of the first row of the poll
    _service_clock: tuple[datetime, float] | None = None  # a time that the service has reached, and when that was known
    _found: set[bytes] = field(factory=set[bytes])  # open rows that the current readings showed
    _missing: dict[bytes, float] = field(factory=dict[bytes, float])  # since when an open row is not in the listing
    _stuck: int = 0  # how many polls in a row found none of the rows that have ended
    _adopting: bool = False
    _skips_above: bool = False  # The reading goes on below `below`.
    _reads_newest: bool = False  # The reading is the one from the floor on, not one of executions that run.

    # ---- rows

    def see(self, key: bytes, created: datetime | None, *, ended: bool) -> bool:
        """Take note of a row that was read, and return whether it is to be delivered."""
        if created is None:
            created = self.newest if self.lowest is _FIRST and self.newest else self.lowest
        self.lowest = created
        self._top = created if self._top is None else self._top
        if self.skips and self.start is None:
            self.start = created
        if key in self.pending:
            return False
        if key in self.remembered:
            self.remembered[key] = created
            return False
        if key in self.open:
            self._found.add(key)
            if not ended:
                return False
        elif self._adopting or (self.finished and not ended):
            if not ended and (self._adopting or not self._is_done(created)):
                self.open[key] = created
            return False
        elif self._is_done(created):
            return False
        elif self.skips and self.start is not None and created <= self.start:
            self.remembered[key] = created
            return False
        self.pending[key] = created
        return True

    def _is_done(self, created: datetime) -> bool:
        """Whether all rows created at that time were seen."""
        if self.floor is not None and created < self.floor:
            return True
        return (
            self._skips_above
            and self.below is not None
            and self.above is not None
            and self.below < created < self.above
        )

    @property
    def enough(self) -> bool:
        """Whether the rows that were there at the beginning were read as far down as needed."""
        return self.skips and self.start is not None and self.lowest < self.start - self.settle

    def delivered(self, key: bytes) -> None:
        """Record that a row was delivered."""
        created = self.pending.pop(key)
        self.open.pop(key, None)
        self._missing.pop(key, None)
        if self.floor is None or created >= self.floor:
            self.remembered[key] = created

    # ---- polls

    def poll(self, now: float) -> Generator[Reading, ReadingEnd, None]:
        """Yield the readings of one poll, and receive the end of each, after its rows were delivered.

        A poll that fails is closed; the next one reads again what was not delivered. `now` is in monotonic seconds.
        """
        self.pending.clear()
        self._adopting, self._skips_above = False, self.below is not None
        if self.below is None:
            self._top = None
        self._reads_newest = True
        end = yield self._reading(Reading(self.floor, self.below))
        self._reads_newest = False
        self._move_floor(now, end.at)
        if self.adopts:
            self._adopting = True
            yield self._reading(Reading(running=True))
            self.adopts = self._adopting = False
        if self.finished:
            yield from self._watch(now)

    def _reading(self, reading: Reading) -> Reading:
        self.lowest = _FIRST
        return reading

    def part_delivered(self, now: float) -> None:
        """Record that all rows read so far were delivered, while the poll that began at `now` is still reading.

        Only the reading from the floor on can be continued by a later poll.
        """
        if not self._reads_newest:
            return
        self.above = above = self.above or self._next_floor(now)
        # A reading that goes on begins a little above `below`.
        below = self.lowest if self.below is None else min(self.below, self.lowest)
        self.newest, self.below = self._newest(), below
        if above is not None:
            self.remembered = {
                key: created for key, created in self.remembered.items() if created >= above or created <= below
            }

    def _next_floor(self, now: float) -> datetime | None:
        newest = self._newest()
        if newest is None:
            return self.floor
        reached = _FIRST + self.settle if self._top is None else self._top
        if self._service_clock is not None:
            known, at = self._service_clock
            reached = max(reached, known + timedelta(seconds=now - at))
        floor = min(newest, reached - self.settle)
        return floor if self.floor is None else max(self.floor, floor)

    def _newest(self) -> datetime | None:
        return max((time for time in (self.newest, self._top) if time is not None), default=None)

    def _move_floor(self, now: float, at: float) -> None:
        self.floor = floor = self.above or self._next_floor(now)
        self.newest, self.skips, self.start = self._newest(), False, None
        read_all, self._skips_above = not self._skips_above, False
        self.below = self.above = None
        if self._top is not None:
            clock = self._service_clock
            if clock is None or self._top > clock[0] + timedelta(seconds=at - clock[1]):
                self._service_clock = self._top, at
        if floor is not None:
            # A row of a checkpoint that was not read again is gone. It is forgotten together with the newest one.
            most = self.newest if read_all and self.newest else UNKNOWN
            self.remembered = {key: min(created, most) for key, created in self.remembered.items() if created >= floor}

    # ---- executions that run

    def _watch(self, now: float) -> Generator[Reading, ReadingEnd, None]:
        """Read which of the open rows have ended, of those that are older than the floor."""
        floor = self.floor
        old = {key: created for key, created in self.open.items() if floor is not None and created < floor}
        if not old:
            return
        self._found = set()
        budget = REQUESTS_PER_POLL << self._stuck
        end = yield self._reading(Reading(min(old.values()), floor, running=True, pages=budget - _FOR_ENDED))
        left = budget - end.requests
        ended = {key: created for key, created in old.items() if key in self.open and key not in self._found}
        complete = True
        for keys in grouped(ended, max(1, left)):
            times = [ended[key] for key in keys]
            end = yield self._reading(Reading(min(times), max(times), pages=max(1, left)))
            left -= end.requests
            complete = complete and end.complete
            self._look_for(keys, end.complete, now)
            if left <= 0:
                break
        # So many rows may have been created within the margin of a reading that its own rows were not reached.
        reached = any(key in self._found or key not in self.open for key in ended)
        self._stuck = 0 if complete or reached else self._stuck + 1

    def _look_for(self, keys: Sequence[bytes], complete: bool, now: float) -> None:
        """Forget rows that have long been missing, and put the others at the end of the queue."""
        for key in keys:
            if key not in self.open:
                continue
            if key in self._found:
                self._missing.pop(key, None)
            elif complete and now - self._missing.setdefault(key, now) >= self.settle.total_seconds():
                del self.open[key], self._missing[key]
                self.vanished += 1
                continue
            self.open[key] = self.open.pop(key)


def grouped(rows: dict[bytes, datetime], most: int) -> Iterator[list[bytes]]:
    """Divide rows into at most `most` groups of adjacent creation times, and yield first what comes first in `rows`.

    The longest gaps separate the groups.
    """
    in_order = sorted(rows, key=rows.__getitem__)
    gaps = sorted(range(1, len(in_order)), key=lambda at: rows[in_order[at]] - rows[in_order[at - 1]])
    cuts = sorted(gaps[len(gaps) - most + 1 :] if most <= len(gaps) else gaps)
    groups = [in_order[start:end] for start, end in zip([0, *cuts], [*cuts, len(in_order)], strict=True)]
    place = {key: number for number, key in enumerate(rows)}
    yield from sorted((group for group in groups if group), key=lambda group: min(map(place.__getitem__, group)))
