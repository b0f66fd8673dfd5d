"""Holds when a request is sent again and after how long: tables, and properties over all policies."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import RetryPolicy, Timeouts
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    EachLabsError,
    NotFoundError,
    OutcomeUnknownError,
    PaginationError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
    error_class_for,
)
from eachlabs_async.transport.retry import leaves_outcome_open, may_send_again, needs_creation_pause, requested_pause_s

SECONDS = st.floats(min_value=0, max_value=1000, allow_nan=False)
SHARES = st.floats(min_value=0, max_value=1, exclude_max=True)
POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    max_elapsed_s=SECONDS,
    base_s=st.floats(min_value=0, max_value=10),
    cap_s=st.floats(min_value=0, max_value=100),
)
FAILURES = st.one_of(
    st.builds(
        lambda status, wait: error_class_for(status)(status=status, retry_after_s=wait),
        st.sampled_from([408, 425, 429, 500, 502, 503, 504]),
        st.none() | SECONDS,
    ),
    st.builds(APIConnectionError),
    st.builds(APITimeoutError),
)


def status(number: int, retry_after_s: float | None = None) -> APIStatusError:
    return error_class_for(number)(status=number, retry_after_s=retry_after_s)


class TestDelay:
    @pytest.mark.parametrize(
        ("attempt", "jitter", "wait"),
        [
            (1, 0.0, 0.25),
            (1, 1.0, 0.5),
            (2, 0.0, 0.5),
            (2, 1.0, 1.0),
            (4, 0.5, 3.0),
            (7, 1.0, 30.0),
            (9, 0.0, 15.0),
            (5000, 1.0, 30.0),
        ],
    )
    def test_the_wait_doubles_up_to_the_cap(self, attempt: int, jitter: float, wait: float) -> None:
        """Attempt n is followed by half to the whole of `base_s * 2 ** (n - 1)`, `cap_s` at most."""
        policy = RetryPolicy(max_attempts=10_000)
        assert policy.delay(attempt, status(503), elapsed_s=0, jitter=jitter) == wait

    @pytest.mark.parametrize(
        ("failure", "again"),
        [
            *((status(number), True) for number in (408, 425, 429, 500, 502, 503, 504)),
            *((status(number), False) for number in (300, 400, 401, 402, 403, 404, 409, 413, 418, 422, 501, 505)),
            (APIConnectionError(), True),
            (APIConnectionError(retryable=False), False),
            (APITimeoutError(), True),
            (ConfigurationError(), False),
            (ResponseDecodeError(), False),
            (PaginationError(), False),
            (OutcomeUnknownError(), False),
            (EachLabsError(), False),
        ],
    )
    def test_only_what_may_pass_is_worth_another_try(self, failure: EachLabsError, again: bool) -> None:
        """Listed statuses and broken connections are tried again, everything else never."""
        assert (RetryPolicy().delay(1, failure, elapsed_s=0, jitter=0) is not None) == again

    def test_the_statuses_are_the_policys(self) -> None:
        """A policy of one's own decides, given as any iterable."""
        policy = RetryPolicy(statuses=[418])
        assert policy.statuses == frozenset({418})
        assert policy.delay(1, status(418), elapsed_s=0, jitter=0) is not None
        assert policy.delay(1, status(503), elapsed_s=0, jitter=0) is None

    @pytest.mark.parametrize(
        ("retry_after_s", "elapsed_s", "jitter", "wait"),
        [
            (0.0, 0, 1.0, 0.5),
            (0.0, 0, 0.0, 0.0),
            (10.0, 0, 0.0, 10.0),
            (10.0, 0, 1.0, 10.5),
            (10.0, 49.75, 1.0, 10.25),
            (10.0, 50.0, 1.0, 10.0),
            (10.0, 50.1, 0.0, None),
            (60.0, 0, 1.0, 60.0),
            (60.1, 0, 0.0, None),
            (math.inf, 0, 0.0, None),
        ],
    )
    def test_retry_after_is_a_floor(
        self, retry_after_s: float, elapsed_s: float, jitter: float, wait: float | None
    ) -> None:
        """Jitter is added within what is left of `max_elapsed_s`; a pause that ends beyond it is given up."""
        assert RetryPolicy().delay(1, status(429, retry_after_s), elapsed_s=elapsed_s, jitter=jitter) == wait

    def test_no_limit_in_time(self) -> None:
        """An endless `max_elapsed_s` gives up by attempts alone."""
        policy = RetryPolicy(max_elapsed_s=math.inf)
        assert policy.delay(1, status(429, 1e6), elapsed_s=1e9, jitter=0) == 1e6
        assert policy.delay(5, status(429, 1.0), elapsed_s=0, jitter=0) is None

    @given(FAILURES, st.integers(1, 10), SHARES)
    def test_none_never_tries_again(self, failure: EachLabsError, attempt: int, jitter: float) -> None:
        """`RetryPolicy.none()` sends every request once."""
        assert RetryPolicy.none().delay(attempt, failure, elapsed_s=0, jitter=jitter) is None

    @given(POLICIES, FAILURES, st.integers(1, 200), SECONDS, SHARES)
    def test_every_wait_lies_within_its_bounds(
        self, policy: RetryPolicy, failure: EachLabsError, attempt: int, elapsed_s: float, jitter: float
    ) -> None:
        """Never before the floor, never later than `max_elapsed_s`, never after the last attempt."""
        wait = policy.delay(attempt, failure, elapsed_s=elapsed_s, jitter=jitter)
        floor = requested_pause_s(failure)
        if attempt >= policy.max_attempts:
            assert wait is None
        if wait is None:
            return
        assert wait <= policy.max_elapsed_s - elapsed_s + 1e-9
        step = min(policy.cap_s, policy.base_s * 2 ** min(attempt - 1, 63))
        if floor is None:
            assert step / 2 <= wait <= step
        else:
            assert floor <= wait <= floor + step

    @given(POLICIES, FAILURES, SHARES, SHARES, st.data())
    def test_it_gives_up_for_a_reason_only(
        self, policy: RetryPolicy, failure: EachLabsError, elapsed: float, jitter: float, data: st.DataObject
    ) -> None:
        """While attempts are left and the wait fits, there is another one."""
        policy = attrs.evolve(policy, max_attempts=policy.max_attempts + 1)
        attempt = data.draw(st.integers(1, policy.max_attempts - 1))
        longest = max(requested_pause_s(failure) or 0, min(policy.cap_s, policy.base_s * 2.0**attempt))
        policy = attrs.evolve(policy, max_elapsed_s=policy.max_elapsed_s + longest + 1e-6)
        elapsed_s = elapsed * (policy.max_elapsed_s - longest - 1e-6)
        assert policy.delay(attempt, failure, elapsed_s=elapsed_s, jitter=jitter) is not None


BOTH = [ServerError(status=503), status(404), APIConnectionError(), APIConnectionError(retryable=False)]


@pytest.mark.parametrize("failure", [*BOTH, RateLimitError(status=429), ResponseDecodeError(), status(408)])
def test_what_is_repeatable_may_always_be_sent_again(failure: EachLabsError) -> None:
    """Whether it is worth it is the policy's to say."""
    assert may_send_again(failure, repeatable=True)


@pytest.mark.parametrize(
    ("failure", "again", "is_open"),
    [
        (RateLimitError(status=429), True, False),
        (APIConnectionError(sent=False), True, False),
        (APITimeoutError(sent=False), True, False),
        (APIConnectionError(sent=True), False, True),
        (APITimeoutError(sent=True), False, True),
        (ServerError(status=500), False, True),
        (ServerError(status=503), False, True),
        (ServerError(status=599), False, True),
        (status(408), False, True),
        (status(303), False, True),
        (status(425), False, False),
        (status(400), False, False),
        (NotFoundError(status=404), False, False),
        (status(422), False, False),
        (ResponseDecodeError(), False, True),
        (ConfigurationError(), False, False),
        (OutcomeUnknownError(), False, False),
    ],
)
def test_what_creates_is_sent_again_only_where_nothing_was_done(
    failure: EachLabsError, again: bool, is_open: bool
) -> None:
    """A failed connect and a 429 certainly did nothing; what is open in its outcome is never sent again."""
    assert may_send_again(failure, repeatable=False) == again
    assert leaves_outcome_open(failure) == is_open


@pytest.mark.parametrize(
    ("said", "retry_after_s", "running", "asked", "silent"),
    [
        ("Too Many Requests", None, 0, 1, True),
        ("Too Many Requests", None, 0, 10, True),
        ("Too Many Requests", None, 1, 1, False),
        ("Too Many Requests", 0.0, 0, 1, False),
        ("Too Many Requests", 30.0, 0, 1, False),
        ("concurrent execution limit reached", None, 0, 1, True),
        ("concurrent execution limit reached", None, 0, 10, False),
        ("CONCURRENCY_LIMIT", None, 0, 2, False),
        ("concurrent execution limit reached", None, 3, 1, False),
        ("too many executions were started at once", None, 0, 1, True),
        ("Too many executions were started  at once.", None, 7, 10, True),
        ("too many executions were started at once", 1.0, 0, 1, False),
    ],
)
@pytest.mark.parametrize("where", ["message", "body"])
def test_a_429_on_creating_is_a_cap_or_one_that_only_silence_ends(
    where: str, said: str, retry_after_s: float | None, running: int, asked: int, silent: bool
) -> None:
    """A cap while something of ours runs, or where it is named and fewer may fit; a time that is named is no block."""
    failure = RateLimitError(status=429, retry_after_s=retry_after_s, **{where: said})
    assert needs_creation_pause(failure, running=running, requested=asked) == silent


@pytest.mark.parametrize(
    ("kind", "name", "value", "error"),
    [
        (RetryPolicy, "max_attempts", 0, ValueError),
        (RetryPolicy, "max_attempts", 1.5, TypeError),
        (RetryPolicy, "max_attempts", True, TypeError),
        (RetryPolicy, "max_elapsed_s", -1, ValueError),
        (RetryPolicy, "max_elapsed_s", math.nan, ValueError),
        (RetryPolicy, "base_s", "1", TypeError),
        (RetryPolicy, "base_s", math.inf, ValueError),
        (RetryPolicy, "cap_s", None, TypeError),
        (RetryPolicy, "creating_pause_s", -1, ValueError),
        (RetryPolicy, "creating_pause_s", math.inf, ValueError),
        (RetryPolicy, "creating_pause_s", True, TypeError),
        (RetryPolicy, "cap_s", False, TypeError),
        (Timeouts, "connect_s", 0, ValueError),
        (Timeouts, "connect_s", math.inf, ValueError),
        (Timeouts, "read_s", -1, ValueError),
        (Timeouts, "read_s", math.inf, ValueError),
        (Timeouts, "deadline_s", math.nan, ValueError),
        (Timeouts, "deadline_s", math.inf, ValueError),
        (Timeouts, "deadline_s", True, TypeError),
    ],
)
def test_a_senseless_number_is_refused(kind: Any, name: str, value: object, error: type[Exception]) -> None:
    """The error names class and field, so that a policy that cannot work is never made."""
    with pytest.raises(error, match=f"{kind.__name__}.{name} must be"):
        kind(**{name: value})


@pytest.mark.parametrize("statuses", [{"503"}, "503", [503, None], {True}, [503.0]])
def test_a_status_that_is_no_number_is_refused(statuses: Any) -> None:
    """It would silently never be met."""
    with pytest.raises(TypeError, match="RetryPolicy.statuses must be ints, not"):
        RetryPolicy(statuses=statuses)


def test_the_defaults_are_the_documented_ones() -> None:
    """The numbers of the manual are those of the code."""
    assert RetryPolicy() == RetryPolicy(
        max_attempts=5,
        max_elapsed_s=60,
        base_s=0.5,
        cap_s=30,
        statuses=frozenset({408, 425, 429, 500, 502, 503, 504}),
        creating_pause_s=90,
    )
    assert Timeouts() == Timeouts(connect_s=10, read_s=40, deadline_s=120)
