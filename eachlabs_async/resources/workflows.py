"""The workflows of the organisation. A trigger is billed, so it is sent once: see `jobs.create`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from typing import Any, Final, Literal, Unpack

from ..bulk.outcomes import MapStats
from ..errors import ExecutionFailedError, ResponseDecodeError
from ..jobs.budget import checked_budget
from ..jobs.create import checked_id, create
from ..jobs.ledger import Ledger
from ..jobs.lookup import WorkflowLookup
from ..jobs.map_inputs import map_inputs
from ..jobs.map_options import DEFAULT_LEAVE_S, MapOptions
from ..jobs.map_run import MapRun
from ..jobs.matching import Candidate
from ..jobs.workflow_backend import WorkflowBackend
from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions
from ..records import (
    BulkTriggered,
    BulkTriggeredExecution,
    State,
    TriggeredExecution,
    Workflow,
    WorkflowExecution,
    WorkflowSummary,
    WorkflowVersion,
)
from ..transport import requests
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import GET_WORKFLOW, LIST_WORKFLOWS, RENAME_WORKFLOW
from ..transport.guidance import NamesGuide
from ..transport.redaction import line
from ..transport.transport import Transport

SORT_KEYS: Final = ("name", "created_at", "updated_at", "trigger_count", "status")


class Workflows(NamesGuide):
    """The workflows of the organisation."""

    __slots__ = ("_ledger", "_transport")

    def __init__(self, transport: Transport, ledger: Ledger) -> None:
        self._transport = transport
        self._ledger = ledger

    def list(
        self,
        *,
        category: str | None = None,
        keyword: str | None = None,
        sort_key: Literal["name", "created_at", "updated_at", "trigger_count", "status"] | None = None,
        sort_direction: Literal["asc", "desc"] | None = None,
        node_based: bool | None = None,
        limit: int = 100,
        offset: int = 0,
        **walk: Unpack[WalkOptions],
    ) -> Pager[WorkflowSummary]:
        """Walk all workflows, newest first; `limit` is the page size, `max_rows` the total.

        Source: `GET /workflows`, unified edition only. `category`, a slug, and `keyword`, text in the name, narrow the
        listing; so does `node_based`, which keeps the workflows that run as a node graph, or the others. `sort_key` and
        `sort_direction` are given together. `limit` is the number of rows per request, 1 to 100. `offset` is the number
        of rows to skip, from 0. `walk` takes the options of `WalkOptions`, `max_rows` among them.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse. The walk raises
        `EachLabsError`.
        """
        if sort_key not in (None, *SORT_KEYS):
            raise ValueError(f"sort_key must be one of {', '.join(SORT_KEYS)}, not {sort_key!r}")
        if sort_direction not in (None, "asc", "desc"):
            raise ValueError(f"sort_direction must be 'asc' or 'desc', not {sort_direction!r}")
        if (sort_key is None) != (sort_direction is None):
            raise ValueError("sort_key and sort_direction must be given together: the service ignores one alone")
        if node_based is not None and not isinstance(node_based, bool):
            raise TypeError(f"node_based must be a bool, not {type(node_based).__name__}")
        return Pager(
            self._transport,
            LIST_WORKFLOWS,
            LIST_WORKFLOWS.expand(self._transport.edition),
            {
                "category": checked_text("category", category),
                "keyword": checked_text("keyword", keyword),
                "sort_key": sort_key,
                "sort_direction": sort_direction,
                "node_based": node_based,
            },
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, workflow_id: str) -> Workflow:
        """Return one workflow with its versions, by UUID or slug (`GET /workflows/{workflowID}`).

        Raises `NotFoundError` for an unknown workflow, and the other errors of a call.
        """
        return await self._transport.request(GET_WORKFLOW, Workflow, workflow_id=workflow_id)

    async def create(
        self, name: str, definition: Mapping[str, Any] | None = None, *, description: str | None = None
    ) -> Workflow:
        """Create a workflow and return it (`POST /workflows`).

        `definition` holds the steps, the input schema and the metadata; the compat edition requires it. `description`
        is part of the compat edition only.

        The request is sent once. Raises `OutcomeUnknownError` if no clear answer came, and the other errors of a call.
        """
        prepared = requests.new_workflow(self._transport.edition, name, definition, description)
        return await create(self._transport, self._ledger, prepared, Workflow, ids_of=lambda answer: [])

    async def rename(self, workflow_id: str, name: str) -> Workflow:
        """Rename a workflow and return it (`PUT /workflows/{workflowID}`). Its slug changes with its name.

        Raises `ConflictError` if another workflow has the slug, `PermissionDeniedError` if the workflow is locked, and
        the other errors of a call.
        """
        path = RENAME_WORKFLOW.expand(self._transport.edition, workflow_id=workflow_id)
        if checked_text("name", name) is None:
            raise TypeError("name must be a str, not NoneType")
        body = requests.encoded("name", {"name": name})
        return await self._transport.get(self._transport.call(RENAME_WORKFLOW, path, body=body), Workflow)

    async def put_version(
        self,
        workflow_id: str,
        version_id: str,
        definition: Mapping[str, Any] | None = None,
        *,
        output_mapping: Mapping[str, str] | None = None,
        published: bool | None = None,
        locked: bool | None = None,
        production: bool | None = None,
        allowed_to_share: bool | None = None,
    ) -> WorkflowVersion:
        """Create or change a version of a workflow (`PUT /workflows/{workflowID}/versions/{versionID}`); returns it.

        Arguments that are None leave the version as it is. A new version needs a `definition`, and in the compat
        edition every call does. `output_mapping` (empty to clear it), `published` and `allowed_to_share` are part of
        the unified edition only.

        Raises `PermissionDeniedError` if the version is locked, and the other errors of a call.
        """
        flags = {
            "published": published,
            "locked": locked,
            "production": production,
            "allowed_to_share": allowed_to_share,
        }
        prepared = requests.version(self._transport.edition, workflow_id, version_id, definition, output_mapping, flags)
        call = self._transport.call(prepared.endpoint, prepared.path, body=prepared.body)
        return await self._transport.get(call, WorkflowVersion)

    async def trigger(
        self,
        workflow_id: str,
        version_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        reconcile: bool = False,
    ) -> TriggeredExecution:
        """Start one execution of a workflow (`POST /workflows/trigger/{workflowID}/{versionID}`) and return its id.

        `version_id` may be left out in the compat edition, which then runs the latest version. The service posts the
        result to `webhook_url`, an absolute http(s) URL, and sends `webhook_secret` with each delivery in the header
        `X-Webhook-Secret`; the secret is part of the unified edition only.

        The request is sent once. If no clear answer came, it raises `OutcomeUnknownError`. With `reconcile`, the
        listing of the workflow's executions is first searched for one with these inputs that was created during the
        call, which no other input of this client could own: if it is the only one and stays so for two seconds, it is
        the result, otherwise the error has `candidates`. The inputs are compared as JSON; defaults that the service
        adds are known from earlier executions of this client. Another client's equal inputs at the same moment cannot
        be told apart. A look-up reads at most 1,000 rows, up to six times, and 200 executions.

        Raises `ExecutionFailedError` if the service accepts the trigger but refuses the inputs (compat edition; the
        unified edition answers with a 400), and the other errors of a call.
        """
        prepared = requests.trigger(
            self._transport.edition, workflow_id, version_id, inputs, webhook_url, webhook_secret
        )
        del webhook_secret  # A traceback shows the locals of this frame.
        answer = await create(
            self._transport,
            self._ledger,
            prepared,
            BulkTriggeredExecution,
            ids_of=_one_id,
            lookup=WorkflowLookup(self._transport, self._ledger, workflow_id, version_id),
            answer_of=_one_execution if reconcile else None,
        )
        return _triggered(answer, self._transport.session.secrets)

    async def bulk_trigger(
        self,
        workflow_id: str,
        version_id: str | None,
        inputs: Sequence[Mapping[str, Any]],
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        reconcile: bool = False,
    ) -> BulkTriggered:
        """Start 1 to 10 executions of a workflow with one request, and return an entry for each input, in order.

        Source: `POST /workflows/bulk-trigger/{workflowID}/{versionID}`. An entry is queued, with an `execution_id`, or
        failed, with a `message`. With None as `version_id` the compat edition runs the latest version. The other
        arguments and the errors are those of `trigger`. With `reconcile`, exactly one bulk trigger must be found, with
        an execution for every input: one with refused inputs looks the same as one with rows that are still missing.
        """
        prepared = requests.bulk_trigger(
            self._transport.edition, workflow_id, version_id, inputs, webhook_url, webhook_secret
        )
        del webhook_secret

        def all_ids(answer: BulkTriggered) -> builtins.list[str | None]:
            if len(answer.executions) != len(inputs):
                raise ResponseDecodeError(
                    f"the answer has {len(answer.executions)} entries for {len(inputs)} inputs", path="$.executions"
                )
            return [entry.execution_id or None for entry in answer.executions]

        return await create(
            self._transport,
            self._ledger,
            prepared,
            BulkTriggered,
            ids_of=all_ids,
            bulk=True,
            lookup=WorkflowLookup(self._transport, self._ledger, workflow_id, version_id, in_full=True),
            answer_of=_one_bulk if reconcile else None,
        )

    def map(
        self,
        workflow_id: str,
        version_id: str,
        inputs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        concurrency: int = 64,
        window: int | None = None,
        ordered: bool = False,
        journal: str | PathLike[str] | None = None,
        acknowledge: bool = False,
        retry_unknown: bool = False,
        timeout_s: float | None = None,
        leave_s: float = DEFAULT_LEAVE_S,
        budget_usd: float | Decimal | None = None,
        on_progress: Callable[[MapStats], object] | None = None,
    ) -> MapRun[WorkflowExecution]:
        """Run any number of inputs through one version of a workflow; yields an outcome for each, as they finish.

        Sources: `POST /workflows/bulk-trigger/{workflowID}/{versionID}` with up to ten inputs each, the listing of the
        workflow's executions, and `GET /executions/{executionID}` once for each. A refused batch is halved until the
        input at fault is alone. `Outcome.index` is the index of the input, `Outcome.value` its execution; an execution
        that failed is an outcome with an `ExecutionFailedError`.

        With `ordered` the outcomes come in the order of the inputs. Inputs are read lazily: at most `window` of them,
        from 10, are read and not yet delivered; None for four times `concurrency`. `concurrency`, from 1, is the
        largest number of executions at once. The account's own limit is learned from 429 responses and remembered by
        the client. `on_progress` is called with the statistics after each outcome. The webhook arguments are those of
        `trigger`.

        No input is executed twice. If no clear answer came, the workflow's listing is searched for the executions, as
        by `trigger`; an input without one is an outcome with an `OutcomeUnknownError`. An input is copied when it is
        read, and is a failed outcome if JSON cannot represent it. The inputs of each finished execution are compared
        with it: an execution with other inputs is not its outcome, and its own is searched for. `journal`, the path of
        an SQLite file, extends this guarantee across restarts: the intent to send is on disk before anything is sent,
        and a job that was killed and is restarted with the same inputs continues where it was, without the outcomes
        that it delivered. An outcome is delivered when the next one is asked for, or with `acknowledge` when
        `await outcome.acknowledge()` returns: each then comes at least once. The journal is bound to this job, account
        and service. With `retry_unknown` the inputs to which an earlier run gave an `OutcomeUnknownError` are searched
        for again.

        Running executions reserve their estimated cost. After a 402 while executions of this client run, sending
        resumes when one of them has ended; a 429 that calls for a pause is waited out, see
        `RetryPolicy.creating_pause_s`. A 402 while nothing runs, and other refusals that every input would meet, stop
        the sending; the running executions are waited for and delivered before the error is raised. An execution that
        runs for longer than `timeout_s` seconds (None: no limit) is an outcome with a `WaitTimeoutError`. Leaving the
        block early sends nothing more and takes 2 seconds and at most `leave_s` more (from 0): requests under way are
        awaited, so that the ids of what they create are known, and a warning names what still runs. The API has no call
        that cancels an execution of a workflow.

        `budget_usd` stops the sending once what was spent, plus what runs at the mean cost so far, reaches it. What
        runs is waited for, and each input that was not sent is an outcome with a `BudgetReachedError`. So the budget is
        exceeded by no more than the executions that ran at once. Until a cost is known, no more run at once than have
        ended, or one. Only what this map runs or resumes counts. With a journal, a later run sends the rest.

        Raises `ValueError` or `TypeError` at once for an argument that cannot be right, and `JournalError`, when the
        iteration starts, for a journal that cannot be used: of another job or account, open elsewhere, or unwritable.
        """
        if checked_text("version_id", version_id) is None:
            raise TypeError("version_id must be a str, not NoneType: pass the version that all inputs are to run with")
        backend = WorkflowBackend(self._transport, self._ledger, workflow_id, version_id, webhook_url, webhook_secret)
        return map_inputs(
            backend,
            self._ledger,
            inputs,
            concurrency=concurrency,
            window=window,
            ordered=ordered,
            journal=journal,
            on_progress=on_progress,
            options=MapOptions(
                acknowledge=acknowledge,
                retry_unknown=retry_unknown,
                timeout_s=timeout_s,
                leave_s=leave_s,
                budget_usd=checked_budget(budget_usd),
            ),
        )


def _one_id(answer: BulkTriggeredExecution) -> list[str | None]:
    if answer.execution_id:
        return [answer.execution_id]
    if answer.state is State.FAILED:
        return []
    return [checked_id(None, "$.execution_id")]


def _one_execution(candidates: list[Candidate]) -> BulkTriggeredExecution:
    return _entry(candidates[0])


def _entry(one: Candidate) -> BulkTriggeredExecution:
    return BulkTriggeredExecution(execution_id=one.id, status=one.status, started_at=one.started_at)


def _triggered(answer: BulkTriggeredExecution, secrets: Collection[str]) -> TriggeredExecution:
    """Return the queued execution. The compat edition may accept a trigger and refuse its inputs."""
    if not answer.execution_id:
        reason = answer.message and line(answer.message, secrets)
        raise ExecutionFailedError(f"the workflow was not triggered: {reason or 'no reason was given'}", error=reason)
    return TriggeredExecution(execution_id=answer.execution_id, status=answer.status, started_at=answer.started_at)


def _one_bulk(members: list[Candidate]) -> BulkTriggered | None:
    """Return the answer of the bulk trigger that has these members, one for each input, if it is a single one."""
    (bulk_id, *others) = {one.bulk_id for one in members}
    if others or bulk_id is None:
        return None
    return BulkTriggered(bulk_id=bulk_id, executions=[_entry(one) for one in members])
