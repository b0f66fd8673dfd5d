"""Tests for decoding: what is read, what is refused and with which path, and that the fast reader never differs."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from codec_alike import assert_alike, execution, needs_msgspec, refusal
from internals import HAS_MSGSPEC

from eachlabs_async import records
from eachlabs_async.codec import fast, strict
from eachlabs_async.codec.strict import decode, decode_json, decode_rows, decode_strict, encode_json, to_dict
from eachlabs_async.codec.times import TimeFields
from eachlabs_async.errors import ResponseDecodeError
from eachlabs_async.transport.endpoints import ENDPOINTS

SAMPLES = sorted((Path(__file__).parents[1] / "samples").glob("*.json"))
ANSWERS = {endpoint.name: endpoint.response for endpoint in ENDPOINTS}


# ---- Samples.


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_read_whole(path: Path) -> None:
    """Every documented answer is decoded, and encoded again it has the same values, in UTC."""
    sample = json.loads(path.read_text())
    body = json.dumps(sample["response"]["body"]).encode()
    kind = ANSWERS[sample["endpoint"]]
    if kind is None:
        assert sample["response"]["body"] is None
        return
    record = decode(body, kind)
    assert_alike(body, kind)
    if isinstance(record, dict):  # a document that no record could hold whole
        assert record == sample["response"]["body"]
        return
    plain = [to_dict(row) for row in record] if isinstance(record, list) else to_dict(record)
    assert decode(encode_json(plain), kind) == record
    # What the record leaves out or reads as None (unknown fields, echoes, Go's unset times) is not compared.
    assert_said(plain, sample["response"]["body"])


def assert_said(said: Any, wire: Any) -> None:
    if isinstance(said, dict) and isinstance(wire, dict):
        for key, value in said.items():
            assert_said(value, wire.get(key))
    elif isinstance(said, list):
        assert len(said) == len(wire)
        for ours, theirs in zip(said, wire, strict=True):
            assert_said(ours, theirs)
    elif said is None:
        assert wire in (None, "", "0001-01-01T00:00:00Z")
    elif isinstance(wire, str) and wire[10:11] == "T":
        assert datetime.fromisoformat(said) == datetime.fromisoformat(wire).replace(tzinfo=UTC)
    else:
        assert said == wire


def test_every_endpoint_has_a_sample() -> None:
    """Each endpoint has at least one sample, which is named after it."""
    held = {path: json.loads(path.read_text()) for path in SAMPLES}
    assert {sample["endpoint"] for sample in held.values()} == set(ANSWERS)
    for path, sample in held.items():
        assert path.name.startswith(sample["endpoint"])
        assert sample["edition"] in {"compat", "unified", "both"}


@needs_msgspec
def test_ordinary_answers_take_the_fast_way() -> None:
    """The fast reader answers for plain times, with and without fractions, and in steps."""
    assert assert_alike(execution(created_at='"2026-01-01T00:00:00Z"'), records.Execution)
    assert assert_alike(execution(created_at='"2026-01-01T00:00:00.123456Z"'), records.Execution)
    assert assert_alike(execution(created_at='"1969-12-31T23:59:59Z"', run_time="0.9999999"), records.Execution)
    assert assert_alike(execution(output='"caf\u00e9"', run_time="0.12345678"), records.Execution)
    step = '"step_outputs":{"s":{"step_id":"s","status":"x","started_at":"2026-01-01T00:00:00Z"}}'
    assert assert_alike(f'{{"execution_id":"a","status":"b",{step}}}'.encode(), records.WorkflowExecution)


def minimal(kind: Any, *, nulls: bool) -> bytes:
    """Return a record with its required fields; all others are omitted or null."""
    fields: dict[str, Any] = {}
    for field in attrs.fields(kind):
        if field.default is not attrs.NOTHING:
            fields |= {field.name: None} if nulls else {}
        else:
            hint = str(field.type)
            number = "int" in hint or "float" in hint
            fields[field.name] = [] if "list" in hint else {} if "dict" in hint else 1 if number else "x"
    return json.dumps(fields).encode()


RECORDS = sorted({one for one in vars(records).values() if attrs.has(one)}, key=lambda kind: kind.__name__)


@needs_msgspec
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_what_is_left_out_is_as_what_is_null(kind: Any) -> None:
    """This holds for both readers and every record, alone and in a list: an omitted field is None."""
    absent, null = minimal(kind, nulls=False), minimal(kind, nulls=True)
    optional = [field.name for field in attrs.fields(kind) if field.default is None]
    for body in (absent, null, absent):
        assert_alike(body, kind)
        record = decode(body, kind)
        assert [getattr(record, name) for name in optional] == [None] * len(optional)
        assert record == decode(null, kind) == decode_strict(absent, kind)
        assert decode(b"[" + body + b"]", list[kind]) == [record]
        assert repr(record) == repr(decode(null, kind))
    record = decode(absent, kind)
    assert attrs.evolve(record) == record
    assert type(record)(**{field.name: getattr(record, field.name) for field in attrs.fields(kind)}) == record


# ---- Refusals.


@pytest.mark.parametrize(
    ("kind", "body", "path", "text"),
    [
        (
            records.ExecutionList,
            '{"executions":[{"id":1,"status":""}]}',
            "$.executions[0].id",
            "a string, not a num",
        ),
        (records.ExecutionList, '{"executions":[{"id":"a"}]}', "$.executions[0].status", "is missing"),
        (records.ExecutionList, '{"executions":{}}', "$.executions", "an array, not an object"),
        (records.ExecutionList, '{"total_count":0}', "$.executions", "is missing"),
        (
            records.ExecutionList,
            '{"executions":[],"total_count":true}',
            "$.total_count",
            "a whole number, not true",
        ),
        (
            records.ExecutionList,
            '{"executions":[],"total_count":3.0}',
            "$.total_count",
            "a whole number, not a num",
        ),
        (
            records.ExecutionList,
            '{"executions":[],"total_capped":0}',
            "$.total_capped",
            "true or false, not a num",
        ),
        (records.ExecutionList, '{"executions":[null]}', "$.executions[0]", "an object, not null"),
        (records.ExecutionList, "[]", "$", "an object, not an array"),
        (records.Execution, '{"id":"a","status":"b","run_time":"1"}', "$.run_time", "a number, not a string"),
        (records.Execution, '{"id":"a","status":"b","run_time":true}', "$.run_time", "a number, not true"),
        (records.Execution, '{"id":"a","status":"b","run_time":-1e999}', "$.run_time", "out of range"),
        (
            records.Execution,
            '{"id":"a","status":"b","run_time":1' + "0" * 400 + "}",
            "$.run_time",
            "out of range",
        ),
        (records.Execution, '{"id":"a","status":"b","run_time":NaN}', "$.run_time", "out of range"),
        (records.ExecutionList, '{"executions":[],"total_count":' + "9" * 5000 + "}", "$.total_count", "out of range"),
        (records.Run, '{"id":"a","status":"b","workflow":{"id":7}}', "$.workflow.id", "a string"),
        (records.ModelCost, '{"depends_on":["a",null]}', "$.depends_on[1]", "a string, not null"),
        (
            records.WorkflowExecution,
            '{"execution_id":"a","status":"b","step_outputs":{"s 1":{"step_id":"s"}}}',
            "$.step_outputs['s 1'].status",
            "is missing",
        ),
        (
            records.WorkflowExecution,
            '{"execution_id":"a","status":"b","inputs":[]}',
            "$.inputs",
            "an object, not an",
        ),
        (list[records.Execution], '[{"id":"a","status":"b"},{}]', "$[1].id", "is missing"),
    ],
)
def test_a_wrong_type_is_refused_with_its_place(kind: Any, body: str, path: str, text: str) -> None:
    """Nothing is converted: a wrong type or a missing field is an error with its path and the expected type."""
    assert not assert_alike(body.encode(), kind)
    error = refusal(body.encode(), kind)
    assert error.path == path
    assert text in error.message
    assert path in str(error)
    assert error.body == body[:300]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>",
        b"{",
        b'{"id":"a","status":"b"} x',
        b'{"id":"a","status":"b","x":[1,]}',
        b'{"id":"\xff","status":"b"}',
        b'{"id":"a","status":"b","x":"\xff"}',
        b'{"id":"a","status":"b","\xff":1}',
        b'{"id":"a\nb","status":"c"}',
        b'{"id":"a","status":"b","x":"\xed\xa0\x80"}',
        '{"id":"a","status":"b"}'.encode("utf-16"),
        b'{"id":"a","status":"b","x":' + b"[" * 200_000,
        b'{"id":"a","status":"b","x":' + b'{"x":' * 200_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Broken text, bad UTF-8 even in ignored fields, and endless nesting are errors."""
    assert not assert_alike(body, records.Execution)
    assert refusal(body, records.Execution).path == "$"
    if body:
        with pytest.raises(ResponseDecodeError):
            decode_json(body)


def test_an_error_shows_only_the_start_and_no_key() -> None:
    """The body in an error is its start as text, with the key and the address redacted."""
    row = '{"execution_id":1,"api_key":"s3cret-key","source_ip_address" : "203.0.113.7","output":"' + "x" * 999 + '"}'
    error = refusal(row.encode(), records.FlowExecution)
    assert len(error.body) <= 300
    assert error.body.startswith('{"execution_id":1,"api_key":"***","source_ip_address" : "***","output":"xx')
    assert "s3cret" not in str(error)


def test_what_is_odd_but_readable_is_read() -> None:
    """A byte order mark, a lone surrogate, a duplicate key, ignored odd numbers and deep nesting lose no row."""
    deep = "[" * 300 + "]" * 300
    new = f'"new":{"9" * 5000},"newer":1e999,"none":NaN,"least":-Infinity,"newest":{deep}'
    body = f'\ufeff{{"id":"x","id":"a","status":"b","output":"\\ud83d",{new}}}'.encode()
    row = decode(body, records.Execution)
    assert_alike(body, records.Execution)
    assert (row.id, row.output) == ("a", "\ud83d")


# ---- Rows alone, plain JSON, and the way back.


def each(body: str) -> list[tuple[str | None, Any]]:
    return decode_rows(
        body.encode(),
        records.FlowExecutionBatch,
        rows="executions",
        row_kind=records.FlowExecution,
        identity="execution_id",
    )


def test_a_row_that_cannot_be_read_stands_alone() -> None:
    """In a batch, a bad row is an error with its own id and path, and the other rows are read."""
    good = records.FlowExecution(execution_id="a", status="b")
    row = '{"execution_id":"a","status":"b"}'
    assert each(f'{{"executions":[{row}]}}') == [("a", good)]
    found = each(f'{{"executions":[{row},{{"execution_id":"c","status":7}},{{"execution_id":8}},9]}}')
    assert [name for name, _ in found] == ["a", "c", None, None]
    assert found[0][1] == good
    paths = ["$.executions[1].status", "$.executions[2].execution_id", "$.executions[3]"]
    assert [error.path for _, error in found[1:]] == paths
    assert each('{"executions":null}') == each('{"executions":[]}') == []


@pytest.mark.parametrize("body", ["", "no", "[]", "{}", '{"executions":{}}', "[" * 200_000])
def test_an_envelope_without_rows_is_an_error(body: str) -> None:
    """If there are no rows, the whole answer is the error."""
    with pytest.raises(ResponseDecodeError):
        each(body)


def test_plain_json_is_read_as_it_is() -> None:
    """`decode_json` returns the values of any JSON, None for an empty body, and reads odd numbers as floats."""
    assert decode_json(b"") is None
    assert decode_json(b'\xef\xbb\xbf{"a":[1,2.5,"x",null,true]}') == {"a": [1, 2.5, "x", None, True]}
    odd = decode_json(b"[1e999,-Infinity,NaN," + b"9" * 5000 + b"]")
    assert str(odd) == "[inf, -inf, nan, inf]"
    assert {type(number) for number in pickle.loads(pickle.dumps(odd))} == {float}
    row = decode_strict(b'{"id":"a","status":"b","meta":[{"x":1e999}],"input":{"x":NaN}}', records.Run)
    assert str((row.meta, row.input)) == "([{'x': inf}], {'x': nan})"


def test_a_record_goes_back_to_plain_json() -> None:
    """`to_dict` nests records as dicts, writes times in UTC with a Z, and shares nothing with the record."""
    east = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    step = records.StepOutput(step_id="s", status="completed", started_at=east, output=[{"x": [1]}])
    record = records.WorkflowExecution(
        execution_id="a", status="b", started_at=datetime(2026, 1, 1, 0, 0, 0, 5), step_outputs={"s": step}
    )
    plain = to_dict(record)
    assert plain["started_at"] == "2026-01-01T00:00:00.000005Z"
    assert plain["step_outputs"]["s"]["started_at"] == "2026-01-01T00:00:00.000000Z"
    assert set(plain) == {field.name for field in attrs.fields(records.WorkflowExecution)}
    plain["step_outputs"]["s"]["output"][0]["x"].append(2)
    assert step.output == [{"x": [1]}]
    with pytest.raises(TypeError, match="record must be"):
        to_dict({"a": 1})


def test_times_sort_as_their_text_does_or_stay_datetimes() -> None:
    """All have six digits of a second; with `keep_times` they are aware datetimes in UTC, in nested records too."""
    east = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    times = [east + timedelta(microseconds=number) for number in (0, 5, 250_000, 1_000_000)]
    texts = [to_dict(records.Execution(id="a", model="m", status="s", created_at=time))["created_at"] for time in times]
    assert texts == sorted(texts)
    assert len({len(text) for text in texts}) == 1
    step = records.StepOutput(step_id="s", status="completed", started_at=east)
    record = records.WorkflowExecution(execution_id="a", status="b", started_at=east, step_outputs={"s": step})
    kept = to_dict(record, keep_times=True)
    assert kept["started_at"] == kept["step_outputs"]["s"]["started_at"] == east
    assert kept["started_at"].tzinfo is UTC


def test_to_dict_goes_as_deep_as_reading_does() -> None:
    """A value of hundreds of levels is copied whole, and times in it are written too."""
    depth = 900
    nested = b"[" * depth + b"]" * depth
    record = decode(b'{"id":"a","status":"b","output":%b,"input":{"x":%b}}' % (nested, nested), records.Run)
    plain = to_dict(record)
    for mine, theirs in ((plain["output"], record.output), (plain["input"]["x"], (record.input or {})["x"])):
        for _ in range(depth - 1):
            assert mine is not theirs
            (mine,), (theirs,) = mine, theirs
        assert mine == theirs == []
    record = records.Run(id="a", status="b", output=[{"at": datetime(2026, 1, 2, tzinfo=UTC)}])
    assert to_dict(record)["output"] == [{"at": "2026-01-02T00:00:00.000000Z"}]


def test_only_json_goes_into_a_body() -> None:
    """`encode_json` writes compact ASCII, and refuses NaN, times, bytes, cycles and endless nesting."""
    assert encode_json({"a": [1, 2.5, None, True, "\u00e9\ud800"]}) == b'{"a":[1,2.5,null,true,"\\u00e9\\ud800"]}'
    loop: list[Any] = []
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for value in (float("nan"), float("inf"), loop, deep):
        with pytest.raises(ValueError):
            encode_json(value)
    for value in (datetime.now(UTC), b"x", {1, 2}, {("a",): 1}):
        with pytest.raises(TypeError):
            encode_json(value)


def test_a_type_without_a_rule_is_refused_at_once() -> None:
    """A record with a type that is not known to be read alike fails at its first use."""
    for kind in (bytes, int | str, set[str], dict[int, str]):
        with pytest.raises(TypeError, match="no rule"):
            TimeFields(kind)


def test_a_kind_without_times_is_read_too() -> None:
    """A record without times needs no second check, and is read by the fast reader if there is one."""
    kind: Any = list[records.FlowParameter]
    body = b'[{"name":"a","value":"2026-01-01T00:00:00.1234567Z"}]'
    assert assert_alike(body, kind) is HAS_MSGSPEC
    assert decode(body, kind)[0].value == "2026-01-01T00:00:00.1234567Z"
    with pytest.raises(ResponseDecodeError, match="UTF-8"):
        decode(b'[{"name":"a","new":"\xff"}]', kind)


def test_the_fast_reader_leaves_all_to_the_strict_one_without_msgspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where msgspec cannot be imported it gives None, and the record comes from cattrs all the same."""
    monkeypatch.setitem(sys.modules, "msgspec", None)
    spec = importlib.util.spec_from_file_location("eachlabs_async.codec.fast_without_msgspec", fast.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    body = execution(created_at='"2026-01-01T00:00:00Z"', run_time="1")
    assert alone.fast_reader(records.Execution)(body) is None
    monkeypatch.setattr(strict, "FAST_READERS", alone.FAST_READERS)
    assert decode(body, records.Execution) == decode_strict(body, records.Execution)


@needs_msgspec
def test_readers_can_be_made_in_many_threads_at_once() -> None:
    """msgspec stores what it learns about a class before that is complete: a second thread that used it crashed."""
    run = """
import sys, threading
from eachlabs_async import records
from eachlabs_async.codec.strict import decode_fast
sys.setswitchinterval(1e-6)
body = b'{"executions":[{"execution_id":"e","status":"s","step_results":[{"step_id":"a","status":"s"}]}]}'
start = threading.Barrier(8)
def read():
    start.wait()
    assert decode_fast(body, records.FlowExecutionBatch).executions[0].step_results[0].step_id == "a"
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_all_this_holds_without_msgspec() -> None:
    """Without msgspec, every test above passes that does not compare the two readers."""
    if not HAS_MSGSPEC:
        pytest.skip("this is the run without it")
    run = "import sys; sys.modules['msgspec'] = None; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    files = [str(Path(__file__).with_name(name)) for name in ("test_strict.py", "test_times.py")]
    done = subprocess.run(
        [sys.executable, "-c", run, "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
