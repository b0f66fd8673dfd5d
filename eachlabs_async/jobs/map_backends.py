"""Owns what a map does with workflows and with models: sending, watching, reading, finding again.

It refuses to order any of it: `mapping` does, for both alike.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from ..errors import (
    APIStatusError,
    EachLabsError,
    NotFoundError,
    PaymentRequiredError,
    RateLimitError,
    ResponseDecodeError,
)
from ..records import BulkTriggered, BulkTriggeredExecution, CreatedPrediction, Prediction, State, WorkflowExecution
from ..transport.requests import MAX_BULK_INPUTS, checked_object
from ..transport.tasks import gather_or_cancel
from ..transport.wire import segment
from .create import LookupScope, TimeSpan, holds
from .journal import digest
from .listing_watcher import ListingWatcher
from .map_state import AT_THE_CAP, FATAL_FOR_MAP, OUT_OF_MONEY
from .polling import why_it_failed

R = TypeVar("R", Prediction, WorkflowExecution)

SENDERS: Final = 4
"""Predictions created at once: each takes one input, where a bulk trigger takes ten."""
NOTHING: Final[Mapping[str, int]] = {}


def matched(
    inputs: Sequence[Any], candidates: Sequence[tuple[str, Any]], lost: Mapping[str, int] = NOTHING
) -> list[str | None]:
    """Give each input the id of a candidate with its inputs, each candidate once, in the candidates' order.

    Equal inputs come before those that only hold what was given. `lost` counts by digest all inputs that may have a
    candidate, also such as nobody asks for now: what equals one of them belongs to no other. Where there are more
    candidates than equal inputs, nobody can tell which are ours: then none is.
    """
    found: list[str | None] = [None] * len(inputs)
    others = {name: digest(theirs) for name, theirs in candidates}
    for fits in (operator.eq, holds):
        for number, given in enumerate(inputs):
            alike = [other for other in range(len(inputs)) if found[other] is None and inputs[other] == given]
            if number not in alike:
                continue
            fitting = [
                name
                for name, theirs in candidates
                if name not in found and fits(theirs, given) and (fits is operator.eq or others[name] not in lost)
            ]
            if len(fitting) <= max(len(alike), lost.get(digest(given), 0)):
                for other, name in zip(alike, fitting, strict=False):
                    found[other] = name
    return found


class WorkflowBackend:
    """Inputs of one workflow, sent in bulk triggers of up to ten."""

    chunk = MAX_BULK_INPUTS
    senders = 1
    creates = True

    def __init__(
        self,
        trigger: Callable[[list[Any]], Awaitable[BulkTriggered]],
        get: Callable[[str], Awaitable[WorkflowExecution]],
        look: ListingWatcher,
        where: LookupScope,
    ) -> None:
        self._trigger = trigger
        self._get = get
        self._listing_watcher = look
        self._where = where

    def checked(self, value: Any) -> Any:
        """Give an input as a JSON object."""
        return checked_object("input", value)

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs with one bulk trigger."""
        answer = await self._trigger(inputs)
        return [(entry.execution_id, _why_refused(entry)) for entry in answer.executions[: len(inputs)]]

    async def finished(self, ids: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Look at the workflow's listing."""
        return await self._listing_watcher.settled(ids, fresh)

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one execution with its steps."""
        return succeeded(await self._get(identity))

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], lost: Mapping[str, int]
    ) -> list[str | None]:
        """Look through the workflow's newest executions."""
        return await _found(self._where, inputs, since, claimed, lost)

    def lookup(self, since: float) -> dict[str, str]:
        """Give the arguments of that listing."""
        return _span(since).lookup(**self._where.arguments)

    async def cancel(self, ids: Sequence[str]) -> None:
        """Do nothing: the API has no call that cancels an execution of a workflow."""


class PredictionBackend:
    """Inputs of one model, a prediction each."""

    chunk = 1
    senders = SENDERS
    creates = True

    def __init__(
        self,
        create: Callable[[Any], Awaitable[CreatedPrediction]],
        get: Callable[[str], Awaitable[Prediction]],
        cancel: Callable[[str], Awaitable[object]],
        where: LookupScope,
    ) -> None:
        self._create = create
        self._get = get
        self._cancel = cancel
        self._where = where
        self._finished: dict[str, Prediction] = {}

    def checked(self, value: Any) -> Any:
        """Give an input as a JSON object."""
        return checked_object("input", value)

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Create one prediction."""
        (given,) = inputs
        return [((await self._create(given)).id, "")]

    async def finished(self, ids: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Ask for each; a finished one is kept, so that it is read once. An error where none could be asked for."""
        found = await gather_or_cancel(self._is_finished(identity, identity in fresh) for identity in ids)
        failures = [answer for answer in found if isinstance(answer, EachLabsError)]
        if len(failures) == len(found):
            raise failures[0]
        return [identity for identity, settled in zip(ids, found, strict=True) if settled is True]

    async def _is_finished(self, identity: str, fresh: bool) -> bool | EachLabsError:
        try:
            prediction = await self._get(identity)
        except NotFoundError:
            return not fresh  # Reading it again will say so.
        except ResponseDecodeError:
            return True
        except FATAL_FOR_MAP:
            raise
        except EachLabsError as exc:
            return exc  # The others are not to wait for this one.
        if prediction.is_finished:
            self._finished[identity] = prediction
        return prediction.is_finished

    async def fetch(self, identity: str) -> Prediction:
        """Give the finished prediction."""
        kept = self._finished.pop(identity, None)
        return succeeded(kept if kept is not None else await self._get(identity))

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], lost: Mapping[str, int]
    ) -> list[str | None]:
        """Look through the model's newest executions."""
        return await _found(self._where, inputs, since, claimed, lost)

    def lookup(self, since: float) -> dict[str, str]:
        """Give the arguments of that listing."""
        return _span(since).lookup(**self._where.arguments)

    async def cancel(self, ids: Sequence[str]) -> None:
        """Cancel each, as well as it goes."""
        await gather_or_cancel(self._cancel_one(identity) for identity in ids)

    async def _cancel_one(self, identity: str) -> None:
        try:
            await self._cancel(identity)
        except EachLabsError:
            return  # Best effort: it may be finished, or the service away.


class WaitBackend:
    """Executions that run already: the "inputs" are their ids, and nothing is sent."""

    chunk = 1000
    senders = 1
    creates = False

    def __init__(
        self,
        look: ListingWatcher,
        get: Callable[[str], Awaitable[WorkflowExecution]],
    ) -> None:
        self._listing_watcher = look
        self._get = get

    def checked(self, value: Any) -> Any:
        """Give an id that can be asked for."""
        segment("id", value)
        return value

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Give the ids themselves."""
        return [(identity, "") for identity in inputs]

    async def finished(self, ids: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Look at the workflow's listing; who waits for an id knows it, so that none counts as fresh."""
        return await self._listing_watcher.settled(ids)

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one execution with its steps."""
        return succeeded(await self._get(identity))

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], lost: Mapping[str, int]
    ) -> list[str | None]:
        """Find nothing: nothing is sent, so nothing can be lost."""
        return [None] * len(inputs)

    def lookup(self, since: float) -> dict[str, str]:
        """Give nothing, for the same reason."""
        return {}

    async def cancel(self, ids: Sequence[str]) -> None:
        """Do nothing: who only waits does not end what he waits for."""


def refused_whole(answer: BulkTriggered) -> APIStatusError | None:
    """Give the refusal that an answer is which has nothing but entries that failed for the cap, or for the balance."""
    said = [_why_refused(entry) if entry.execution_id is None else "" for entry in answer.executions]
    if said and all(AT_THE_CAP.search(message) for message in said):
        return RateLimitError(said[0], status=429)
    if said and all(OUT_OF_MONEY.search(message) for message in said):
        return PaymentRequiredError(said[0], status=402)
    return None


def _why_refused(entry: BulkTriggeredExecution) -> str:
    return entry.message or entry.status if entry.state is State.FAILED else ""


def _span(since: float) -> TimeSpan:
    return TimeSpan(datetime.fromtimestamp(since, UTC), datetime.now(UTC))


async def _found(
    where: LookupScope, inputs: list[Any], since: float, claimed: Collection[str], lost: Mapping[str, int]
) -> list[str | None]:
    claims = where.transport.session.claims
    seen = await where.seen(_span(since), lambda identity: identity in claimed or identity in claims)
    found = matched(inputs, [(one.id, one.inputs) for one in reversed(seen)], lost)
    claims.add(identity for identity in found if identity is not None)
    return found


def succeeded(record: R) -> R:
    """Give a finished record that succeeded; raise what it failed with otherwise."""
    failure = why_it_failed(record)
    if failure is not None:
        raise failure
    return record
