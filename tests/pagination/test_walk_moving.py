"""Property tests for walks over moving listings: the guarantees of each drift mode, and resuming."""

from __future__ import annotations

import random

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from listing_server import OFFSET, PAGES, Listing, drive, rows_of

from eachlabs_async.errors import DriftError, PaginationError
from eachlabs_async.pagination.checkpoint import Checkpoint
from eachlabs_async.pagination.walk import Walk

counts = st.integers(1, 60)
sizes = st.integers(1, 12)
depths = st.integers(0, 5)
clamps = st.none() | st.integers(2, 12)
totals = st.sampled_from(["exact", "capped", "absent"])
chances = st.integers(0, 2**32 - 1).map(random.Random)
rates = st.floats(0.05, 0.8)

MOST_MOVES = 30


class Mover:
    """Move a listing between two answers, from the first one on, and record which rows exist throughout."""

    def __init__(self, listing: Listing, chance: random.Random, rate: float, moves: str = "insert remove") -> None:
        self.listing, self.chance, self.rate = listing, chance, rate
        self.moves = moves.split()
        self.there = list(listing.ids)
        self.moved = 0
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.asked > 1:
            self.move()

    def move(self) -> None:
        rows, chance = self.listing.ids, self.chance
        # Bounded: a walk cannot finish if rows are inserted faster than it reads them.
        while self.moved < MOST_MOVES and chance.random() < self.rate:
            at = chance.choice([0, chance.randrange(len(rows) + 1)])
            if (kind := chance.choice(self.moves)) == "insert":
                self.listing.insert(chance.randrange(1, 9), at)
            elif kind == "top":
                self.listing.insert(chance.randrange(1, 9))
            elif rows[at:]:
                del rows[at : at + chance.randrange(1, 9)]
            else:
                continue
            self.moved += 1

    @property
    def staying(self) -> list[str]:
        left = set(self.listing.ids)
        return [row for row in self.there if row in left]


def assert_once_and_in_order(rows: list[str], staying: list[str]) -> None:
    assert len(rows) == len(set(rows)), "a row came twice"
    assert [row for row in rows if row in set(staying)] == staying


def walked(
    walk: Walk, listing: Listing, stop: int | None = None, **options: object
) -> tuple[list[str], Checkpoint, bool]:
    """Return the rows of a walk up to `stop` rows, the checkpoint after the last one, and whether the walk ended."""
    rows: list[str] = []
    checkpoint = walk.checkpoint_at(walk.position.next_offset)
    if stop == 0:
        return rows, checkpoint, False
    for page in drive(walk, listing, **options):
        for at, (identity, next_offset) in enumerate(page):
            rows.append(identity)
            checkpoint = walk.checkpoint_at(next_offset, [row for row, _ in page[: at + 1]])
            if len(rows) == stop:
                return rows, checkpoint, False
    return rows, checkpoint, True


@given(counts, sizes, depths, totals, st.sampled_from([OFFSET, PAGES]), chances, rates)
def test_dedupe_loses_nothing_to_inserts_anywhere(
    count: int, size: int, ahead: int, total: str, shape: object, chance: random.Random, rate: float
) -> None:
    """Rows inserted at any position cause neither repeated nor missed rows."""
    listing = Listing(count, shape, totals="exact" if shape is PAGES else total)
    move = Mover(listing, chance, rate, "insert")
    try:
        rows = rows_of(
            Walk(listing.shape, start=0, size=size, ahead=ahead), listing, ahead=ahead, between=move, shuffle=chance
        )
    except PaginationError:
        event("cannot be walked")
        return
    assert_once_and_in_order(rows, move.there)


@given(counts, sizes, depths, clamps, totals, st.sampled_from([OFFSET, PAGES]), chances, rates)
def test_dedupe_gives_no_row_twice_whatever_moves(
    count: int,
    size: int,
    ahead: int,
    clamp: int | None,
    total: str,
    shape: object,
    chance: random.Random,
    rate: float,
) -> None:
    """If rows are removed, others can be missed, but none comes twice, and the order is kept."""
    listing = Listing(count, shape, clamp=clamp, totals="exact" if shape is PAGES else total)
    move = Mover(listing, chance, rate)
    walk = Walk(listing.shape, start=0, size=size, ahead=ahead)
    rows: list[str] = []
    try:
        for page in drive(walk, listing, ahead=ahead, between=move, shuffle=chance):
            rows += [identity for identity, _ in page]
    except PaginationError:
        event("cannot be walked")
    assert len(rows) == len(set(rows))


@given(counts, sizes, depths, chances, rates, st.sampled_from(["remove", "top", "insert"]))
def test_resync_by_page_number_copes_with_falls_of_the_total(
    count: int, size: int, ahead: int, chance: random.Random, rate: float, moves: str
) -> None:
    """If rows are only removed or only inserted, a listing by page number delivers those that stay exactly once."""
    listing = Listing(count, PAGES)
    move = Mover(listing, chance, rate, moves)
    walk = Walk(PAGES, start=0, size=size, ahead=ahead, drift="resync")
    try:
        rows = rows_of(walk, listing, ahead=ahead, between=move, shuffle=chance)
    except PaginationError:
        event("cannot be walked")
        return
    assert_once_and_in_order(rows, move.staying)


@given(counts, sizes, depths, clamps, totals, chances, rates)
def test_raise_never_gives_a_wrong_row_and_its_bookmark_goes_on(
    count: int, size: int, ahead: int, clamp: int | None, total: str, chance: random.Random, rate: float
) -> None:
    """A walk that raises has delivered the rows in order; resumed with resync, it delivers the rest exactly once."""
    listing = Listing(count, clamp=clamp, totals=total)
    move = Mover(listing, chance, rate)
    walk = Walk(OFFSET, start=0, size=size, ahead=ahead, drift="raise")
    rows: list[str] = []
    checkpoint = walk.checkpoint_at(0)
    said = ""
    try:
        for page in drive(walk, listing, ahead=ahead, between=move, shuffle=chance):
            rows += [identity for identity, _ in page]
            checkpoint = walk.checkpoint_at(page[-1][1], [identity for identity, _ in page]) if page else checkpoint
    except DriftError as exc:
        said = str(exc)
        event("raised")
        again = Walk(OFFSET, start=0, size=size, ahead=ahead, drift="resync", resume=checkpoint)
        try:
            rows += rows_of(again, listing, ahead=ahead, between=move, shuffle=chance)
        except PaginationError:
            event("cannot be walked")
            return
    except PaginationError:
        event("cannot be walked")
        return
    assert not said or "one row at a time" in said or (move.moved and walk.stats.drift_seen == 1)
    assert walk.stats.duplicates == walk.stats.steps_back == 0
    assert_once_and_in_order(rows, move.staying)


@given(counts, sizes, depths, totals, st.sampled_from([OFFSET, PAGES]), chances, st.integers(1, 30))
def test_raise_sees_rows_that_enter_at_the_top(
    count: int, size: int, ahead: int, total: str, shape: object, chance: random.Random, entering: int
) -> None:
    """Rows inserted before the last request cause a DriftError, never a silent repetition."""
    listing = Listing(count, shape, totals="exact" if shape is PAGES else total)
    walk = Walk(listing.shape, start=0, size=size, ahead=ahead, drift="raise")
    requests = 0

    def enter_once() -> None:
        nonlocal requests
        requests += 1
        if requests == 2:
            listing.insert(entering)

    if count <= size and (total == "exact" or shape is PAGES):
        return
    try:
        rows = rows_of(walk, listing, ahead=ahead, between=enter_once, shuffle=chance)
    except DriftError:
        return
    # Without a second request, nothing moved during the walk.
    assert requests < 2
    assert rows == listing.ids


@example(  # More rows are out below the place than a bookmark used to name.
    count=43,
    size=2,
    later=2,
    ahead=0,
    later_ahead=0,
    clamp=2,
    total="capped",
    chance=random.Random(6),
    rate=0.46875,
    stops=[2, 18],
)
@given(
    counts,
    sizes,
    sizes,
    depths,
    depths,
    clamps,
    totals,
    chances,
    rates,
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_resync_walk_killed_again_and_again_gives_what_stays_exactly_once(
    count: int,
    size: int,
    later: int,
    ahead: int,
    later_ahead: int,
    clamp: int | None,
    total: str,
    chance: random.Random,
    rate: float,
    stops: list[int],
) -> None:
    """Interrupted at any row, resumed with another limit and look-ahead, with rows inserted and removed throughout."""
    listing = Listing(count, clamp=clamp, totals=total)
    move = Mover(listing, chance, rate)
    rows: list[str] = []
    checkpoint: Checkpoint | None = None
    ended = False
    try:
        for number, stop in enumerate([*stops, None]):
            depth = ahead if number % 2 == 0 else later_ahead
            walk = Walk(
                OFFSET,
                start=0,
                size=size if number % 2 == 0 else later,
                ahead=depth,
                drift="resync",
                resume=checkpoint,
            )
            part, checkpoint, ended = walked(walk, listing, stop, ahead=depth, between=move, shuffle=chance)
            rows += part
            if ended:
                break
    except PaginationError as exc:
        event(type(exc).__name__)
        return
    assert ended
    assert [row for row in rows if row in set(move.staying)] == move.staying


@given(
    counts,
    sizes,
    sizes,
    depths,
    totals,
    st.sampled_from([OFFSET, PAGES]),
    chances,
    rates,
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.sampled_from(["dedupe", "resync"]),
)
def test_a_walk_killed_again_and_again_loses_nothing_to_inserts(
    count: int,
    size: int,
    later: int,
    ahead: int,
    total: str,
    shape: object,
    chance: random.Random,
    rate: float,
    stops: list[int],
    drift: str,
) -> None:
    """In either mode and dialect, with rows inserted at the top meanwhile, even more than were walked."""
    if shape is PAGES or drift == "dedupe":
        total = "exact"  # Without a total, nothing tells a walk without overlap that so many entered.
    listing = Listing(count, shape, totals=total)
    move = Mover(listing, chance, rate, "top")
    rows: list[str] = []
    checkpoint: Checkpoint | None = None
    ended = False
    said = ""
    try:
        for number, stop in enumerate([*stops, None]):
            walk = Walk(
                listing.shape,
                start=0,
                size=size if number % 2 == 0 else later,
                ahead=ahead,
                drift=drift,
                resume=checkpoint,
            )
            part, checkpoint, ended = walked(walk, listing, stop, ahead=ahead, between=move, shuffle=chance)
            rows += part
            if ended:
                break
    except PaginationError as exc:
        said = str(exc)
    if said:
        event("cannot be walked")
        # A listing that grows by more than a page per request outruns look-ahead: an error, not a missed row.
        outrun = ahead > 0 and "none of the rows" in said
        assert outrun or "pages in a row" in said or "one row at a time" in said or "steps back" in said
        return
    assert ended
    assert [row for row in rows if row in set(move.there)] == move.there


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("drift", ["dedupe", "resync"])
@pytest.mark.parametrize("portions", [[9_999], [4_000, 1, 5_998], [3_333] * 3], ids=str)
@pytest.mark.parametrize("first", [1, 2, 7])
def test_nearly_ten_thousand_rows_may_enter(drift: str, ahead: int, portions: list[int], first: int) -> None:
    """Almost 10,000 inserted rows, at once or in portions, cause neither repeated nor missed rows."""
    listing = Listing(1_234)
    there = list(listing.ids)
    due = dict(enumerate(portions, start=first))
    requests = 0

    def enter() -> None:
        nonlocal requests
        listing.insert(due.get(requests, 0))
        requests += 1

    walk = Walk(OFFSET, start=0, size=100, ahead=ahead, drift=drift)
    assert_once_and_in_order(rows_of(walk, listing, ahead=ahead, between=enter), there)


@pytest.mark.parametrize("entering", [10_000, 25_000])
def test_resync_remembers_more_than_ten_thousand_rows(entering: int) -> None:
    """However many rows are inserted, resync recognizes every delivered row."""
    listing = Listing(555)
    there = list(listing.ids)

    def enter() -> None:
        if len(listing.asked) == 2:
            listing.insert(entering)

    walk = Walk(OFFSET, start=0, size=100, drift="resync")
    assert_once_and_in_order(rows_of(walk, listing, between=enter), there)


@given(counts, sizes, depths, chances, st.sampled_from(["dedupe", "resync", "raise"]))
def test_a_server_that_slips_and_changes_its_clamp_loses_no_row(
    count: int, size: int, ahead: int, chance: random.Random, drift: str
) -> None:
    """Wrongly empty pages and a changing clamp, over a listing that does not move: each row once, in order."""
    listing = Listing(count)

    def change() -> None:
        listing.clamp = chance.choice([None, 2, 3, 5, 8])
        if chance.random() < 0.2 and len(listing.slips) < 3:
            listing.slips |= {len(listing.asked)}

    walk = Walk(OFFSET, start=0, size=size, ahead=ahead, drift=drift)
    rows = rows_of(walk, listing, ahead=ahead, between=change, shuffle=chance)
    assert rows == listing.ids
