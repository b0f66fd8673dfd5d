"""Owns the calls about executions of workflows; refuses paging, fanning out and decoding."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Unpack

from ..bulk.fetch import BulkFetch, Known
from ..bulk.outcomes import BulkStats, MapStats
from ..bulk.workers import one_each
from ..jobs.map_factory import wait_for_many
from ..jobs.map_run import MapRun
from ..jobs.polling import MAX_HOLD_S, Poll, hold_s
from ..jobs.wait import checked_timeout, identity_of, until_ended
from ..pagination.pager import Pager, WalkOptions
from ..records import TriggeredExecution, WorkflowExecution, WorkflowExecutionSummary
from ..transport.arguments import checked_count
from ..transport.endpoints import GET_WORKFLOW_EXECUTION, LIST_WORKFLOW_EXECUTIONS
from ..transport.gone import NOBODY_KNOWS, WAS_THERE, told
from ..transport.transport import Transport


class SummaryPager(Pager[WorkflowExecutionSummary]):
    """A listing of a workflow's executions, which can be turned into the executions themselves."""

    def __init__(self, fetch: Callable[..., BulkFetch[WorkflowExecution]], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._fetch_all = fetch

    def hydrate(
        self,
        *,
        concurrency: int = 32,
        window: int | None = None,
        known: Known[WorkflowExecution] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[WorkflowExecution]:
        """Fetch the full execution of every row, streaming and in the listing's order, an outcome per row.

        The arguments are those of `get_many`. The walk is part of the fetch: it is read as workers come free, an
        error of it is raised after the finished outcomes, and it ends with the fetch. The pager's checkpoint is
        ahead of the outcomes by the window; to go on after a crash, walk again and say with `known` what is there.
        """
        ids = self._ids()
        return self._fetch_all(
            ids,
            concurrency=concurrency,
            ordered=True,
            window=window,
            known=known,
            on_progress=on_progress,
            close=ids.aclose,
            hint=WAS_THERE,
        )

    async def _ids(self) -> AsyncGenerator[str, None]:
        async with self as rows:
            async for row in rows:
                yield row.execution_id


class WorkflowExecutions:
    """The executions of workflows."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        workflow_id: str,
        *,
        bulk_id: str | None = None,
        limit: int = 100,
        offset: int = 0,
        **walk: Unpack[WalkOptions],
    ) -> SummaryPager:
        """Walk the executions of one workflow (`GET /workflows/{workflowID}/executions`).

        `workflow_id` is a UUID or a slug; `bulk_id` keeps those of one bulk trigger and is a UUID. `limit` is rows
        a request, 1 to 100; `offset` rows to skip, from 0. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
        `EachLabsError`, among them `NotFoundError` for an unknown workflow.
        """
        edition = self._transport.session.hosts.edition
        return SummaryPager(
            self._fetch_many,
            self._transport,
            LIST_WORKFLOW_EXECUTIONS,
            LIST_WORKFLOW_EXECUTIONS.expand(edition, workflow_id=workflow_id),
            {"bulk_id": _checked_uuid("bulk_id", bulk_id)},
            named={"workflow_id": workflow_id},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, execution_id: str, *, wait_s: int | None = None) -> WorkflowExecution:
        """Get one execution with its steps (`GET /executions/{executionID}`).

        `wait_s`, compat edition only, is how long the service may hold the answer of an unfinished execution for
        it to finish: whole seconds, 1 to 30; None leaves it to the service (10).

        Raises `NotFoundError` for an id that is unknown or was deleted, and the other errors of a call.
        """
        with told(NOBODY_KNOWS):
            return await self._read(execution_id, wait_s)

    async def _read(self, execution_id: str, wait_s: int | None) -> WorkflowExecution:
        edition = self._transport.session.hosts.edition
        query = ""
        if wait_s is not None:
            checked_count("wait_s", wait_s, least=1, most=MAX_HOLD_S)
            if edition != "compat":
                raise ValueError("wait_s is part of the compat edition only")
            query = f"timeout={wait_s}"
        path = GET_WORKFLOW_EXECUTION.expand(edition, execution_id=execution_id)
        call = self._transport.call(GET_WORKFLOW_EXECUTION, path, query)
        found = await self._transport.get(call, WorkflowExecution)
        self._transport.session.seen(execution_id, finished=found.is_finished)
        return found

    async def wait(
        self,
        execution: str | TriggeredExecution | WorkflowExecution | WorkflowExecutionSummary,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[WorkflowExecution], object] | None = None,
    ) -> WorkflowExecution:
        """Wait for one execution to succeed, asking after it ever more slowly; gives it.

        `execution` is an id, or what `trigger` gave: that one may take ten seconds to be found. `timeout_s` is the
        longest wait in seconds, above 0; `poll` the pauses. `on_update` is called with the execution whenever it
        changed. In the compat edition the service is asked to hold its answer until the execution ends, for up to
        30 seconds, or, with `on_update`, for as long as the pause.

        Raises `ExecutionFailedError` (with the failed step) where it failed or was cancelled, `NotFoundError` where it
        is not there (any more: an organisation can delete executions by age), `WaitTimeoutError` (with the execution as
        it was last) after `timeout_s`, and the errors of a call that its tries did not overcome.
        """
        identity = identity_of("execution", execution, "execution_id")
        compat = self._transport.session.hosts.edition == "compat"
        read_s = self._transport.timeouts.read_s

        async def ask(pause_s: float, left_s: float) -> WorkflowExecution:
            wait_s = hold_s(pause_s, left_s=left_s, read_s=read_s, watched=on_update is not None) if compat else None
            with told(WAS_THERE):
                return await self._read(identity, wait_s)

        return await until_ended(
            identity,
            ask,
            timeout_s=checked_timeout("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(execution, TriggeredExecution),
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
        """Wait for many executions of one workflow: an outcome for each, as they finish or in order (`ordered`).

        They are watched by the workflow's listing, a thousand at once at most, with no more than 15 requests a look,
        and each is read whole once, when it has finished. One that failed is an outcome with an
        `ExecutionFailedError`, one that does not exist with a `NotFoundError`. After `timeout_s` seconds (None: no
        bound) a `WaitTimeoutError` is raised.
        """
        return wait_for_many(
            self._transport, workflow_id, ids, timeout_s=timeout_s, ordered=ordered, on_progress=on_progress
        )

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
        """Get many executions, an outcome per id, as they come or in input order with `ordered`.

        `ids` are read lazily and may be endless. `concurrency` is requests at once, from 1; the client's
        `max_concurrency` bounds them too. `window` is ids held, read and not yet handed out: None for four times the
        concurrency; a wider one lets more ids pass a slow one in ordered mode. What `known` (a mapping, or a callable
        that gives None) already has in finished form is not fetched. `on_progress` is called with the stats after
        each outcome. In the compat edition the service is asked to hold the answer of an unfinished execution for
        no more than a second.

        One id's failure is its outcome. What would stop every id alike (`AuthenticationError`,
        `ConfigurationError`) is raised, once, after the finished outcomes.
        """
        return self._fetch_many(
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            close=None,
            hint=NOBODY_KNOWS,
        )

    def _fetch_many(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int,
        ordered: bool,
        window: int | None,
        known: Known[WorkflowExecution] | None,
        on_progress: Callable[[BulkStats], object] | None,
        close: Callable[[], Awaitable[None]] | None,
        hint: str,
    ) -> BulkFetch[WorkflowExecution]:
        """Do as `get_many` does, and call `close` when the fetch ends; `hint` is what a 404 may mean."""
        query = GET_WORKFLOW_EXECUTION.soon(self._transport.session.hosts.edition)
        return BulkFetch(
            one_each(self._transport, GET_WORKFLOW_EXECUTION, "execution_id", WorkflowExecution, query, hint=hint),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            paused=partial(self._transport.waiting, GET_WORKFLOW_EXECUTION),
            close=close,
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
