"""Tests of the times, durations and ids that people write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.cli.failures import UsageError
from eachlabs_async.cli.ids import id_in
from eachlabs_async.cli.times import read_duration, read_time

NOW = datetime(2026, 11, 27, 18, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", NOW),
        ("today", datetime(2026, 11, 27, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 26, tzinfo=UTC)),
        ("30d", NOW - timedelta(days=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("2w ago", NOW - timedelta(weeks=2)),
        ("90min", NOW - timedelta(minutes=90)),
        ("45 s", NOW - timedelta(seconds=45)),
        ("2026-09-01", datetime(2026, 9, 1, tzinfo=UTC)),
        ("2026-09-01T12:00", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01T12:00:00Z", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01 12:00+02:00", datetime(2026, 9, 1, 12, tzinfo=timezone(timedelta(hours=2)))),
        (" Yesterday ", datetime(2026, 11, 26, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_meant(text: str, meant: datetime) -> None:
    assert read_time("--since", text, NOW) == meant


def test_days_are_those_of_utc_wherever_the_user_is() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert read_time("--since", "today", there) == datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "foo", "30", "d", "-1d", "30 days", "2026-13-01", "999999w"])
def test_another_form_is_refused_with_the_option(text: str) -> None:
    with pytest.raises(ValueError, match="--since"):
        read_time("--since", text, NOW)


@given(st.integers(0, 10_000), st.sampled_from("smhdw"))
def test_what_is_ago_is_before_now(count: int, unit: str) -> None:
    found = read_time("--since", f"{count}{unit}", NOW)
    assert found is not None
    assert found <= NOW


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5), ("1min", 60), ("2h", 7200), ("0.5", 0.5), ("90", 90)])
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_duration("--every", text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-5", "nan", "inf"])
def test_another_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--every"):
        read_duration("--every", text)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("abc\n", "abc"),
        ("  abc  ", "abc"),
        ("\n", None),
        ("# a comment", None),
        ('{"id": "x", "status": "success"}', "x"),
        ('{"execution_id": "y", "id": "z"}', "y"),
    ],
)
def test_a_line_has_an_id(line: str, found: str | None) -> None:
    assert id_in(line) == found


@pytest.mark.parametrize("line", ["{", '{"status": "x"}', '{"id": 3}', '{"id": ""}'])
def test_an_object_without_an_id_is_wrong_usage(line: str) -> None:
    with pytest.raises(UsageError):
        id_in(line)
