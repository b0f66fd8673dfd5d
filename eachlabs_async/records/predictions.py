"""Owns what the api service says of predictions; refuses to know how it is read."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ._field_metadata import MOSTLY_ABSENT, named_on_the_wire
from ._result_urls import Output
from ._state import Stateful


@frozen(kw_only=True)
class PredictionMetrics:
    """What a prediction took: `predict_time` and `billed_seconds` in seconds, `cost` in USD, `output_gb` in GB."""

    predict_time: float | None = None
    cost: float | None = None
    tier: str | None = None
    billed_seconds: float | None = None
    output_gb: float | None = None


@frozen(kw_only=True)
class PredictionUrls:
    """Where the service answers about one prediction."""

    cancel: str | None = None
    get: str | None = None


@frozen(kw_only=True)
class Prediction(Output, Stateful):
    """One prediction, from `GET /prediction/{id}`; the `output` of a failed one is its error envelope.

    `urls` are the results, as with every record. What the wire calls `urls` is `service_urls` here.

    `fallback` is there where it was created with a `fallback_selector`; while a fallback runs, `status` stays
    `processing`. `metrics.cost` is then the sum of all attempts.
    """

    id: str
    status: str
    input: dict[str, Any] | None = None
    output: Any = None
    logs: str | None = None
    metrics: PredictionMetrics | None = None
    service_urls: PredictionUrls | None = field(default=None, metadata=named_on_the_wire("urls"))
    # Its fields are not documented, so it stays the mapping that came.
    fallback: dict[str, Any] | None = field(default=None, metadata=MOSTLY_ABSENT)


@frozen(kw_only=True)
class CreatedPrediction:
    """The answer of `POST /prediction`; its `status` is that of the request, so it is read as no state."""

    predictionID: str  # noqa: N815  # the wire's name
    status: str | None = None
    message: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, as the other calls take it."""
        return self.predictionID


@frozen(kw_only=True)
class CancelledPrediction(Stateful):
    """The answer of `POST /prediction/{id}/cancel`."""

    predictionID: str  # noqa: N815  # the wire's name
    status: str
    message: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, as the other calls take it."""
        return self.predictionID


@frozen(kw_only=True)
class FinishedPrediction(Output, Stateful):
    """The answer of `POST /prediction/run`: how the prediction ended."""

    predictionID: str  # noqa: N815  # the wire's name
    status: str
    message: str | None = None
    output: Any = None
    error: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, as the other calls take it."""
        return self.predictionID
