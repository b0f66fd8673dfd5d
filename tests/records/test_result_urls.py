"""Tests for result URLs: which values count, where each record has them, and the service's own `urls` beside them."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from internals import HAS_MSGSPEC

from eachlabs_async import records
from eachlabs_async.codec import fast
from eachlabs_async.codec.strict import decode, decode_strict, to_dict
from eachlabs_async.errors import ResponseDecodeError
from eachlabs_async.records._result_urls import result_urls

A, B, C = "https://cdn.example/a.png", "https://cdn.example/b.mp4?X-Sig=1&e=2%2F3", "http://127.0.0.1:8000/c"


@pytest.mark.parametrize(
    ("output", "urls"),
    [
        (A, (A,)),
        ([A, B, A, C], (A, B, C)),
        ({"video": {"url": B, "size": 3}, "frames": [{"url": A}, {"url": C}], "seed": 1}, (B, A, C)),
        (json.dumps({"images": [{"url": A}], "more": json.dumps([B, "x"])}), (A, B)),
        (json.dumps(A), (A,)),
        ([[[[A]], None, True, 1.5, {}]], (A,)),
        (f" {A}\n", (A,)),
        ("HTTPS://CDN.example/A", ("HTTPS://CDN.example/A",)),
        ("https://cdn.example/ü.png", ("https://cdn.example/ü.png",)),
        (f"Here it is: {A}", ()),
        (f"{A} and {B}", ()),
        (f"{A}\n{B}", ()),
        (f"[1] see {A}", ()),
        (f"[link]({A})", ()),
        (f'<img src="{A}">', ()),
        (f"{A}>", ()),
        ({A: "a key is no result"}, ()),
        ("https://", ()),
        ("https:///path", ()),
        ("https://[broken/x", ()),
        ("https://host:port/x", ()),
        ("https://a\x00b/", ()),
        ("ftp://cdn.example/a", ()),
        ("data:image/png;base64,AAAA", ()),
        ("//cdn.example/a", ()),
        ("gs://bucket/a", ()),
        ('{"cut": "https://cdn.example/a', ()),
        ("[" * 100_000, ()),
        ("[" + "1" * 5000 + "]", ()),
        ("", ()),
        (None, ()),
        (1, ()),
    ],
)
def test_only_a_string_that_is_wholly_a_url_is_a_result(output: Any, urls: tuple[str, ...]) -> None:
    """A whole string counts, in arrays and objects too, in order and once; a URL in a sentence or a key does not."""
    assert result_urls(output) == urls
    assert records.Prediction(id="p", status="success", output=output).urls == urls


def test_an_output_of_any_depth_is_looked_through() -> None:
    """A value that can be decoded is searched however deep it is nested."""
    deep: Any = A
    for _ in range(100_000):
        deep = [deep]
    try:
        assert result_urls(deep) == (A,)
    finally:
        while isinstance(deep, list):  # Else the interpreter would free it by recursion.
            deep = deep.pop()


JOBS: list[Any] = [
    records.Execution,
    records.Prediction,
    records.FinishedPrediction,
    records.PredictionWebhook,
    records.Run,
    records.FlowExecution,
    records.FlowStepResult,
    records.StepOutput,
    records.WorkflowExecution,
    records.WorkflowExecutionSummary,
    records.WorkflowWebhook,
]


def made(kind: Any, status: str, **fields: Any) -> Any:
    own = next(field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING and field.name != "status")
    return kind(**{own: "a", "status": status, **fields})


@pytest.mark.parametrize("kind", JOBS)
def test_each_record_with_an_output_has_its_urls(kind: Any) -> None:
    """This holds for listings, predictions and executions; a listing's string may be an object written as JSON."""
    assert made(kind, "completed", output=A).urls == (A,)
    assert made(kind, "completed", output=json.dumps({"images": [A, B]})).urls == (A, B)
    assert made(kind, "running").urls == ()
    if "output_json" in {field.name for field in attrs.fields(kind)}:
        assert made(kind, "completed", output=A, output_json={"video": B, "image": A}).urls == (A, B)


def test_no_record_with_an_output_is_left_without() -> None:
    """Every record class with an `output` has `urls`."""
    classes = [kind for kind in vars(records).values() if isinstance(kind, type) and attrs.has(kind)]
    assert {kind for kind in classes if "output" in {field.name for field in attrs.fields(kind)}} == set(JOBS)


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("status", ["failed", "error"])
def test_what_failed_has_no_results(kind: Any, status: str) -> None:
    """Its output describes the failure, so a URL in it (of the documentation, of an input) is not a result."""
    assert made(kind, status, output={"error_code": "X", "help": A}).urls == ()


def test_a_workflow_execution_gives_what_came_out_of_it() -> None:
    """It has the URLs of its output and of the mapped output, but not those of inputs or intermediate steps."""
    step = records.StepOutput(step_id="s1", status="completed", output=C, input={"image": B}, metadata={"url": B})
    execution = records.WorkflowExecution(
        execution_id="a",
        status="completed",
        inputs={"image": B},
        step_outputs={"s1": step},
        output=[A],
        workflow_output={"image": A, "video": "https://cdn.example/v.mp4"},
    )
    assert execution.urls == (A, "https://cdn.example/v.mp4")
    assert step.urls == (C,)


def test_a_success_without_an_output_gives_that_of_the_step_that_ended_last() -> None:
    """The last step is chosen by its time rather than its position; a step that failed or still runs does not count."""
    body = {
        "execution_id": "a",
        "status": "completed",
        "step_outputs": {
            "s1": {"step_id": "s1", "status": "completed", "completed_at": "2026-01-01T00:00:02Z", "output": A},
            "s10": {"step_id": "s10", "status": "completed", "completed_at": "2026-01-01T00:00:04Z", "primary": B},
            "s2": {"step_id": "s2", "status": "completed", "completed_at": "2026-01-01T00:00:03Z", "output": C},
            "s3": {"step_id": "s3", "status": "failed", "completed_at": "2026-01-01T00:00:05Z", "output": C},
            "s4": {"step_id": "s4", "status": "running", "output": C},
        },
    }
    assert decode(json.dumps(body).encode(), records.WorkflowExecution).urls == (B,)
    for change in ({"status": "running"}, {"output": "text"}, {"workflow_output": {}}, {"step_outputs": {}}):
        assert decode(json.dumps(body | change).encode(), records.WorkflowExecution).urls == ()
    assert records.WorkflowExecution(execution_id="a", status="completed").urls == ()


# ---- what the wire calls `urls`

BODY = {
    "id": "p",
    "status": "success",
    "output": A,
    "urls": {"get": "https://api/p", "cancel": "https://api/p/cancel"},
}


def test_the_wire_s_urls_of_a_prediction_have_another_name() -> None:
    """`service_urls` is the service's `urls`: both readers read it, and it is encoded as it came."""
    body = json.dumps(BODY).encode()
    found = [decode(body, records.Prediction), decode_strict(body, records.Prediction)]
    if HAS_MSGSPEC:
        found.append(fast.fast_reader(records.Prediction)(body))
    for prediction in found:
        assert prediction is not None
        assert prediction.urls == (A,)
        assert prediction.service_urls == records.PredictionUrls(get="https://api/p", cancel="https://api/p/cancel")
        assert prediction == found[0]
        written = to_dict(prediction)
        assert {name: written[name] for name in BODY} == BODY
        assert "service_urls" not in written


@pytest.mark.parametrize("reader", [decode, decode_strict])
def test_our_own_name_is_not_the_wire_s(reader: Any) -> None:
    """A field of the service that has our name is an unknown field; errors use the service's name."""
    odd = json.dumps({"id": "p", "status": "s", "service_urls": 1}).encode()
    assert reader(odd, records.Prediction).service_urls is None
    with pytest.raises(ResponseDecodeError) as refused:
        reader(json.dumps(BODY | {"urls": {"get": 1}}).encode(), records.Prediction)
    assert refused.value.path == "$.urls.get"


def test_a_renamed_field_below_another_record_is_read_as_well() -> None:
    """msgspec has no word for it there, so that the strict reader reads it: slower, and the same."""
    body = json.dumps([BODY, BODY]).encode()
    first, second = decode(body, list[records.Prediction])
    assert first == second == decode(json.dumps(BODY).encode(), records.Prediction)
    assert fast.fast_reader(list[records.Prediction])(body) is None
