"""Owns the calls about executions of the legacy flows service, and how a bulk answer becomes outcomes per id.

It refuses fanning out and retrying. The bulk endpoint only reads, promises no order and leaves unknown ids out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Final

from ..bulk.fetch import BulkFetch, Known
from ..bulk.id_window import PendingId
from ..bulk.outcomes import BulkStats
from ..bulk.workers import in_batches
from ..codec.strict import decode_fast, encode_json
from ..errors import APIStatusError, EachLabsError, NotFoundError, ResponseDecodeError
from ..records import FlowExecution, FlowExecutionBatch
from ..transport.call import Call
from ..transport.endpoints import GET_FLOW_EXECUTION, GET_FLOW_EXECUTIONS
from ..transport.gone import NOBODY_KNOWS, tell, told
from ..transport.transport import Transport

HALVED_STATUSES: Final = frozenset({400, 404, 413, 422})
"""Refusals of a chunk that one id in it, or the number of them, may have caused."""

LARGE_ANSWER: Final = 32 * 1024
"""Bytes from which on an answer that msgspec refuses is read in a thread: some 0.2 ms a KiB."""


class FlowExecutions:
    """The executions of legacy flows."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, workflow_id: str, execution_id: str) -> FlowExecution:
        """Get one execution (`GET /{workflowID}/executions/{execID}`).

        Raises `NotFoundError` for an id that is unknown or was deleted, and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        path = GET_FLOW_EXECUTION.expand(edition, workflow_id=workflow_id, execution_id=execution_id)
        with told(NOBODY_KNOWS):
            return await self._transport.get(self._transport.call(GET_FLOW_EXECUTION, path), FlowExecution)

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
        """Get many executions of one flow in chunks (`POST /{workflowID}/executions/bulk`), an outcome per id.

        `chunk_size` is ids a request, from 1; `concurrency` is requests at once, from 1. A chunk that is refused is
        halved until the id at fault stands alone; an id that the answer leaves out is a `NotFoundError` outcome;
        a row that cannot be read is the outcome of its id alone. The rest is as in `workflow_executions.get_many`.
        """
        path = GET_FLOW_EXECUTIONS.expand(self._transport.session.hosts.edition, workflow_id=workflow_id)
        return BulkFetch(
            in_batches(_in_chunks(self._transport, path)),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            chunk_size=chunk_size,
            window=window,
            known=known,
            on_progress=on_progress,
            paused=partial(self._transport.waiting, GET_FLOW_EXECUTIONS),
        )


def _in_chunks(transport: Transport, path: str) -> Callable[[list[PendingId[FlowExecution]]], Awaitable[None]]:
    async def fetch(batch: list[PendingId[FlowExecution]]) -> None:
        ids = [slot.outcome.id for slot in batch]
        call = transport.call(GET_FLOW_EXECUTIONS, path, body=encode_json({"execution_ids": ids}), background=True)
        try:
            body = await transport.send(call)
            if len(body) < LARGE_ANSWER:
                rows = _rows(transport, call, body)
            elif (answer := decode_fast(body, FlowExecutionBatch)) is not None:
                rows = [(row.execution_id, row) for row in answer.executions or ()]
            else:
                async with transport.session.slowly:
                    rows = await asyncio.to_thread(_rows, transport, call, body, slow=True)
        except EachLabsError as exc:
            failure = exc.with_traceback(None)
        else:
            _hand_out(transport, call, batch, dict(reversed(rows)))
            return
        for slot in batch:
            slot.outcome.attempts += call.attempts
        if len(batch) > 1 and isinstance(failure, APIStatusError) and failure.status in HALVED_STATUSES:
            middle = len(batch) // 2
            await fetch(batch[:middle])
            await fetch(batch[middle:])
            return
        for slot in batch:
            slot.outcome.error = failure

    return fetch


def _rows(
    transport: Transport, call: Call, body: bytes, *, slow: bool = False
) -> list[tuple[str | None, FlowExecution | ResponseDecodeError]]:
    return transport.decoded_each(
        call, body, FlowExecutionBatch, rows="executions", row_kind=FlowExecution, identity="execution_id", slow=slow
    )


def _hand_out(
    transport: Transport,
    call: Call,
    batch: list[PendingId[FlowExecution]],
    rows: Mapping[str | None, FlowExecution | ResponseDecodeError],
) -> None:
    """Give each id its row, or what is wrong with it."""
    # A row without a readable id could be any of those that seem to be missing: then none is called not found.
    unnamed = rows.get(None)
    for slot in batch:
        outcome = slot.outcome
        outcome.attempts += call.attempts
        row = rows.get(outcome.id, unnamed)
        if isinstance(row, FlowExecution):
            outcome.value = row
        else:
            missing = NotFoundError(f"the bulk answer has no execution {outcome.id!r}", status=404)
            tell(missing, NOBODY_KNOWS)
            outcome.error = row or transport.session.with_call_details(call, missing)
