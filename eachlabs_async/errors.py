"""Owns the exception tree; refuses I/O, and holds plain values only, so that every error pickles.

`EachLabsError` is the root of everything this package raises about a call. What a caller got wrong in an
argument is a plain `ValueError` or `TypeError` that names the argument. No error holds a key: the room that
builds one from an answer strikes the keys out first.
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "DriftError",
    "EachLabsError",
    "ExecutionFailedError",
    "HumanFeedbackRequiredError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PaginationError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "ResponseDecodeError",
    "ServerError",
    "UnprocessableEntityError",
    "WaitTimeoutError",
    "WebhookVerificationError",
]

MAX_DETAILS: Final = 300
"""Characters of an answer's `details` that an error's text shows."""
_DETAILED: Final = frozenset({402, 429})


class EachLabsError(Exception):
    """The root of the tree.

    `message` says what happened; `method`, `url` and `attempts` (requests sent for the call, 0 where none
    was) say where. `request_id` names the last of these requests for the vendor's support: the service's own id
    where its answer has one, else the `X-Request-Id` that was sent. A walk adds `checkpoint`, a failed `collect()` also
    `partial`: what had come until then.
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
        self.method = method
        self.url = url
        self.attempts = attempts
        self.request_id = request_id
        self.checkpoint: str | None = None
        self.partial: Any = None

    def __str__(self) -> str:
        suffix = f" [request {self.request_id}]" if self.request_id else ""
        if self.method is None:
            return f"{self.message}{suffix}"
        tries = f", {self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        return f"{self.message} ({self.method} {self.url}{tries}){suffix}"


class ConfigurationError(EachLabsError, ValueError):
    """The client cannot make the call as it is set up: a key is missing, a host is not allowed, it is closed."""


class APIConnectionError(EachLabsError):
    """No whole answer came: the connection failed or broke, or a redirect was refused.

    `sent` is False where the request certainly never reached the server. `retryable` is False where trying
    again cannot help (a certificate that does not verify, a redirect to another origin).
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
    """The connect or read time-out, or the deadline of the whole call, passed."""


class APIStatusError(EachLabsError):
    """The service answered with a status that is not a success.

    `status` is the number; `message`, `code` and `details` come from the body where it has them;
    `retry_after_s` is the wait that the service asked for, in seconds from when the answer came; `body` is the start of
    the body as text. The text of a 402 or a 429 shows the first 300 characters of `details`: they say what is reserved,
    or which cap was met.
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
    """402: the balance of the account is too low, or reserved by what runs: `details` says so, and then it can pass."""


class PermissionDeniedError(APIStatusError):
    """403: locked, or not allowed for this key."""


class NotFoundError(APIStatusError):
    """404: no such thing, or no longer; also an id that a bulk answer left out (then `attempts` tells of the chunk).

    An organisation can have its executions deleted by age: of an execution the message says so, after the service's
    own words.
    """


class ConflictError(APIStatusError):
    """409: the thing changed, or exists already."""


class UnprocessableEntityError(APIStatusError):
    """422: the body or the query does not validate; `details` lists what."""


class RateLimitError(APIStatusError):
    """429: too many executions at once (a cap, not a rate), or started at once; nothing was created or billed.

    `retry_after_s` is what remains of the pause that the service asked for, or that this client keeps because asking
    again would prolong the refusal (see `RetryPolicy.creating_pause_s`): try again after it. None: when one has ended.
    """


class ServerError(APIStatusError):
    """5xx: the service, or a proxy before it, failed."""


class ResponseDecodeError(EachLabsError):
    """The body of a success cannot be read as what it should be.

    `path` says where (`$.executions[3].created_at`), `body` is the start of the body as text.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "$",
        body: str = "",
        method: str | None = None,
        url: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.path = path
        self.body = body


class PaginationError(EachLabsError):
    """A listing cannot be walked: page after page brings nothing new although the server says there is more."""


class DriftError(PaginationError):
    """The listing moved under the walk in a way that the chosen drift mode does not accept."""


class OutcomeUnknownError(EachLabsError):
    """A request that creates something was sent and no clear answer came: it may have been carried out.

    It is never sent again by itself. `reason` is the error that hid the outcome. `lookup` is where to look for what
    it may have created, as arguments of the listings: `workflow_id` or `model`, and `since` and `until`, RFC 3339,
    by this machine's clock with 2 seconds to spare (empty where no listing shows it). After a look-up
    (`reconcile=True`) `candidates` are the ids that it may be: none, or more than one.
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
    """An execution that was waited for ended, and not well.

    `execution_id` names it and `state` says how it ended (`"failed"` or `"cancelled"`); `error` and `cause` are the
    service's words, `code` its word for the kind of failure (`"PROVIDER_FAILED"`; the list is open), `step` the id of
    the step that failed; each is None where the service says none. `record` is the execution as it was read last.
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
        self.error = error
        self.cause = cause
        self.code = code
        self.step = step
        self.record = record


class WaitTimeoutError(EachLabsError, TimeoutError):
    """An execution did not end within the time that the caller gave; it goes on at the service.

    `execution_id` names it; `record` is the execution as it was read last, None where it never was.
    """

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


class HumanFeedbackRequiredError(EachLabsError):
    """A job that was waited for goes on only once a person has acted; give the feedback, then wait for it again.

    `execution_id` names it; `record` is the job as it was read last. It goes on at the service, and is not finished.
    """

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


class WebhookVerificationError(EachLabsError):
    """A request that claims to be a webhook is not signed with the secret, or not lately: it must not be believed."""


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
    """Give the class for an HTTP status: its own, `ServerError` for 5xx, `APIStatusError` for the rest."""
    if 500 <= status <= 599:
        return ServerError
    return _BY_STATUS.get(status, APIStatusError)


def _shown(details: Any) -> str:
    """Write details of an answer on one line, printable and not too long."""
    try:
        text = details if isinstance(details, str) else json.dumps(details, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        text = f"a {type(details).__name__}"
    text = "".join(char if char.isprintable() else " " for char in text[: MAX_DETAILS + 1])
    return text if len(text) <= MAX_DETAILS else f"{text[:MAX_DETAILS]}..."
