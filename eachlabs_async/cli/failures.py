"""Turn an error into an exit code and one line for people, with the remedy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import frozen

from ..errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    EachLabsError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_KEY: Final = 4
NO_ANSWER: Final = 5
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class UsageError(Exception):
    """The command line cannot be right; the message says what to write instead."""


class CommandError(Exception):
    """A command cannot do what it is asked to; the message has the remedy."""


@frozen
class Failure:
    """What to tell of an error: the exit code, and a line with the remedy, not yet escaped for a terminal."""

    code: int
    text: str


def failure_of(error: BaseException) -> Failure:
    """Return the exit code and the line of an error."""
    if isinstance(error, UsageError):
        return Failure(USAGE, str(error))
    if isinstance(error, ConfigurationError) and "needs a key" in error.message:
        variable = "NOXUS_API_KEY" if "NOXUS_API_KEY" in error.message else "EACHLABS_API_KEY"
        return Failure(NO_KEY, f"there is no key: {_remedy_for_key(variable)}, or try the command with --emulator")
    if isinstance(error, EachLabsError):
        code, remedy = _code_and_remedy(error)
        text = str(error).replace("new_key=True", "--new-key")
        return Failure(code, f"{text}{f'; {remedy}' if remedy else ''}")
    if isinstance(error, ValueError):
        return Failure(USAGE, str(error))
    if isinstance(error, OSError):
        what = f"{error.strerror or error}"
        return Failure(FAILED, f"{error.filename}: {what}" if error.filename else what)
    if isinstance(error, CommandError | ImportError):
        return Failure(FAILED, str(error))
    return Failure(FAILED, f"unexpected {type(error).__name__}: {error}; --debug shows where")


def code_for(done: int, codes: Collection[int]) -> int:
    """Return the exit code of a command with many things to do, of which `done` were done.

    `codes` are the codes of those that failed. If all failed for one reason, it is that one's code.
    """
    if not codes:
        return OK
    return next(iter(codes)) if not done and len(set(codes)) == 1 else FAILED


def _remedy_for_key(variable: str) -> str:
    flag = " --runs" if variable == "NOXUS_API_KEY" else ""
    return f"set {variable}, or store it with `eachlabs config set-key{flag}`"


def _code_and_remedy(error: EachLabsError) -> tuple[int, str]:
    if isinstance(error, ConfigurationError):
        if "is not part of the compat edition" in error.message:
            return USAGE, "that is, pass --edition unified"
        return USAGE, ""
    if isinstance(error, OutcomeUnknownError):
        return FAILED, "it may have been carried out: look for it before you try again"
    if isinstance(error, AuthenticationError):
        return NO_KEY, f"the service refuses the key: {_remedy_for_key('EACHLABS_API_KEY')}"
    if isinstance(error, APIConnectionError | ServerError):
        return NO_ANSWER, "`eachlabs config` shows the hosts; try again later"
    if isinstance(error, ResponseDecodeError):
        return (NO_ANSWER if error.retryable else FAILED), ""
    if isinstance(error, NotFoundError):
        # The message of most calls says whose id it takes.
        return FAILED, "" if ";" in error.message else "check the id, and whose id the command takes (`--help`)"
    if isinstance(error, PaymentRequiredError):
        return FAILED, "`eachlabs balance` shows what is left"
    if isinstance(error, PermissionDeniedError):
        return FAILED, "the key may not do this, or the thing is locked"
    if isinstance(error, RateLimitError):
        return FAILED, "try again when executions have ended"
    if isinstance(error, APIStatusError):
        return FAILED, ""
    return FAILED, ""
