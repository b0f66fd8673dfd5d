"""The rules of the engine of a walk, one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eachlabs_async.errors import DriftError, PaginationError
from eachlabs_async.pagination.checkpoint import Checkpoint
from eachlabs_async.pagination.engine import Engine
from eachlabs_async.pagination.known_rows import WINDOW, KnownRows, row_keys
from eachlabs_async.pagination.walk_values import Answer, Request

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ids(*numbers: int) -> list[str]:
    """The ids from the first number to the one before the last."""
    return [str(number) for number in range(*numbers)]


def served(rows: list[str], request: Request, total: str = "exact", clamp: int = 1000, extra: int = 0) -> Answer:
    """What a server answers that lists these rows."""
    keys = rows[request.offset : request.offset + min(request.size, clamp) + extra]
    return Answer(keys, None if total == "none" else len(rows), total == "exact")


def walk(
    engine: Engine, rows: list[str], serve: Callable[[list[str], Request], Answer] = served
) -> tuple[list[str], list[Request]]:
    """Walk to the end; return what was delivered, and the requests whose answers were used."""
    out: list[str] = []
    asked: list[Request] = []
    ended = False
    while not ended:
        request = engine.requests()[0]
        asked.append(request)
        answer = serve(rows, request)
        accepted = engine.accept(request, answer)
        if accepted is not None:
            out += [answer.keys[at] for at in accepted.positions]
            ended = accepted.ended
    return out, asked


def after_one_page(rows: list[str], **options: Any) -> Engine:
    """An engine that has accepted its first page."""
    engine = Engine(**{"limit": 10, "largest": 10, **options})
    assert engine.accept(engine.requests()[0], served(rows, engine.requests()[0])) is not None
    return engine


def accepted(engine: Engine, rows: list[str], total: str = "exact") -> list[str] | None:
    """Answer the next request; the rows to deliver, None if other requests are due."""
    request = engine.requests()[0]
    answer = served(rows, request, total)
    found = engine.accept(request, answer)
    return None if found is None else [answer.keys[at] for at in found.positions]


# ---- where the next request begins


def test_a_request_begins_at_the_last_known_row() -> None:
    """One row of overlap proves that nothing was missed; it is asked for besides where the service allows."""
    _, asked = walk(Engine(limit=10, largest=10), ids(30))
    assert [(each.offset, each.size) for each in asked] == [(0, 10), (9, 10), (18, 10), (27, 10)]
    _, asked = walk(Engine(limit=10), ids(30))
    assert [(each.offset, each.size) for each in asked] == [(0, 10), (9, 11), (19, 11)]


def test_a_large_listing_at_rest_costs_one_request_in_a_hundred_more() -> None:
    """With full pages, whether it looks ahead or not."""
    assert len(walk(Engine(limit=100), ids(10_000))[1]) == 101
    assert len(walk(Engine(limit=100, look_ahead=8), ids(10_000))[1]) <= 102


def test_the_overlap_grows_with_what_vanishes_and_shrinks_again() -> None:
    """A row that vanishes makes the overlap larger at once; while nothing moves it shrinks page by page."""
    engine, rows = after_one_page(ids(600), limit=20, largest=100), ids(1, 600)
    overlaps = [engine.requests()[0].overlap]
    for _ in range(20):
        accepted(engine, rows)
        overlaps.append(engine.requests()[0].overlap)
    assert overlaps[0] == overlaps[-1] == 1
    assert max(overlaps) in range(3, 6)
    assert overlaps.index(max(overlaps)) < 4


def test_rows_that_vanished_at_the_end_of_the_known_ones_are_looked_for_where_the_total_says() -> None:
    """The answer without a known row is kept, because the new page closes the gap above it."""
    rows = ids(40)
    engine = after_one_page(rows)
    missed = engine.requests()[0]
    assert accepted(engine, rows[3:]) is None
    closing, kept = engine.requests()
    assert kept is missed
    assert closing.offset < 9 - 3
    assert engine.accept(closing, served(rows[3:], closing)) is not None
    assert engine.stats.steps_back == engine.stats.drift_seen - 1 == 1


def test_one_row_deleted_per_request_costs_a_few_requests_and_no_row() -> None:
    """A step back never reads a page again to reach one row."""
    rows = ids(1000)

    def serve(rows: list[str], request: Request) -> Answer:
        del rows[min(5, len(rows) - 1)]
        return served(rows, request)

    out, asked = walk(Engine(limit=100), rows, serve)
    assert set(out) >= set(rows)
    assert len(asked) <= 14


# ---- which rows come next


def test_what_stands_above_the_last_known_row_is_not_delivered() -> None:
    """It entered late; what follows the last known row comes next."""
    engine = after_one_page(ids(30))
    assert accepted(engine, [*ids(9), "new", *ids(9, 30)]) == ids(10, 18)


def test_any_known_row_joins_a_page_and_not_the_last_one_alone() -> None:
    """The last known row is gone: the one above it does as well."""
    rows = ids(60)
    engine = Engine(limit=20, resume=Checkpoint(0, 20, tuple(ids(20)), 60))
    del rows[19]
    assert accepted(engine, rows) == ids(20, 41)


def test_a_page_of_known_rows_makes_the_next_request_begin_below_the_known_ones() -> None:
    """200 rows entered at the top: one page shows that, and the next request passes them all."""
    rows = ids(500)
    engine = after_one_page(rows, limit=100, largest=100)
    accepted(engine, rows)
    moved = [*ids(1000, 1150), *rows]
    assert accepted(engine, moved) == []
    assert engine.requests()[0].offset in range(345, 350)
    assert accepted(engine, moved)


def test_a_page_that_came_twice_is_requested_again() -> None:
    """Its rows are known and further up than they should be, and the total does not say that rows entered."""
    rows = ids(40)
    engine = after_one_page(rows)
    request = engine.requests()[0]
    assert engine.accept(request, Answer(rows[:10], 40, exact=True)) is None
    assert engine.requests()[0].offset <= 9
    assert accepted(engine, rows) is not None


def test_a_server_that_ignores_the_offset_is_an_error() -> None:
    """It is not asked for ever."""
    with pytest.raises(PaginationError, match="cannot be walked"):
        walk(Engine(limit=10), ids(40), lambda rows, request: Answer(rows[:10], 40, exact=True))


def test_two_rows_with_one_key_in_an_answer_are_one() -> None:
    """And a listing at rest that then has fewer rows than its total says is an error."""
    rows = ["a", "b", "b", "c"]
    engine = Engine(limit=10)
    found = engine.accept(engine.requests()[0], Answer(rows, 4, exact=False))
    assert found is not None
    assert list(found.positions) == [0, 1, 3]
    with pytest.raises(PaginationError, match="3 distinct rows"):
        walk(Engine(limit=10), rows)


# ---- where the walk ends


@pytest.mark.parametrize("total", ["exact", "capped", "none"])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20, 35])
@pytest.mark.parametrize("limit", [1, 3, 10])
def test_a_listing_at_rest_gives_its_rows(total: str, count: int, limit: int) -> None:
    """Whatever the totals: each row once, in order, and no sign of movement."""
    engine = Engine(limit=limit)
    assert walk(engine, ids(count), lambda rows, request: served(rows, request, total))[0] == ids(count)
    assert engine.stats.drift_seen == engine.stats.duplicates == engine.stats.steps_back == 0
    assert engine.stats.rows == count


@pytest.mark.parametrize(("clamp", "total"), [(1, "exact"), (3, "exact"), (3, "none"), (7, "exact"), (7, "none")])
def test_a_server_that_gives_fewer_rows_at_once_is_walked_to_its_end(clamp: int, total: str) -> None:
    """A short page ends nothing if it is as long as the longest; one row at a time needs an exact total."""
    out, _ = walk(Engine(limit=10), ids(25), lambda rows, request: served(rows, request, total, clamp))
    assert out == ids(25)


def test_an_empty_answer_that_cannot_be_true_is_requested_again() -> None:
    """Its own total says that there are rows; without one, the known row that should be on it is missing."""
    for total in ("exact", "none"):
        engine = after_one_page(ids(30))
        request = engine.requests()[0]
        assert engine.accept(request, Answer([], 30 if total == "exact" else None, total == "exact")) is None
        assert accepted(engine, ids(30), total) == ids(10, 19)


@pytest.mark.parametrize("options", [{"start": 50}, {"resume": Checkpoint(0, 50, ("49",), 60)}])
def test_a_listing_that_is_empty_ends_a_walk_that_begins_further_down(options: dict[str, Any]) -> None:
    """There is nothing left that could come."""
    assert walk(Engine(limit=10, **options), [])[0] == []


def test_max_rows_ends_the_walk_within_a_page() -> None:
    """A checkpoint then stands behind the last row delivered."""
    engine = Engine(limit=10, max_rows=14)
    assert walk(engine, ids(40))[0] == ids(14)
    checkpoint = engine.checkpoint(4)
    assert (checkpoint.next_offset, checkpoint.anchors[-1]) == (14, "13")


# ---- looking ahead


def test_requests_are_planned_ahead_up_to_the_total() -> None:
    """Each begins where the one before it ends, less the overlap; none lies behind the end."""
    engine = after_one_page(ids(35), look_ahead=8)
    assert [each.offset for each in engine.requests()] == [8, 16, 24, 32]
    engine = after_one_page(ids(100), look_ahead=3)
    assert len(engine.requests()) == 4


def test_without_a_total_no_more_is_planned_than_has_come() -> None:
    """Most of it would lie behind the end."""
    engine, planned = Engine(limit=10, look_ahead=8), []
    for _ in range(6):
        accepted(engine, ids(2000), "none")
        planned.append(len(engine.requests()))
    assert planned == sorted(planned)
    assert planned[0] <= 2
    assert planned[-1] >= 5


def test_an_answer_older_than_the_last_page_proves_nothing_if_it_lacks_a_known_row() -> None:
    """It was in flight when that page was joined, and is dropped."""
    rows = ids(100)
    engine = after_one_page(rows, look_ahead=2)
    _, second, third = engine.requests()
    assert accepted(engine, rows)
    assert engine.accept(second, Answer(ids(60, 70), 100, exact=True)) is None
    assert engine.requests()[0].offset <= 18
    assert third in engine.requests()


# ---- page numbers


def numbered(rows: list[str], request: Request, clamp: int = 1000, stated: bool = True, extra: int = 0) -> Answer:
    size = min(request.size, clamp)
    at = (request.number - 1) * size
    return Answer(rows[at : at + size + extra], len(rows), exact=True, size=size if stated else None)


def test_pages_by_number_overlap_only_if_something_moves() -> None:
    """An exact total that stays the same is trusted, so that a listing at rest costs no request more."""
    out, asked = walk(Engine(dialect="page", limit=100), ids(1000), numbered)
    assert out == ids(1000)
    assert [(each.number, each.size) for each in asked[:3]] == [(1, 100), (2, 100), (3, 100)]
    assert len(asked) == 10


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("clamp", [3, 7])
def test_page_numbers_are_counted_by_the_size_that_the_server_gives(clamp: int, stated: bool) -> None:
    """A size that is not stated is believed when it came twice."""
    out, _ = walk(
        Engine(dialect="page", limit=10), ids(40), lambda rows, request: numbered(rows, request, clamp, stated)
    )
    assert out == ids(40)


def test_one_short_page_by_number_does_not_fix_the_size() -> None:
    """It was short by mistake."""
    asked = 0

    def serve(rows: list[str], request: Request) -> Answer:
        nonlocal asked
        asked += 1
        answer = numbered(rows, request, stated=False)
        return answer._replace(keys=answer.keys[:3]) if asked == 1 else answer

    assert len(walk(Engine(dialect="page", limit=100), ids(1000), serve)[1]) <= 13


@pytest.mark.parametrize("dialect", ["offset", "page"])
def test_a_server_that_gives_more_than_was_asked_for_is_asked_for_as_many_as_before(dialect: Any) -> None:
    """The rows beyond are used."""
    engine = Engine(dialect=dialect, limit=50, largest=50)
    serve = numbered if dialect == "page" else served
    out, asked = walk(engine, ids(500), lambda rows, request: serve(rows, request, extra=3))
    assert out == ids(500)
    assert max(each.size for each in asked) == 50
    assert len(asked) <= 11


# ---- movement


def test_raise_names_the_movement_and_can_be_resumed() -> None:
    """What moved before the resumed walk began does not count."""
    rows = ids(60)
    engine = after_one_page(rows, drift="raise")
    with pytest.raises(DriftError, match="moved"):
        walk(engine, ["new", *rows])
    again = Engine(limit=10, drift="raise", resume=engine.checkpoint())
    assert walk(again, ["new", *rows])[0] == ids(10, 60)


def test_if_all_known_rows_vanish_a_walk_from_the_top_starts_anew() -> None:
    """One from the middle cannot know where it was, and says so."""
    assert walk(after_one_page(ids(60)), ids(100, 160))[0] == ids(100, 160)
    with pytest.raises(DriftError, match="none of the rows"):
        walk(after_one_page(ids(60), start=5), ids(100, 160))


# ---- checkpoints


def test_a_checkpoint_names_the_last_rows_delivered() -> None:
    """At any row: none of the page that was not delivered is among them."""
    engine = after_one_page(ids(200), limit=50, largest=100)
    assert engine.checkpoint(0) == Checkpoint(0, 0, (), 200)
    assert engine.checkpoint(7) == Checkpoint(0, 7, tuple(ids(7)), 200)
    assert engine.checkpoint() == Checkpoint(0, 50, tuple(ids(26, 50)), 200)


@pytest.mark.parametrize("dialect", ["offset", "page"])
@pytest.mark.parametrize("delivered", [1, 8, 20, 33, 40])
@pytest.mark.parametrize("entered", [0, 5, 300])
def test_a_resumed_walk_delivers_the_rest_once(dialect: Any, delivered: int, entered: int) -> None:
    """Rows entered at the top meanwhile; some that were delivered last have vanished."""
    rows = ids(120)
    serve = numbered if dialect == "page" else served
    engine = Engine(dialect=dialect, limit=40)
    first = engine.requests()[0]
    engine.accept(first, serve(rows, first))
    checkpoint = engine.checkpoint(delivered)
    gone = set(ids(delivered - delivered // 2, delivered))
    later = [*ids(1000, 1000 + entered), *(row for row in rows if row not in gone)]
    assert walk(Engine(dialect=dialect, limit=25, resume=checkpoint), later, serve)[0] == ids(delivered, 120)


def test_a_checkpoint_of_version_1_resumes() -> None:
    """It has eight ids."""
    checkpoint = Checkpoint(0, 30, tuple(ids(22, 30)), 100)
    assert walk(Engine(limit=10, resume=checkpoint), ids(100))[0] == ids(30, 100)


def test_a_checkpoint_keeps_rows_that_were_passed_over() -> None:
    """Rows entered between known ones: those below them are known to the resumed walk, too."""
    rows = ids(100)
    engine = after_one_page(rows, limit=20, largest=20)
    moved = [*ids(17), *ids(1000, 1030), *ids(17, 100)]
    request = engine.requests()[0]
    answer = served(moved, Request(10, 20, serial=request.serial))
    assert engine.accept(request, answer) is not None
    assert engine.checkpoint().anchors[-3:] == ("17", "18", "19")
    rest, _ = walk(Engine(limit=20, resume=engine.checkpoint()), moved)
    assert [row for row in rest if int(row) < 1000] == ids(20, 100)


def test_a_resumed_walk_whose_rows_are_all_gone_says_so() -> None:
    """It would have to guess where it was."""
    with pytest.raises(DriftError, match="none of the rows"):
        walk(Engine(limit=10, resume=Checkpoint(0, 30, tuple(ids(22, 30)), 100)), ids(40, 140))


# ---- seeking and cursors


class TooDeepError(Exception):
    pass


def timed(rows: list[str], request: Request, per_second: int = 1, depth: int = 50) -> Answer:
    """A service that lists rows by time, the highest number newest, and serves only `depth` of them."""
    if request.offset + request.size > depth:
        raise TooDeepError
    times = {row: NOON - timedelta(seconds=int(row) // per_second) for row in rows}
    rows = [row for row in rows if request.until is None or times[row] <= request.until]
    keys = rows[request.offset : request.offset + request.size]
    return Answer(keys, len(rows), exact=True, times=[times[row] for row in keys])


@pytest.mark.parametrize("per_second", [1, 4, 12])
def test_a_walk_by_time_begins_anew_below_the_lowest_row(per_second: int) -> None:
    """At offset 0, a second later than it; no request goes deeper than the service allows."""
    engine = Engine(limit=10, depth=50)
    out, asked = walk(engine, ids(300), lambda rows, request: timed(rows, request, per_second))
    assert out == ids(300)
    assert len({each.until for each in asked}) >= 5
    assert engine.stats.drift_seen == 0


def test_rows_that_enter_above_hardly_matter_to_a_walk_by_time() -> None:
    """They are newer than what it asks for, but for the first block."""
    rows = ids(100, 300)

    def serve(rows: list[str], request: Request) -> Answer:
        rows[:0] = [str(int(rows[0]) - 1)]
        return timed(rows, request)

    engine = Engine(limit=10, depth=50)
    out, asked = walk(engine, rows, serve)
    assert out[-200:] == ids(100, 300)
    assert len(asked) <= 30


def test_a_walk_by_time_goes_on_although_all_rows_that_it_knows_vanished() -> None:
    """What is older than the lowest of them comes next."""
    engine = Engine(limit=10, depth=50)
    first = engine.requests()[0]
    engine.accept(first, timed(ids(300), first))
    assert walk(engine, ids(10, 300), timed)[0] == ids(10, 300)
    again = Engine(limit=10, depth=50, resume=engine.checkpoint())
    assert walk(again, ids(300, 330), timed)[0] == ids(300, 330)


def test_rows_that_are_not_in_the_order_of_their_times_are_not_sought() -> None:
    """The walk goes on by offset; the caller sees requests that are too deep."""
    engine, rows = Engine(limit=10, depth=50), [*ids(20, 30), *ids(20), *ids(30, 300)]
    out, asked = walk(engine, rows, lambda rows, request: timed(rows, request, depth=1000))
    assert out == rows
    assert {each.until for each in asked} == {None}
    assert not engine.seek()


def test_a_second_with_more_rows_than_the_service_serves_is_not_sought_for_ever() -> None:
    """The requests go deeper then, which the service refuses."""
    engine = Engine(limit=10, depth=50)
    with pytest.raises(TooDeepError):
        walk(engine, ids(300), lambda rows, request: timed(rows, request, per_second=100))


def by_cursor(rows: list[str], request: Request) -> Answer:
    answer = timed(rows, request._replace(offset=0), depth=1000)
    at = 0 if request.cursor is None else rows.index(request.cursor) + 1
    keys = rows[at : at + request.size] if request.cursor else answer.keys
    times = [NOON - timedelta(seconds=int(row)) for row in keys]
    more = bool(keys) and keys[-1] != rows[-1]
    return Answer(keys, times=times, cursor=keys[-1] if more else None, more=more)


def test_a_cursor_continues_until_there_is_no_more() -> None:
    """Neither a short page nor an empty one is the end."""
    out, asked = walk(Engine(dialect="cursor", limit=10), ids(95), by_cursor)
    assert out == ids(95)
    assert [each.cursor for each in asked[:3]] == [None, "9", "19"]


def test_a_cursor_that_is_refused_is_replaced_by_seeking() -> None:
    """Known rows come again at the top of the new chain and are dropped."""
    engine, rows = Engine(dialect="cursor", limit=10), ids(40)
    first = engine.requests()[0]
    engine.accept(first, by_cursor(rows, first))
    assert engine.seek()
    assert (engine.requests()[0].cursor, engine.requests()[0].until) == (None, NOON - timedelta(seconds=8))
    assert walk(engine, rows, by_cursor)[0] == ids(10, 40)


def test_more_rows_without_a_cursor_are_an_error_if_they_cannot_be_sought() -> None:
    """There is no way to ask for them."""
    with pytest.raises(PaginationError, match="no cursor"):
        walk(Engine(dialect="cursor", limit=10), ids(40), lambda rows, request: Answer(rows[:10], more=True))


def test_a_cursor_that_leads_in_a_circle_is_an_error() -> None:
    """Page after page brings no new row, or the same cursor comes again."""
    for cursors, words in (("ab", "cannot be walked"), ("a", "for the second time")):
        names = itertools.cycle(cursors)
        with pytest.raises(PaginationError, match=words):
            walk(
                Engine(dialect="cursor", limit=10),
                ids(10),
                lambda rows, request, names=names: Answer(rows, cursor=next(names), more=True),
            )


def at(*seconds: float) -> list[datetime | None]:
    return [NOON + timedelta(seconds=second) for second in seconds]


def test_a_span_delivers_only_its_own_rows_and_ends_below_them() -> None:
    """Its requests show rows of the spans above and below as well."""
    engine = Engine(dialect="cursor", limit=4, span=(NOON, NOON + timedelta(seconds=10)))
    (request,) = engine.requests()
    assert request.until == NOON + timedelta(seconds=11)
    assert engine.accept(request, Answer("abcd", times=at(11, 10, 9, 5), cursor="c", more=True)) == ([2, 3], False)
    (request,) = engine.requests()
    assert engine.accept(request, Answer("efgh", times=at(1, 0, -0.5, -1), cursor="d", more=True)) == ([0, 1], True)


def test_the_rows_of_a_checkpoint_without_a_time_are_looked_for_from_the_top() -> None:
    """Rows above the last of them are not delivered; that none is left is an error."""
    resume = Checkpoint(0, 300, ("x", "d"))
    engine = Engine(dialect="cursor", limit=2, resume=resume)
    assert engine.accept(engine.requests()[0], Answer("ab", times=at(9, 8), cursor="1", more=True)) is None
    assert engine.requests()[0].cursor == "1"
    assert engine.accept(engine.requests()[0], Answer("cd", times=at(7, 6), cursor="2", more=True)) == (
        range(2, 2),
        False,
    )
    assert engine.accept(engine.requests()[0], Answer("ef", times=at(5, 4))) == (range(2), True)
    engine = Engine(dialect="cursor", limit=2, resume=resume)
    with pytest.raises(DriftError, match="none of the rows recorded"):
        engine.accept(engine.requests()[0], Answer("ab", times=at(9, 8)))


def test_all_unknown_rows_of_an_answer_to_a_cursor_come_next() -> None:
    """A row that is repeated at the end of such a page hides none of those above it."""
    engine = Engine(dialect="cursor", limit=3)
    engine.accept(engine.requests()[0], Answer("abc", times=at(9, 8, 7), cursor="1", more=True))
    assert engine.accept(engine.requests()[0], Answer("dea", times=at(6, 5, 9), more=False)) == ([0, 1], True)
    assert engine.stats.drift_seen


# ---- keys and known rows


def test_an_id_is_a_key_and_none_is_not() -> None:
    """Rows without an id are told apart by what they are."""
    assert row_keys(["a", "b"], [1, 2]) == ["a", "b"]
    first, second, third = row_keys(["", None, ""], [{"x": 1}, {"x": 2}, {"x": 1}])
    assert first == third != second


def test_rows_with_one_id_in_an_answer_are_one_only_if_they_are_equal() -> None:
    """One execution can have two webhooks."""
    assert row_keys(["a", "a", "a", "b"], [1, 2, 1, 3]) == ["a", "a#2", "a", "b"]


def test_known_rows_are_remembered_up_to_a_bound() -> None:
    """At least the last 10,000, at most twice as many."""
    known = KnownRows([])
    for first in range(0, 50_000, 100):
        known.add(dict.fromkeys(ids(first, first + 100)))
    assert WINDOW <= len(list(known.upwards())) <= 2 * WINDOW
    assert known.forgot
    assert "49999" in known
    assert str(50_000 - WINDOW) in known
    assert "0" not in known
