"""Owns the calls about executions of workflows; refuses paging, fanning out and decoding."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Unpack

from .._arguments import checked_count
from .._session import Transport
from .._wire import expand
from ..bulk import BulkFetch, BulkStats, Known, one_each
from ..endpoints import GET_WORKFLOW_EXECUTION, LIST_WORKFLOW_EXECUTIONS
from ..pager import Pager, WalkOptions
from ..records import WorkflowExecution, WorkflowExecutionSummary

MAX_WAIT_S = 30


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
    ) -> Pager[WorkflowExecutionSummary]:
        """Walk the executions of one workflow (`GET /workflows/{workflowID}/executions`).

        `workflow_id` is a UUID or a slug; `bulk_id` keeps those of one bulk trigger and is a UUID. `limit` is rows
        a request, 1 to 100; `offset` rows to skip, from 0. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
        `EachLabsError`, among them `NotFoundError` for an unknown workflow.
        """
        edition = self._transport.session.hosts.edition
        return Pager(
            self._transport,
            LIST_WORKFLOW_EXECUTIONS,
            expand(LIST_WORKFLOW_EXECUTIONS, edition, workflow_id=workflow_id),
            {"bulk_id": _checked_uuid("bulk_id", bulk_id)},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )

    async def get(self, execution_id: str, *, wait_s: int | None = None) -> WorkflowExecution:
        """Get one execution with its steps (`GET /executions/{executionID}`).

        `wait_s`, compat edition only, is how long the service may hold the answer of an unfinished execution for
        it to finish: whole seconds, 1 to 30; None leaves it to the service (10).

        Raises `NotFoundError` for an unknown id, and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        query = ""
        if wait_s is not None:
            checked_count("wait_s", wait_s, least=1, most=MAX_WAIT_S)
            if edition != "compat":
                raise ValueError("wait_s is part of the compat edition only")
            query = f"timeout={wait_s}"
        path = expand(GET_WORKFLOW_EXECUTION, edition, execution_id=execution_id)
        call = self._transport.call(GET_WORKFLOW_EXECUTION, path, query)
        return await self._transport.get(call, WorkflowExecution)

    def get_many(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        known: Known[WorkflowExecution] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[WorkflowExecution]:
        """Get many executions, an outcome per id, as they come or in input order with `ordered`.

        `ids` are read lazily and may be endless. `concurrency` is requests at once, from 1; the client's
        `max_concurrency` bounds them too. What `known` (a mapping, or a callable that gives None) already has in
        finished form is not fetched. `on_progress` is called with the stats after each outcome. In the compat
        edition the service is asked to hold the answer of an unfinished execution for no more than a second.

        One id's failure is its outcome. What would stop every id alike (`AuthenticationError`,
        `ConfigurationError`) is raised, once, after the finished outcomes.
        """
        query = "timeout=1" if self._transport.session.hosts.edition == "compat" else ""
        return BulkFetch(
            one_each(self._transport, GET_WORKFLOW_EXECUTION, "execution_id", WorkflowExecution, query),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            known=known,
            on_progress=on_progress,
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
