"""Owns what the api service says of predictions and models; refuses to know how it is read."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ._fields import named_on_the_wire
from ._results import Output
from ._states import Stateful


@frozen(kw_only=True)
class Model:
    """One model, a row of `GET /models` and the answer of `GET /model`; `request_schema` is a JSON Schema."""

    slug: str
    title: str | None = None
    version: str | None = None
    output_type: str | None = None
    request_schema: dict[str, Any] | None = None


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
    """

    id: str
    status: str
    input: dict[str, Any] | None = None
    output: Any = None
    logs: str | None = None
    metrics: PredictionMetrics | None = None
    service_urls: PredictionUrls | None = field(default=None, metadata=named_on_the_wire("urls"))


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
