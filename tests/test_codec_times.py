"""Times as the wire writes them: what they are read as, and what is no time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from codec_alike import assert_alike, execution, refusal

from eachlabs_async import records
from eachlabs_async._codec import decode

UTC_TIMES = {
    "2026-01-02T03:04:05Z": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "2026-01-02t03:04:05z": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "2026-01-02 03:04:05": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "2026-01-02T03:04:05+02:00": datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC),
    "2026-01-02T03:04:05-0330": datetime(2026, 1, 2, 6, 34, 5, tzinfo=UTC),
    "2026-01-02T03:04:05-00:00": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "2026-01-02T03:04:05.5Z": datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=UTC),
    "2026-01-02T03:04:05.123456789Z": datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC),
    "2026-01-02T03:04:05.9999999Z": datetime(2026, 1, 2, 3, 4, 5, 999999, tzinfo=UTC),
    "2026-12-31T23:59:59.9999995+00:00": datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "9999-12-31T23:59:59.9999999Z": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "0001-01-01T00:00:01Z": datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC),
    "0001-01-01T00:00:00.000001Z": datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    "": None,
    "0001-01-01T00:00:00Z": None,
    "0001-01-01T00:00:00": None,
    "0001-01-01T02:00:00+02:00": None,
    "0001-01-01T00:00:00.0000009Z": None,
}


@pytest.mark.parametrize("text", UTC_TIMES)
def test_a_time_is_read_in_utc(text: str) -> None:
    """A time comes out aware, in UTC and cut to microseconds; Go's two ways of "unset" are None."""
    body = execution(created_at=json.dumps(text))
    assert_alike(body, records.Execution)
    time = decode(body, records.Execution).created_at
    assert time == UTC_TIMES[text]
    assert time is None or time.tzinfo is UTC


@pytest.mark.parametrize("cut", ["\\u002e", "\\u002E"])
def test_an_escaped_time_is_cut_and_not_rounded(cut: str) -> None:
    """A nanosecond time stays cut to microseconds where its point, digits or zone are written as escapes."""
    for text in (f"2026-01-02T03:04:05{cut}1234567Z", "2026-01-02T03:04:05.1234567\\u007a"):
        time = decode(execution(created_at=f'"{text}"'), records.Execution).created_at
        assert time == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02",
        "yesterday",
        "1767225600",
        "2026-02-30T00:00:00Z",
        "2026-01-02T24:00:00Z",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+00:60",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05+02",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-05:00",
        "\uff12026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    """A date alone, garbage, no such day, or an instant that leaves the calendar in UTC is an error."""
    body = execution(started_at=json.dumps(text))
    assert_alike(body, records.Execution)
    error = refusal(body, records.Execution)
    assert error.path == "$.started_at"
    assert "time" in error.message
