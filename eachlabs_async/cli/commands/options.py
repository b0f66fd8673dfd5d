"""The options that several commands share, each written once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

Injected = Annotated[Any, Parameter(parse=False)]
"""The `Context`, which the command line gives to each command."""

Ids = Annotated[list[str], Parameter(help="Ids; - reads them from standard input, @FILE from a file.")]
Skip = Annotated[
    int, Parameter(help="Leave out the first so many ids, as a command that goes on does.", show_default=False)
]
Limit = Annotated[
    int | Literal["all"] | None,
    Parameter(help="Rows in total. Default: all; 50 in a table on a terminal.", show_choices=False),
]
Resume = Annotated[str | None, Parameter(help="Go on at a checkpoint that an earlier command printed.")]
Model = Annotated[str | None, Parameter(help="Only this model.")]
Status = Annotated[
    list[str] | None, Parameter(help="Only these: created, starting, success, error, or a state such as failed.")
]
WorkflowId = Annotated[str | None, Parameter(help="Only this workflow.")]
WorkflowExecutionId = Annotated[str | None, Parameter(help="Only this execution of a workflow.")]
ErrorClassification = Annotated[
    list[str] | None, Parameter(help="Only these classes of errors, such as provider_error.")
]
Since = Annotated[str | None, Parameter(help="Created since: 30d, 12h, yesterday, 2026-09-01. Default: 90 days ago.")]
Until = Annotated[str | None, Parameter(help="Created before this time. Default: now.")]
Every = Annotated[str, Parameter(help="How often to ask: 5s, 1min.")]
Inputs = Annotated[list[str] | None, Parameter(help="NAME=VALUE, or NAME=@FILE for a file.")]
MapInputs = Annotated[str, Parameter(name="INPUTS", help="A .jsonl or .csv file with an input in each row, or -.")]
InputFormat = Annotated[
    Literal["jsonl", "csv"] | None, Parameter(help="Default: by the name of the file; jsonl for standard input.")
]
Journal = Annotated[
    str | None, Parameter(help="An SQLite file that knows what was done, so that the same command goes on.")
]
BudgetUsd = Annotated[str | None, Parameter(help="Start nothing more once this much is spent or may be.")]
Concurrency = Annotated[int, Parameter(help="Executions at once, as far as the account allows.")]
RetryUnknown = Annotated[
    bool,
    Parameter(help="Look again for inputs whose outcome an earlier run did not find out.", show_default=False),
]
TimeoutS = Annotated[float | None, Parameter(help="Seconds until an execution is given up. Default: never.")]
VersionId = Annotated[str | None, Parameter(help="Default: the production version, else the latest.")]
