"""The executions of workflows."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Unpack

from ..bulk.fetch import BulkFetch, Known
from ..bulk.fetch_each import fetch_each
from ..bulk.hydration import Hydrated
from ..bulk.outcomes import BulkStats, MapStats
from ..jobs.held_poll import HeldPoll
from ..jobs.ledger import Ledger
from ..jobs.map_inputs import wait_for_many
from ..jobs.map_run import MapRun
from ..jobs.poll import MAX_HOLD_S, Poll
from ..jobs.wait import id_of, poll_until_finished
from ..jobs.wait_backend import WaitBackend
from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions
from ..records import TriggeredExecution, WorkflowExecution, WorkflowExecutionSummary
from ..transport.arguments import checked_count, checked_seconds
from ..transport.endpoints import GET_WORKFLOW_EXECUTION, LIST_WORKFLOW_EXECUTIONS
from ..transport.guidance import NamesGuide
from ..transport.not_found_hints import HINT_FOR_KNOWN_ID, hint_for_id, hint_on_not_found
from ..transport.transport import Transport


class SummaryPager(Pager[WorkflowExecutionSummary], Hydrated[WorkflowExecution]):
    """A pager over a workflow's executions that can also fetch them in full."""

    _full = GET_WORKFLOW_EXECUTION
    _identity = "execution_id"


class WorkflowExecutions(NamesGuide):
    """The executions of workflows."""

    __slots__ = ("_ledger", "_transport")

    def __init__(self, transport: Transport, ledger: Ledger) -> None:
        self._transport = transport
        self._ledger = ledger

    def list(
        self,
        workflow_id: str,
        *,
        bulk_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
        **walk: Unpack[WalkOptions],
    ) -> SummaryPager:
        """Walk all executions of one workflow; `limit` is the page size, `max_rows` the total.

        Source: `GET /workflows/{workflowID}/executions`. `workflow_id` is a UUID or a slug. `bulk_id`, a UUID, keeps
        the executions of one bulk trigger. `limit` is the number of rows per request, 1 to 100. `offset` is the number
        of rows to skip, from 0. `walk` takes the options of `WalkOptions`, `max_rows` among them.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse. The walk raises
        `EachLabsError`, for example `NotFoundError` for an unknown workflow.
        """
        return SummaryPager(
            self._transport,
            LIST_WORKFLOW_EXECUTIONS,
            LIST_WORKFLOW_EXECUTIONS.expand(self._transport.edition, workflow_id=workflow_id),
            {"bulk_id": _checked_uuid("bulk_id", bulk_id)},
            named={"workflow_id": workflow_id},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, execution_id: str, *, wait_s: int | None = None) -> WorkflowExecution:
        """Return one execution with its steps (`GET /executions/{executionID}`).

        `wait_s`, compat edition only, is how long the service may hold the answer about an unfinished execution until
        it finishes: whole seconds, 1 to 30. With None the service decides (10).

        Raises `NotFoundError` for an id that is unknown or was deleted, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(GET_WORKFLOW_EXECUTION)):
            return await self._read(execution_id, wait_s)

    async def _read(
        self, execution_id: str, wait_s: int | None, transport: Transport | None = None
    ) -> WorkflowExecution:
        query = ""
        if wait_s is not None:
            checked_count("wait_s", wait_s, least=1, most=MAX_HOLD_S)
            if self._transport.edition != "compat":
                raise ValueError("wait_s is part of the compat edition only")
            query = f"timeout={wait_s}"
        found = await (transport or self._transport).request(
            GET_WORKFLOW_EXECUTION, WorkflowExecution, query, execution_id=execution_id
        )
        self._ledger.seen(execution_id, finished=found.is_finished, record=found)
        return found

    async def wait(
        self,
        execution: str | TriggeredExecution | WorkflowExecution | WorkflowExecutionSummary,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[WorkflowExecution], object] | None = None,
    ) -> WorkflowExecution:
        """Poll until the execution finishes and return it. The polling interval grows; see `Poll`.

        `execution` is an id or a record. The result of `trigger` may take up to ten seconds to be found; a 404 is
        ignored for that long. `timeout_s` is the longest wait in seconds, above 0. `on_update` is called with the
        execution each time that it has changed. In the compat edition the service is asked to hold its answer until the
        execution finishes, for up to 30 seconds, or, with `on_update`, for the length of the polling interval. The time
        is halved whenever a gateway on the way cuts such a request off, with a 504 or without an answer.

        Raises `ExecutionFailedError`, with the failed step, if the execution failed or was cancelled; `NotFoundError`
        if it does not exist (any more: organisations can delete executions by age); `WaitTimeoutError`, with the last
        state of the execution, after `timeout_s`; and the errors of a call that retries did not overcome.
        """
        identity = id_of("execution", execution, "execution_id")

        async def read(transport: Transport, wait_s: int | None) -> WorkflowExecution:
            with hint_on_not_found(hint_for_id(GET_WORKFLOW_EXECUTION, HINT_FOR_KNOWN_ID)):
                return await self._read(identity, wait_s, transport)

        async def fetch(pause_s: float, left_s: float) -> WorkflowExecution:
            return await read(self._transport, None)

        is_held = self._transport.edition == "compat"
        return await poll_until_finished(
            identity,
            HeldPoll(self._transport, read, watched=on_update is not None).fetch if is_held else fetch,
            timeout_s=checked_seconds("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(execution, TriggeredExecution),
            secrets=self._transport.session.secrets,
        )

    def wait_many(
        self,
        workflow_id: str,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        timeout_s: float | None = None,
        ordered: bool = False,
        on_progress: Callable[[MapStats], object] | None = None,
    ) -> MapRun[WorkflowExecution]:
        """Wait for many executions of one workflow; yields an outcome for each, as they finish.

        With `ordered` the outcomes come in the order of `ids`, which are read lazily. `on_progress` is called with the
        statistics after each outcome. Up to a thousand executions are watched at once, by the workflow's listing with
        at most 15 requests per check; each is read in full once, after it has finished.

        An execution that failed is an outcome with an `ExecutionFailedError`, one that does not exist an outcome with a
        `NotFoundError`. Raises `WaitTimeoutError` after `timeout_s` seconds, above 0; None for no limit.
        """
        backend = WaitBackend(self._transport, workflow_id)
        return wait_for_many(backend, self._ledger, ids, timeout_s=timeout_s, ordered=ordered, on_progress=on_progress)

    def get_many(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        window: int | None = None,
        known: Known[WorkflowExecution] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[WorkflowExecution]:
        """Fetch many executions (`GET /executions/{executionID}`); yields an outcome for each id, as they arrive.

        With `ordered` the outcomes come in the order of `ids`. `ids` are read lazily and may be endless. `concurrency`
        is the number of requests at once, from 1; `max_concurrency` of the client limits it too. `window` is the number
        of ids that are read and not yet delivered, at least `concurrency`; None for four times that. With `ordered`, a
        wider window lets more ids pass a slow one. `known`, a mapping or a callable that returns None for an unknown
        id, supplies executions that need not be fetched again if they have finished. `on_progress` is called with the
        statistics after each outcome. In the compat edition the service is asked to hold the answer about an unfinished
        execution for no more than a second.

        A failure of one id is its outcome. An error that every id would meet (`AuthenticationError`,
        `ConfigurationError`) is raised once, after the finished outcomes.
        """
        return fetch_each(
            self._transport,
            GET_WORKFLOW_EXECUTION,
            WorkflowExecution,
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            hint=hint_for_id(GET_WORKFLOW_EXECUTION),
        )


def _checked_uuid(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    try:
        uuid.UUID(value)
    except ValueError:
        raise ValueError(f"{name} must be a UUID, not {value!r}") from None
    return value
