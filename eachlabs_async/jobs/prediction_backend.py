"""Run the inputs of a map through a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from ..errors import EachLabsError
from ..pagination.listing_choice import RefusedListings
from ..records import CancelledPrediction, CreatedPrediction, Prediction
from ..transport import requests
from ..transport.endpoints import CANCEL_PREDICTION
from ..transport.redaction import line
from ..transport.requests import PreparedRequest, checked_object
from ..transport.retry import RetryPolicy
from ..transport.tasks import gather_or_cancel
from ..transport.transport import Transport
from .backend import without_429_retries
from .claims import SentInput
from .ledger import Ledger, scope_of
from .lookup import ModelLookup
from .prediction_watcher import PredictionWatcher
from .reconcile import Search, TimeSpan
from .refusals import refusal_of
from .sent_inputs import snapshot

SENDERS: Final = 4
"""Creating requests in flight at most: each carries one input, whereas a bulk trigger carries ten."""
CANCEL_S: Final = 1.5
"""Seconds for which leaving a map waits for the answers to its cancelling requests."""


class PredictionBackend:
    """Creates a prediction for each input, and watches them with `PredictionWatcher`.

    Invalid arguments are raised by the constructor rather than with the first input.
    """

    chunk_size = 1
    senders = SENDERS
    creates = True
    source = "predictions.map"
    bulk = False

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        refused: RefusedListings,
        model: str,
        version: str | None,
        webhook_url: str | None,
        webhook_secret: str | None,
        fallback_selector: str | None,
    ) -> None:
        self._transport = transport
        self._sender = without_429_retries(transport)
        self._canceller = Transport(transport.session, RetryPolicy.none(), transport.timeouts)
        self._ledger = ledger
        self._model = model
        self._version = version
        self._webhook_url = webhook_url
        self._webhook_secret = webhook_secret
        self._fallback_selector = fallback_selector
        self._prepared({})
        self._watcher = PredictionWatcher(transport, refused, model)
        self.words = self._watcher.words
        self._refused = refused
        self._filters = {"model": model}
        self.scope = scope_of(self._filters)
        self.deadline_s = transport.timeouts.deadline_s
        self.binding = f"model {model}, version {version}, {transport.edition}"
        if fallback_selector is not None:  # Left out otherwise, so that older journals stay valid.
            self.binding += f", fallback {fallback_selector}"

    def _prepared(self, value: Any) -> PreparedRequest:
        return requests.prediction(
            self._transport.edition,
            self._model,
            value,
            self._version,
            self._webhook_url,
            self._webhook_secret,
            self._fallback_selector,
        )

    def checked(self, value: Any) -> Any:
        """Return a copy of an input as a JSON object."""
        return snapshot(checked_object("input", value))

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Create one prediction."""
        (value,) = inputs
        prepared = self._prepared(value)
        call = self._sender.call(prepared.endpoint, prepared.path, body=prepared.body)
        call.execution_count = 1
        sent_at = time.time()
        created = await self._sender.get(call, CreatedPrediction)
        self._ledger.observe(self._sender, call, sent_at)
        return [(created.id or None, line(refusal_of(created), self._transport.session.secrets))]

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Check the listing of executions or the predictions themselves."""
        return await self._watcher.finished(ids, fresh, due)

    async def fetch(self, identity: str) -> Prediction:
        """Return the finished prediction."""
        return await self._watcher.fetch(identity)

    def search(self, lost: Sequence[SentInput], claimed: Collection[str]) -> Search:
        """Search the model's newest executions."""
        lookup = ModelLookup(self._transport, self._ledger, self._refused, self._model)
        return Search(lookup, self._ledger.claims, lost, claimed)

    def inputs_of(self, record: Prediction) -> Any:
        """Return the input of a prediction."""
        return record.input

    def lookup(self, since: float) -> dict[str, str]:
        """Return the arguments of the listing of executions."""
        return TimeSpan.until_now(since).as_filters(**self._filters)

    def account(self) -> str:
        """Return the host and a fingerprint of the key."""
        return self._transport.session.account("api")

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel each prediction with one request, all within a short time. Return those that may still run."""
        left = dict.fromkeys(ids)

        async def cancel_one(identity: str) -> None:
            try:
                await self._canceller.request(
                    CANCEL_PREDICTION, CancelledPrediction, background=True, prediction_id=identity
                )
            except EachLabsError:
                return  # It may have finished, or the service may be unavailable.
            self._ledger.seen(identity, finished=True)
            del left[identity]

        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                await gather_or_cancel(cancel_one(identity) for identity in left)
        return list(left)
