"""Read the executions that a creating request with a lost answer may have created, with a bounded number of requests.

An execution may have been created by a request if it was between its start and its end, by the service's clock, see
`service_clock`. Rows from before the request end a look at a listing that is newest first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from attrs import evolve, field, frozen

from ..bulk.fetch_each import fetch_each
from ..errors import EachLabsError, NotFoundError
from ..pagination.execution_pager import ExecutionPager
from ..pagination.first_rows import first_rows
from ..pagination.listing_choice import RefusedListings
from ..pagination.pager import Pager
from ..records import Prediction, WorkflowExecution, WorkflowExecutionSummary
from ..transport.arguments import rfc3339
from ..transport.endpoints import (
    GET_PREDICTION,
    GET_WORKFLOW_EXECUTION,
    LIST_EXECUTIONS,
    LIST_WORKFLOW_EXECUTIONS,
    Endpoint,
)
from ..transport.transport import Transport
from ..transport.wire import http_date
from .claims import EARLY_S, LATE_S
from .ledger import Ledger
from .matching import Candidate

MAX_PAGES: Final = 10
"""Pages of a listing, of 100 rows each, that one look reads at most."""
MAX_DETAILS: Final = 200
"""Executions that the looks for one lost answer read in full at most, each of them once."""
_PAGE: Final = 100


@frozen
class Look:
    """What one look showed. `cut` says why it did not show everything; it is empty if it did.

    `samples` holds the inputs of known executions, by id.
    """

    candidates: list[Candidate]
    cut: str = ""
    samples: dict[str, Any] = field(factory=dict[str, Any])


@frozen
class Question:
    """What a look is for: executions created between two local times.

    `is_claimed` tells those that belong to another input. `wants` tells, by its inputs, an execution that is read in
    full. `samples` are known executions, of which one is read in full if `wants_sample` is True for the candidates.
    """

    since: float
    until: float
    is_claimed: Callable[[str], bool]
    wants: Callable[[Candidate], bool]
    samples: Sequence[str] = ()
    wants_sample: Callable[[Sequence[Candidate]], bool] = lambda candidates: False


class Lookup(Protocol):
    """A listing in which the executions of one kind can be found."""

    @property
    def filters(self) -> dict[str, str]:
        """The arguments that narrow the listing to this kind of executions."""
        ...

    async def look(self, question: Question) -> Look:
        """Read the executions that were created in the time of a question and are not claimed."""
        ...


class _DetailReader:
    """Reads executions in full, each of them once, and no more than `MAX_DETAILS`."""

    def __init__(self, transport: Transport, endpoint: Endpoint, kind: type[Prediction | WorkflowExecution]) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._kind = kind
        self._asked = 0
        self.read: dict[str, Candidate] = {}

    async def add(self, ids: Iterable[str]) -> str:
        """Read executions, and return why some were not read. One that cannot be found yet is left out."""
        missing = [identity for identity in dict.fromkeys(ids) if identity not in self.read]
        chosen = missing[: max(0, MAX_DETAILS - self._asked)]
        self._asked += len(chosen)
        if chosen:
            async with fetch_each(self._transport, self._endpoint, self._kind, chosen, concurrency=8) as outcomes:
                async for outcome in outcomes:
                    if not isinstance(outcome.error, NotFoundError):
                        self.read[outcome.id] = _candidate(outcome.unwrap())
        if len(chosen) < len(missing):
            return f"{len(missing)} executions were to be read in full, of at most {MAX_DETAILS} in all"
        return ""

    async def sample(self, ids: Sequence[str]) -> dict[str, Any]:
        """Read the inputs of one of these executions, which are known, if none of them has been read."""
        if ids and not any(identity in self.read for identity in ids):
            try:
                await self.add([ids[-1]])
            except EachLabsError:
                return {}  # It shows no defaults, so executions with defaults stay candidates.
        return {identity: self.read[identity].inputs for identity in ids if identity in self.read}


def _candidate(record: Prediction | WorkflowExecution) -> Candidate:
    if isinstance(record, Prediction):
        return Candidate(id=record.id, status=record.status, inputs=record.input)
    return Candidate(
        id=record.execution_id,
        status=record.status,
        inputs=record.inputs,
        started_at=record.started_at,
        bulk_id=record.bulk_id,
    )


class WorkflowLookup:
    """The listing of one workflow's executions. `version_id` keeps those of one version.

    With `in_full` every execution is read in full, for its `bulk_id`; otherwise only those that the question wants.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        workflow_id: str,
        version_id: str | None,
        *,
        in_full: bool = False,
    ) -> None:
        self._transport = transport
        self._clock = ledger.clock(transport, LIST_WORKFLOW_EXECUTIONS)
        self._workflow_id = workflow_id
        self._version_id = version_id
        self._in_full = in_full
        self._details = _DetailReader(transport, GET_WORKFLOW_EXECUTION, WorkflowExecution)

    @property
    def filters(self) -> dict[str, str]:
        """The workflow."""
        return {"workflow_id": self._workflow_id}

    async def look(self, question: Question) -> Look:
        """Read the newest executions of the workflow, at most 10 pages, and those in full that it takes."""
        path = LIST_WORKFLOW_EXECUTIONS.expand(self._transport.edition, workflow_id=self._workflow_id)
        call = self._transport.call(LIST_WORKFLOW_EXECUTIONS, path, "limit=1&offset=0", chosen_by_caller=False)
        sent_at = time.time()
        await self._transport.send(call)
        self._clock.observe(http_date(call.headers.get("Date")), sent_at, time.time())
        found, cut, samples = await self._rows(path, question)
        # What is cut off can settle nothing, so then only what may be a candidate is read.
        in_full = self._in_full and not cut
        readable = [one for one in found if one.inputs is None or in_full or question.wants(one)]
        cut = await self._details.add(one.id for one in readable) or cut
        candidates = [
            one if read is None else evolve(read, created=one.created)
            for one in found
            for read in [self._details.read.get(one.id)]
        ]
        if not samples and question.wants_sample(candidates):
            samples = await self._details.sample(question.samples)
        return Look(candidates, cut, samples)

    async def _rows(self, path: str, question: Question) -> tuple[list[Candidate], str, dict[str, Any]]:
        found: list[Candidate] = []
        samples: dict[str, Any] = {}
        pager: Pager[WorkflowExecutionSummary] = Pager(
            self._transport, LIST_WORKFLOW_EXECUTIONS, path, {}, start=0, size=_PAGE, walk={}
        )
        timed = False
        async with pager:
            async for page in pager.pages():
                times: list[float] = []
                for row in page.rows:
                    if row.created_at is None:
                        continue
                    created = self._clock.local_span(row.created_at)
                    times.append(created[1])
                    if row.execution_id in question.samples and row.inputs is not None:
                        samples[row.execution_id] = row.inputs
                    if (
                        created[1] >= question.since - EARLY_S
                        and created[0] <= question.until + LATE_S
                        and (self._version_id is None or row.version_id in (None, self._version_id))
                        and not question.is_claimed(row.execution_id)
                    ):
                        found.append(_row_candidate(row, created))
                timed = timed or bool(times)
                if not timed:
                    return found, "the listing does not say when executions were created", samples
                # Rows come newest first, so nothing of the call follows a page from before it. Should they come in the
                # opposite order, the look goes on.
                if times and times[-1] <= times[0] < question.since - EARLY_S:
                    break
                if pager.stats.requests >= MAX_PAGES and len(page.rows) >= _PAGE - 1:
                    return found, f"more than {pager.stats.rows} rows of the listing are newer than the call", samples
        return found, "", samples


def _row_candidate(row: WorkflowExecutionSummary, created: tuple[float, float]) -> Candidate:
    return Candidate(
        id=row.execution_id,
        status=row.status,
        inputs=row.inputs,
        created=created,
        started_at=row.started_at,
        in_full=False,
    )


class ModelLookup:
    """The listing of executions, narrowed to the predictions of one model, each of which is read in full."""

    def __init__(self, transport: Transport, ledger: Ledger, refused: RefusedListings, model: str) -> None:
        self._transport = transport
        self._clock = ledger.clock(transport, LIST_EXECUTIONS)
        self._refused = refused
        self._model = model
        self._details = _DetailReader(transport, GET_PREDICTION, Prediction)

    @property
    def filters(self) -> dict[str, str]:
        """The model."""
        return {"model": self._model}

    async def look(self, question: Question) -> Look:
        """Read the predictions of the model that were created in the time of the question, at most 1,000."""
        sent_at = time.time()
        first = await first_rows(self._transport, self._refused, {})
        self._clock.observe(first.served_at, sent_at, time.time())
        least, most = self._clock.bounds
        filters = {
            "model": self._model,
            "since": rfc3339(datetime.fromtimestamp(question.since + least - EARLY_S - 1, UTC)),
            "until": rfc3339(datetime.fromtimestamp(question.until + most + LATE_S, UTC)),
        }
        limit = MAX_PAGES * _PAGE
        rows = await ExecutionPager(self._transport, self._refused, filters).collect(max_rows=limit)
        cut = f"{limit} rows of the listing or more are of the time of the call" if len(rows) >= limit else ""
        created = {
            row.id: (float("-inf"), float("inf")) if row.created_at is None else self._clock.local_span(row.created_at)
            for row in rows
            # An execution with a workflow is a step of that workflow, not a prediction of its own.
            if row.workflow_id is None and not question.is_claimed(row.id)
        }
        ids = [
            identity
            for identity, (earliest, latest) in created.items()
            if latest >= question.since - EARLY_S and earliest <= question.until + LATE_S
        ]
        cut = await self._details.add(ids) or cut
        read = self._details.read
        candidates = [evolve(read[identity], created=created[identity]) for identity in ids if identity in read]
        samples = await self._details.sample(question.samples) if question.wants_sample(candidates) else {}
        return Look(candidates, cut, samples)
