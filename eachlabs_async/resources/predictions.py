"""The predictions of models. A prediction is billed when it is created, so it is sent once: see `jobs.create`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from os import PathLike
from typing import Any

from ..bulk.fetch import BulkFetch, Known
from ..bulk.fetch_each import fetch_each
from ..bulk.outcomes import BulkStats, MapStats
from ..errors import ExecutionFailedError
from ..jobs.budget import checked_budget
from ..jobs.create import checked_id, create
from ..jobs.ledger import Ledger
from ..jobs.lookup import ModelLookup
from ..jobs.lost_answer import request_or_look
from ..jobs.map_inputs import map_inputs
from ..jobs.map_options import DEFAULT_LEAVE_S, MapOptions
from ..jobs.map_run import MapRun
from ..jobs.matching import Candidate
from ..jobs.poll import Poll
from ..jobs.prediction_backend import PredictionBackend
from ..jobs.refusals import refusal_of
from ..jobs.wait import id_of, poll_until_finished
from ..pagination.listing_choice import RefusedListings
from ..records import CancelledPrediction, CreatedPrediction, FinishedPrediction, Prediction, State
from ..transport import requests
from ..transport.arguments import checked_seconds
from ..transport.endpoints import CANCEL_PREDICTION, GET_PREDICTION
from ..transport.guidance import NamesGuide
from ..transport.not_found_hints import HINT_FOR_KNOWN_ID, hint_for_id, hint_on_not_found
from ..transport.redaction import line
from ..transport.transport import Transport


class Predictions(NamesGuide):
    """The predictions of models."""

    __slots__ = ("_ledger", "_refused", "_transport")

    def __init__(self, transport: Transport, ledger: Ledger, refused: RefusedListings) -> None:
        self._transport = transport
        self._ledger = ledger
        self._refused = refused

    async def create(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002  # the name in the API
        *,
        version: str | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        fallback_selector: str | None = None,
        reconcile: bool = False,
    ) -> CreatedPrediction:
        """Start one prediction and return its id (`POST /prediction`).

        `version` is no longer used by the service; the compat edition requires one and is sent `0.0.1`. The service
        posts the result to `webhook_url`, an absolute http(s) URL, and sends `webhook_secret` with each delivery in the
        header `X-Webhook-Secret`. `fallback_selector` is the name of the organisation's chain of models that take over
        if this one fails: 1 to 50 lower-case letters and digits, with single hyphens between them.

        The request is sent once. If no clear answer came, it raises `OutcomeUnknownError`. With `reconcile`, the
        model's executions that were created during the call are first searched for one with this input, which no other
        input of this client could own: if it is the only one and stays so for two seconds, it is the result, otherwise
        the error has `candidates`. The input is compared as JSON; defaults that the service adds are known from earlier
        executions of this client. Another client's equal input at the same moment cannot be told apart. A look-up reads
        at most 1,000 rows, up to six times, and 200 predictions.

        Raises `BadRequestError` for a fallback chain that the service does not know, `PermissionDeniedError` if
        fallbacks are not enabled, and the other errors of a call.
        """
        prepared = requests.prediction(
            self._transport.edition, model, input, version, webhook_url, webhook_secret, fallback_selector
        )
        del webhook_secret  # A traceback shows the locals of this frame.
        created = await create(
            self._transport,
            self._ledger,
            prepared,
            CreatedPrediction,
            ids_of=_one_id,
            lookup=ModelLookup(self._transport, self._ledger, self._refused, model),
            answer_of=_created if reconcile else None,
        )
        if reason := line(refusal_of(created), self._transport.session.secrets):
            raise ExecutionFailedError(f"the prediction was not created: {reason}", error=reason)
        return created

    async def run(
        self,
        model: str,
        input: Mapping[str, Any],  # noqa: A002  # the name in the API
        *,
        version: str | None = None,
    ) -> FinishedPrediction:
        """Start one prediction, let the service wait for its end, and return it (`POST /prediction/run`).

        Whether it succeeded is its `state`. The request is sent once, as by `create`. The read timeout must cover the
        whole prediction, see `with_options`.

        Raises `BadRequestError` if the model cannot be run this way, `OutcomeUnknownError` if no clear answer came, and
        the other errors of a call.
        """
        finished = await create(
            self._transport,
            self._ledger,
            requests.run_prediction(self._transport.edition, model, input, version),
            FinishedPrediction,
            ids_of=lambda answer: [checked_id(answer.id, "$.id")],
            lookup=ModelLookup(self._transport, self._ledger, self._refused, model),
        )
        self._ledger.seen(finished.id, finished=True, record=finished)
        return finished

    async def get(self, prediction_id: str) -> Prediction:
        """Return one prediction (`GET /prediction/{id}`).

        Raises `NotFoundError` for an id that is unknown or was deleted, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(GET_PREDICTION)):
            return await self._read(prediction_id)

    async def _read(self, prediction_id: str) -> Prediction:
        found = await self._transport.request(GET_PREDICTION, Prediction, prediction_id=prediction_id)
        self._ledger.seen(prediction_id, finished=found.is_finished, record=found)
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
        """Fetch many predictions (`GET /prediction/{id}`); yields an outcome for each id, as they arrive.

        The arguments and errors are those of `workflow_executions.get_many`.
        """
        return fetch_each(
            self._transport,
            GET_PREDICTION,
            Prediction,
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            hint=hint_for_id(GET_PREDICTION),
        )

    async def cancel(self, prediction_id: str) -> CancelledPrediction:
        """Cancel one prediction, as far as its provider can (`POST /prediction/{id}/cancel`).

        It may finish all the same; `wait` returns its end. Cancelling twice does no harm, so a failed request is
        retried. If the answer to one attempt was lost and the next one is refused, the prediction is requested: it is
        no error if it is cancelled.

        Raises `NotFoundError` for an unknown id, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(CANCEL_PREDICTION)):
            cancelled = await request_or_look(
                self._transport.request(CANCEL_PREDICTION, CancelledPrediction, prediction_id=prediction_id),
                partial(self._if_cancelled, prediction_id),
                deadline_s=self._transport.timeouts.deadline_s,
            )
        self._ledger.seen(prediction_id, finished=True)
        return cancelled

    async def _if_cancelled(self, prediction_id: str) -> CancelledPrediction | None:
        found = await self._read(prediction_id)
        if found.state is not State.CANCELLED:
            return None
        return CancelledPrediction(predictionID=found.id, status=found.status)

    async def wait(
        self,
        prediction: str | CreatedPrediction | Prediction,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[Prediction], object] | None = None,
    ) -> Prediction:
        """Poll until the prediction finishes and return it. The polling interval grows; see `Poll`.

        `prediction` is an id or a record. The result of `create` may take up to ten seconds to be found; a 404 is
        ignored for that long. `timeout_s` is the longest wait in seconds, above 0. `on_update` is called with the
        prediction each time that it has changed.

        Raises `ExecutionFailedError` if the prediction failed or was cancelled; `NotFoundError` if it does not exist
        (any more: organisations can delete executions by age); `WaitTimeoutError`, with the last state of the
        prediction, after `timeout_s`; and the errors of a call that retries did not overcome.
        """
        identity = id_of("prediction", prediction, "id")

        async def fetch(pause_s: float, left_s: float) -> Prediction:
            with hint_on_not_found(hint_for_id(GET_PREDICTION, HINT_FOR_KNOWN_ID)):
                return await self._read(identity)

        return await poll_until_finished(
            identity,
            fetch,
            timeout_s=checked_seconds("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(prediction, CreatedPrediction),
            secrets=self._transport.session.secrets,
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
        acknowledge: bool = False,
        retry_unknown: bool = False,
        timeout_s: float | None = None,
        leave_s: float = DEFAULT_LEAVE_S,
        budget_usd: float | Decimal | None = None,
        on_progress: Callable[[MapStats], object] | None = None,
    ) -> MapRun[Prediction]:
        """Run any number of inputs through a model; yields an outcome for each, as they finish.

        Each input is one `POST /prediction`, and each prediction is polled with `GET /prediction/{id}`. `version` and
        `fallback_selector` are those of `create`, for every input; `window` is at least 1. The other arguments, the
        guarantees and the errors are those of `workflows.map`. Predictions can be cancelled: leaving the block early,
        without a journal, cancels those that still run, as far as their providers can.
        """
        backend = PredictionBackend(
            self._transport,
            self._ledger,
            self._refused,
            model,
            version,
            webhook_url,
            webhook_secret,
            fallback_selector,
        )
        return map_inputs(
            backend,
            self._ledger,
            inputs,
            concurrency=concurrency,
            window=window,
            ordered=ordered,
            journal=journal,
            on_progress=on_progress,
            options=MapOptions(
                acknowledge=acknowledge,
                retry_unknown=retry_unknown,
                timeout_s=timeout_s,
                leave_s=leave_s,
                budget_usd=checked_budget(budget_usd),
            ),
        )


def _one_id(answer: CreatedPrediction) -> list[str | None]:
    return [] if refusal_of(answer) else [checked_id(answer.id, "$.predictionID")]


def _created(candidates: list[Candidate]) -> CreatedPrediction:
    return CreatedPrediction(predictionID=candidates[0].id)
