"""The fast reader and the strict one, over anything: a Hypothesis test holds that they never differ."""

from __future__ import annotations

import functools
import importlib
import json
import os
from datetime import UTC, datetime, timedelta, timezone
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest
from codec_alike import assert_alike, needs_msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eachlabs_async import records
from eachlabs_async.codec.times import UNSET, are_whole_seconds, normalised
from eachlabs_async.transport.endpoints import ENDPOINTS

ANSWERS = {endpoint.response for endpoint in ENDPOINTS if endpoint.response is not None}
KINDS: list[Any] = sorted({*ANSWERS, records.Execution, records.WorkflowExecutionSummary}, key=repr)
EXAMPLES = int(os.environ.get("CODEC_EXAMPLES", "100"))

HOSTILE = [
    b"null",
    b"true",
    b"false",
    b"-0",
    b"-0.0",
    b"1e400",
    b"-1e400",
    b"NaN",
    b"Infinity",
    b"1" * 25,
    b"9" * 400,
    b"9" * 5000,
    b"3.0",
    b"1E5",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9007199254740993",
    b"1e-400",
    b'""',
    b"[]",
    b"{}",
    b'"\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\xff"',
    b'"\xc3\xa9"',
    b'"\\u0000"',
    b'"\xed\xa0\x80"',
    b'"0001-01-01T00:00:00Z"',
    b'"1"',
    b'{"a":1,"a":2}',
    b"[" * 40 + b"]" * 40,
    b"01",
    b'"\\x"',
    b"2.5e-324",
    b"0.1e1",
    b"123456789012345678901234567890.5",
    b'{"\\ud800":1}',
    b'{"\xff":1}',
    b"5.999999999",
    b"0.12345678",
    b'"2026-01-01T00:00:00.123456789Z"',
    b'"0.1234567"',
    b'{"2026-01-01T00:00:00.1234567Z":1,"2026-01-01T00:00:00.1234568Z":2}',
]
TEXTS = st.builds(
    lambda text, plain: json.dumps(text, ensure_ascii=plain).encode("utf-8", "surrogatepass"),
    st.text(max_size=8),
    st.booleans(),
)
KEYS = st.one_of(TEXTS, st.sampled_from([b'"00:00.1234567Z" ', b'"00:00.1234568Z"', b'"00:00.123456Z"']))
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)).map(lambda n: repr(n).encode())
ANYTHING = st.recursive(
    st.one_of(st.sampled_from(HOSTILE), TEXTS, NUMBERS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]"),
        st.lists(st.tuples(TEXTS, inner), max_size=3).map(
            lambda items: b"{" + b",".join(key + b":" + value for key, value in items) + b"}"
        ),
    ),
    max_leaves=6,
)

TENTHS = st.integers(0, 9)
TELLING = [
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:00.123456Z",
    "2026-01-01T00:00:00.1234567Z",
    "2026-01-01T00:00:00.9999999Z",
    "2026-12-31T23:59:59.9999995+00:00",
    "2026-01-01T00:00:00.99999949Z",
    "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00-00:00",
    "2026-01-01T02:00:00+02:00",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00.9999999",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01T02:00:00+02:00",
    "0001-01-01T00:00:00.0000004Z",
    "0001-01-01T00:00:00.9999999Z",
    "0001-01-01T00:00:01Z",
    "0001-12-31T23:59:59Z",
    "0999-01-01T00:00:00Z",
    "1000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.9999999Z",
    "",
]
"""Times on the edge of what the readers look at; chance alone would hardly put several into one answer."""


YEARS = st.sampled_from(["2026", "2026", "1969", "2107", "0001", "9999", "0000"])
DAYS = st.sampled_from(["01-01", "12-31", "02-29"])
CLOCKS = st.sampled_from(["00:00:00", "03:04:05", "23:59:59", "23:59:60"])
DIGITS = st.one_of(st.text("059", max_size=10), st.sampled_from(["9999995", "0000004", "999999", "9" * 12]))
ZONES = st.sampled_from(["Z", "Z", "Z", "z", "", "+00:00", "-00:00", "+02:00", "-0500", "+14:00", "+25:00"])
BETWEEN = st.sampled_from("TTTt ")
ENDS = st.sampled_from(['"'] * 9 + ['" ', '"\n', '\\u0000"', '\\u0000Z"'])


@st.composite
def made_times(draw: st.DrawFn) -> bytes:
    year, day, clock, digits, zone = draw(YEARS), draw(DAYS), draw(CLOCKS), draw(DIGITS), draw(ZONES)
    text = f"{year}-{day}{draw(BETWEEN)}{clock}{'.' + digits if digits else ''}{zone}"
    escaped = draw(st.sets(st.integers(0, len(text) - 1), max_size=2)) if draw(st.booleans()) else set()
    written = "".join(f"\\u{ord(c):04x}" if i in escaped else c for i, c in enumerate(text))
    return f'"{written}{draw(ENDS)}'.encode()


TIMES = st.one_of(st.sampled_from(TELLING).map(lambda text: f'"{text}"'.encode()), made_times())


@functools.cache  # Strategies are dear to make, and drawn from thousands of times.
def documents(kind: Any) -> st.SearchStrategy[bytes]:
    """Return JSON that mostly matches `kind`, with arbitrary values in places."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return st.one_of(documents(args[0]), documents(args[0]), st.just(b"null"))
    if origin is list:
        return st.lists(documents(args[0]), max_size=3).map(lambda rows: b"[" + b",".join(rows) + b"]")
    if origin is dict:
        pairs = st.tuples(KEYS, documents(args[1]))
        return st.lists(pairs, max_size=3).map(lambda rows: b"{" + b",".join(map(b":".join, rows)) + b"}")
    if attrs.has(kind):
        return objects(kind)
    plain = {
        str: TEXTS,
        int: st.integers().map(lambda n: repr(n).encode()),
        float: NUMBERS,
        datetime: TIMES,
    }
    return plain.get(kind, st.sampled_from([b"true", b"false"]) if kind is bool else ANYTHING)


def objects(kind: Any) -> st.SearchStrategy[bytes]:
    hints = get_type_hints(kind)
    required = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    some_of = st.sets(st.sampled_from(sorted(hints)), max_size=6)
    names = st.sampled_from([json.dumps(name).encode() for name in hints])
    others = st.lists(st.tuples(st.one_of(TEXTS, names), ANYTHING), min_size=1, max_size=2)

    @st.composite
    def written(draw: st.DrawFn) -> bytes:
        some = draw(some_of) | required
        pairs = [(json.dumps(name).encode(), draw(documents(hints[name]))) for name in sorted(some)]
        if draw(TENTHS) == 0:
            pairs += draw(others)
        return b"{" + b",".join(key + b":" + value for key, value in draw(st.permutations(pairs))) + b"}"

    return written()


@needs_msgspec
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_both_readers_read_alike(kind: Any, data: st.DataObject) -> None:
    """Whatever the bytes, the fast reader and the strict one give equal records or the same error."""
    body = data.draw(documents(kind))
    if data.draw(TENTHS) == 0:
        place, other = data.draw(st.integers(0, len(body))), data.draw(st.binary(max_size=2))
        body = body[:place] + other + body[place + len(other) :]
    assert_alike(body, kind)


@needs_msgspec
@settings(max_examples=8 * EXAMPLES, deadline=None)
@given(st.lists(TIMES, min_size=3, max_size=3), ANYTHING)
@example([b'"2026-01-01T00:00:00.9999999Z"', b"null", b"null"], b"1")
def test_both_readers_read_times_alike(some: list[bytes], output: bytes) -> None:
    """However a time is written, rounded by msgspec or not, both readers return the same instant or None."""
    fields = zip((b"created_at", b"started_at", b"finished_at"), some, strict=True)
    written = b",".join(b'"' + name + b'":' + value for name, value in fields)
    body = b'{"id":"a","status":"b","meta":' + output + b"," + written + b"}"
    assert_alike(body, records.Run)


@needs_msgspec
@settings(max_examples=4 * EXAMPLES, deadline=None)
@given(st.lists(st.lists(TIMES, min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from(["rows", "steps"]))
def test_both_readers_read_the_times_of_rows_and_steps_alike(some: list[list[bytes]], where: str) -> None:
    """Times of all rows of a list are checked together, those of a mapping one by one; both find an odd one."""
    if where == "rows":
        rows = [b'{"id":"a","status":"b","created_at":%b,"finished_at":%b}' % (one, two) for one, two in some]
        assert_alike(b'{"items":[%b],"total":1,"page":1,"size":1,"pages":1}' % b",".join(rows), records.RunPage)
        return
    steps = [
        b'"%d":{"step_id":"a","status":"b","started_at":%b,"completed_at":%b}' % (n, one, two)
        for n, (one, two) in enumerate(some)
    ]
    body = b'{"execution_id":"a","status":"b","started_at":%b,"step_outputs":{%b}}' % (some[0][0], b",".join(steps))
    assert_alike(body, records.WorkflowExecution)


MOMENTS = [
    None,
    datetime(2026, 1, 2, 3, 4, 5),
    datetime(2026, 1, 2, 3, 4, 5, 250_000),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))),
    datetime(999, 1, 2, 3, 4, 5, tzinfo=UTC),
    UNSET,
]


@needs_msgspec
@settings(max_examples=8 * EXAMPLES, deadline=None)
@given(st.lists(st.sampled_from(MOMENTS), max_size=12))
@example(  # as long as whole seconds in UTC
    [
        None,
        datetime(2111, 11, 12, 13, 14, 15, 251111),
        datetime(2111, 11, 12, 13, 14, 15, 251111, timezone(timedelta(hours=2))),
    ]
)
def test_the_look_at_written_times_sees_what_a_look_at_each_would(some: list[datetime | None]) -> None:
    """None if a time is not in UTC or unset; otherwise whether all are whole seconds, in any number and order."""
    there = [time for time in some if time is not None]
    plain = all(time.tzinfo is UTC and time != UNSET for time in there)
    whole = not any(time.microsecond for time in there)
    encode = importlib.import_module("msgspec").json.encode
    assert are_whole_seconds(some, encode) is (whole if plain else None)
    wanted = [time and (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC) for time in some]
    assert normalised(some, encode) == [None if time == UNSET else time for time in wanted]
