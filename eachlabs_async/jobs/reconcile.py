"""Find the executions that a creating request with a lost answer may have created, and match them to their inputs.

A candidate was created between the start and the end of the request, by the service's clock. That clock is read from
the `Date` header of the look-up's own answer; because the header has whole seconds, the span is widened by two seconds
on each side. A candidate also has the inputs of the request and belongs to no other call of this client. A listing may
show a row late, so it is read several times, at growing intervals.

The request itself is sent by `create`, or by a map.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeGuard, TypeVar

from attrs import frozen

from ..bulk.fetch_each import fetch_each
from ..errors import EachLabsError, NotFoundError, OutcomeUnknownError
from ..pagination.execution_pager import ExecutionPager
from ..pagination.first_rows import first_rows
from ..pagination.listing_choice import RefusedListings
from ..pagination.pager import Pager
from ..records import Prediction, WorkflowExecution, WorkflowExecutionSummary
from ..transport.arguments import rfc3339
from ..transport.endpoints import GET_PREDICTION, GET_WORKFLOW_EXECUTION, LIST_WORKFLOW_EXECUTIONS, Endpoint
from ..transport.transport import Transport
from ..transport.wire import http_date
from .claims import Claims
from .journal import digest

T = TypeVar("T")

CLOCK_TOLERANCE: Final = timedelta(seconds=2)
LOOKUP_ATTEMPTS: Final = 5
_NONE_IN_DOUBT: Final[Mapping[str, int]] = {}


@frozen
class TimeSpan:
    """The time that a call took, by this machine's clock."""

    since: datetime
    until: datetime

    @classmethod
    def until_now(cls, since: float) -> TimeSpan:
        """Return the span from `since` (Unix time) to now."""
        return cls(datetime.fromtimestamp(since, UTC), datetime.now(UTC))

    def as_filters(self, **filters: str) -> dict[str, str]:
        """Return `filters` of a listing, together with `since` and `until` of this span, widened by the tolerance."""
        return {
            **filters,
            "since": rfc3339(self.since - CLOCK_TOLERANCE),
            "until": rfc3339(self.until + CLOCK_TOLERANCE),
        }

    def in_service_time(self, served_at: datetime | None) -> tuple[datetime, datetime]:
        """Return the widened span by the service's clock, which just showed `served_at`."""
        now = datetime.now(UTC)
        skew = (served_at or now) - now
        return self.since + skew - CLOCK_TOLERANCE, self.until + skew + CLOCK_TOLERANCE


@frozen(kw_only=True)
class Candidate:
    """An execution that was created in the span of a call."""

    id: str
    status: str
    inputs: dict[str, Any] | None
    started_at: datetime | None = None
    bulk_id: str | None = None


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


# ---- looking candidates up


class Lookup(Protocol):
    """A listing in which the executions of one kind can be found."""

    @property
    def filters(self) -> dict[str, str]:
        """The arguments that narrow the listing to this kind of executions."""
        ...

    async def candidates(self, span: TimeSpan, is_claimed: Callable[[str], bool]) -> list[Candidate]:
        """Return the executions that were created in `span` and are not claimed."""
        ...


class _DetailReader:
    """Reads executions in full, each of them once, because a listing may leave their inputs out."""

    def __init__(self, transport: Transport, endpoint: Endpoint, kind: type[Prediction | WorkflowExecution]) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._kind = kind
        self._read: dict[str, Candidate] = {}

    async def read(self, ids: Sequence[str]) -> dict[str, Candidate]:
        """Return the candidates by id; an execution that cannot be found yet is left out."""
        missing = [identity for identity in ids if identity not in self._read]
        async with fetch_each(self._transport, self._endpoint, self._kind, missing, concurrency=8) as outcomes:
            async for outcome in outcomes:
                if not isinstance(outcome.error, NotFoundError):
                    self._read[outcome.id] = _candidate(outcome.unwrap())
        return {identity: self._read[identity] for identity in ids if identity in self._read}


class WorkflowLookup:
    """The listing of one workflow's executions.

    `version_id` keeps those of one version. With `in_full` every execution is read in full, for its `bulk_id`.
    """

    def __init__(
        self, transport: Transport, workflow_id: str, version_id: str | None, *, in_full: bool = False
    ) -> None:
        self._transport = transport
        self._workflow_id = workflow_id
        self._version_id = version_id
        self._in_full = in_full
        self._details = _DetailReader(transport, GET_WORKFLOW_EXECUTION, WorkflowExecution)

    @property
    def filters(self) -> dict[str, str]:
        """The workflow."""
        return {"workflow_id": self._workflow_id}

    async def candidates(self, span: TimeSpan, is_claimed: Callable[[str], bool]) -> list[Candidate]:
        """Return the executions of the workflow that were created in `span` and are not claimed."""
        path = LIST_WORKFLOW_EXECUTIONS.expand(self._transport.edition, workflow_id=self._workflow_id)
        clock = self._transport.call(LIST_WORKFLOW_EXECUTIONS, path, "limit=1&offset=0", chosen_by_caller=False)
        await self._transport.send(clock)
        since, until = span.in_service_time(http_date(clock.headers.get("Date")))
        pager: Pager[WorkflowExecutionSummary] = Pager(
            self._transport, LIST_WORKFLOW_EXECUTIONS, path, {}, start=0, size=100, walk={}
        )
        found: list[WorkflowExecutionSummary] = []
        async with pager:
            async for page in pager.pages():
                times = [row.created_at for row in page.rows if row.created_at is not None]
                found += [
                    row
                    for row in page.rows
                    if row.created_at is not None
                    and since <= row.created_at <= until
                    and self._version_id in (None, row.version_id)
                    and not is_claimed(row.execution_id)
                ]
                # Rows come newest first, so nothing of the span follows a page from before it. Should they come in the
                # opposite order, the walk goes on to its end.
                if times and times[-1] <= times[0] < since:
                    break
        details = await self._details.read([row.execution_id for row in found if row.inputs is None or self._in_full])
        return [
            details.get(row.execution_id)
            or Candidate(id=row.execution_id, status=row.status, inputs=row.inputs, started_at=row.started_at)
            for row in found
        ]


class ModelLookup:
    """The listing of executions, narrowed to the predictions of one model."""

    def __init__(self, transport: Transport, refused: RefusedListings, model: str) -> None:
        self._transport = transport
        self._refused = refused
        self._model = model
        self._details = _DetailReader(transport, GET_PREDICTION, Prediction)

    @property
    def filters(self) -> dict[str, str]:
        """The model."""
        return {"model": self._model}

    async def candidates(self, span: TimeSpan, is_claimed: Callable[[str], bool]) -> list[Candidate]:
        """Return the predictions of the model that were created in `span` and are not claimed."""
        first = await first_rows(self._transport, self._refused, {})
        since, until = span.in_service_time(first.served_at)
        filters = {"model": self._model, "since": rfc3339(since), "until": rfc3339(until)}
        rows = await ExecutionPager(self._transport, self._refused, filters).collect()
        # An execution with a workflow is a step of that workflow, not a prediction of its own.
        ids = [row.id for row in rows if row.workflow_id is None and not is_claimed(row.id)]
        return list((await self._details.read(ids)).values())


# ---- matching candidates to inputs


def contains(found: Any, given: Any) -> bool:
    """Whether the inputs `found` contain all that was `given`, at any depth; the service may add defaults."""
    if _is_object(found) and _is_object(given):
        return all(name in found and contains(found[name], value) for name, value in given.items())
    return bool(found == given)


def with_inputs(inputs: Sequence[Any], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that have one of these inputs or, if there is none, those that contain one of them."""
    equal = [one for one in candidates if one.inputs in inputs]
    return equal or [one for one in candidates if any(contains(one.inputs, value) for value in inputs)]


def assign(inputs: Sequence[Any], candidates: Sequence[Candidate]) -> list[Candidate | None]:
    """Return a candidate for each input, or None; every candidate is assigned to one input at most.

    Equal inputs take precedence over those that only contain what was given.
    """
    left = list(candidates)
    result: list[Candidate | None] = [None] * len(inputs)
    for fits in (operator.eq, contains):
        for index, value in enumerate(inputs):
            if result[index] is None:
                result[index] = match = next((one for one in left if fits(one.inputs, value)), None)
                if match is not None:
                    left.remove(match)
    return result


def assign_if_certain(
    inputs: Sequence[Any], candidates: Sequence[tuple[str, Any]], in_doubt: Mapping[str, int] = _NONE_IN_DOUBT
) -> list[str | None]:
    """Return the id of a candidate for each input, or None; `candidates` are pairs of an id and its inputs, in order.

    Every candidate is assigned to one input at most, and equal inputs take precedence over those that only contain
    what was given. `in_doubt` counts, by digest, all inputs that may have an unclaimed execution, including those that
    are not among `inputs`: a candidate that equals one of them is assigned to no other. An input with more candidates
    than equal inputs gets none, because it cannot be told which of them are this client's.
    """
    found: list[str | None] = [None] * len(inputs)
    digests = {name: digest(theirs) for name, theirs in candidates}
    for fits in (operator.eq, contains):
        for index, given in enumerate(inputs):
            equal = [other for other in range(len(inputs)) if found[other] is None and inputs[other] == given]
            if index not in equal:
                continue
            fitting = [
                name
                for name, theirs in candidates
                if name not in found and fits(theirs, given) and (fits is operator.eq or digests[name] not in in_doubt)
            ]
            if len(fitting) <= max(len(equal), in_doubt.get(digest(given), 0)):
                for other, name in zip(equal, fitting, strict=False):
                    found[other] = name
    return found


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


# ---- both together


async def find_created(
    lookup: Lookup,
    claims: Claims,
    inputs: Sequence[Any],
    span: TimeSpan,
    *,
    claimed: Collection[str],
    in_doubt: Mapping[str, int],
) -> list[str | None]:
    """Return the id of the execution of each input that is certain, and claim it; None for the other inputs.

    Executions that are in `claimed` or claimed by another call are left out. For `in_doubt` see `assign_if_certain`.
    """
    found = await lookup.candidates(span, lambda identity: identity in claimed or identity in claims)
    ids = assign_if_certain(inputs, [(one.id, one.inputs) for one in reversed(found)], in_doubt)
    claims.add(identity for identity in ids if identity is not None)
    return ids


async def reconcile(
    lookup: Lookup,
    transport: Transport,
    claims: Claims,
    inputs: Sequence[Any],
    span: TimeSpan,
    *,
    key: bytes,
    answer_of: Callable[[list[Candidate]], T | None],
    unknown: OutcomeUnknownError,
) -> T | None:
    """Return the answer that a request would have had, made from the candidates, or None if it stays unknown.

    The listing is read up to five times, within the deadline of a call. `answer_of` returns an answer if the
    candidates are exactly those of one request. `key` describes what is created, see `Claims.creating`. If no
    answer can be made, the ids of the candidates and the reason are added to `unknown`.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + transport.timeouts.deadline_s
    pause_s = transport.retry.base_s
    for attempt in range(LOOKUP_ATTEMPTS):
        if attempt:
            if loop.time() + pause_s >= ends:
                break
            await asyncio.sleep(pause_s)
            pause_s *= 2
        try:
            found = await lookup.candidates(span, claims.__contains__)
        except EachLabsError as exc:
            _append(unknown, f"the look-up failed: {exc.message}")
            return None
        candidates = with_inputs(inputs, found)
        answer = answer_of(candidates)
        # While another call creates the same, the candidate may be that call's, which claims it when it ends.
        if answer is not None and claims.is_only_creator(key):
            return answer
        unknown.candidates = tuple(one.id for one in candidates)
    count = len(unknown.candidates)
    _append(unknown, f"a look-up found {count or 'no'} candidate{'' if count == 1 else 's'}")
    return None


def _append(unknown: OutcomeUnknownError, text: str) -> None:
    unknown.message += f"; {text}"
    unknown.args = (unknown.message,)
