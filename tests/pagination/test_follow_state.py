"""Tests for the state of following: in any history of rows, polls, failures and restarts, none is missed or doubled.

The histories run in a simulated service: rows appear late and out of order, end, and are deleted, while a poll reads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eachlabs_async.pagination.follow_checkpoint import read_follow_checkpoint, write_follow_checkpoint
from eachlabs_async.pagination.follow_state import (
    REQUESTS_PER_POLL,
    FollowState,
    Reading,
    ReadingEnd,
    grouped,
    key_of,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
NEVER = 10**9


@dataclass(frozen=True)
class Row:
    """A row: when it was created, appears, ends, and is deleted, in seconds since the start."""

    name: str
    created: int
    appears: int
    ends: int
    gone: int

    @property
    def time(self) -> datetime:
        return START + timedelta(seconds=self.created)


class Service:
    """The listing at each moment, and a follower of it that may fail and be restarted."""

    def __init__(self, rows: list[Row], state: FollowState, seed: int, *, faults: float, pause: int) -> None:
        self.rows = sorted(rows, key=lambda row: (-row.created, row.name))
        self.keys = {key_of(row.name): row for row in rows}
        self.state = state
        self.now = 100
        self.random = Random(seed)
        self.faults = faults
        self.pause = pause
        self.delivered: list[tuple[str, int]] = []
        self.more_requests: list[int] = []  # of each poll, besides those for the newest rows
        self.boot = 0  # the monotonic clock begins anew with each process
        self.first_poll: tuple[int, int] | None = None
        self.first_answer: int | None = None

    @property
    def monotonic(self) -> float:
        return float(self.now - self.boot)

    def restart(self) -> None:
        text = write_follow_checkpoint({"finished": self.state.finished or None}, self.state)
        self.state, _ = read_follow_checkpoint(text, {"finished": self.state.finished or None}, self.state.settle)
        assert write_follow_checkpoint({"finished": self.state.finished or None}, self.state) == text
        self.now += self.random.choice([0, 1, 30])
        self.boot = self.now

    def page(self, reading: Reading, place: tuple[int, str] | None) -> list[Row]:
        """Return up to three rows below a place, as a pager does that neither misses nor repeats a row."""
        found: list[Row] = []
        for row in self.rows:
            if not row.appears <= self.now < row.gone or (place is not None and (-row.created, row.name) <= place):
                continue
            if reading.since is not None and row.time < reading.since - timedelta(seconds=2):
                continue
            if reading.until is not None and row.time > reading.until + timedelta(seconds=2):
                continue
            if not reading.running or row.ends > self.now:
                found.append(row)
        return found[:3]

    def poll(self) -> bool:
        """Poll once as `Follow` does; return whether it was complete."""
        state, began = self.state, self.now
        poll, requests, newest, ready = state.poll(self.monotonic), 0, 0, list[bytes]()
        reading = next(poll)
        place: tuple[int, str] | None = None
        pages = 0
        poll_began = self.monotonic
        while True:
            if self.random.random() < self.faults:
                poll.close()
                state.pending.clear()
                if self.random.random() < 0.5:
                    self.restart()
                return False
            rows = self.page(reading, place)
            if self.first_answer is None:
                self.first_answer = self.now
            pages, requests = pages + 1, requests + 1
            for row in rows:
                place = (-row.created, row.name)
                if state.see(key_of(row.name), row.time, ended=row.ends <= self.now):
                    ready.append(key_of(row.name))
            whole = len(rows) < 3 or state.enough
            ended = whole or (reading.pages is not None and pages >= reading.pages)
            self.now += self.random.choice([0, 0, 1, self.pause])
            if not ended and len(ready) < 4:
                continue
            while ready:
                key = ready.pop(0)
                state.delivered(key)
                self.delivered.append((self.keys[key].name, self.now))
                if self.random.random() < self.faults / 4:
                    self.restart()  # The rows that were read and not delivered are lost with the process.
                    return False
            if not ended:
                state.part_delivered(poll_began)
                continue
            try:
                reading = poll.send(ReadingEnd(whole, pages, self.monotonic))
            except StopIteration:
                newest = newest or requests
                break
            newest, place, pages = newest or requests, None, 0
        self.more_requests.append(requests - newest)
        if self.first_poll is None:
            self.first_poll = began, self.now
        return True

    def run(self, until: int) -> None:
        while not (self.now > until and self.poll()):
            if self.now <= until:
                self.poll()
            self.now += self.random.choice([0, 1, 5])
            if self.random.random() < self.faults:
                self.restart()
        self.faults = 0.0
        for _ in range(60):  # Executions that run are watched with a limited number of requests.
            assert self.poll()
            self.now += 2


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], int]:
    settle = draw(st.sampled_from([0, 1, 3, 10, 40]))
    moments = st.integers(0, 200) | st.sampled_from([98, 99, 100, 101])
    rows: list[Row] = []
    size = draw(st.sampled_from([3, 20, 60]))
    for number, created in enumerate(draw(st.lists(moments, min_size=size // 2, max_size=size))):
        appears = created + draw(st.integers(0, settle))
        ends = created + draw(st.sampled_from([0, 1, 5, 30, 90, NEVER]))
        gone = draw(st.sampled_from([NEVER] * 9 + [appears + 20]))
        rows.append(Row(f"row {number}", created, appears, ends, gone))
    return rows, settle


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("since", [None, 0, 90, 130])
@given(
    history=histories(),
    seed=st.integers(0, 2**32),
    faults=st.sampled_from([0.0, 0.02, 0.2]),
    pause=st.sampled_from([0, 2, 20]),
)
def test_no_row_is_missed_or_doubled(
    history: tuple[list[Row], int], seed: int, faults: float, pause: int, since: int | None, finished: bool
) -> None:
    """Each row that is new, or ends, is delivered once, whatever fails, restarts, appears late or moves meanwhile."""
    rows, settle = history
    at_start = since is None
    floor = None if since is None else START + timedelta(seconds=since)
    state = FollowState(timedelta(seconds=settle), finished, floor, skips=at_start, adopts=finished and at_start)
    service = Service(rows, state, seed, faults=faults, pause=pause)
    service.run(until=320 + settle)
    counts = Counter(name for name, _ in service.delivered)
    end = service.state
    assert end.floor is None or all(time >= end.floor for time in end.remembered.values())
    assert not [name for name, count in counts.items() if count > 1]
    assert service.first_poll is not None
    assert service.first_answer is not None
    _, ended = service.first_poll
    for row in rows:
        at = row.ends if finished else row.appears
        if at_start and (at if finished else row.appears) <= 100 and row.appears <= 100:
            assert row.name not in counts, "it was there, or had ended, before the start"
        if since is not None and row.created < since:
            assert row.name not in counts
            continue
        if row.gone < NEVER or at >= NEVER:
            continue
        if at_start and at <= ended and row.created <= service.first_answer:
            continue  # It appeared, or ended, during the first poll.
        assert counts[row.name] == 1, f"{row} was missed"
    moments = dict(service.delivered)
    assert all(moments[row.name] >= (row.ends if finished else row.appears) for row in rows if row.name in moments)


def test_rows_of_a_checkpoint_keep_their_times_open_until_they_are_read() -> None:
    """A poll that goes on below what was delivered does not read them, so they are not yet told by their times."""
    times = [*[0] * 20, 97, 97, 97, 98, 98, 99, *[101] * 4]
    rows = [Row(f"row {number}", time, time, time, NEVER) for number, time in enumerate(times)]
    service = Service(rows, FollowState(timedelta(seconds=1), floor=START), 47, faults=0.2, pause=0)
    service.run(until=321)
    assert Counter(name for name, _ in service.delivered) == Counter(row.name for row in rows)


def test_a_poll_that_goes_on_does_not_deliver_again_what_ended_above() -> None:
    """It reads a little above the place where it goes on, and open rows there may have ended since."""
    state = FollowState(timedelta(0), finished=True, floor=START)
    at = {name: START + timedelta(seconds=seconds) for name, seconds in (("d", 100), ("c", 99), ("b", 99), ("a", 98))}
    poll = state.poll(0.0)
    next(poll)
    for name in at:
        if state.see(key_of(name), at[name], ended=name in ("b", "a")):
            state.delivered(key_of(name))
    state.part_delivered(0.0)
    poll.close()
    poll = state.poll(1.0)
    assert next(poll).until == at["a"]
    assert state.see(key_of("c"), at["c"], ended=True)
    state.delivered(key_of("c"))
    state.part_delivered(1.0)
    assert not state.see(key_of("b"), at["b"], ended=True)
    assert not state.see(key_of("a"), at["a"], ended=True)


def state_after(
    *rows: tuple[str, float], settle: float = 10.0, ended: bool = True, finished: bool = False
) -> FollowState:
    """Return a state that has read and delivered rows (names and times in seconds) in one poll."""
    state = FollowState(timedelta(seconds=settle), finished=finished)
    read(state, *rows, ended=ended)
    return state


def read(
    state: FollowState, *rows: tuple[str, float], at: float = 0.0, ended: bool = True, running: tuple[str, ...] = ()
) -> list[str]:
    """Let a state read rows in one poll that begins at a monotonic time, and return those that it wants delivered."""
    wanted: list[str] = []
    poll = state.poll(at)
    reading: Reading | None = next(poll)
    while reading is not None:
        for name, seconds in rows:
            if reading.running and name not in running:
                continue
            if state.see(key_of(name), START + timedelta(seconds=seconds), ended=ended and name not in running):
                wanted.append(name)
        for name in wanted:
            if key_of(name) in state.pending:
                state.delivered(key_of(name))
        try:
            reading = poll.send(ReadingEnd(True, 1, at))
        except StopIteration:
            reading = None
    return wanted


def test_the_floor_is_a_settle_behind_the_newest_row() -> None:
    """So long the rows are read again, and remembered; those that are older are forgotten."""
    state = state_after(("c", 30), ("b", 25), ("a", 5))
    assert state.floor == START + timedelta(seconds=20)
    assert state.newest == START + timedelta(seconds=30)
    assert set(state.remembered) == {key_of("c"), key_of("b")}
    assert read(state, ("d", 31), ("c", 30), ("late", 22), ("b", 25)) == ["d", "late"]


def test_at_rest_the_floor_follows_the_newest_row() -> None:
    """After `settle` without a new row, nothing but the newest one is remembered, whatever a burst before had."""
    burst = [(f"row {number}", 30 - number / 1000) for number in range(1000)]
    state = state_after(*burst)
    assert len(state.remembered) == 1000
    assert read(state, *burst, at=5.0) == []
    assert state.floor == START + timedelta(seconds=25)
    assert read(state, *burst, at=11.0) == []
    assert state.floor == START + timedelta(seconds=30)
    assert set(state.remembered) == {key_of("row 0")}


def test_the_floor_never_moves_down() -> None:
    """A newest row that was deleted changes nothing."""
    state = state_after(("b", 30), ("a", 25))
    assert read(state, ("a", 25), at=1.0) == []
    assert state.floor == START + timedelta(seconds=21)


def test_the_service_clock_is_never_taken_for_later_than_it_is() -> None:
    """A row that appears `settle` after its creation is new, however much later than it the newest row was seen."""
    state = state_after(("b", 30), settle=10)
    assert read(state, ("b", 30), at=9.9) == []
    assert read(state, ("b", 30), ("late", 29.95), at=10.0) == ["late"]


def test_an_execution_that_left_the_listing_is_dropped_after_a_while() -> None:
    """It is looked for during `settle`, because a listing may show a row late again."""
    state = state_after(("slow", 5), settle=10, ended=False, finished=True)
    assert read(state, ("b", 100), at=1.0) == ["b"]
    assert key_of("slow") in state.open
    assert read(state, ("b", 100), at=10.0) == []
    assert key_of("slow") in state.open
    assert read(state, ("b", 100), at=11.0) == []
    assert key_of("slow") not in state.open
    assert state.vanished == 1


def test_an_old_execution_that_runs_costs_one_request() -> None:
    """It is in the listing of running executions, so nothing else is read; its end costs another one, once."""
    state = state_after(("slow", 5), ended=False, finished=True)
    rows = ("b", 100), ("slow", 5)
    assert read(state, *rows, running=("slow",)) == ["b"]

    def readings(*running: str) -> list[Reading]:
        seen: list[Reading] = []
        poll = state.poll(1.0)
        reading = next(poll)
        while True:
            seen.append(reading)
            for name, seconds in rows:
                if name in running if reading.running else reading.until is not None:
                    state.see(key_of(name), START + timedelta(seconds=seconds), ended=name not in running)
            try:
                reading = poll.send(ReadingEnd(True, 1, 1.0))
            except StopIteration:
                return seen

    assert [one.running for one in readings("slow")] == [False, True]
    ended = readings()
    assert [one.running for one in ended] == [False, True, False]
    assert (ended[2].since, ended[2].until) == (START + timedelta(seconds=5),) * 2


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 20))
def test_rows_are_divided_at_the_longest_gaps(times: list[int], most: int) -> None:
    """Every row is in one group, groups do not overlap, and none has a longer gap than the one between two others."""
    rows = {key_of(str(number)): START + timedelta(seconds=time) for number, time in enumerate(times)}
    groups = list(grouped(rows, most))
    assert sorted(key for group in groups for key in group) == sorted(rows)
    assert len(groups) == min(most, len(rows))
    spans = sorted((rows[group[0]], rows[group[-1]]) for group in groups)
    between = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
    within = [rows[two] - rows[one] for group in groups for one, two in pairwise(group)]
    assert not between or not within or max(within) <= min(between)
    if groups:
        assert next(iter(rows)) in groups[0]


@settings(max_examples=15)
@given(st.integers(1, 200), st.integers(0, 2**32))
def test_a_poll_sends_few_requests_for_what_runs(count: int, seed: int) -> None:
    """However many executions run, and end at once, each poll sends at most 15 requests more until all have come."""
    random = Random(seed)
    rows = [Row(f"row {n}", -5 * n, -5 * n, random.choice([130, 130, 131, 400]), NEVER) for n in range(count)]
    rows += [Row(f"new {n}", 120 + n, 120 + n, 120 + n, NEVER) for n in range(20)]
    state = FollowState(timedelta(seconds=5), finished=True, floor=START - timedelta(seconds=5 * count))
    service = Service(rows, state, seed, faults=0.0, pause=0)
    service.run(until=500)
    assert len(service.delivered) == len(rows)
    assert max(service.more_requests) <= REQUESTS_PER_POLL


def test_an_id_that_a_listing_repeats_comes_once() -> None:
    """A service may show a row on two pages."""
    state = state_after(("a", 5))
    assert read(state, ("b", 6), ("b", 6), ("a", 5)) == ["b"]


def test_executions_of_unknown_status_do_not_block_others() -> None:
    """Those that neither run nor have ended are asked about in turn, and so are the ones behind them."""
    odd = [(f"odd {number}", -10.0 * number) for number in range(40)]
    state = state_after(*odd, ("last", -1000), ended=False, finished=True)
    rows = [("new", 100.0), *odd, ("last", -1000.0)]
    read(state, *rows[:1], at=1.0)
    asked: set[float] = set()
    for number in range(20):
        poll = state.poll(2.0 + number)
        reading = next(poll)
        try:
            while True:
                if reading.since is not None and reading.until is not None and not reading.running:
                    times = {seconds: START + timedelta(seconds=seconds) for _, seconds in rows}
                    asked |= {one for one, time in times.items() if reading.since <= time <= reading.until}
                # A reading has room for few of its rows: it sees the newest one.
                seen = reading.until is not None and not reading.running
                for name, seconds in odd:
                    if seen and START + timedelta(seconds=seconds) == reading.until:
                        state.see(key_of(name), reading.until, ended=False)
                reading = poll.send(ReadingEnd(False, 1 if reading.running else 3, 2.0 + number))
        except StopIteration:
            pass
    assert len(asked) == len(rows) - 1


@settings(max_examples=15)
@given(st.integers(20, 100), st.integers(0, 2**32))
def test_executions_of_a_busy_second_are_reached(count: int, seed: int) -> None:
    """An execution comes although more others than a poll may read were created in its second, after it."""
    rows = [Row("old", 0, 0, 130, NEVER), *[Row(f"row {n}", 1, 1, 2, NEVER) for n in range(3 * count)]]
    rows.append(Row("new", 110, 110, 110, NEVER))
    service = Service(rows, FollowState(timedelta(seconds=5), finished=True, floor=START), seed, faults=0.0, pause=0)
    service.run(until=200)
    assert len(service.delivered) == len(rows)
    assert service.more_requests[-1] == 0


def test_rows_of_a_second_reading_are_remembered_though_it_is_delivered_in_parts() -> None:
    """Its margin shows rows from the floor on, which the poll has delivered and is not to read again."""
    state = FollowState(timedelta(0), finished=True, floor=START)
    old, new = START + timedelta(seconds=98), START + timedelta(seconds=99)
    poll = state.poll(0.0)
    next(poll)
    assert state.see(key_of("new"), new, ended=True)
    assert not state.see(key_of("old"), old, ended=False)
    state.delivered(key_of("new"))
    poll.send(ReadingEnd(True, 1, 1.0))
    assert state.floor == new
    poll.send(ReadingEnd(True, 1, 1.0))
    assert not state.see(key_of("new"), new, ended=True)
    assert state.see(key_of("old"), old, ended=True)
    state.delivered(key_of("old"))
    state.part_delivered(0.0)
    assert not state.see(key_of("new"), new, ended=True)
    assert (state.below, state.above) == (None, None)
