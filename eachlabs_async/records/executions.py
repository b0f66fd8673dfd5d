"""Owns what the api service says of model executions; refuses to know how it is read."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from ._result_urls import Output
from ._state import Stateful


@frozen(kw_only=True)
class Execution(Output, Stateful):
    """One model execution, a row of `GET /executions`; the cost is in USD and the run time in seconds."""

    id: str
    status: str
    model: str | None = None
    requested_model: str | None = None
    workflow_id: str | None = None
    workflow_execution_id: str | None = None
    execution_cost: float | None = None
    run_time: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: str | None = None


@frozen(kw_only=True)
class ExecutionList:
    """A page of `GET /executions`; the total is a lower bound unless `total_capped` is false."""

    executions: list[Execution] | None
    total_count: int | None = None
    total_capped: bool | None = None


@frozen(kw_only=True)
class ExecutionCursorPage:
    """A page of `GET /v2/executions`; rows go on while `has_more` is true, from `next_cursor` on."""

    executions: list[Execution] | None
    limit: int | None = None
    has_more: bool | None = None
    next_cursor: str | None = None
