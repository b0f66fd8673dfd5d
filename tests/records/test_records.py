"""Tests for the record classes: what they require, what they keep out of their repr, and how they read a status."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from eachlabs_async import records
from eachlabs_async.records import State, read_state

ROWS = [
    records.Execution,
    records.WorkflowExecutionSummary,
    records.WorkflowExecution,
    records.StepOutput,
    records.FlowExecution,
    records.FlowStepResult,
    records.Run,
    records.TriggeredExecution,
    records.BulkTriggeredExecution,
    records.Prediction,
    records.CancelledPrediction,
    records.FinishedPrediction,
    records.PredictionWebhook,
    records.WorkflowWebhook,
]
OTHER_STATUS = {
    records.Workflow,
    records.WorkflowSummary,
    records.WorkflowVersion,
    records.PublicWorkflow,
    records.CreatedPrediction,
    records.WebhookAttempt,
}
"""Whose status tells of something else than how a job goes: it must not be read as a state."""
CLASSES: list[Any] = [kind for kind in vars(records).values() if attrs.has(kind)]
IDS = {
    "id",
    "execution_id",
    "step_id",
    "name",
    "workflow_id",
    "version_id",
    "bulk_id",
    "slug",
    "exec_id",
    "predictionID",
}
ROW_FIELDS = {"executions", "items", "workflows", "webhooks"}
# What makes an upload or download one: without it the record says nothing. Files are made here, not by the wire.
LOAD_FIELDS = {"presigned_url", "public_url", "content_type", "size", "path"}
WHOLE_OF = {"Balance": {"balance_usd"}, "ModelSchema": {"document"}}
"""What the whole record is about: without it there is nothing to hold."""


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.PENDING, ["created", "queued", "starting"]),
        (State.RUNNING, ["running", "processing"]),
        (State.WAITING, ["awaiting_human_feedback"]),
        (State.SUCCEEDED, ["success", "succeeded", "completed"]),
        (State.FAILED, ["failed", "error"]),
        (State.CANCELLED, ["cancelled", "canceled", "stopped"]),
        (State.UNKNOWN, ["", "Success", "paused", "unknown"]),
    ],
)
def test_every_documented_word_has_its_state(state: State, words: list[str]) -> None:
    """Each service's word for a status has one state; any other word is unknown."""
    assert {read_state(word) for word in words} == {state}


@pytest.mark.parametrize(
    "status", ["queued", "running", "awaiting_human_feedback", "success", "error", "stopped", "paused"]
)
def test_only_an_end_is_finished(status: str) -> None:
    """A record is finished if it succeeded, failed or was cancelled; an unknown status may still change."""
    row = records.Execution(id="a", status=status)
    assert row.state is read_state(status)
    assert row.is_finished is (status in {"success", "error", "stopped"})


@pytest.mark.parametrize("kind", ROWS)
def test_every_row_with_a_status_reads_it(kind: Any) -> None:
    """All records with a status have `state` and `is_finished`."""
    names = {field.name for field in attrs.fields(kind)}
    own = next(name for name in ("step_id", "execution_id", "id", "exec_id", "predictionID") if name in names)
    row = kind(**{own: "a", "status": "completed"})
    assert (row.state, row.is_finished) == (State.SUCCEEDED, True)


def test_every_class_with_a_status_is_among_the_rows() -> None:
    """No record with a status lacks them."""
    with_status = {kind for kind in CLASSES if "status" in {field.name for field in attrs.fields(kind)}}
    assert with_status == {*ROWS, *OTHER_STATUS}
    assert not [kind for kind in OTHER_STATUS if hasattr(kind, "state")]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_record_is_frozen_slotted_and_keyword_only(kind: Any) -> None:
    """A record cannot be changed, has no `__dict__`, and takes keyword arguments only."""
    record = kind(**{field.name: "a" for field in attrs.fields(kind) if field.default is attrs.NOTHING})
    assert not hasattr(record, "__dict__")
    assert all(field.kw_only for field in attrs.fields(kind))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(record, attrs.fields(kind)[0].name, "b")
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("kind", CLASSES)
def test_only_the_own_id_the_status_and_the_rows_are_required(kind: Any) -> None:
    """Only an id, a status, and the rows of an envelope are required; every other field may be None."""
    required = {field.name for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    whole = LOAD_FIELDS if "load" in kind.__name__ else WHOLE_OF.get(kind.__name__, set())
    assert required <= IDS | {"status"} | ROW_FIELDS | whole
    assert all(field.default is None for field in attrs.fields(kind) if field.name not in required)


@pytest.mark.parametrize("kind", [records.FlowExecution, records.WorkflowExecutionSummary])
def test_what_is_sensitive_stays_out_of_the_repr(kind: Any) -> None:
    """The key and the address in a row can be read but are not in its repr."""
    row = kind(execution_id="a", status="running", api_key="s3cret-key")
    assert row.api_key == "s3cret-key"
    assert "s3cret" not in repr(row)
    flow = records.FlowExecution(execution_id="a", status="running", source_ip_address="203.0.113.7")
    assert "203.0.113" not in repr(flow)


def test_every_record_is_public_but_the_envelopes() -> None:
    """`__all__` leaves out only the envelopes around several rows, which have telling names."""
    records_found = {name for name, value in vars(records).items() if isinstance(value, type) and attrs.has(value)}
    envelopes = {name for name in records_found if name.endswith(("List", "Page", "Batch"))}
    assert records_found - envelopes == set(records.__all__) - {"State"}


def test_a_prediction_has_one_name_for_its_id() -> None:
    """The service calls it `predictionID` in a creation and `id` elsewhere; the records use `id`."""
    made = records.CreatedPrediction(predictionID="p", status="success")
    cancelled = records.CancelledPrediction(predictionID="p", status="cancelled")
    run = records.FinishedPrediction(predictionID="p", status="success")
    assert made.id == cancelled.id == run.id == records.Prediction(id="p", status="starting").id


def test_deliveries_of_one_event_have_one_key() -> None:
    """An event's key is derived from what ended and how, so a second delivery has the same key."""
    ended = records.WorkflowWebhook(execution_id="a", status="failed")
    assert ended.key == records.WorkflowWebhook(execution_id="a", status="failed", error="again").key
    assert ended.key != records.PredictionWebhook(exec_id="a", status="failed").key


def test_what_opens_an_upload_stays_out_of_the_repr() -> None:
    """No repr has the presigned URL, the headers of an upload, or the headers of a webhook."""
    upload = records.PresignedUpload(
        id="a", public_url="p", presigned_url="https://x/?s3cret", required_headers={"h": "s3cret"}
    )
    assert "s3cret" not in repr(upload) + repr(records.Webhook(headers={"X-Webhook-Secret": "s3cret"}))
