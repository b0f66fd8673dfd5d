"""The executions of legacy flows.

The bulk endpoint only reads. It promises no order and leaves unknown ids out, so its answer is matched to the ids here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final

from ..bulk.fetch import BulkFetch, Known
from ..bulk.halving import halves
from ..bulk.id_window import PendingId
from ..bulk.outcome_events import outcome_reporter
from ..bulk.outcomes import BulkStats
from ..bulk.workers import in_batches
from ..codec.strict import decode_fast, encode_json
from ..errors import EachLabsError, NotFoundError, ResponseDecodeError
from ..records import FlowExecution, FlowExecutionBatch
from ..transport.call import Call
from ..transport.endpoints import GET_FLOW_EXECUTION, GET_FLOW_EXECUTIONS
from ..transport.guidance import NamesGuide
from ..transport.not_found_hints import add_hint, hint_for_id, hint_on_not_found
from ..transport.transport import Transport

LARGE_ANSWER: Final = 32 * 1024
"""Bytes from which a body that msgspec refuses is decoded in a thread; that takes about 0.2 ms per KiB."""


class FlowExecutions(NamesGuide):
    """The executions of legacy flows."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, workflow_id: str, execution_id: str) -> FlowExecution:
        """Return one execution (`GET /{workflowID}/executions/{execID}`).

        Raises `NotFoundError` for an id that is unknown or was deleted, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(GET_FLOW_EXECUTION)):
            return await self._transport.request(
                GET_FLOW_EXECUTION, FlowExecution, workflow_id=workflow_id, execution_id=execution_id
            )

    def get_many(
        self,
        workflow_id: str,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        chunk_size: int = 100,
        concurrency: int = 8,
        ordered: bool = False,
        window: int | None = None,
        known: Known[FlowExecution] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[FlowExecution]:
        """Fetch many executions of one flow in chunks; yields an outcome for each id.

        Source: `POST /{workflowID}/executions/bulk`. `chunk_size` is the number of ids per request, from 1;
        `concurrency` the number of requests at once, from 1. `window` is the number of ids that are read and not yet
        delivered, at least `chunk_size * concurrency`; None for four times that. The other arguments and the errors are
        those of `workflow_executions.get_many`.

        A chunk that the service refuses is halved until the id at fault is alone. An id that the answer leaves out is
        an outcome with a `NotFoundError`. A row that cannot be read is the outcome of its id only.
        """
        path = GET_FLOW_EXECUTIONS.expand(self._transport.edition, workflow_id=workflow_id)
        return BulkFetch(
            in_batches(_chunk_fetcher(self._transport, path)),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            chunk_size=chunk_size,
            window=window,
            known=known,
            on_progress=on_progress,
            paused=partial(self._transport.waiting, GET_FLOW_EXECUTIONS),
            on_outcome=outcome_reporter(self._transport.session.hooks, "flow_executions.get_many"),
        )


Rows = list[tuple[str | None, FlowExecution | ResponseDecodeError]]
"""The id of each row of a response, and the row or its own error."""


def _chunk_fetcher(transport: Transport, path: str) -> Callable[[list[PendingId[FlowExecution]]], Awaitable[None]]:
    async def fetch(batch: list[PendingId[FlowExecution]]) -> None:
        ids = [pending.outcome.id for pending in batch]
        call = transport.call(GET_FLOW_EXECUTIONS, path, body=encode_json({"execution_ids": ids}), background=True)
        try:
            decode = partial(_rows_of, transport, call)
            rows = (await transport.receive(call, decode))[1]
            if _are_others(rows, ids) and call.attempts < transport.retry.max_attempts:
                call.fresh = True  # Whoever answered out of turn did so on this connection.
                rows = (await transport.receive(call, decode))[1]
        except EachLabsError as exc:
            failure = exc.with_traceback(None)
        else:
            _fill_in(transport, call, batch, dict(reversed(rows)))
            return
        for pending in batch:
            pending.outcome.attempts += call.attempts
        if (pair := halves(batch, failure)) is not None:
            for half in pair:
                await fetch(half)
            return
        for pending in batch:
            pending.outcome.error = failure

    return fetch


async def _rows_of(transport: Transport, call: Call, body: bytes) -> Rows:
    if len(body) < LARGE_ANSWER:
        return _decode_rows(transport, call, body)
    if (answer := decode_fast(body, FlowExecutionBatch)) is not None:
        return [(row.execution_id, row) for row in answer.executions or ()]
    async with transport.session.strict_decode_lock:
        return await asyncio.to_thread(_decode_rows, transport, call, body, strict=True)


def _are_others(rows: Iterable[tuple[str | None, object]], ids: Iterable[str]) -> bool:
    """Whether there are rows and none of them was asked for: the answer is that to another request."""
    named = {identity for identity, _ in rows if identity}
    return bool(named) and named.isdisjoint(ids)


def _decode_rows(transport: Transport, call: Call, body: bytes, *, strict: bool = False) -> Rows:
    return transport.decoder.decode_rows(
        call,
        body,
        FlowExecutionBatch,
        rows="executions",
        row_kind=FlowExecution,
        identity="execution_id",
        strict=strict,
    )


def _fill_in(
    transport: Transport,
    call: Call,
    batch: list[PendingId[FlowExecution]],
    rows: Mapping[str | None, FlowExecution | ResponseDecodeError],
) -> None:
    """Set the outcome of each id to its row, or to the error of that row."""
    # A row without a readable id may belong to any id that seems to be missing, so none of those is called not found.
    unnamed = rows.get(None)
    if unnamed is None and _are_others(rows.items(), [pending.outcome.id for pending in batch]):
        others = ResponseDecodeError("the bulk answer is that to another request: ask again later", path="$.executions")
        transport.session.with_call_details(call, others)
        unnamed = others
    for pending in batch:
        outcome = pending.outcome
        outcome.attempts += call.attempts
        row = rows.get(outcome.id, unnamed)
        if isinstance(row, FlowExecution):
            outcome.value = row
        else:
            missing = NotFoundError(f"the bulk answer has no execution {outcome.id!r}", status=404)
            add_hint(missing, hint_for_id(GET_FLOW_EXECUTIONS))
            outcome.error = row or transport.session.with_call_details(call, missing)
