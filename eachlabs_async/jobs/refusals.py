"""Which refusals end a map, and which entries of a bulk answer were refused for the account's limit or balance."""

from __future__ import annotations

import re
from typing import Final

from ..errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
)
from ..records import BulkTriggered, BulkTriggeredExecution, CreatedPrediction, State, read_state

FATAL_FOR_MAP: Final = (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
)
"""Refusals that every further input would meet: nothing more is sent, and the running executions are waited for."""
_AT_LIMIT: Final = re.compile("concurrent execution", re.IGNORECASE)
_OUT_OF_BALANCE: Final = re.compile(r"insufficient[ _](?:account[ _])?(?:balance|funds|credits?)\b", re.IGNORECASE)


def is_at_limit(message: str) -> bool:
    """Whether an entry of a bulk answer failed only because the account runs as much as it may."""
    return _AT_LIMIT.search(message) is not None


def is_out_of_balance(message: str) -> bool:
    """Whether an entry of a bulk answer failed only because the balance does not cover it."""
    return _OUT_OF_BALANCE.search(message) is not None


def refusal_reason(entry: BulkTriggeredExecution) -> str:
    """Return why an entry of a bulk answer was refused, or an empty string if it was not."""
    return entry.message or entry.status if entry.state is State.FAILED else ""


def refusal_of(created: CreatedPrediction) -> str:
    """Return why a prediction was not created although the answer is a 200, or an empty string if it was created."""
    if created.id or read_state(created.status or "") is not State.FAILED:
        return ""
    return created.message or created.status or ""


def refusal_of_all(answer: BulkTriggered) -> APIStatusError | None:
    """Return the refusal of a whole bulk answer: a 429 if all entries are at the limit, a 402 if none is covered."""
    reasons = ["" if entry.execution_id else refusal_reason(entry) for entry in answer.executions]
    if reasons and all(is_at_limit(reason) for reason in reasons):
        return RateLimitError(reasons[0], status=429)
    if reasons and all(is_out_of_balance(reason) for reason in reasons):
        return PaymentRequiredError(reasons[0], status=402)
    return None


def refused_input(reason: str) -> BadRequestError:
    """Return the error of an input that the service refused among others."""
    return BadRequestError(f"this input was refused: {reason}", status=400)
