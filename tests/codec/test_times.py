"""Tests for times as the services write them: their values, and which texts are not times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from codec_alike import assert_alike, execution, needs_msgspec, refusal
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import records
from eachlabs_async.codec.fast import fast_reader, time_texts
from eachlabs_async.codec.strict import decode, decode_strict

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
    "2026-01-02T03:04:05.123456789": datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC),
    "2026-01-02T03:04:05.123456789-0330": datetime(2026, 1, 2, 6, 34, 5, 123456, tzinfo=UTC),
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
    """It is aware, in UTC and truncated to microseconds; Go's two ways of "unset" are None."""
    body = execution(created_at=json.dumps(text))
    assert_alike(body, records.Execution)
    time = decode(body, records.Execution).created_at
    assert time == UTC_TIMES[text]
    assert time is None or time.tzinfo is UTC


def holding(text: str, where: str, others: str = "2026-01-02T03:04:05Z") -> tuple[bytes, Any]:
    """Return an answer with a time in it, among others: alone, in a mapping of steps, in a row, in a row's step."""
    names = ("created_at", "completed_at", "ended_at")
    around = "".join(f',"{name}":"{others}"' for name in names)

    def row(name: str, time: str, more: str = "") -> str:
        return f'{{"{name}":"a","status":"b"{around},"started_at":"{time}"{more}}}'

    if where == "alone":
        return row("id", text).encode(), records.Execution
    if where == "step":
        steps = f',"step_outputs":{{"r":{row("step_id", others)},"s":{row("step_id", text)}}}'
        return row("execution_id", others, steps).encode(), records.WorkflowExecution
    if where == "row":
        rows = ",".join(row("execution_id", time) for time in (others, text, others))
        return f'{{"executions":[{rows}],"total_count":3}}'.encode(), records.WorkflowExecutionList
    steps = f',"step_results":[{row("step_id", text)}]'
    return f'{{"executions":[{row("execution_id", others, steps)}]}}'.encode(), records.FlowExecutionBatch


def time_in(record: Any, where: str) -> datetime | None:
    """Return the time that `holding` put in."""
    found = {
        "alone": lambda: record.started_at,
        "step": lambda: record.step_outputs["s"].started_at,
        "row": lambda: record.executions[1].started_at,
        "row's step": lambda: record.executions[0].step_results[0].started_at,
    }[where]()
    assert found is None or isinstance(found, datetime)
    return found


WHERE = ("alone", "step", "row", "row's step")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("others", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("text", UTC_TIMES)
def test_a_time_is_read_alike_wherever_it_stands(text: str, others: str, where: str) -> None:
    """This holds alone, in a mapping of steps and in a list of rows, whatever the other times are."""
    body, kind = holding(text, where, others)
    assert_alike(body, kind)
    assert time_in(decode(body, kind), where) == UTC_TIMES[text]


@needs_msgspec
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.5Z",
        "2026-01-02T03:04:05.123456Z",
        "2026-01-02T03:04:05.999999Z",
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05.9999999+02:00",
        "2026-01-02T03:04:05.0000001",
        "2026-01-02 03:04:05",
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T03:04:05-0330",
        "0001-01-01T00:00:00Z",
        "0001-01-01T02:00:00+02:00",
        "",
    ],
)
def test_usual_times_are_read_fast(text: str, where: str) -> None:
    """Those that stand for an unset time included: such an answer is not left to the strict reader."""
    body, kind = holding(text, where)
    assert assert_alike(body, kind)
    time = time_in(fast_reader(kind)(body), where)
    assert time == time_in(decode_strict(body, kind), where)
    assert (time is None) == (text[:4] in ("0001", ""))


@needs_msgspec
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "fraction", ["9999995", "9999999", "99999999999", "9999994", "1234567", "0000001", "000000000"]
)
def test_what_was_rounded_is_never_let_through(fraction: str, where: str) -> None:
    """A fraction too long for msgspec is truncated, even if rounding gives a whole second."""
    body, kind = holding(f"2026-01-02T03:04:05.{fraction}Z", where)
    assert_alike(body, kind)
    wanted = datetime(2026, 1, 2, 3, 4, 5, int(fraction[:6]), tzinfo=UTC)
    assert time_in(decode(body, kind), where) == wanted


@needs_msgspec
def test_only_times_are_cut() -> None:
    """A text like a nanosecond time is unchanged in text fields, in keys and in untyped values."""
    body = execution(
        output='"2026-01-02T03:04:05.123456789Z"',
        model='"at 12:00:00.123456789Z"',
        created_at='"2026-01-02T03:04:05.9876543Z"',
    )
    assert assert_alike(body, records.Execution)
    read = decode(body, records.Execution)
    assert (read.output, read.model) == ("2026-01-02T03:04:05.123456789Z", "at 12:00:00.123456789Z")
    steps = ",".join(
        f'"2026-01-02T03:04:05.123456{n}Z" : '
        f'{{"step_id":"{n}","status":"b","started_at":"2026-01-02T03:04:0{n}.9876543Z"}}'
        for n in range(5)
    )
    answer = f'{{"execution_id":"a","status":"b","step_outputs":{{{steps}}},"output":["0.123456789"]}}'.encode()
    assert assert_alike(answer, records.WorkflowExecution)
    execution_read = decode(answer, records.WorkflowExecution)
    assert execution_read.output == ["0.123456789"]
    assert execution_read.step_outputs is not None
    seconds = [step.started_at and step.started_at.second for step in execution_read.step_outputs.values()]
    assert seconds == [0, 1, 2, 3, 4]


@needs_msgspec
@pytest.mark.parametrize(
    ("fast", "output"),
    [
        (True, {"ended": "", "at": ""}),
        (False, {"ended_at": ""}),
        (False, {"ended_at": "0001-01-01T00:00:00Z"}),
        (False, {"ended": "0001-01-01T00:00:00Z"}),
    ],
)
def test_only_times_are_unset(fast: bool, output: dict[str, str]) -> None:
    """Beside an empty time, similar text in untyped values is unchanged, at the cost of the strict reader."""
    text = json.dumps(output, separators=(",", ":"))
    body = b'{"id":"a","status":"b","created_at":"","finished_at":"2026-01-02T03:04:05.5","output":%b}' % text.encode()
    assert assert_alike(body, records.Run) is fast
    run = decode(body, records.Run)
    assert (run.output, run.created_at) == (output, None)
    assert run.finished_at == datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("cut", ["\\u002e", "\\u002E"])
def test_an_escaped_time_is_cut_and_not_rounded(cut: str) -> None:
    """A nanosecond time is truncated even if its point, digits or zone are written as escapes."""
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
        "2026-01-02T03:04:05\0",
        "2026-01-02T03:04:05.25\0Z",
        "2026-01-02T03:04:05.1234567\0+02:00",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    """A date alone, other text, an impossible day, or an instant outside the calendar in UTC is an error."""
    body = execution(started_at=json.dumps(text))
    assert_alike(body, records.Execution)
    error = refusal(body, records.Execution)
    assert error.path == "$.started_at"
    assert "time" in error.message


@pytest.mark.parametrize("fast", [pytest.param(True, marks=needs_msgspec), False])
@given(st.lists(st.none() | st.datetimes(timezones=st.just(UTC))))
def test_texts_of_times_have_six_digits_and_are_read_as_the_times(fast: bool, times: list[datetime | None]) -> None:
    """With msgspec and without it, in any year; None stays None."""
    with pytest.MonkeyPatch.context() as patch:
        if not fast:
            patch.setattr("eachlabs_async.codec.fast._msgspec", None)
        texts = time_texts(times)
    assert [text and datetime.fromisoformat(text) for text in texts] == times
    assert all(text is None or (len(text) == 27 and text[19] == "." and text[-1] == "Z") for text in texts)
