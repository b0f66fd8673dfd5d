"""Owns the calls about predictions of models; refuses fanning out, waiting and looking for a lost one: rooms above do.

What is created is billed, so it is sent once: `create` sees to that.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from typing import Any

from ..bulk.fetch import BulkFetch, Known
from ..bulk.outcomes import BulkStats, MapStats
from ..bulk.workers import one_each
from ..jobs.create import Candidate, LookupScope, create
from ..jobs.map_factory import map_model
from ..jobs.map_run import MapRun
from ..jobs.polling import Poll
from ..jobs.wait import checked_timeout, identity_of, until_ended
from ..records import CancelledPrediction, CreatedPrediction, FinishedPrediction, Prediction
from ..transport import requests as _requests
from ..transport.endpoints import CANCEL_PREDICTION, GET_PREDICTION
from ..transport.gone import NOBODY_KNOWS, WAS_THERE, told
from ..transport.transport import Transport


class Predictions:
    """The predictions of models."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002  # the wire's name
        *,
        version: str | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        fallback_selector: str | None = None,
        reconcile: bool = False,
    ) -> CreatedPrediction:
        """Start one prediction (`POST /prediction`).

        `version` is no longer looked at by the service; the compat edition wants one, and is sent `0.0.1`.
        `webhook_secret` comes back in the header `X-Webhook-Secret` of each delivery to `webhook_url`.
        `fallback_selector` names the organisation's chain of models that take over where this one fails: 1 to 50
        lower-case letters and digits, with single hyphens between them. The service refuses a name that it does not
        know (`BadRequestError`), and any where fallbacks are not enabled (`PermissionDeniedError`).

        It is sent once: where no clear answer came the error is `OutcomeUnknownError`. With `reconcile` the model's
        executions that were created during the call are then searched for one with this input that no other call
        of this client made: exactly one is the result, else the error has `candidates`. Other clients that send the
        same input at the same moment cannot be told apart.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.prediction(edition, model, input, version, webhook_url, webhook_secret, fallback_selector)
        del webhook_secret  # A traceback shows the locals of this frame.
        return await create(
            prepared,
            CreatedPrediction,
            LookupScope(transport=self._transport, model=model),
            ids=lambda answer: [answer.id],
            found=_one_prediction,
            reconcile=reconcile,
        )

    async def run(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002  # the wire's name
        *,
        version: str | None = None,
    ) -> FinishedPrediction:
        """Start one prediction and let the service wait for its end (`POST /prediction/run`); `state` says which.

        Only models that allow it can be run so; others are a `BadRequestError`. It is sent once, as by `create`. The
        read time-out has to last for the whole prediction: see `with_options`.
        """
        prepared = _requests.run_prediction(self._transport.session.hosts.edition, model, input, version)
        finished = await create(
            prepared,
            FinishedPrediction,
            LookupScope(transport=self._transport, model=model),
            ids=lambda answer: [answer.id],
            found=lambda seen: None,
            reconcile=False,
        )
        self._transport.session.seen(finished.id, finished=True)
        return finished

    async def get(self, prediction_id: str) -> Prediction:
        """Get one prediction (`GET /prediction/{id}`); `NotFoundError` for an id that is unknown or was deleted."""
        with told(NOBODY_KNOWS):
            return await self._read(prediction_id)

    async def _read(self, prediction_id: str) -> Prediction:
        path = GET_PREDICTION.expand(self._transport.session.hosts.edition, prediction_id=prediction_id)
        found = await self._transport.get(self._transport.call(GET_PREDICTION, path), Prediction)
        self._transport.session.seen(prediction_id, finished=found.is_finished)
        return found

    def get_many(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        window: int | None = None,
        known: Known[Prediction] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[Prediction]:
        """Get many predictions, an outcome per id; arguments and errors are those of `workflow_executions.get_many`."""
        return BulkFetch(
            one_each(self._transport, GET_PREDICTION, "prediction_id", Prediction, hint=NOBODY_KNOWS),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            paused=partial(self._transport.waiting, GET_PREDICTION),
        )

    async def cancel(self, prediction_id: str) -> CancelledPrediction:
        """Cancel one prediction (`POST /prediction/{id}/cancel`), as well as its provider can.

        It may end all the same: `wait` tells. Asking again does no harm, so a failed try is repeated.

        Raises `NotFoundError` for an unknown id, and the other errors of a call.
        """
        path = CANCEL_PREDICTION.expand(self._transport.session.hosts.edition, prediction_id=prediction_id)
        cancelled = await self._transport.get(self._transport.call(CANCEL_PREDICTION, path), CancelledPrediction)
        self._transport.session.seen(prediction_id, finished=True)
        return cancelled

    async def wait(
        self,
        prediction: str | CreatedPrediction | Prediction,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[Prediction], object] | None = None,
    ) -> Prediction:
        """Wait for one prediction to succeed, asking after it ever more slowly; gives it.

        `prediction` is an id, or what `create` gave: that one may take ten seconds to be found. `timeout_s` is the
        longest wait in seconds, above 0; `poll` the pauses. `on_update` is called with the prediction whenever it
        changed.

        Raises `ExecutionFailedError` where it failed or was cancelled, `NotFoundError` where it is not there (any
        more: an organisation can delete executions by age), `WaitTimeoutError` (with the prediction as it was last)
        after `timeout_s`, and the errors of a call that its tries did not overcome.
        """
        identity = identity_of("prediction", prediction, "id")

        async def ask(pause_s: float, left_s: float) -> Prediction:
            with told(WAS_THERE):
                return await self._read(identity)

        return await until_ended(
            identity,
            ask,
            timeout_s=checked_timeout("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(prediction, CreatedPrediction),
        )

    def map(
        self,
        model: str,
        inputs: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        version: str | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        fallback_selector: str | None = None,
        concurrency: int = 64,
        window: int | None = None,
        ordered: bool = False,
        journal: str | PathLike[str] | None = None,
        on_progress: Callable[[MapStats], object] | None = None,
    ) -> MapRun[Prediction]:
        """Run any number of inputs through a model: an outcome for each, as they finish or in order (`ordered`).

        The arguments and promises are those of `workflows.map`; `fallback_selector` is that of `create`, for every
        input. A prediction can be cancelled: leaving the block early, without a journal, cancels those that still run,
        as well as it goes.
        """
        return map_model(
            self._transport,
            model,
            inputs,
            version=version,
            webhook_url=webhook_url,
            webhook_secret=webhook_secret,
            fallback_selector=fallback_selector,
            concurrency=concurrency,
            window=window,
            ordered=ordered,
            journal=journal,
            on_progress=on_progress,
        )


def _one_prediction(seen: list[Candidate]) -> CreatedPrediction | None:
    return CreatedPrediction(predictionID=seen[0].id) if len(seen) == 1 else None
