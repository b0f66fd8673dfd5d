"""Tests of the command line that goes on, and of what an error becomes."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import errors
from eachlabs_async.cli.continuing import continued
from eachlabs_async.cli.failures import CommandError, UsageError, code_for, failure_of


@pytest.mark.parametrize(
    ("given_", "replaced", "line"),
    [
        (["executions", "list"], {"--resume": "c 1"}, "eachlabs executions list --resume 'c 1'"),
        (["x", "--limit", "5", "-q"], {"--limit": "3"}, "eachlabs x -q --limit 3"),
        (["x", "--limit=5"], {"--limit": "3"}, "eachlabs x --limit 3"),
        (["x", "--since", "30d"], {"--since": None, "--resume": "c"}, "eachlabs x --resume c"),
        (["x", "--", "--limit", "5"], {"--limit": "3"}, "eachlabs x --limit 3 -- --limit 5"),
        (["x", "a b;c"], {}, "eachlabs x 'a b;c'"),
    ],
)
def test_options_are_replaced_or_added(given_: list[str], replaced: dict[str, str | None], line: str) -> None:
    assert continued(given_, replaced) == line


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))), st.text(min_size=1))
def test_a_shell_reads_the_line_as_the_arguments(arguments: list[str], checkpoint: str) -> None:
    """Whatever the arguments are, a shell gets them back, with the checkpoint."""
    kept = [argument for argument in arguments if argument != "--" and argument.partition("=")[0] != "--resume"]
    assert shlex.split(continued(kept, {"--resume": checkpoint})) == ["eachlabs", *kept, "--resume", checkpoint]


@pytest.mark.parametrize(
    ("done", "codes", "code"), [(0, [], 0), (3, [], 0), (0, [5, 5], 5), (1, [5], 1), (0, [1, 5], 1), (0, [4], 4)]
)
def test_the_code_of_many_is_that_of_their_one_reason(done: int, codes: list[int], code: int) -> None:
    """Where some were done, or several reasons were met, it is that of some failures."""
    assert code_for(done, codes) == code


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (UsageError("no"), 2, "no"),
        (CommandError("no"), 1, "no"),
        (ValueError("status must be one of"), 2, "status must be"),
        (
            errors.ConfigurationError("this call needs a key: pass api_key or set EACHLABS_API_KEY"),
            4,
            "set EACHLABS_API_KEY",
        ),
        (errors.ConfigurationError("this call needs a key: pass x or set NOXUS_API_KEY"), 4, "set-key --runs"),
        (errors.ConfigurationError("workflows.list is not part of the compat edition"), 2, "--edition unified"),
        (errors.ConfigurationError("base_url must not"), 2, "base_url"),
        (errors.AuthenticationError("bad key", status=401), 4, "refuses the key"),
        (errors.APIConnectionError("the connection failed"), 5, "eachlabs config"),
        (errors.APITimeoutError("too late"), 5, "later"),
        (errors.ServerError("down", status=503), 5, "HTTP 503"),
        (errors.OutcomeUnknownError("no clear answer"), 1, "look for it"),
        (errors.NotFoundError("no such id", status=404), 1, "check the id"),
        (errors.PaymentRequiredError("low", status=402), 1, "eachlabs balance"),
        (errors.PermissionDeniedError("locked", status=403), 1, "locked"),
        (errors.RateLimitError("too many", status=429), 1, "ended"),
        (errors.BadRequestError("wrong", status=400), 1, "wrong"),
        (errors.ResponseDecodeError("HTML", retryable=True), 5, "HTML"),
        (errors.ResponseDecodeError("a field"), 1, "a field"),
        (FileNotFoundError(2, "No such file", "x.png"), 1, "x.png: No such file"),
        (ImportError("this needs pyarrow"), 1, "pyarrow"),
        (RuntimeError("a bug"), 1, "--debug"),
    ],
)
def test_an_error_becomes_a_code_and_a_line_with_the_remedy(error: Exception, code: int, part: str) -> None:
    failure = failure_of(error)
    assert failure.code == code
    assert part in failure.text
