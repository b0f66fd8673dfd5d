"""Run the inputs of a map through a model."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from ..errors import EachLabsError, NotFoundError, ResponseDecodeError
from ..pagination.listing_choice import RefusedListings
from ..records import CancelledPrediction, CreatedPrediction, Prediction
from ..transport import requests
from ..transport.deletion_hints import HINT_FOR_KNOWN_ID, hint_on_not_found
from ..transport.endpoints import CANCEL_PREDICTION, GET_PREDICTION
from ..transport.requests import PreparedRequest, checked_object
from ..transport.tasks import gather_or_cancel
from ..transport.transport import Transport
from .backend import without_429_retries
from .claims import SentInput
from .failure import checked_success
from .ledger import Ledger, scope_of
from .lookup import ModelLookup
from .reconcile import Search, TimeSpan
from .refusals import FATAL_FOR_MAP
from .sent_inputs import snapshot

SENDERS: Final = 4
"""Creating requests in flight at most: each carries one input, whereas a bulk trigger carries ten."""


class PredictionBackend:
    """Creates a prediction for each input, and polls each of them.

    Invalid arguments are raised by the constructor rather than with the first input.
    """

    chunk_size = 1
    senders = SENDERS
    creates = True
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
        self._ledger = ledger
        self._model = model
        self._version = version
        self._webhook_url = webhook_url
        self._webhook_secret = webhook_secret
        self._fallback_selector = fallback_selector
        self._prepared({})
        self._refused = refused
        self._filters = {"model": model}
        self.scope = scope_of(self._filters)
        self.deadline_s = transport.timeouts.deadline_s
        self._finished: dict[str, Prediction] = {}
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
        return [(created.id, "")]

    async def finished(self, ids: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Request each prediction and keep the finished ones for `fetch`. Raises an error if every request failed."""
        found = await gather_or_cancel(self._is_finished(identity, identity in fresh) for identity in ids)
        failures = [answer for answer in found if isinstance(answer, EachLabsError)]
        if len(failures) == len(found):
            raise failures[0]
        return [identity for identity, finished in zip(ids, found, strict=True) if finished is True]

    async def _is_finished(self, identity: str, fresh: bool) -> bool | EachLabsError:
        try:
            prediction = await self._read(identity)
        except NotFoundError:
            return not fresh  # Reading it again raises the error again.
        except ResponseDecodeError:
            return True
        except FATAL_FOR_MAP:
            raise
        except EachLabsError as exc:
            return exc  # The other predictions do not wait for this one.
        if prediction.is_finished:
            self._finished[identity] = prediction
        return prediction.is_finished

    async def fetch(self, identity: str) -> Prediction:
        """Return the finished prediction."""
        kept = self._finished.pop(identity, None)
        record = kept if kept is not None else await self._read(identity)
        return checked_success(record, self._transport.session.secrets)

    async def _read(self, identity: str) -> Prediction:
        with hint_on_not_found(HINT_FOR_KNOWN_ID):
            return await self._transport.request(GET_PREDICTION, Prediction, background=True, prediction_id=identity)

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

    async def cancel(self, ids: Sequence[str]) -> None:
        """Cancel each prediction."""
        await gather_or_cancel(self._cancel_one(identity) for identity in ids)

    async def _cancel_one(self, identity: str) -> None:
        try:
            await self._sender.request(CANCEL_PREDICTION, CancelledPrediction, background=True, prediction_id=identity)
        except EachLabsError:
            return  # It may have finished, or the service may be unavailable.
        self._ledger.seen(identity, finished=True)
