"""Tests for `Walk`: faulty servers, steps back, checkpoints, statistics."""

from __future__ import annotations

from typing import Any

import pytest
from listing_server import OFFSET, PAGES, Answer, Listing, drive, rows_of

from eachlabs_async.errors import DriftError, PaginationError
from eachlabs_async.pagination.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from eachlabs_async.pagination.rules import PageRequest
from eachlabs_async.pagination.walk import ANCHORS, Walk


class Stuck(Listing):
    """A server that ignores the offset and returns `pages` in turn, endlessly."""

    def __init__(self, pages: int, total: int | None) -> None:
        super().__init__(10 * pages)
        self.pages, self.total = pages, total

    def answer(self, request: PageRequest) -> Answer:
        first = 10 * (len(self.asked) % self.pages)
        self.asked.append(request)
        return Answer(self.ids[first : first + 10], self.total, self.total is not None, None)


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("total", [None, 1000])
@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("drift", ["dedupe", "resync"])
def test_a_server_that_repeats_itself_is_not_walked_for_ever(
    drift: str, pages: int, total: int | None, ahead: int
) -> None:
    """For the first page or the same pages endlessly: each row once, then an error after a few requests."""
    server = Stuck(pages, total)
    walk = Walk(OFFSET, start=0, size=10, ahead=ahead, drift=drift)
    rows: list[str] = []

    def walk_on() -> None:
        for page in drive(walk, server, ahead=ahead):
            rows.extend(identity for identity, _ in page)

    with pytest.raises(PaginationError):
        walk_on()
    assert len(rows) == len(set(rows))
    assert len(server.asked) < 40


@pytest.mark.parametrize("drift", ["dedupe", "resync"])
@pytest.mark.parametrize("slips", [{0}, {2}, {2, 3}, {2, 3, 4}])
def test_empty_pages_by_mistake_are_asked_for_again(drift: str, slips: set[int]) -> None:
    """Up to three empty pages in a row do not end the walk if the total shows that there are rows."""
    listing = Listing(45, slips=frozenset(slips))
    assert rows_of(Walk(OFFSET, start=0, size=10, drift=drift), listing) == listing.ids
    assert len(listing.asked) == 5 + len(slips)


class Stale(Listing):
    """A server whose third answer wrongly repeats the second one."""

    def answer(self, request: PageRequest) -> Answer:
        found = super().answer(request)
        if len(self.asked) == 3:
            found.ids = self.before
        self.before = found.ids
        return found


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("shape", [OFFSET, PAGES], ids=["offset", "page"])
@pytest.mark.parametrize("drift", ["dedupe", "resync"])
def test_a_page_that_comes_twice_by_mistake_costs_no_row(drift: str, shape: Any, ahead: int) -> None:
    """If the total shows that nothing was inserted, the missing page is requested again."""
    listing = Stale(60, shape)
    walk = Walk(shape, start=0, size=10, ahead=ahead, drift=drift)
    assert rows_of(walk, listing, ahead=ahead) == listing.ids


@pytest.mark.parametrize("drift", ["dedupe", "resync"])
def test_four_empty_pages_in_a_row_are_an_error(drift: str) -> None:
    """The fourth repetition is an error."""
    listing = Listing(45, slips=frozenset({2, 3, 4, 5}))
    with pytest.raises(PaginationError):
        rows_of(Walk(OFFSET, start=0, size=10, drift=drift), listing)


@pytest.mark.parametrize("drift", ["dedupe", "resync", "raise"])
@pytest.mark.parametrize(("count", "extra"), [(25, 3), (25, 30)])
def test_pages_longer_than_asked_for_are_taken_whole(drift: str, count: int, extra: int) -> None:
    """A server may return more rows than requested."""
    listing = Listing(count, extra=extra)
    walk = Walk(OFFSET, start=0, size=10, drift=drift)
    assert rows_of(walk, listing) == listing.ids
    assert walk.stats.longest_page >= min(count, 10 + extra)


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_page_numbers_without_a_total_allow_for_a_clamp(count: int) -> None:
    """A short first page by number does not end the walk unless a total shows that these are all rows."""
    listing = Listing(count, PAGES, clamp=2, stated=False, totals="absent")
    assert rows_of(Walk(PAGES, start=0, size=10), listing) == listing.ids


@pytest.mark.parametrize("stated", [True, False])
def test_a_clamp_that_comes_late_is_no_movement(stated: bool) -> None:
    """Rows of a numbered page of another size prove nothing about moved rows."""
    listing = Listing(60, PAGES, stated=stated)

    def clamp() -> None:
        listing.clamp = 7 if len(listing.asked) > 2 else None

    walk = Walk(PAGES, start=0, size=10, drift="raise")
    assert rows_of(walk, listing, between=clamp) == listing.ids


@pytest.mark.parametrize("drift", ["dedupe", "resync", "raise"])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("clamp", [7, 30, 40])
def test_a_walk_from_a_later_page_begins_at_its_first_row_behind_a_clamp(clamp: int, stated: bool, drift: str) -> None:
    """Page numbers then refer to the clamped size, so the page with the first requested row begins above it."""
    listing = Listing(500, PAGES, clamp=clamp, stated=stated)
    assert rows_of(Walk(PAGES, start=200, size=100, drift=drift), listing) == listing.ids[200:]


def test_twins_on_a_page_come_once() -> None:
    """An id that occurs twice on a page is one row."""
    listing = Listing(6)
    listing.ids[2] = listing.ids[1]
    walk = Walk(OFFSET, start=0, size=10)
    assert rows_of(walk, listing) == ["row-0", "row-1", "row-3", "row-4", "row-5"]
    assert walk.stats.duplicates == 1


def test_an_overlap_costs_no_request_below_the_largest_page() -> None:
    """One more row is requested, so that a page still has `limit` new rows; at a limit of 100 it has 99."""
    below, largest = Listing(500), Listing(10_000)
    rows_of(Walk(OFFSET, start=0, size=50, drift="resync"), below)
    rows_of(Walk(OFFSET, start=0, size=100, drift="resync"), largest)
    assert len(below.asked) == 10
    assert below.asked[1] == PageRequest(49, 51)
    assert len(largest.asked) <= 100 * (1 + 1 / 99) + 1


def test_resync_steps_back_as_far_as_needed() -> None:
    """The total reveals rows removed above the position, and no row is missed."""
    listing = Listing(100)

    def vanish() -> None:
        if len(listing.asked) == 5:
            del listing.ids[3:40]

    walk = Walk(OFFSET, start=0, size=10, drift="resync")
    rows = rows_of(walk, listing, between=vanish)
    assert rows == [f"row-{number}" for number in range(100)]
    assert walk.stats.steps_back == 1
    assert walk.stats.drift_seen


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("at", "gone"), [(0, 7), (0, 50), (0, 95), (50, 50), (95, 10), (112, 100), (130, 120)])
def test_resync_by_page_number_from_the_middle_copes_with_falls_of_the_total(at: int, gone: int, resumed: bool) -> None:
    """Rows above the start, or delivered before the resume, are not delivered when the walk reads again further up."""
    listing = Listing(300, PAGES)
    wanted = listing.ids[100:]

    def vanish() -> None:
        if len(listing.asked) == 2:
            del listing.ids[at : at + gone]

    checkpoint = Checkpoint(0, 100, tuple(listing.ids[100 - ANCHORS : 100]), 300) if resumed else None
    walk = Walk(PAGES, start=0 if resumed else 100, size=10, drift="resync", resume=checkpoint)
    rows = rows_of(walk, listing, between=vanish)
    left = set(listing.ids)
    assert len(rows) == len(set(rows))
    assert [row for row in rows if row in left] == [row for row in wanted if row in left]


@pytest.mark.parametrize("total", ["exact", "absent"])
def test_a_walk_from_the_middle_whose_rows_are_all_gone_is_an_error(total: str) -> None:
    """The start can then not be found: the walk neither drops rows that moved up nor delivers any from above."""
    listing = Listing(60, totals=total)

    def vanish() -> None:
        if len(listing.asked) == 1:
            del listing.ids[:40]

    with pytest.raises(DriftError, match="none of the rows recorded"):
        rows_of(Walk(OFFSET, start=20, size=10, drift="resync"), listing, between=vanish)


@pytest.mark.parametrize("total", ["exact", "absent"])
@pytest.mark.parametrize("entering", [5, 60, 600])
def test_a_walk_from_the_middle_finds_its_rows_below_those_that_entered(entering: int, total: str) -> None:
    """A walk that has stepped back to the top searches further down for a known row."""
    listing = Listing(60, totals=total)
    wanted = listing.ids[20:]

    def enter() -> None:
        if len(listing.asked) == 2:
            listing.insert(entering)

    rows = rows_of(Walk(OFFSET, start=20, size=10, drift="resync"), listing, between=enter)
    assert rows == wanted


@pytest.mark.parametrize("gone", [5, 20, 60, 99])
def test_rows_that_went_above_the_start_are_not_counted_as_come(gone: int) -> None:
    """A page of known rows does not end a walk by number from the middle, unless it reaches the total."""
    listing = Listing(125, PAGES)
    wanted = listing.ids[100:]

    def vanish() -> None:
        if len(listing.asked) == 2:
            del listing.ids[:gone]

    assert rows_of(Walk(PAGES, start=100, size=10, drift="resync"), listing, between=vanish) == wanted


def test_without_a_total_the_steps_back_grow() -> None:
    """One page, then two, then four, until the last row is found."""
    listing = Listing(100, totals="absent")

    def vanish() -> None:
        if len(listing.asked) == 8:
            del listing.ids[:60]

    walk = Walk(OFFSET, start=0, size=10, drift="resync")
    assert rows_of(walk, listing, between=vanish) == [f"row-{number}" for number in range(100)]
    assert 1 < walk.stats.steps_back <= 5


def test_five_steps_back_without_a_new_row_are_an_error() -> None:
    """A listing that changes completely with every answer is an error."""
    listing = Listing(5000, totals="absent")

    def replace() -> None:
        if len(listing.asked) > 200:
            listing.ids = [f"{len(listing.asked)}-{number}" for number in range(5000)]

    with pytest.raises(DriftError, match="5 steps back"):
        rows_of(Walk(OFFSET, start=0, size=10, drift="resync"), listing, between=replace)


@pytest.mark.parametrize(("total", "said"), [("exact", False), ("absent", True)])
def test_one_row_at_a_time_can_be_joined_by_an_unchanged_total_alone(total: str, said: bool) -> None:
    """If the server returns one row per answer, resync works as long as the exact total does not change."""
    listing = Listing(8, clamp=1, totals=total)
    walk = Walk(OFFSET, start=0, size=5, drift="resync")
    if said:
        with pytest.raises(DriftError, match="one row at a time"):
            rows_of(walk, listing)
    else:
        assert rows_of(walk, listing) == listing.ids


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda ids: ids.insert(0, "new"), "the total went from 40 to 41"),
        (lambda ids: ids.pop(3), "the total went from 40 to 39"),
        (lambda ids: ids.insert(0, ids.pop()), "known rows were repeated|is not the last one received"),
        (lambda ids: ids.append(ids.pop(2)), "is not the last one received"),
    ],
)
def test_raise_says_what_moved(change: object, said: str) -> None:
    """The first sign of movement is an error that describes it."""
    listing = Listing(40)

    def move() -> None:
        if len(listing.asked) == 2:
            change(listing.ids)

    with pytest.raises(DriftError, match=said):
        rows_of(Walk(OFFSET, start=0, size=10, drift="raise"), listing, between=move)


def test_dedupe_goes_on_behind_a_flood() -> None:
    """If more rows are inserted than were walked, one probe finds the position after them."""
    listing = Listing(40)

    def flood() -> None:
        if len(listing.asked) == 2:
            listing.insert(500)

    walk = Walk(OFFSET, start=0, size=10)
    assert rows_of(walk, listing, between=flood) == [f"row-{number}" for number in range(40)]
    assert len(listing.asked) == 6


def test_dedupe_stays_where_rows_entered_further_down() -> None:
    """If the probe finds nothing, the walk continues where it was."""
    listing = Listing(40)

    def flood() -> None:
        if len(listing.asked) == 2:
            listing.insert(30, 35)

    rows = rows_of(Walk(OFFSET, start=0, size=10), listing, between=flood)
    assert rows == listing.ids


class TestABookmark:
    def test_names_the_last_rows_and_the_place(self) -> None:
        """The row delivered last counts as done, and only a few ids are kept."""
        walk, listing = Walk(OFFSET, start=0, size=10), Listing(40)
        assert walk.checkpoint_at(0) == Checkpoint(0, 0)
        pages = drive(walk, listing)
        first = next(pages)
        ids = [identity for identity, _ in first]
        assert walk.checkpoint_at(3, ids[:3]) == Checkpoint(0, 3, tuple(ids[:3]), 40)
        next(pages)
        found = walk.checkpoint_at(13, [*ids, "row-10", "row-11", "row-12"])
        assert found.anchors[-1] == "row-12"
        assert len(found.anchors) == ANCHORS

    @pytest.mark.parametrize("shape", [OFFSET, PAGES])
    @pytest.mark.parametrize("drift", ["dedupe", "resync"])
    @pytest.mark.parametrize("gone", [0, 1, 7])
    @pytest.mark.parametrize("entered", [0, 3, 200])
    def test_finds_its_row_again(self, shape: object, drift: str, gone: int, entered: int) -> None:
        """Rows were inserted at the top, and all but one of the recorded ids may be gone."""
        listing = Listing(60, shape)
        last = [f"row-{number}" for number in range(17, 25)]
        checkpoint = Checkpoint(0, 25, tuple(last), 60)
        listing.insert(entered)
        listing.ids = [row for row in listing.ids if row not in last[8 - gone :]]
        walk = Walk(listing.shape, start=0, size=10, drift=drift, resume=checkpoint)
        assert rows_of(walk, listing) == [f"row-{number}" for number in range(25, 60)]

    @pytest.mark.parametrize("shape", [OFFSET, PAGES])
    @pytest.mark.parametrize("drift", ["dedupe", "resync", "raise"])
    @pytest.mark.parametrize(("clamp", "stated"), [(None, True), (3, True), (3, False)])
    @pytest.mark.parametrize("next_offset", range(1, 31))
    def test_into_a_listing_at_rest_shows_no_movement(
        self, shape: object, drift: str, next_offset: int, clamp: int | None, stated: bool
    ) -> None:
        """Rows read again to find the position do not count as movement or duplicates, clamped or not."""
        listing = Listing(30, shape, clamp=clamp, stated=stated)
        checkpoint = Checkpoint(0, next_offset, tuple(listing.ids[max(0, next_offset - ANCHORS) : next_offset]), 30)
        walk = Walk(listing.shape, start=0, size=10, drift=drift, resume=checkpoint)
        assert rows_of(walk, listing) == listing.ids[next_offset:]
        assert walk.stats.drift_seen == walk.stats.steps_back == walk.stats.duplicates == 0

    @pytest.mark.parametrize("total", ["exact", "capped", "absent"])
    @pytest.mark.parametrize("left", [0, 1, 5, 60])
    def test_of_rows_that_are_all_gone_is_an_error(self, total: str, left: int) -> None:
        """If none of the recorded rows exists any more, the walk raises instead of missing or repeating rows."""
        listing = Listing(left, totals=total)
        checkpoint = Checkpoint(0, 25, ("gone-1", "gone-2"), 60)
        with pytest.raises(DriftError, match="none of the rows recorded"):
            rows_of(Walk(OFFSET, start=0, size=10, resume=checkpoint), listing)
        assert len(listing.asked) < 20

    @pytest.mark.parametrize("shape", [OFFSET, PAGES])
    def test_holds_where_rows_moved_up_past_the_start(self, shape: object) -> None:
        """Rows above the start were removed, so that the delivered rows are above it; the checkpoint still works."""
        listing = Listing(60, shape)
        wanted = listing.ids[40:]
        walk = Walk(listing.shape, start=30, size=10, drift="resync")
        pages = drive(walk, listing)
        next(pages)
        del listing.ids[:25]
        page = next(pages)
        page = page or next(pages)
        out = [identity for identity, _ in page]
        checkpoint = walk.checkpoint_at(page[-1][1], out)
        assert checkpoint.next_offset < checkpoint.start
        found, _ = read_checkpoint(write_checkpoint("x", "compat", {}, checkpoint), "x", "compat", {})
        assert found == checkpoint
        again = Walk(listing.shape, start=0, size=10, drift="resync", resume=found)
        assert out + rows_of(again, listing) == wanted

    @pytest.mark.parametrize("total", ["exact", "capped", "absent"])
    @pytest.mark.parametrize("drift", ["dedupe", "resync"])
    @pytest.mark.parametrize("count", [1, 2, 30])
    @pytest.mark.parametrize("entering", [1, 2, 9, 40])
    def test_of_a_walk_that_had_ended_stands_rows_that_enter_meanwhile(
        self, entering: int, count: int, drift: str, total: str
    ) -> None:
        """The last row alone on a page does not mean that the server returns one row at a time."""
        listing = Listing(count, totals=total)
        checkpoint = Checkpoint(0, count, tuple(listing.ids[-3:]), count if total == "exact" else None)

        def enter() -> None:
            if len(listing.asked) == 1:
                listing.insert(entering)

        walk = Walk(OFFSET, start=0, size=10, drift=drift, resume=checkpoint)
        assert rows_of(walk, listing, between=enter) == []

    def test_of_a_walk_that_had_no_row_yet_begins_there(self) -> None:
        """A checkpoint without ids begins at the start."""
        listing = Listing(30)
        assert rows_of(Walk(OFFSET, start=0, size=10, resume=Checkpoint(5, 5)), listing) == listing.ids[5:]

    @pytest.mark.parametrize("total", ["exact", "capped", "absent"])
    @pytest.mark.parametrize("drift", ["dedupe", "resync", "raise"])
    @pytest.mark.parametrize("count", [1, 2, 30])
    def test_of_a_walk_that_had_ended_gives_nothing_more(self, count: int, drift: str, total: str) -> None:
        """A finished walk stays finished; an empty page shows that if no total does."""
        listing = Listing(count, totals=total)
        checkpoint = Checkpoint(0, count, tuple(listing.ids[-3:]), count if total == "exact" else None)
        walk = Walk(OFFSET, start=0, size=10, drift=drift, resume=checkpoint)
        assert rows_of(walk, listing) == []
        assert len(listing.asked) <= 2

    def test_stays_at_the_lowest_row_while_others_above_are_read(self) -> None:
        """A resumed walk never searches for rows inserted above the delivered ones."""
        listing = Listing(30)
        walk = Walk(OFFSET, start=0, size=10, drift="resync")
        pages = drive(walk, listing)
        next(pages)
        listing.insert(25)
        page = next(pages)
        assert page[0][0] == "row-30"
        assert walk.checkpoint_at(page[0][1], [page[0][0]]).anchors[-1] == "row-9"
