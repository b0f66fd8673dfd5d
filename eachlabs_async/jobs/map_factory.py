"""Owns how maps are put together for the resources: work, cap, window and journal; refuses to run them."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from os import PathLike
from typing import Any, Final, TypeVar

from attrs import evolve

from ..bulk.outcomes import MapStats
from ..pagination.pager import Pager
from ..records import (
    BulkTriggered,
    CancelledPrediction,
    CreatedPrediction,
    Prediction,
    WorkflowExecution,
    WorkflowExecutionSummary,
)
from ..transport import requests as _requests
from ..transport.arguments import checked_count
from ..transport.call import Call
from ..transport.endpoints import (
    CANCEL_PREDICTION,
    GET_PREDICTION,
    GET_WORKFLOW_EXECUTION,
    LIST_WORKFLOW_EXECUTIONS,
    Endpoint,
)
from ..transport.gone import WAS_THERE, told
from ..transport.transport import Transport
from ..transport.wire import segment
from .account_limit import AccountLimit
from .create import LookupScope
from .input_reader import InputReader
from .journal import Journal
from .listing_watcher import ListingWatcher
from .map_backends import PredictionBackend, WaitBackend, WorkflowBackend, refused_whole
from .map_run import MapRun
from .map_state import Backend, MapState
from .wait import checked_timeout

T = TypeVar("T")
OnProgress = Callable[[MapStats], object] | None
Source = Iterable[Any] | AsyncIterable[Any]

WINDOW: Final = 4
"""Inputs held, as a multiple of the executions at once."""
WAITED_AT_ONCE: Final = 1000


def map_workflow(
    transport: Transport,
    workflow_id: str,
    version_id: str | None,
    inputs: Source,
    *,
    webhook_url: str | None,
    webhook_secret: str | None,
    concurrency: int,
    window: int | None,
    ordered: bool,
    journal: str | PathLike[str] | None,
    on_progress: OnProgress,
) -> MapRun[WorkflowExecution]:
    """Put together a map over a workflow."""
    edition = transport.session.hosts.edition
    # Prepared once for nothing, so that a bad argument is told now and not with the first input.
    _requests.bulk_trigger(edition, workflow_id, version_id, [{}], webhook_url, webhook_secret)
    creating = _without_waiting(transport)

    async def trigger(chunk: list[Any]) -> BulkTriggered:
        prepared = _requests.bulk_trigger(edition, workflow_id, version_id, chunk, webhook_url, webhook_secret)
        call = creating.call(prepared.endpoint, prepared.path, body=prepared.body)
        call.asked = len(chunk)
        answer = await creating.get(call, BulkTriggered)
        transport.session.created(entry.execution_id for entry in answer.executions if entry.execution_id)
        if (refusal := refused_whole(answer)) is not None:
            transport.session.hold(call, refusal, transport.retry)
            raise transport.session.with_call_details(call, refusal)
        return answer

    async def get(identity: str) -> WorkflowExecution:
        with told(WAS_THERE):
            return await transport.get(
                _one(transport, GET_WORKFLOW_EXECUTION, execution_id=identity), WorkflowExecution
            )

    where = LookupScope(transport=transport, workflow_id=workflow_id, version_id=version_id)
    work = WorkflowBackend(trigger, get, _listing_watcher(transport, workflow_id), where)
    binding = f"workflow {workflow_id}, version {version_id}, {edition}"
    return _mapped(transport, work, inputs, binding, concurrency, window, ordered, journal, on_progress)


def map_model(
    transport: Transport,
    model: str,
    inputs: Source,
    *,
    version: str | None,
    webhook_url: str | None,
    webhook_secret: str | None,
    fallback_selector: str | None,
    concurrency: int,
    window: int | None,
    ordered: bool,
    journal: str | PathLike[str] | None,
    on_progress: OnProgress,
) -> MapRun[Prediction]:
    """Put together a map over a model."""
    edition = transport.session.hosts.edition
    _requests.prediction(edition, model, {}, version, webhook_url, webhook_secret, fallback_selector)
    creating = _without_waiting(transport)

    async def create(given: Any) -> CreatedPrediction:
        prepared = _requests.prediction(edition, model, given, version, webhook_url, webhook_secret, fallback_selector)
        call = creating.call(prepared.endpoint, prepared.path, body=prepared.body)
        call.asked = 1
        answer = await creating.get(call, CreatedPrediction)
        transport.session.created([answer.id])
        return answer

    async def get(identity: str) -> Prediction:
        with told(WAS_THERE):
            return await transport.get(_one(transport, GET_PREDICTION, prediction_id=identity), Prediction)

    async def cancel(identity: str) -> CancelledPrediction:
        cancelled = await creating.get(_one(creating, CANCEL_PREDICTION, prediction_id=identity), CancelledPrediction)
        transport.session.seen(identity, finished=True)
        return cancelled

    work = PredictionBackend(create, get, cancel, LookupScope(transport=transport, model=model))
    binding = f"model {model}, version {version}, {edition}"
    if fallback_selector is not None:  # A journal from before there were any stays good.
        binding += f", fallback {fallback_selector}"
    return _mapped(transport, work, inputs, binding, concurrency, window, ordered, journal, on_progress)


def wait_for_many(
    transport: Transport,
    workflow_id: str,
    ids: Iterable[str] | AsyncIterable[str],
    *,
    timeout_s: float | None,
    ordered: bool,
    on_progress: OnProgress,
) -> MapRun[WorkflowExecution]:
    """Put together a wait for executions of one workflow."""
    segment("workflow_id", workflow_id)

    async def get(identity: str) -> WorkflowExecution:
        with told(WAS_THERE):
            return await transport.get(
                _one(transport, GET_WORKFLOW_EXECUTION, execution_id=identity), WorkflowExecution
            )

    run: MapState[WorkflowExecution] = MapState(
        WaitBackend(_listing_watcher(transport, workflow_id), get),
        InputReader("ids", ids),
        AccountLimit(WAITED_AT_ONCE, WAITED_AT_ONCE),
        ours=transport.session.ours,
        window=2 * WAITED_AT_ONCE,
        ordered=ordered,
        journal=None,
    )
    limit_s = None if timeout_s is None else checked_timeout("timeout_s", timeout_s)
    return MapRun(run, on_progress=on_progress, timeout_s=limit_s)


def _mapped(
    transport: Transport,
    work: Backend[T],
    inputs: Source,
    binding: str,
    concurrency: int,
    window: int | None,
    ordered: bool,
    journal: str | PathLike[str] | None,
    on_progress: OnProgress,
) -> MapRun[T]:
    checked_count("concurrency", concurrency, least=1)
    if window is not None:
        checked_count("window", window, least=work.chunk)
    run = MapState(
        work,
        InputReader("inputs", inputs),
        _account_limit(concurrency, transport.session.account_level),
        ours=transport.session.ours,
        window=max(WINDOW * concurrency, work.chunk) if window is None else window,
        ordered=ordered,
        journal=None if journal is None else Journal(journal, binding),
    )

    def remember(level: int) -> None:
        transport.session.account_level = level

    return MapRun(run, on_progress=on_progress, remember=remember)


def _account_limit(most: int, remembered: int | None) -> AccountLimit:
    """Start from the level that an earlier map of this client found."""
    if remembered is None:
        return AccountLimit(most, most)
    level = min(most, remembered)
    return AccountLimit(most, level, confirmed=level, known=True)


def _without_waiting(transport: Transport) -> Transport:
    """Give a view on which a 429 comes through at once: the map knows better when a place falls free."""
    retry = evolve(transport.retry, statuses=transport.retry.statuses - {429})
    return Transport(transport.session, retry, transport.timeouts)


def _listing_watcher(transport: Transport, workflow_id: str) -> ListingWatcher:
    path = LIST_WORKFLOW_EXECUTIONS.expand(transport.session.hosts.edition, workflow_id=workflow_id)

    def listing(size: int, start: int) -> Pager[WorkflowExecutionSummary]:
        return Pager(transport, LIST_WORKFLOW_EXECUTIONS, path, {}, start=start, size=size, walk={})

    return ListingWatcher(transport, listing)


def _one(transport: Transport, endpoint: Endpoint, **arguments: str) -> Call:
    edition = transport.session.hosts.edition
    return transport.call(endpoint, endpoint.expand(edition, **arguments), endpoint.soon(edition), background=True)
