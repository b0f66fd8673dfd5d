"""Owns every endpoint as a row of data; refuses to act: nothing here sends, decodes or pages.

A new endpoint starts here: a row, then its record, its method, its route in the emulator and its sample. A test
fails while one of them is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import field, frozen

from . import records
from ._paging import PageShape
from ._wire import segment
from .errors import ConfigurationError
from .hosts import Edition, ServiceName

Method = Literal["GET", "POST", "PUT", "DELETE"]


@frozen(kw_only=True)
class Endpoint:
    """One call of the API.

    `paths` holds the path template of each edition that has the call. `answer` is the record that a success
    decodes into. `repeatable` is True where sending twice does no harm, so that a failed try may be sent again.
    """

    name: str
    service: ServiceName
    method: Method
    compat: str | None
    unified: str | None
    answer: Any
    repeatable: bool = True
    page: PageShape | None = field(default=None)

    def path(self, edition: Edition) -> str | None:
        """Give the path template of `edition`, None where that edition lacks the call."""
        return self.compat if edition == "compat" else self.unified

    def template(self, edition: Edition) -> str:
        """Give the path template of `edition`; a `ConfigurationError` where that edition lacks the call."""
        path = self.path(edition)
        if path is None:
            raise ConfigurationError(f"{self.name} is not part of the {edition} edition: choose other hosts")
        return path

    def expand(self, edition: Edition, **arguments: object) -> str:
        """Give the path in `edition` with each argument as one encoded segment."""
        return self.template(edition).format(**{name: segment(name, value) for name, value in arguments.items()})


LIST_EXECUTIONS: Final = Endpoint(
    name="executions.list",
    service="api",
    method="GET",
    compat="/executions",
    unified="/executions",
    answer=records.ExecutionList,
    page=PageShape(
        dialect="offset",
        rows="executions",
        identity="id",
        total="total_count",
        capped="total_capped",
        words={"since": "from", "until": "to"},
    ),
)
LIST_WORKFLOW_EXECUTIONS: Final = Endpoint(
    name="workflow_executions.list",
    service="workflows",
    method="GET",
    compat="/workflows/{workflow_id}/executions",
    unified="/workflows/{workflow_id}/executions",
    answer=records.WorkflowExecutionList,
    page=PageShape(dialect="offset", rows="executions", identity="execution_id", total="total_count"),
)
GET_WORKFLOW_EXECUTION: Final = Endpoint(
    name="workflow_executions.get",
    service="workflows",
    method="GET",
    compat="/executions/{execution_id}",
    unified="/workflows/executions/{execution_id}",
    answer=records.WorkflowExecution,
)
GET_FLOW_EXECUTION: Final = Endpoint(
    name="flow_executions.get",
    service="flows",
    method="GET",
    compat="/{workflow_id}/executions/{execution_id}",
    unified="/{workflow_id}/executions/{execution_id}",
    answer=records.FlowExecution,
)
GET_FLOW_EXECUTIONS: Final = Endpoint(
    name="flow_executions.get_many",
    service="flows",
    method="POST",
    compat="/{workflow_id}/executions/bulk",
    unified="/{workflow_id}/executions/bulk",
    answer=records.FlowExecutionBatch,
    # A POST that only reads: the ids travel in the body because there are many of them.
    repeatable=True,
)
LIST_RUNS: Final = Endpoint(
    name="runs.list",
    service="runs",
    method="GET",
    compat="/runs",
    unified="/runs",
    answer=records.RunPage,
    page=PageShape(dialect="page", rows="items", identity="id", total="total", size="size"),
)
GET_RUN: Final = Endpoint(
    name="runs.get",
    service="runs",
    method="GET",
    compat="/runs/{run_id}",
    unified="/runs/{run_id}",
    answer=records.Run,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    LIST_EXECUTIONS,
    LIST_WORKFLOW_EXECUTIONS,
    GET_WORKFLOW_EXECUTION,
    GET_FLOW_EXECUTION,
    GET_FLOW_EXECUTIONS,
    LIST_RUNS,
    GET_RUN,
)
