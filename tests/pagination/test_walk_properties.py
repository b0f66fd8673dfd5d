"""Property tests for walks over listings that answer like servers, unchanged and moving."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from listing_server import OFFSET, PAGES, Listing, drive, rows_of

from eachlabs_async.errors import DriftError, PaginationError
from eachlabs_async.pagination.walk import Walk

counts = st.integers(0, 60)
sizes = st.integers(1, 12)
depths = st.integers(0, 5)
clamps = st.none() | st.integers(2, 12)
totals = st.sampled_from(["exact", "capped", "absent"])
shapes = st.sampled_from([OFFSET, PAGES])
chances = st.randoms(use_true_random=False)


@given(
    counts,
    sizes,
    depths,
    st.none() | st.integers(1, 12),
    st.booleans(),
    totals,
    shapes,
    chances,
    st.integers(0, 70),
)
def test_a_listing_at_rest_gives_exactly_its_rows_in_order(
    count: int,
    size: int,
    ahead: int,
    clamp: int | None,
    stated: bool,
    total: str,
    shape: object,
    chance: random.Random,
    start: int,
) -> None:
    """For any limit, clamp, totals, look-ahead and start: each row once, in order."""
    if shape is PAGES:
        total, start = "exact" if total == "capped" else total, start // size * size
    listing = Listing(count, shape, clamp=clamp, stated=stated, totals=total)
    walk = Walk(listing.shape, start=start, size=size, ahead=ahead)
    assert rows_of(walk, listing, ahead=ahead, shuffle=chance) == listing.ids[start:]


@given(counts, sizes, depths, clamps, totals, chances, st.sampled_from(["resync", "raise"]))
def test_the_careful_modes_give_the_same_of_a_listing_at_rest(
    count: int, size: int, ahead: int, clamp: int | None, total: str, chance: random.Random, drift: str
) -> None:
    """A listing that does not move is walked the same way in every drift mode, and no drift is detected."""
    listing = Listing(count, clamp=clamp, totals=total)
    walk = Walk(OFFSET, start=0, size=size, ahead=ahead, drift=drift)
    assert rows_of(walk, listing, ahead=ahead, shuffle=chance) == listing.ids
    assert walk.stats.drift_seen == walk.stats.steps_back == walk.stats.duplicates == 0


@given(st.integers(1, 60), sizes, depths, totals, shapes, chances, st.integers(1, 7))
def test_dedupe_gives_no_row_twice_and_loses_none_to_inserts(
    count: int, size: int, ahead: int, total: str, shape: object, chance: random.Random, most: int
) -> None:
    """Rows inserted at the top between any two answers cause neither repeated nor missed rows."""
    listing = Listing(count, shape, totals="exact" if shape is PAGES else total)
    there = list(listing.ids)
    walk = Walk(listing.shape, start=0, size=size, ahead=ahead)

    def insert() -> None:
        if chance.random() < 0.5 and len(listing.ids) < 200:
            listing.insert(chance.randrange(1, most + 1))

    try:
        rows = rows_of(walk, listing, ahead=ahead, between=insert, shuffle=chance)
    except PaginationError:
        return  # Four pages in a row were pushed down faster than they were read.
    assert len(rows) == len(set(rows))
    assert [row for row in rows if row in set(there)] == there


@given(st.integers(1, 60), st.integers(1, 12), depths, clamps, totals, chances, st.floats(0.05, 0.9))
def test_resync_gives_every_row_that_stays_exactly_once(
    count: int, size: int, ahead: int, clamp: int | None, total: str, chance: random.Random, rate: float
) -> None:
    """Whatever is inserted or removed anywhere, rows that exist throughout come once, in order."""
    listing = Listing(count, clamp=clamp, totals=total)
    there = list(listing.ids)
    walk = Walk(OFFSET, start=0, size=size, ahead=ahead, drift="resync")

    def move() -> None:
        while chance.random() < rate and len(listing.ids) < 150:
            if chance.random() < 0.5:
                listing.insert(chance.randrange(1, 9), chance.choice([0, chance.randrange(len(listing.ids) + 1)]))
            elif listing.ids:
                at = chance.choice([0, chance.randrange(len(listing.ids))])
                del listing.ids[at : at + chance.randrange(1, 9)]

    began = False

    def between() -> None:
        nonlocal began, there
        if began:
            move()
        began = True

    try:
        rows = rows_of(walk, listing, ahead=ahead, between=between, shuffle=chance)
    except PaginationError:  # also DriftError: said, not hidden
        return
    staying = [row for row in there if row in set(listing.ids)]
    assert len(rows) == len(set(rows))
    assert [row for row in rows if row in set(staying)] == staying


@given(
    st.integers(1, 50),
    sizes,
    sizes,
    depths,
    totals,
    shapes,
    chances,
    st.integers(0, 40),
    st.sampled_from(["dedupe", "resync"]),
)
def test_a_resumed_walk_loses_and_repeats_nothing(
    count: int,
    size: int,
    later_size: int,
    ahead: int,
    total: str,
    shape: object,
    chance: random.Random,
    inserted: int,
    drift: str,
) -> None:
    """From any row on, with rows inserted at the top before and during the resumed walk, the rest comes once."""
    listing = Listing(count, shape, totals="exact" if shape is PAGES else total)
    there = list(listing.ids)
    stop = chance.randrange(count + 1)
    walk = Walk(listing.shape, start=0, size=size, ahead=ahead, drift=drift)
    first: list[str] = []
    checkpoint = walk.checkpoint_at(0)
    for page in drive(walk, listing, ahead=ahead, shuffle=chance):
        for at, (identity, next_offset) in enumerate(page):
            if len(first) == stop:
                break
            first.append(identity)
            checkpoint = walk.checkpoint_at(next_offset, [row for row, _ in page[: at + 1]])
        if len(first) == stop:
            break
    if stop:
        listing.insert(inserted)

    def insert() -> None:
        if stop and chance.random() < 0.3 and len(listing.ids) < 300:
            listing.insert(chance.randrange(1, 5))

    again = Walk(listing.shape, start=0, size=later_size, ahead=ahead, drift=drift, resume=checkpoint)
    try:
        rest = rows_of(again, listing, ahead=ahead, shuffle=chance, between=insert)
    except DriftError:
        raise
    except PaginationError:
        return
    assert first + rest == there
