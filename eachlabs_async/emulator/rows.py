"""The seeded rows of executions and runs: one function a kind builds a row from a random source and a time.

The rows have the documented shapes, with their peculiarities: missing fields, null fields, Go's zero times, times
without a zone.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from attrs import frozen

from .collection import Row

__all__ = [
    "ERROR_CLASSES",
    "OutcomeMix",
    "execution_row",
    "flow_execution_row",
    "seeded_id",
    "naive_iso",
    "run_row",
    "run_started",
    "workflow_execution_full",
    "workflow_execution_listed",
    "workflow_execution_row",
    "rfc3339",
]

ERROR_CLASSES: Final = (
    "content_moderation",
    "execution_timeout",
    "invalid_user_input",
    "invalid_model_config",
    "provider_auth",
    "provider_error",
    "provider_rate_limit",
    "provider_unavailable",
    "internal_error",
    "unknown",
)

_MODELS: Final = ("flux-1-1-pro", "nano-banana-pro", "kling-v2-1-master", "veo3-fast", "openai-chatgpt-5")
_ROUTER: Final = "eachlabs-llm-router"
_REQUESTED: Final = ("openai/gpt-4.1-mini", "anthropic/claude-sonnet-4.5")
_PROMPTS: Final = (
    "a lighthouse in fog",
    "çay in a tulip glass",
    "二つの月",
    "a rat in court",
    "red bicycle 🚲",
)
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"


@frozen(kw_only=True)
class OutcomeMix:
    """The shares (0..1) of rows that are unfinished, failed and cancelled; the rest succeeded.

    If the shares add up to more than 1, the first ones prevail.
    """

    unfinished: float = 0.05
    failed: float = 0.1
    cancelled: float = 0.02

    def __attrs_post_init__(self) -> None:
        shares = (self.unfinished, self.failed, self.cancelled)
        if min(shares) < 0 or max(shares) > 1:
            raise ValueError("unfinished, failed and cancelled must be 0..1")

    def pick(self, source: Random) -> str:
        """Draw `"unfinished"`, `"failed"`, `"cancelled"` or `"succeeded"`."""
        roll = source.random()
        for name in ("unfinished", "failed", "cancelled"):
            roll -= getattr(self, name)
            if roll < 0:
                return name
        return "succeeded"


def seeded_id(seed: int, kind: str, number: int) -> str:
    """Return the id of the `number`th thing of a kind, a UUID that depends on the arguments only.

    So a row can contain the id of another row that is not built yet.
    """
    digest = hashlib.blake2b(f"{seed}/{kind}/{number}".encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def rfc3339(time: datetime) -> str:
    """Return a time in RFC 3339 as Go writes it: without trailing zeros or an empty fraction."""
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def naive_iso(time: datetime) -> str:
    """Return a time as the runs service writes it: without a zone."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat()


def _later(time: datetime, seconds: float) -> datetime:
    return time + timedelta(milliseconds=round(seconds * 1000))


def execution_row(
    source: Random, mix: OutcomeMix, row_id: str, created: datetime, workflow: tuple[str, str] | None
) -> Row:
    """Return a row of the listings of executions. `workflow` is the id of the workflow and of its execution."""
    outcome = mix.pick(source)
    status = {"failed": "error", "cancelled": "cancelled", "succeeded": "success"}.get(outcome) or source.choice(
        ("created", "starting")
    )
    run_time = round(source.uniform(0.4, 90.0), 3)
    done = outcome != "unfinished"
    routed = source.random() < 0.1
    started = _later(created, 0.25)
    return {
        "id": row_id,
        "model": _ROUTER if routed else source.choice(_MODELS),
        "requested_model": source.choice(_REQUESTED) if routed else None,
        "status": status,
        "workflow_id": workflow[0] if workflow else None,
        "workflow_execution_id": workflow[1] if workflow else None,
        "execution_cost": round(run_time * 0.0011, 6) if outcome == "succeeded" else 0,
        "run_time": run_time if done else 0,
        "created_at": rfc3339(created),
        "started_at": None if status == "created" else rfc3339(started),
        "completed_at": rfc3339(_later(started, run_time)) if done else None,
        "output": f"https://storage.example.com/{row_id}/image.png" if outcome == "succeeded" else None,
        "_error_classification": source.choice(ERROR_CLASSES) if outcome == "failed" else None,
    }


def _steps(source: Random, outcome: str, started: datetime, prompt: str) -> tuple[Row, datetime]:
    steps: Row = {}
    time = started
    statuses = {"unfinished": "running", "failed": "failed", "cancelled": "cancelled", "succeeded": "completed"}
    for number in (1, 2):
        last = number == 2
        status = statuses[outcome] if last else "completed"
        name = f"step{number}"
        model = source.choice(_MODELS)
        step: Row = {"step_id": name, "status": status, "started_at": rfc3339(time)}
        time = _later(time, source.uniform(0.5, 60.0))
        if status != "running":
            step["completed_at"] = rfc3339(time)
        if status == "completed":
            link = f"https://storage.example.com/{source.getrandbits(48):012x}.png"
            step["output"] = [link, link.replace(".png", "-2.png")] if last else f"Once upon a time, {prompt}"
            step["primary"] = link if last else step["output"]
        if status == "failed":
            step["error"] = "ModelTimeout"
            step["error_cause"] = "Model request timed out after 30 seconds"
        step["metadata"] = {"model": model, "version": "0.0.1", "params": {"prompt": prompt, "num_images": 2}}
        steps[name] = step
    return steps, time


def workflow_execution_row(
    source: Random,
    mix: OutcomeMix,
    row_id: str,
    created: datetime,
    workflow: Row,
    bulk_id: str | None,
) -> Row:
    """Return a workflow execution with the fields of both the listing and the get."""
    outcome = mix.pick(source)
    prompt = source.choice(_PROMPTS)
    started = _later(created, 0.125)
    steps, ended = _steps(source, outcome, started, prompt)
    statuses = {"unfinished": "running", "failed": "failed", "cancelled": "cancelled", "succeeded": "completed"}
    cost = round(source.uniform(0.001, 0.4), 6)
    row: Row = {
        "execution_id": row_id,
        "workflow_id": workflow["id"],
        "flow_name": workflow["name"],
        "version_id": "v1",
        "status": statuses[outcome],
        "started_at": rfc3339(started),
        "created_at": rfc3339(created),
        "updated_at": rfc3339(ended),
        "api_key": "user-456",
        "inputs": {"prompt": prompt, "num_images": 2},
        "step_outputs": steps,
        # Documented as an object keyed by step or as an array; both occur.
        "step_results": {"step1": {"status": "completed"}} if source.random() < 0.5 else [{"step_id": "step1"}],
        "dry_run": False,
    }
    if bulk_id is not None:
        row["bulk_id"] = bulk_id
    if outcome == "unfinished":
        return row
    row["completed_at"] = rfc3339(ended)
    row["total_cost"] = cost
    row["cost"] = {"total": cost} if source.random() < 0.5 else cost
    if outcome == "succeeded":
        row["output"] = steps["step2"]["output"]
        row["output_json"] = row["workflow_output"] = {"image": steps["step2"]["primary"]}
    if outcome == "failed":
        row["error"] = "ExecutionFailed"
        row["error_cause"] = "Step 'step2' failed: Model timeout after 30s"
    return row


_LISTED_ONLY: Final = frozenset(
    {"flow_name", "created_at", "updated_at", "deleted_at", "api_key", "step_results", "output_json", "cost"}
    | {"dry_run"}
)
_FULL_ONLY: Final = frozenset({"bulk_id", "step_outputs", "workflow_output", "error", "error_cause", "total_cost"})
_RENAMED: Final = {"workflow_id": "flow_id", "completed_at": "ended_at"}


def workflow_execution_full(row: Row) -> Row:
    """Return a workflow execution as its own get shows it."""
    return {name: value for name, value in row.items() if name not in _LISTED_ONLY and name[:1] != "_"}


def workflow_execution_listed(row: Row) -> Row:
    """Return a workflow execution as listed for its workflow: with other names, and the output as one string."""
    line: Row = {}
    for name, value in row.items():
        if name in _FULL_ONLY or name[:1] == "_":
            continue
        line[_RENAMED.get(name, name)] = _one_string(value) if name == "output" else value
    return line


def _one_string(output: Any) -> Any:
    if output is None or isinstance(output, str):
        return output
    if isinstance(output, list) and output and isinstance(output[0], str):
        return output[0]
    return json.dumps(output)


def flow_execution_row(source: Random, mix: OutcomeMix, row_id: str, created: datetime, workflow: Row) -> Row:
    """Return a row of the legacy flows service, which writes an unset time as `""` or as Go's year 1."""
    outcome = mix.pick(source)
    statuses = {"unfinished": "running", "failed": "failed", "cancelled": "cancelled", "succeeded": "succeeded"}
    prompt = source.choice(_PROMPTS)
    started = _later(created, 1)
    done = outcome != "unfinished"
    ended = rfc3339(_later(started, source.uniform(1, 60))) if done else source.choice(("", _ZERO_TIME))
    output = f"https://storage.example.com/{row_id}.png" if outcome == "succeeded" else ""
    step: Row = {
        "step_id": "step1",
        "step_name": "generate",
        "model": source.choice(_MODELS),
        "version": "0.0.1",
        "started_at": rfc3339(started),
        "ended_at": ended,
        "status": statuses[outcome],
        "output": output,
        "output_json": {"image": output} if output else {},
        "input": {"prompt": prompt},
    }
    return {
        "flow_id": workflow["id"],
        "flow_name": workflow["name"],
        "average_percent": 100 if done else round(source.uniform(0, 99), 1),
        "organization_id": "org-1",
        "api_key": f"legacy-secret-{source.getrandbits(32):08x}",
        "execution_id": row_id,
        "source_ip_address": f"203.0.113.{source.randrange(1, 255)}",
        "parameters": [{"name": "prompt", "value": prompt}],
        "step_results": [step],
        "status": statuses[outcome],
        "output": output,
        "output_json": {"image": output} if output else {},
        "created_at": rfc3339(created),
        "started_at": rfc3339(started),
        "ended_at": ended,
        "updated_at": ended or rfc3339(started),
        "deleted_at": source.choice(("", _ZERO_TIME)),
    }


def run_row(source: Random, mix: OutcomeMix, row_id: str, created: datetime, workflow: Row) -> Row:
    """Return a run of the runs service, whose times are in UTC but have no zone."""
    outcome = mix.pick(source)
    statuses = {"failed": "failed", "cancelled": "stopped", "succeeded": "completed"}
    status = statuses.get(outcome) or source.choice(("queued", "running", "awaiting_human_feedback"))
    done = outcome != "unfinished"
    node = f"node-{source.getrandbits(24):06x}"
    flow: Row = {
        "id": workflow["id"],
        "group_id": workflow["group_id"],
        "name": workflow["name"],
        "type": "flow",
        "definition": {"nodes": [{"id": node}], "edges": []},
        "last_updated_at": naive_iso(created - timedelta(days=2)),
        "last_run_at": naive_iso(created),
        "created_at": naive_iso(created - timedelta(days=30)),
        "deleted_at": None,
        "runs_count": 12,
        "author_name": "Ada",
        "description": "",
        "saved": True,
        "error_handler": None,
    }
    row: Row = {
        "id": row_id,
        "group_id": workflow["group_id"],
        "workflow_id": workflow["id"],
        "workflow_version_id": source.choice((None, str(uuid.UUID(int=source.getrandbits(128), version=4)))),
        "input": {"text": source.choice(_PROMPTS)} if source.random() < 0.9 else None,
        "node_ids": source.choice((None, [node], {node: {"it": 0}})),
        "single_node_id": node if source.random() < 0.2 else None,
        "status": status,
        "progress": 100 if outcome == "succeeded" else source.randrange(100),
        "definitions": {},
        "created_at": naive_iso(created),
        "finished_at": naive_iso(_later(created, source.uniform(1, 300))) if done else None,
        "workflow": flow if source.random() < 0.8 else None,
        "source": source.choice(("api", "app", "schedule")),
    }
    if outcome == "succeeded":
        row["output"] = {"text": "done"}
    if source.random() < 0.5:
        row["meta"] = {"attempt": 1}
        row["progress_details"] = {node: row["progress"]}
    return row


def run_started(row_id: str, created: datetime, workflow_id: str, asked: Row) -> Row:
    """Return a run that was just started, from the body of the request."""
    return {
        "id": row_id,
        "group_id": None,
        "workflow_id": workflow_id,
        "workflow_version_id": asked.get("workflow_version_id"),
        "input": asked.get("input"),
        "output": None,
        "node_ids": asked.get("node_ids"),
        "single_node_id": asked.get("single_node_id"),
        "status": "queued",
        "progress": 0,
        "progress_details": None,
        "definitions": {},
        "created_at": naive_iso(created),
        "finished_at": None,
        "workflow": None,
        "source": "api",
    }
