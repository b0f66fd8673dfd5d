"""The records of model executions."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen

from ._field_metadata import COST
from ._result_urls import OutputUrls
from ._state import Stateful


@frozen(kw_only=True)
class Execution(OutputUrls, Stateful):
    """One model execution, a row of `GET /executions`. `execution_cost` is in USD, `run_time` in seconds."""

    id: str
    status: str
    model: str | None = None
    requested_model: str | None = None
    workflow_id: str | None = None
    workflow_execution_id: str | None = None
    execution_cost: float | None = field(default=None, metadata=COST)
    run_time: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: str | None = None


@frozen(kw_only=True)
class ExecutionList:
    """A page of `GET /executions`. The total is a lower bound unless `total_capped` is false."""

    executions: list[Execution] | None
    total_count: int | None = None
    total_capped: bool | None = None


@frozen(kw_only=True)
class ExecutionCursorPage:
    """A page of `GET /v2/executions`. While `has_more` is true, `next_cursor` leads to the next page."""

    executions: list[Execution] | None
    limit: int | None = None
    has_more: bool | None = None
    next_cursor: str | None = None
