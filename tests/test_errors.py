"""Tests for the errors: their hierarchy, their messages, and that every error pickles."""

from __future__ import annotations

import copy
import copyreg
import pickle
from decimal import Decimal
from typing import Any

import pytest

from eachlabs_async import errors
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    EachLabsError,
    ExecutionFailedError,
    HumanFeedbackRequiredError,
    OutcomeUnknownError,
    RateLimitError,
    ResponseDecodeError,
    WaitTimeoutError,
    error_class_for,
)
from eachlabs_async.records import Prediction


def tree(root: type[EachLabsError]) -> list[type[EachLabsError]]:
    return [root, *(one for child in root.__subclasses__() for one in tree(child))]


CLASSES = sorted({one for one in tree(EachLabsError) if one.__module__ == errors.__name__}, key=lambda c: c.__name__)


def filled(kind: type[EachLabsError]) -> EachLabsError:
    """Return an error of this class with every attribute set."""
    values: dict[str, Any] = {"method": "GET", "url": "https://h/x", "attempts": 3}
    if issubclass(kind, APIStatusError):
        values |= {
            "status": 418,
            "code": "TEAPOT",
            "details": {"a": [1]},
            "request_id": "r",
            "retry_after_s": 1.5,
            "body": "short",
        }
    if issubclass(kind, APIConnectionError):
        values |= {"sent": False, "retryable": False}
    if issubclass(kind, ResponseDecodeError):
        values |= {"path": "$.x", "body": "{}"}
    if issubclass(kind, OutcomeUnknownError):
        values |= {"reason": None, "lookup": {"model": "m"}, "candidates": ("a", "b")}
    if issubclass(kind, ExecutionFailedError):
        values |= {"execution_id": "e", "state": "cancelled", "error": "E", "cause": "C", "code": "K", "step": "s"}
        values["record"] = Prediction(id="e", status="cancelled")
    if issubclass(kind, WaitTimeoutError | HumanFeedbackRequiredError):
        values |= {"execution_id": "e", "record": Prediction(id="e", status="running")}
    if issubclass(kind, errors.BudgetReachedError):
        values |= {"budget_usd": Decimal("0.5"), "spent_usd": Decimal("0.51")}
    error = kind("what happened", **values)
    error.checkpoint, error.partial = "{}", [1, 2]
    return error


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_pickles_whole(kind: type[EachLabsError]) -> None:
    """Class, message and all attributes survive pickle and copy, and nothing is shared with the original."""
    error = filled(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is kind
        assert vars(back) == vars(error)
        assert (str(back), repr(back), back.args) == (str(error), repr(error), error.args)
    assert vars(copy.copy(error)) == vars(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_copy_shares_nothing_whatever_pickling_does(
    kind: type[EachLabsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some packages register how exceptions are pickled, for copies too, such that copies share their attributes."""

    def share(error: Any) -> Any:
        made = kind.__new__(kind, *error.args)
        made.__dict__ = error.__dict__
        return made

    monkeypatch.setitem(copyreg.dispatch_table, kind, lambda error: (share, (error,)))
    error = filled(kind)
    other = copy.copy(error)
    assert (vars(other), other.args, type(other)) == (vars(error), error.args, kind)
    other.checkpoint = "other"
    assert error.checkpoint == "{}"


def test_a_reason_pickles_along() -> None:
    """The error behind an unknown outcome survives with its attributes."""
    back = pickle.loads(pickle.dumps(OutcomeUnknownError("?", reason=filled(APITimeoutError))))
    assert type(back.reason) is APITimeoutError
    assert back.reason.attempts == 3


def test_the_tree_is_the_documented_one() -> None:
    """Each class has its documented parent, and all are exported."""
    assert {one.__name__ for one in CLASSES if not one.__name__.startswith("_")} == set(errors.__all__)
    assert issubclass(APITimeoutError, APIConnectionError)
    assert issubclass(APITimeoutError, TimeoutError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(errors.DriftError, errors.PaginationError)
    for one in (errors.NotFoundError, errors.RateLimitError, errors.ServerError):
        assert issubclass(one, APIStatusError)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EachLabsError("no"), "no"),
        (EachLabsError("no", method="GET", url="https://h/x"), "no (GET https://h/x, 0 attempts)"),
        (EachLabsError("no", method="GET", url="https://h/x", attempts=1), "no (GET https://h/x, 1 attempt)"),
        (APITimeoutError("no", method="GET", url="u", attempts=2), "no (GET u, 2 attempts)"),
        (ConfigurationError("no"), "no"),
    ],
)
def test_the_text_says_what_and_where(error: EachLabsError, text: str) -> None:
    """It has the message, method, URL and attempts, and nothing superfluous."""
    assert text in str(error)
    assert str(error).startswith("no")


def test_a_status_is_part_of_the_text() -> None:
    """A reader of the log sees the number."""
    assert "418" in str(filled(APIStatusError))
    assert "what happened" in str(filled(APIStatusError))


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "PaymentRequiredError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (422, "UnprocessableEntityError"),
        (429, "RateLimitError"),
        (500, "ServerError"),
        (503, "ServerError"),
        (599, "ServerError"),
        (600, "APIStatusError"),
        (408, "APIStatusError"),
        (413, "APIStatusError"),
        (304, "APIStatusError"),
    ],
)
def test_the_class_follows_the_status(status: int, name: str) -> None:
    """Every unlisted status is an `APIStatusError`."""
    assert error_class_for(status).__name__ == name


def test_the_defaults_say_nothing_untrue() -> None:
    """An error created with a message only has no request."""
    error = EachLabsError("no")
    assert (error.method, error.url, error.attempts, error.checkpoint, error.partial) == (
        None,
        None,
        0,
        None,
        None,
    )


@pytest.mark.parametrize("status", [402, 429, 400])
def test_the_text_of_a_402_and_a_429_shows_the_details(status: int) -> None:
    """They state the reserved amount or the limit; the details of other errors may be anything."""
    error = error_class_for(status)("no", status=status, details={"reserved": 0.5, "available": 0.1}, request_id="r")
    shown = ': {"reserved": 0.5, "available": 0.1}' if status != 400 else ""
    assert str(error) == f"HTTP {status}: no{shown} [request r]"


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ("wait", "wait"),
        ("two\nlines\x1b[31m\u202e", "two lines [31m "),
        (["\n\t"], '["\\n\\t"]'),
        (["Guthaben fällt"], '["Guthaben fällt"]'),
        (0, "0"),
        ({"\ud800": 1}, '{" ": 1}'),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 300 + "..."),
        ({("a", "b"): 1}, "a dict"),
    ],
)
def test_shown_details_are_short_and_printable(details: Any, shown: str) -> None:
    """They are one line of at most 300 characters, whatever the answer contained."""
    text = str(RateLimitError("no", status=429, details=details))
    assert text == f"HTTP 429: no: {shown}"
    assert text.isprintable()


def test_details_too_deep_to_write_are_named() -> None:
    """An error can always be printed."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert str(RateLimitError("no", status=429, details=deep)) == "HTTP 429: no: a list"
    while deep:  # Letting go of it at once would be as deep a recursion.
        deep = deep[0]
