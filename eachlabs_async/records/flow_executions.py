"""Owns what the legacy flows service says; refuses to know how it is read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import field, frozen

from ._result_urls import BothOutputs
from ._state import Stateful


@frozen(kw_only=True)
class FlowParameter:
    """One named input of a flow execution."""

    name: str
    value: Any = None


@frozen(kw_only=True)
class FlowStepResult(BothOutputs, Stateful):
    """What one step of a flow execution did."""

    step_id: str
    status: str
    step_name: str | None = None
    model: str | None = None
    version: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    output: Any = None
    output_json: dict[str, Any] | None = None
    input: Any = None


@frozen(kw_only=True)
class FlowExecution(BothOutputs, Stateful):
    """One run of a flow (legacy): `GET /{workflow_id}/executions/{execution_id}`, or a row of the bulk."""

    execution_id: str
    status: str
    flow_id: str | None = None
    flow_name: str | None = None
    average_percent: float | None = None
    organization_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    source_ip_address: str | None = field(default=None, repr=False)
    parameters: list[FlowParameter] | None = None
    step_results: list[FlowStepResult] | None = None
    output: Any = None
    output_json: dict[str, Any] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


@frozen(kw_only=True)
class FlowExecutionBatch:
    """The answer of `POST /{workflow_id}/executions/bulk`: the rows that were found, in any order."""

    executions: list[FlowExecution] | None
