"""Tests for the rules of paging: what an answer means, what is requested next, which pages are adjacent."""

from __future__ import annotations

import pytest
from listing_server import OFFSET, PAGES

from eachlabs_async.errors import PaginationError
from eachlabs_async.pagination.rules import (
    PageInfo,
    PageRequest,
    Position,
    PreviousPage,
    RecentIds,
    Verdict,
    adjoins,
    advance,
    advance_joined,
    agree,
    begin,
    plan,
)

TAKE, END, RETRY = Verdict.TAKE, Verdict.END, Verdict.RETRY


def at(next_offset: int, size: int = 10, longest: int = 10, **more: object) -> Position:
    """A walk from the top at `next_offset`, with all rows before it seen."""
    return Position(
        **{"start": 0, "next_offset": next_offset, "size": size, "longest": longest, "distinct": next_offset, **more}
    )


# ---- the end by what an answer says


@pytest.mark.parametrize(
    ("position", "asked", "info", "verdict", "next_offset"),
    [
        # an exact total decides
        (begin(0, 10), PageRequest(0, 10), PageInfo(10, 10, 10, True), END, 10),
        (begin(0, 10), PageRequest(0, 10), PageInfo(10, 10, 11, True), TAKE, 10),
        (begin(0, 10), PageRequest(0, 10), PageInfo(4, 4, 25, True), TAKE, 4),  # a clamped or short page is no end
        (begin(0, 10), PageRequest(0, 10), PageInfo(25, 25, 25, True), END, 25),  # a page longer than asked for
        (begin(30, 10), PageRequest(30, 10), PageInfo(5, 5, 35, True), END, 35),  # a start in the middle
        # a capped total is a lower bound
        (at(10), PageRequest(10, 10), PageInfo(10, 10, 15, False), TAKE, 20),
        (at(10), PageRequest(10, 10), PageInfo(9, 9, 15, False), END, 19),
        (at(10), PageRequest(10, 10), PageInfo(9, 9, 100, False), TAKE, 19),  # short, but the bound is not reached
        (
            begin(0, 10),
            PageRequest(0, 10),
            PageInfo(9, 9, 9, False),
            TAKE,
            9,
        ),  # the longest page may be the server's most
        # no total at all
        (at(10), PageRequest(10, 10), PageInfo(10, 10), TAKE, 20),
        (at(10), PageRequest(10, 10), PageInfo(3, 3), END, 13),
        (
            at(10, size=20),
            PageRequest(10, 20),
            PageInfo(10, 10),
            TAKE,
            20,
        ),  # as long as the longest: a clamp, not the end
        # an empty page
        (begin(0, 10), PageRequest(0, 10), PageInfo(0, 0, 0, True), END, 0),
        (begin(0, 10), PageRequest(0, 10), PageInfo(0, 0), END, 0),
        (begin(50, 10), PageRequest(50, 10), PageInfo(0, 0, 20, True), END, 50),  # a start beyond the end
        (at(10, total=10, exact=True), PageRequest(10, 10), PageInfo(0, 0, 10, True), END, 10),
        (at(10, total=30, exact=True), PageRequest(10, 10), PageInfo(0, 0, 30, True), RETRY, 10),
        (
            at(10, total=30, exact=True),
            PageRequest(10, 10),
            PageInfo(0, 0, 10, True),
            RETRY,
            10,
        ),  # a fall, or a slip? look again
        (at(10, total=30, exact=True, stalled_pages=1), PageRequest(10, 10), PageInfo(0, 0, 10, True), END, 10),
        (at(10, total=15), PageRequest(10, 10), PageInfo(0, 0), RETRY, 10),  # an earlier total spoke of more
        # a page of known rows
        (at(10, distinct=10), PageRequest(10, 10), PageInfo(10, 0, 10, True), END, 20),
        (at(10, distinct=10), PageRequest(10, 10), PageInfo(10, 0, 30, True), TAKE, 20),
        (at(10), PageRequest(10, 10), PageInfo(10, 0), TAKE, 20),
        (
            at(10, distinct=10, total=20, exact=True),
            PageRequest(10, 10),
            PageInfo(10, 0, 30, True),
            TAKE,
            20,
        ),  # pushed down
        (
            at(10, distinct=10, total=30, exact=True),
            PageRequest(10, 10),
            PageInfo(10, 0, 30, True),
            RETRY,
            10,
        ),  # a slip
        (
            at(10, distinct=10, total=30, exact=True, stalled_pages=1),
            PageRequest(10, 10),
            PageInfo(10, 0, 30, True),
            TAKE,
            20,
        ),
    ],
)
def test_what_an_answer_means(
    position: Position, asked: PageRequest, info: PageInfo, verdict: Verdict, next_offset: int
) -> None:
    """The verdict and the next offset for each kind of answer."""
    found, after = advance(OFFSET, position, asked, info)
    assert (found, after.next_offset) == (verdict, next_offset)


@pytest.mark.parametrize("info", [PageInfo(0, 0, 99, True), PageInfo(10, 0, 99, True), PageInfo(10, 0)])
def test_the_fourth_page_without_a_new_row_is_an_error(info: PageInfo) -> None:
    """Three empty or repeated pages are tolerated; the error for the fourth has the offset and the total."""
    position = at(10, total=99, exact=True)
    for _ in range(3):
        _, position = advance(OFFSET, position, PageRequest(position.next_offset, 10), info)
    with pytest.raises(PaginationError, match="4 pages in a row brought no new row at offset"):
        advance(OFFSET, position, PageRequest(position.next_offset, 10), info)


def test_the_error_says_the_total_of_an_answer_that_never_had_rows() -> None:
    """If a listing states a total but shows no rows, the error has the stated total."""
    position = begin(0, 10)
    for _ in range(3):
        _, position = advance(OFFSET, position, PageRequest(0, 10), PageInfo(0, 0, 5, True))
    with pytest.raises(PaginationError, match="although the total is given as 5"):
        advance(OFFSET, position, PageRequest(0, 10), PageInfo(0, 0, 5, True))


def test_a_new_row_forgives_the_pages_before() -> None:
    """A new row resets the count of pages without one."""
    _, position = advance(
        OFFSET, at(10, total=99, exact=True, stalled_pages=3), PageRequest(10, 10), PageInfo(10, 1, 99, True)
    )
    assert position.stalled_pages == 0


def test_pages_of_other_old_rows_may_go_on_for_long() -> None:
    """After many inserts, page after page has known rows; only repeated pages count."""
    position = at(100)
    for _ in range(50):
        verdict, position = advance(
            OFFSET, position, PageRequest(position.next_offset, 10), PageInfo(10, 0), repeats=False
        )
        assert verdict is TAKE
    assert position.stalled_pages == 0


@pytest.mark.parametrize(
    ("longest", "total", "verdict"), [(10, None, END), (10, 10, END), (10, 11, RETRY), (1, None, RETRY)]
)
def test_the_row_that_neighbours_share_and_no_more(longest: int, total: int | None, verdict: Verdict) -> None:
    """It is the end, unless the server returns one row at a time or states more; then the next offset is requested."""
    position = at(10, overlap=1, ahead=True, longest=longest)
    found, after = advance(OFFSET, position, PageRequest(9, 11), PageInfo(1, 0, total))
    assert found is verdict
    assert (after.overlap, after.ahead) == ((0, False) if verdict is RETRY else (1, True))


# ---- page numbers


@pytest.mark.parametrize(
    ("position", "asked", "info", "usable", "size"),
    [
        (begin(0, 100), PageRequest(0, 100), PageInfo(30, 30, 90, True, 30), True, 30),  # a clamp that is stated
        (begin(0, 100), PageRequest(0, 100), PageInfo(30, 30, 90, True, 100), True, 30),  # one that is not
        (begin(0, 100), PageRequest(0, 100), PageInfo(30, 30, 30, True, 100), True, 100),  # the last page is short
        (begin(0, 100), PageRequest(0, 100), PageInfo(30, 30), True, 30),  # without a total it may be no last page
        (
            at(100, size=100, longest=100),
            PageRequest(100, 100),
            PageInfo(30, 30),
            True,
            100,
        ),  # unless one before it was longer
        (
            at(30, size=30, longest=30),
            PageRequest(30, 30),
            PageInfo(20, 20, 90, True, 20),
            False,
            20,
        ),  # shrunk on the way
        (at(30, size=30, longest=30), PageRequest(30, 30), PageInfo(20, 20, 50, True, 30), True, 30),
        (begin(0, 20), PageRequest(0, 20), PageInfo(50, 50, 90, True, 50), True, 50),  # a server with a least size
        (begin(0, 20), PageRequest(0, 20), PageInfo(50, 50, 90, True, 20), True, 50),
        (begin(0, 20), PageRequest(0, 20), PageInfo(500, 500, 900, True), True, 100),  # no more than may be asked for
        (
            begin(40, 20),
            PageRequest(40, 20),
            PageInfo(15, 15, 70, True, 20),
            False,
            15,
        ),  # from the middle: any page may be short
        (
            at(40, longest=0, size=15, largest_seen=15),
            PageRequest(45, 15),
            PageInfo(8, 8, 53, True),
            True,
            15,
        ),  # but now it is the last
        (
            at(35, longest=0, size=100),
            PageRequest(0, 100),
            PageInfo(30, 30, 90, True),
            False,
            30,
        ),  # page 1 ends above the place
        (begin(0, 100), PageRequest(0, 100), PageInfo(0, 0, 0, True, 30), True, 30),  # and may be all there is
        (begin(0, 20), PageRequest(0, 20), PageInfo(20, 20, 90, True, 0), True, 20),  # nonsense is passed over
        (begin(0, 20), PageRequest(0, 20), PageInfo(20, 20, 90, True, -5), True, 20),
    ],
)
def test_both_sides_agree_on_the_size_of_a_page(
    position: Position, asked: PageRequest, info: PageInfo, usable: bool, size: int
) -> None:
    """The size of the server's pages is used, whether smaller or larger than requested."""
    found, after = agree(PAGES, position, asked, info)
    assert (found, after.size) == (usable, size)


def test_a_size_that_never_settles_is_an_error() -> None:
    """A server whose page size changes with every answer cannot be walked by page number."""
    position = begin(200, 20)
    for stated in (19, 18, 17):
        request = plan(PAGES, position, 0)[0]
        usable, position = agree(PAGES, position, request, PageInfo(stated, stated, 900, True, stated))
        assert not usable
    with pytest.raises(PaginationError):
        agree(PAGES, position, plan(PAGES, position, 0)[0], PageInfo(16, 16, 900, True, 16))


# ---- pages that are known to be adjacent


@pytest.mark.parametrize(
    ("position", "asked", "info", "repeats", "verdict", "next_offset"),
    [
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(11, 10, 99, True), False, TAKE, 20),
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(5, 4, 14, True), False, END, 14),
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(11, 10, 15, False), False, TAKE, 20),
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(5, 4, 14, False), False, END, 14),
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(5, 4), False, END, 14),
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(11, 0, 99, True), False, TAKE, 20),  # a step on the way
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(11, 0, 20, True), False, END, 20),  # which may be the last
        (at(10, overlap=1), PageRequest(9, 11), PageInfo(1, 0, 99, True), False, RETRY, 10),
    ],
)
def test_a_page_that_joins_proves_more(
    position: Position, asked: PageRequest, info: PageInfo, repeats: bool, verdict: Verdict, next_offset: int
) -> None:
    """If the page reaches the end of the listing, the walk ends, whatever the counts say."""
    found, after = advance_joined(position, asked, info, repeats=repeats)
    assert (found, after.next_offset) == (verdict, next_offset)


def test_a_joined_page_that_repeats_counts() -> None:
    """Four repetitions in a row are an error here too."""
    position = at(10, overlap=1)
    for _ in range(3):
        _, position = advance_joined(
            position, PageRequest(position.next_offset - 1, 11), PageInfo(11, 0, 99, True), repeats=True
        )
    with pytest.raises(PaginationError):
        advance_joined(position, PageRequest(position.next_offset - 1, 11), PageInfo(11, 0, 99, True), repeats=True)


def test_a_server_that_gives_one_row_at_a_time_shares_none() -> None:
    """If only the shared row is returned, the walk requests without overlap."""
    _, after = advance_joined(at(10, overlap=1), PageRequest(9, 11), PageInfo(1, 0, 99, True), repeats=False)
    assert after.overlap == 0


# ---- the next requests


@pytest.mark.parametrize(
    ("position", "ahead", "most", "requests"),
    [
        (begin(0, 10), 4, None, [PageRequest(0, 10)]),  # nothing is asked for ahead before the first page came
        (at(10, total=35, exact=True), 0, None, [PageRequest(10, 10)]),
        (at(10, total=35, exact=True), 2, None, [PageRequest(10, 10), PageRequest(20, 10), PageRequest(30, 10)]),
        (
            at(10, total=35, exact=True),
            9,
            None,
            [PageRequest(10, 10), PageRequest(20, 10), PageRequest(30, 10)],
        ),  # not past the end
        (at(10, total=35, exact=True), 9, 25, [PageRequest(10, 10), PageRequest(20, 10)]),  # nor past max_rows
        (at(10), 3, None, [PageRequest(10, 10)]),  # nothing could join the pages
        (at(10, overlap=1), 2, None, [PageRequest(9, 11), PageRequest(19, 11), PageRequest(29, 11)]),
        (at(10, overlap=1), 2, 15, [PageRequest(9, 11)]),
        (
            at(10, overlap=1, size=100),
            1,
            None,
            [PageRequest(9, 100), PageRequest(108, 100)],
        ),  # never more than may be asked for
        (at(0, overlap=1), 1, None, [PageRequest(0, 10), PageRequest(9, 11)]),
        (
            at(5, server_page_size=5, overlap=1),
            2,
            None,
            [PageRequest(4, 11), PageRequest(8, 11), PageRequest(12, 11)],
        ),  # strides of what comes
        (at(1, size=1, server_page_size=1, overlap=1), 2, None, [PageRequest(0, 2)]),  # a stride of nothing is none
    ],
)
def test_what_is_asked_next(position: Position, ahead: int, most: int | None, requests: list[PageRequest]) -> None:
    """The next page, and only as many following ones as can be useful."""
    assert plan(OFFSET, position, ahead, most) == requests


def test_page_numbers_count_whole_pages() -> None:
    """The page with the next offset is requested, and those after it."""
    requests = plan(PAGES, at(25, total=60, exact=True), 2)
    assert requests == [PageRequest(20, 10), PageRequest(30, 10), PageRequest(40, 10)]
    assert [request.number for request in requests] == [3, 4, 5]


@pytest.mark.parametrize(
    ("asked", "info", "ids", "joined"),
    [
        (PageRequest(10, 10), PageInfo(2, 2, 30, True), ["k", "l"], True),  # the same exact total, no position between
        (PageRequest(11, 10), PageInfo(2, 2, 30, True), ["k", "l"], False),
        (PageRequest(10, 10), PageInfo(2, 2, 31, True), ["k", "l"], False),
        (PageRequest(10, 10), PageInfo(2, 2, 30, False), ["k", "l"], False),
        (PageRequest(99, 10), PageInfo(2, 1, None), ["j", "k"], True),  # a row that they share
    ],
)
def test_which_pages_adjoin(asked: PageRequest, info: PageInfo, ids: list[str], joined: bool) -> None:
    """Adjacent pages share a row, or state equal exact totals."""
    assert adjoins(PreviousPage(10, 30, frozenset("abcdefghij")), asked, info, ids) is joined


# ---- the window of ids


class TestAWindow:
    def test_tells_new_rows_from_old_and_twins_from_both(self) -> None:
        """Of duplicates on one page the first is new; positions are in order."""
        window = RecentIds(100)
        assert window.unseen(["a", "b"]) == ([0, 1], [])
        window.add(["a", "b"])
        assert window.unseen(["c", "b", "c", "d", "a"]) == ([0, 3], [1, 4])

    def test_keeps_at_least_as_many_as_it_says_and_at_most_twice(self) -> None:
        """The last `keep` ids are known; ids before the last `2 * keep` are not."""
        window = RecentIds(10)
        for number in range(100):
            window.add([str(number)])
            known = [old for old in range(number + 1) if window.unseen([str(old)])[1]]
            assert known[0] <= max(0, number - 9)
            assert len(known) <= 20

    def test_can_keep_all(self) -> None:
        """Without a bound all ids are kept."""
        window = RecentIds(None)
        window.add([str(number) for number in range(50_000)])
        assert window.unseen(["0", "x"]) == ([1], [0])
