"""Owns the calls that create something: sent once, and where the outcome is unknown, looked for; refuses a second send.

What is looked for was created between the start and the end of the call, by the service's clock, which is read from
the `Date` of the look-up's own answer; two seconds are added on each side, for that header tells whole seconds. It
must have the very inputs, and belong to no other call of this client. A listing may show a row late, so it is read a
few times, and every pause is twice the one before.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeGuard, TypeVar, cast

from attrs import field, frozen

from ..bulk.fetch import BulkFetch
from ..bulk.workers import one_each
from ..codec.strict import encode_json
from ..errors import EachLabsError, NotFoundError, OutcomeUnknownError, ResponseDecodeError
from ..pagination.execution_pager import ExecutionPager
from ..pagination.first_rows import first_rows
from ..pagination.pager import Pager
from ..records import Prediction, WorkflowExecution, WorkflowExecutionSummary
from ..transport.arguments import rfc3339
from ..transport.endpoints import (
    GET_PREDICTION,
    GET_WORKFLOW_EXECUTION,
    LIST_WORKFLOW_EXECUTIONS,
    Endpoint,
)
from ..transport.requests import Prepared
from ..transport.transport import Transport
from ..transport.wire import http_date

T = TypeVar("T")
R = TypeVar("R", Prediction, WorkflowExecution)

CLOCK_TOLERANCE: Final = timedelta(seconds=2)
LOOKUP_ATTEMPTS: Final = 5


@frozen
class TimeSpan:
    """From when to when a call went on, by this machine's clock."""

    since: datetime
    until: datetime

    def lookup(self, **where: str) -> dict[str, str]:
        """Give where to look, as arguments of a listing."""
        return {**where, "since": rfc3339(self.since - CLOCK_TOLERANCE), "until": rfc3339(self.until + CLOCK_TOLERANCE)}


@frozen(kw_only=True)
class Candidate:
    """An execution that was created in the span: what it is called, and what it was given."""

    id: str
    status: str
    inputs: dict[str, Any] | None
    started_at: datetime | None = None
    bulk_id: str | None = None


@frozen(kw_only=True)
class LookupScope:
    """Where executions of one kind are looked for; it reads no execution's inputs twice."""

    transport: Transport
    workflow_id: str | None = None
    version_id: str | None = None
    model: str | None = None
    whole: bool = False
    _read: dict[str, Candidate] = field(factory=dict[str, Candidate], init=False, repr=False)

    @property
    def arguments(self) -> dict[str, str]:
        """What tells the listing where to look."""
        if self.model is not None:
            return {"model": self.model}
        return {"workflow_id": self.workflow_id} if self.workflow_id is not None else {}

    async def seen(self, span: TimeSpan, claimed: Collection[str] | Callable[[str], bool] = ()) -> list[Candidate]:
        """Give the executions that were created in the span and are not `claimed`."""
        is_claimed = claimed if callable(claimed) else claimed.__contains__
        if self.model is not None:
            return await self._predictions(span, self.model, is_claimed)
        assert self.workflow_id is not None
        return await self._executions(span, self.workflow_id, is_claimed)

    async def _executions(self, span: TimeSpan, workflow_id: str, is_claimed: Callable[[str], bool]) -> list[Candidate]:
        edition = self.transport.session.hosts.edition
        path = LIST_WORKFLOW_EXECUTIONS.expand(edition, workflow_id=workflow_id)
        clock = self.transport.call(LIST_WORKFLOW_EXECUTIONS, path, "limit=1&offset=0", chosen=False)
        await self.transport.send(clock)
        since, until = _by_their_clock(span, http_date(clock.headers.get("Date")))
        pager: Pager[WorkflowExecutionSummary] = Pager(
            self.transport, LIST_WORKFLOW_EXECUTIONS, path, {}, start=0, size=100, walk={}
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
                    and self.version_id in (None, row.version_id)
                    and not is_claimed(row.execution_id)
                ]
                # Newest first, so that nothing of the span follows a page from before it; should the rows come the
                # other way round, the walk goes to its end.
                if times and times[-1] <= times[0] < since:
                    break
        bare = [row.execution_id for row in found if row.inputs is None or self.whole]
        whole = await self._whole(GET_WORKFLOW_EXECUTION, "execution_id", WorkflowExecution, bare)
        return [
            whole.get(row.execution_id)
            or Candidate(id=row.execution_id, status=row.status, inputs=row.inputs, started_at=row.started_at)
            for row in found
        ]

    async def _predictions(self, span: TimeSpan, model: str, is_claimed: Callable[[str], bool]) -> list[Candidate]:
        since, until = _by_their_clock(span, (await first_rows(self.transport, {})).served_at)
        filters = {"model": model, "since": rfc3339(since), "until": rfc3339(until)}
        pager = ExecutionPager(self.transport, filters)
        ids = [row.id for row in await pager.collect() if row.workflow_id is None and not is_claimed(row.id)]
        whole = await self._whole(GET_PREDICTION, "prediction_id", Prediction, ids)
        return [whole[identity] for identity in ids if identity in whole]

    async def _whole(
        self, endpoint: Endpoint, argument: str, kind: type[R], ids: Sequence[str]
    ) -> dict[str, Candidate]:
        """Read executions in full, those that were not read before; one that is not there yet is left out."""
        query = endpoint.soon(self.transport.session.hosts.edition)
        missing = [identity for identity in ids if identity not in self._read]
        read = one_each(self.transport, endpoint, argument, kind, query)
        fetch = BulkFetch(read, missing, concurrency=8, ordered=False)
        async with fetch as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome.error, NotFoundError):
                    continue
                self._read[outcome.id] = _seen(outcome.unwrap())
        return {identity: self._read[identity] for identity in ids if identity in self._read}


def _by_their_clock(span: TimeSpan, served_at: datetime | None) -> tuple[datetime, datetime]:
    """Give the span by the service's clock, which told this time just now; two seconds are added on each side."""
    now = datetime.now(UTC)
    skew = (served_at or now) - now
    return span.since + skew - CLOCK_TOLERANCE, span.until + skew + CLOCK_TOLERANCE


def _seen(record: Prediction | WorkflowExecution) -> Candidate:
    if isinstance(record, Prediction):
        return Candidate(id=record.id, status=record.status, inputs=record.input)
    return Candidate(
        id=record.execution_id,
        status=record.status,
        inputs=record.inputs,
        started_at=record.started_at,
        bulk_id=record.bulk_id,
    )


def holds(found: Any, given: Any) -> bool:
    """Say whether the inputs `found` hold all that was `given`: the service may add what was left out."""
    if _is_object(found) and _is_object(given):
        return all(name in found and holds(found[name], value) for name, value in given.items())
    return bool(found == given)


def alike(inputs: Sequence[Any], seen: Sequence[Candidate]) -> list[Candidate]:
    """Give the executions that have one of these inputs, or, where none has, those that hold one of them."""
    equal = [one for one in seen if one.inputs in inputs]
    return equal or [one for one in seen if any(holds(one.inputs, value) for value in inputs)]


def assigned(inputs: Sequence[Any], seen: Sequence[Candidate]) -> list[Candidate | None]:
    """Give each input one execution with its inputs, and each execution to one input at most.

    Equal inputs come before those that only hold what was given.
    """
    left = list(seen)
    result: list[Candidate | None] = [None] * len(inputs)
    for fits in (operator.eq, holds):
        for number, value in enumerate(inputs):
            if result[number] is None:
                result[number] = match = next((one for one in left if fits(one.inputs, value)), None)
                if match is not None:
                    left.remove(match)
    return result


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


async def create(
    prepared: Prepared,
    kind: type[T],
    where: LookupScope,
    *,
    ids: Callable[[T], list[str]],
    found: Callable[[list[Candidate]], T | None],
    reconcile: bool,
) -> T:
    """Send a creating request once; with `reconcile` look for what it created where no clear answer came.

    `ids` gives the executions that an answer names, or raises a `ResponseDecodeError` for one that says nothing.
    `found` makes the answer out of the executions that have the inputs asked for, None where they do not make exactly
    one.
    """
    transport = where.transport
    claims = transport.session.claims
    call = transport.call(prepared.endpoint, prepared.path, body=prepared.body)
    call.asked = len(prepared.inputs)
    since = datetime.now(UTC)
    what = encode_json([where.arguments, prepared.inputs])
    with claims.under_way(what):
        try:
            answer = await transport.read(call, await transport.send(call), kind)
            transport.session.created(ids(answer))
            return answer
        except OutcomeUnknownError as exc:
            unknown = exc
        except ResponseDecodeError as exc:  # from `ids`
            unknown = cast(OutcomeUnknownError, transport.session.with_call_details(call, exc))
        span = TimeSpan(since, datetime.now(UTC))
        unknown.lookup = span.lookup(**where.arguments) if where.arguments else {}
        if reconcile:
            made = await _reconciled(prepared, what, where, span, unknown, found)
            if made is not None:
                transport.session.created(ids(made))
                return made
    raise unknown.with_traceback(None)


async def _reconciled(
    prepared: Prepared,
    what: bytes,
    where: LookupScope,
    span: TimeSpan,
    unknown: OutcomeUnknownError,
    found: Callable[[list[Candidate]], T | None],
) -> T | None:
    """Look until exactly one answer shows; None, with the candidates in the error, where none does."""
    transport = where.transport
    claims = transport.session.claims
    ends = asyncio.get_running_loop().time() + transport.timeouts.deadline_s
    pause_s = transport.retry.base_s
    for look in range(LOOKUP_ATTEMPTS):
        if look:
            if asyncio.get_running_loop().time() + pause_s >= ends:
                break
            await asyncio.sleep(pause_s)
            pause_s *= 2
        try:
            seen = await where.seen(span, claims.__contains__)
        except EachLabsError as exc:
            _say(unknown, f"the look-up failed: {exc.message}")
            return None
        candidates = alike(prepared.inputs, seen)
        result = found(candidates)
        # While another call creates the same it may be that call's, which claims it when it ends.
        if result is not None and claims.is_alone(what):
            return result
        unknown.candidates = tuple(one.id for one in candidates)
    _say(unknown, f"a look-up found {len(unknown.candidates) or 'no'} candidate{'s'[: len(unknown.candidates) != 1]}")
    return None


def _say(unknown: OutcomeUnknownError, more: str) -> None:
    unknown.message += f"; {more}"
    unknown.args = (unknown.message,)
