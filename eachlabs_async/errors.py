"""The exceptions of this package.

Every failed call raises a subclass of `EachLabsError`. An invalid argument raises `ValueError` or `TypeError`, which
names the argument. Errors contain plain values only, so that they pickle, and never a key: keys are redacted before an
error is made from a response.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, Self

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetReachedError",
    "ConfigurationError",
    "ConflictError",
    "DriftError",
    "EachLabsError",
    "ExecutionFailedError",
    "HumanFeedbackRequiredError",
    "JournalError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PaginationError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "ResponseDecodeError",
    "ResponseTooLargeError",
    "ServerError",
    "UnprocessableEntityError",
    "WaitTimeoutError",
    "WebhookVerificationError",
]

MAX_DETAILS: Final = 300
"""How many characters of a response's `details` an error's text shows."""
_DETAILED: Final = frozenset({402, 429})


class EachLabsError(Exception):
    """The base class of all errors about calls.

    - `message`: what happened.
    - `method`, `url`: the request; None without one.
    - `attempts`: the number of requests sent for the call, 0 if none was.
    - `request_id`: the id of the last request, for the vendor's support: the service's own id if its response has one,
      else the `X-Request-Id` that was sent.
    - `checkpoint`: where to resume, if a walk raised the error.
    - `partial`: what was collected so far (rows, or a `BulkResult`), if a `collect()` raised the error.
    - `running`: the ids of the executions that had not ended, if the error ended a map or a wait for many.
    """

    def __init__(
        self,
        message: str = "",
        *,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.method, self.url, self.attempts, self.request_id = method, url, attempts, request_id
        self.checkpoint: str | None = None
        self.partial: Any = None
        self.running: tuple[str, ...] = ()

    def __copy__(self) -> Self:
        """Return another error with the same attributes. Some packages change how exceptions are pickled and copied."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.args = self.args
        return made

    def __str__(self) -> str:
        suffix = f" [request {self.request_id}]" if self.request_id else ""
        if self.method is None:
            return f"{self.message}{suffix}"
        tries = f", {self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        return f"{self.message} ({self.method} {self.url}{tries}){suffix}"


class ConfigurationError(EachLabsError, ValueError):
    """The client cannot make the call as it is configured: a key is missing, a host is not allowed, or it is closed."""


class JournalError(EachLabsError, ValueError):
    """The journal of a map cannot be used: it is in use, belongs to another job or account, or cannot be written.

    - `path`: the journal's file.
    """

    def __init__(self, message: str = "", *, path: str = "", **call: Any) -> None:
        super().__init__(message, **call)
        self.path = path


class BudgetReachedError(EachLabsError):
    """An input of a map was not sent, because the map's budget is reached.

    - `budget_usd`, `spent_usd`: the budget, and what the executions that ended state as their costs, as `Decimal`s.
    """

    def __init__(
        self, message: str = "", *, budget_usd: Decimal = Decimal(), spent_usd: Decimal = Decimal(), **call: Any
    ) -> None:
        super().__init__(message, **call)
        self.budget_usd, self.spent_usd = budget_usd, spent_usd


class APIConnectionError(EachLabsError):
    """There was no complete response: the connection failed or broke, or a redirect was refused.

    - `sent`: False if the request certainly did not reach the server.
    - `retryable`: False if another attempt cannot help, as with an invalid certificate or a redirect to another origin.
    """

    def __init__(
        self,
        message: str = "",
        *,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
        sent: bool = True,
        retryable: bool = True,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.sent = sent
        self.retryable = retryable


class APITimeoutError(APIConnectionError, TimeoutError):
    """The connect timeout, the read timeout, or the deadline of the whole call expired."""


class APIStatusError(EachLabsError):
    """The service responded with a status that is not a success.

    - `status`: the HTTP status.
    - `message`, `code`, `details`: from the body if it has them. The text of a 402 or 429 includes the first 300
      characters of `details`, which say what is reserved or which cap was reached.
    - `retry_after_s`: how long the service asks to wait, in seconds from when the response arrived.
    - `body`: the start of the body as text.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        code: str | None = None,
        details: Any = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        body: str = "",
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts, request_id=request_id)
        self.status = status
        self.code = code
        self.details = details
        self.retry_after_s = retry_after_s
        self.body = body

    def __str__(self) -> str:
        suffix = f" [request {self.request_id}]" if self.request_id else ""
        text = super().__str__().removesuffix(suffix)
        if self.status in _DETAILED and self.details is not None:
            text += f": {_shown(self.details)}"
        return f"HTTP {self.status}: {text}{suffix}"


class BadRequestError(APIStatusError):
    """400: the service refused an argument."""


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""


class PaymentRequiredError(APIStatusError):
    """402: the balance of the account is too low, or running executions reserve it.

    In the second case `details` says so, and the request can succeed once they have ended.
    """


class PermissionDeniedError(APIStatusError):
    """403: locked, or not allowed for this key."""


class NotFoundError(APIStatusError):
    """404: there is no such thing, or not any more.

    It is also the error of an id that a bulk response left out; `attempts` is then that of the whole chunk.
    Organisations can have executions deleted by age; for an execution the message says so, after the service's own
    words.
    """


class ConflictError(APIStatusError):
    """409: the thing was changed meanwhile, or exists already."""


class UnprocessableEntityError(APIStatusError):
    """422: the body or the query is invalid; `details` lists the problems."""


class RateLimitError(APIStatusError):
    """429: too many executions are running (a cap, not a rate), or were started at once. Nothing was created or billed.

    `retry_after_s` is the rest of the pause that the service asked for, or that this client keeps because another
    attempt would prolong the refusal (see `RetryPolicy.creating_pause_s`): try again after it. If it is None, try again
    when an execution has ended.
    """


class ServerError(APIStatusError):
    """5xx: the service, or a proxy in front of it, failed."""


class ResponseDecodeError(EachLabsError):
    """The body of a successful response cannot be decoded.

    - `path`: where decoding failed, for example `$.executions[3].created_at`.
    - `body`: the start of the body as text.
    - `retryable`: True if the body is no JSON at all, such as a proxy's page of HTML, so that another attempt may help.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "$",
        body: str = "",
        retryable: bool = False,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.path = path
        self.body = body
        self.retryable = retryable


class ResponseTooLargeError(ResponseDecodeError):
    """A successful response is larger than `max_answer_bytes`, so it was not read to its end.

    Another attempt cannot help: ask for fewer rows, or pass a larger value to `EachLabs`.
    """


class PaginationError(EachLabsError):
    """A listing cannot be walked: page after page brings nothing new, although the server says that more follow."""


class DriftError(PaginationError):
    """The listing changed during the walk in a way that its `drift` mode does not accept."""


class OutcomeUnknownError(EachLabsError):
    """A creating request was sent, but there was no clear response, so it may have been carried out.

    The client does not send such a request again by itself.

    - `reason`: the error that hides the outcome.
    - `lookup`: where to look for what it may have created, as arguments of the listings: `workflow_id` or `model`, and
      `since` and `until` in RFC 3339, by the local clock with a tolerance of 2 seconds. Empty if no listing shows it.
    - `candidates`: after a look-up (`reconcile=True`), the ids that it may be: none, or several.
    """

    def __init__(
        self,
        message: str = "",
        *,
        reason: EachLabsError | None = None,
        lookup: dict[str, str] | None = None,
        candidates: tuple[str, ...] = (),
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.reason = reason
        self.lookup = lookup or {}
        self.candidates = candidates


class ExecutionFailedError(EachLabsError):
    """An awaited execution ended without success.

    - `execution_id`: the id of the execution.
    - `state`: how it ended, `"failed"` or `"cancelled"`.
    - `error`, `cause`: the service's explanation.
    - `code`: the service's kind of failure, such as `"PROVIDER_FAILED"`; the list is open.
    - `step`: the id of the failed step.
    - `record`: the execution as last read.

    Where the service gives no explanation, code or step, these are None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        execution_id: str | None = None,
        state: str = "failed",
        error: str | None = None,
        cause: str | None = None,
        code: str | None = None,
        step: str | None = None,
        record: Any = None,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.execution_id = execution_id
        self.state = state
        self.error, self.cause, self.code, self.step = error, cause, code, step
        self.record = record


class _UnfinishedError(EachLabsError):
    """An awaited execution has not ended."""

    def __init__(
        self,
        message: str = "",
        *,
        execution_id: str | None = None,
        record: Any = None,
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.execution_id = execution_id
        self.record = record


class WaitTimeoutError(_UnfinishedError, TimeoutError):
    """An awaited execution did not end within the given time. It continues at the service.

    - `execution_id`: the id of the execution.
    - `record`: the execution as last read, None if it never was.
    """


class HumanFeedbackRequiredError(_UnfinishedError):
    """An awaited job continues only after a person has acted. Give the feedback, then wait for the job again.

    - `execution_id`: the id of the job.
    - `record`: the job as last read; it is not finished.
    """


class WebhookVerificationError(EachLabsError):
    """A webhook is not signed with the secret, or not recently. Do not trust it."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def error_class_for(status: int) -> type[APIStatusError]:
    """Return the error class of an HTTP status; `APIStatusError` for a status without a class of its own."""
    if 500 <= status <= 599:
        return ServerError
    return _BY_STATUS.get(status, APIStatusError)


def _shown(details: Any) -> str:
    """Return a response's details on one line, printable and shortened."""
    try:
        text = details if isinstance(details, str) else json.dumps(details, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(details).__name__}"
    text = "".join(char if char.isprintable() else " " for char in text[: MAX_DETAILS + 1])
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}..."
