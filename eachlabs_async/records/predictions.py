"""The records of predictions."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ._field_metadata import MOSTLY_ABSENT, named_on_the_wire
from ._result_urls import OutputUrls
from ._state import Stateful


@frozen(kw_only=True)
class PredictionMetrics:
    """The metrics of a prediction.

    `predict_time` and `billed_seconds` are in seconds, `cost` is in USD, `output_gb` in GB.
    """

    predict_time: float | None = None
    cost: float | None = None
    tier: str | None = None
    billed_seconds: float | None = None
    output_gb: float | None = None


@frozen(kw_only=True)
class PredictionUrls:
    """The URLs of the service for one prediction."""

    cancel: str | None = None
    get: str | None = None


@frozen(kw_only=True)
class Prediction(OutputUrls, Stateful):
    """One prediction, from `GET /prediction/{id}`. The `output` of a failed one is its error envelope.

    `urls` are the result URLs, as with every record; the wire's field `urls` is called `service_urls` here.

    `fallback` is present if the prediction was created with a `fallback_selector`. While a fallback runs, `status`
    stays `processing`, and `metrics.cost` is the sum of all attempts.
    """

    id: str
    status: str
    input: dict[str, Any] | None = None
    output: Any = None
    logs: str | None = None
    metrics: PredictionMetrics | None = None
    service_urls: PredictionUrls | None = field(default=None, metadata=named_on_the_wire("urls"))
    # Its fields are not documented, so it stays a mapping.
    fallback: dict[str, Any] | None = field(default=None, metadata=MOSTLY_ABSENT)


@frozen(kw_only=True)
class CreatedPrediction:
    """The response of `POST /prediction`.

    `status` is that of the request, not of the prediction, so there is no `state`.
    """

    predictionID: str  # noqa: N815  # the wire's name
    status: str | None = None
    message: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, under the name that other records use."""
        return self.predictionID


@frozen(kw_only=True)
class CancelledPrediction(Stateful):
    """The response of `POST /prediction/{id}/cancel`."""

    predictionID: str  # noqa: N815  # the wire's name
    status: str
    message: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, under the name that other records use."""
        return self.predictionID


@frozen(kw_only=True)
class FinishedPrediction(OutputUrls, Stateful):
    """The response of `POST /prediction/run`: the finished prediction."""

    predictionID: str  # noqa: N815  # the wire's name
    status: str
    message: str | None = None
    output: Any = None
    error: str | None = None

    @property
    def id(self) -> str:
        """The id of the prediction, under the name that other records use."""
        return self.predictionID
