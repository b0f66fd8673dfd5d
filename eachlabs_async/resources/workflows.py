"""Owns the calls about workflows: reading, making, triggering; refuses paging, bodies and looking for a lost one.

What a trigger creates is billed, so it is sent once: `create` sees to that.
"""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Final, Literal, Unpack

from ..bulk.outcomes import MapStats
from ..errors import ExecutionFailedError, ResponseDecodeError
from ..jobs.create import Candidate, LookupScope, assigned, create
from ..jobs.map_factory import map_workflow
from ..jobs.map_run import MapRun
from ..pagination.pager import Pager, WalkOptions
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
from ..transport import requests as _requests
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import GET_WORKFLOW, LIST_WORKFLOWS, RENAME_WORKFLOW
from ..transport.transport import Transport

SORT_KEYS: Final = ("name", "created_at", "updated_at", "trigger_count", "status")


class Workflows:
    """The workflows of the organisation."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

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
        """Walk workflows, newest first (`GET /workflows`); unified edition only.

        `category` is a slug, `keyword` text in the name. `sort_key` and `sort_direction` go together. `node_based`
        keeps those that run as a node graph, or the others. `limit` is rows a request, 1 to 100; `offset` rows to
        skip, from 0. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
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
            LIST_WORKFLOWS.expand(self._transport.session.hosts.edition),
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
        """Get one workflow with its versions by UUID or slug (`GET /workflows/{workflowID}`).

        Raises `NotFoundError` for an unknown one, and the other errors of a call.
        """
        path = GET_WORKFLOW.expand(self._transport.session.hosts.edition, workflow_id=workflow_id)
        return await self._transport.get(self._transport.call(GET_WORKFLOW, path), Workflow)

    async def create(
        self, name: str, definition: Mapping[str, Any] | None = None, *, description: str | None = None
    ) -> Workflow:
        """Create a workflow (`POST /workflows`); it is sent once, see `OutcomeUnknownError`.

        `definition` holds steps, input schema and metadata; the compat edition demands one. `description` is part of
        the compat edition only.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.new_workflow(edition, name, definition, description)
        return await create(
            prepared,
            Workflow,
            LookupScope(transport=self._transport),
            ids=lambda answer: [],
            found=lambda seen: None,
            reconcile=False,
        )

    async def rename(self, workflow_id: str, name: str) -> Workflow:
        """Rename a workflow (`PUT /workflows/{workflowID}`); its slug changes with its name.

        Raises `ConflictError` where another workflow has the slug, `PermissionDeniedError` where it is locked.
        """
        path = RENAME_WORKFLOW.expand(self._transport.session.hosts.edition, workflow_id=workflow_id)
        if checked_text("name", name) is None:
            raise TypeError("name must be a str, not NoneType")
        body = _requests.encoded("name", {"name": name})
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
        """Create a version of a workflow, or change it (`PUT /workflows/{workflowID}/versions/{versionID}`).

        What is None stays as it is; a new version needs a `definition`, and the compat edition always does.
        `output_mapping` (empty to clear it), `published` and `allowed_to_share` are part of the unified edition only.

        Raises `PermissionDeniedError` where the version is locked, and the other errors of a call.
        """
        flags = {
            "published": published,
            "locked": locked,
            "production": production,
            "allowed_to_share": allowed_to_share,
        }
        edition = self._transport.session.hosts.edition
        prepared = _requests.version(edition, workflow_id, version_id, definition, output_mapping, flags)
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
        """Start one execution of a workflow (`POST /workflows/trigger/{workflowID}/{versionID}`).

        `version_id` may be left out in the compat edition, which then takes the latest. `webhook_secret` comes back in
        the header `X-Webhook-Secret` of each delivery to `webhook_url`; it is part of the unified edition only.

        It is sent once: where no clear answer came the error is `OutcomeUnknownError`. With `reconcile` the listing
        of the workflow's executions is then searched for one with these inputs that was created during the call, by
        no other call of this client: exactly one is the result, else the error has `candidates`. Other clients
        that send the same inputs at the same moment cannot be told apart.

        Raises `ExecutionFailedError` where the service takes the trigger and refuses the inputs (compat; the unified
        edition answers with a 400), and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.trigger(edition, workflow_id, version_id, inputs, webhook_url, webhook_secret)
        del webhook_secret  # A traceback shows the locals of this frame.
        where = LookupScope(transport=self._transport, workflow_id=workflow_id, version_id=version_id)
        answer = await create(
            prepared, BulkTriggeredExecution, where, ids=_one_id, found=_one_execution, reconcile=reconcile
        )
        return _triggered(answer)

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
        """Start 1 to 10 executions of a workflow (`POST /workflows/bulk-trigger/{workflowID}/{versionID}`).

        The answer has an entry for each input, in order: queued with an `execution_id`, or failed with a `message`.
        The other arguments are those of `trigger`. With `reconcile` exactly one bulk must be found, and whole: one of
        which inputs were refused cannot be told from one of which rows are late.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.bulk_trigger(edition, workflow_id, version_id, inputs, webhook_url, webhook_secret)
        del webhook_secret
        where = LookupScope(transport=self._transport, workflow_id=workflow_id, version_id=version_id, whole=True)

        def found(seen: builtins.list[Candidate]) -> BulkTriggered | None:
            return _one_bulk(prepared.inputs, seen)

        return await create(prepared, BulkTriggered, where, ids=_all_ids, found=found, reconcile=reconcile)

    def map(
        self,
        workflow_id: str,
        version_id: str | None,
        inputs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        concurrency: int = 64,
        window: int | None = None,
        ordered: bool = False,
        journal: str | PathLike[str] | None = None,
        on_progress: Callable[[MapStats], object] | None = None,
    ) -> MapRun[WorkflowExecution]:
        """Run any number of inputs through a workflow: an outcome for each, as they finish or in order (`ordered`).

        Inputs are read lazily, at most `window` ahead of the outcomes (None: four times `concurrency`), and sent in
        bulk triggers of up to ten; a chunk that is refused is halved until the input at fault stands alone.
        `concurrency` is executions at once, at most; the account's own cap is found from the 429s and remembered by
        the client. `Outcome.index` is the input's place, `Outcome.value` its execution; one that failed is an
        outcome with an `ExecutionFailedError`.

        Nothing is executed twice: where no clear answer came the workflow's listing is searched for the executions,
        and what is not found there is an `OutcomeUnknownError` outcome. With `journal`, the path of a file (SQLite),
        this holds across restarts: the intent is on disk before anything is sent, and a job that was killed and is
        started again with the same inputs goes on where it was, without those outcomes that were handed out.

        A 402 while executions of this client run is waited out, for they reserve their estimated cost: sending goes on
        when one has ended. So is a 429 that only silence ends, see `RetryPolicy.creating_pause_s`. A 402 while nothing
        runs, and other refusals that every input would meet, end the sending; what runs is waited for and handed
        out, then the error is raised. Leaving the block early sends nothing more; the API has no call that cancels an
        execution of a workflow.
        """
        return map_workflow(
            self._transport,
            workflow_id,
            version_id,
            inputs,
            webhook_url=webhook_url,
            webhook_secret=webhook_secret,
            concurrency=concurrency,
            window=window,
            ordered=ordered,
            journal=journal,
            on_progress=on_progress,
        )


def _one_id(answer: BulkTriggeredExecution) -> list[str]:
    if answer.execution_id is not None:
        return [answer.execution_id]
    if answer.state is State.FAILED:
        return []
    raise ResponseDecodeError("cannot read the answer at $.execution_id: is missing", path="$.execution_id")


def _one_execution(seen: list[Candidate]) -> BulkTriggeredExecution | None:
    if len(seen) != 1:
        return None
    one = seen[0]
    return BulkTriggeredExecution(execution_id=one.id, status=one.status, started_at=one.started_at)


def _triggered(answer: BulkTriggeredExecution) -> TriggeredExecution:
    """Give the execution that was queued; the compat edition may accept a trigger and refuse its inputs."""
    if answer.execution_id is None:
        raise ExecutionFailedError(
            f"the workflow was not triggered: {answer.message or 'no reason was given'}", error=answer.message
        )
    return TriggeredExecution(execution_id=answer.execution_id, status=answer.status, started_at=answer.started_at)


def _all_ids(answer: BulkTriggered) -> list[str]:
    return [entry.execution_id for entry in answer.executions if entry.execution_id is not None]


def _one_bulk(inputs: Sequence[Any], seen: list[Candidate]) -> BulkTriggered | None:
    """Make the answer of the one bulk trigger that started all of `inputs`."""
    bulks: dict[str, list[Candidate]] = {}
    for one in seen:
        if one.bulk_id is not None:
            bulks.setdefault(one.bulk_id, []).append(one)
    if len(bulks) != 1:
        return None
    bulk_id, members = bulks.popitem()
    found = [one for one in assigned(inputs, members) if one is not None]
    if len(found) != len(inputs) or len(members) != len(inputs):
        return None
    return BulkTriggered(
        bulk_id=bulk_id,
        executions=[
            BulkTriggeredExecution(execution_id=one.id, status=one.status, started_at=one.started_at) for one in found
        ],
    )
