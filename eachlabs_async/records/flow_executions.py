"""The records of flow executions, from the legacy flows service."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import field, frozen

from ._result_urls import OutputJsonUrls
from ._state import Stateful


@frozen(kw_only=True)
class FlowParameter:
    """One named input of a flow execution."""

    name: str
    value: Any = None


@frozen(kw_only=True)
class FlowStepResult(OutputJsonUrls, Stateful):
    """The result of one step of a flow execution."""

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
class FlowExecution(OutputJsonUrls, Stateful):
    """One execution of a flow (legacy), from `GET /{workflow_id}/executions/{execution_id}` or the bulk read."""

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
    """The response of `POST /{workflow_id}/executions/bulk`: the rows that were found, in any order."""

    executions: list[FlowExecution] | None
