"""The outcomes of bulk fetches and maps, one by one and together, and the statistics of a run."""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from attrs import define, field, frozen

T = TypeVar("T")

_MIN_LATENCY_S: Final = 1e-6
_BUFFER_SIZE: Final = 512
"""Latencies that are buffered before they are counted together."""
_UPPER_HALF: Final = 1 if sys.byteorder == "little" else 0
"""Index of the upper half of a 32-bit float, as two 16-bit numbers."""


@define(eq=False)
class MutableOutcome(Generic[T]):
    """The outcome of one id: a value or an error, never both.

    `index` is the position of the id in the input, counted from 0; `attempts` the number of requests sent for it (0 if
    none was needed); `elapsed_s` the seconds from its first request to its end. In a map, `index` is the position of
    the input and `id` that of its execution ("" if none was created). `outcome.error is None` tells type checkers that
    there is a value (mypy also understands `outcome.ok`).
    """

    id: str
    index: int
    value: T | None = None
    error: Exception | None = None
    attempts: int = 0
    elapsed_s: float = 0.0
    _acknowledge: Callable[[], Awaitable[None]] | None = field(default=None, init=False, repr=False)

    def acknowledge_with(self, record: Callable[[], Awaitable[None]]) -> None:
        """Set what `acknowledge` does; a map calls this."""
        self._acknowledge = record

    def acknowledge(self) -> Awaitable[None]:
        """Record in the journal of a map that this outcome has been dealt with, so that no later run yields it again.

        Await it: the record is on disk when this returns. Acknowledging twice does no harm. Raises `RuntimeError` if
        the map was not made with `acknowledge=True`, or if its block was left, and `JournalError` if the journal cannot
        be written.
        """
        if self._acknowledge is None:
            raise RuntimeError("only outcomes of a map with a journal and acknowledge=True are acknowledged")
        return self._acknowledge()

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error.with_traceback(None)  # An error that is raised again would collect frames each time.
        return self.value  # type: ignore[return-value]  # there is a value whenever there is no error

    def delivered(self) -> Outcome[T]:
        """Return this outcome as the type that callers see."""
        return cast("Outcome[T]", self)


if TYPE_CHECKING:
    # Type checkers narrow a union of two classes. At run time there is one, which is filled in while its id is fetched.

    class _Delivered(Generic[T]):
        id: str
        index: int
        attempts: int
        elapsed_s: float

        def unwrap(self) -> T: ...

        def acknowledge(self) -> Awaitable[None]: ...

    class Success(_Delivered[T]):
        """An outcome with a value."""

        value: T
        error: None
        ok: Literal[True]

    class Failure(_Delivered[T]):
        """An outcome with an error."""

        value: None
        error: Exception
        ok: Literal[False]

    Outcome: TypeAlias = Success[T] | Failure[T]
else:
    Outcome = MutableOutcome
    Outcome.__name__ = Outcome.__qualname__ = "Outcome"


@frozen
class BulkResult(Generic[T]):
    """All outcomes of a bulk fetch by id, or of a map by the index of the input as text: `values` and `errors`."""

    values: dict[str, T] = field(factory=dict[str, T])
    errors: dict[str, Exception] = field(factory=dict[str, Exception])


@define
class BulkStats:
    """The statistics of a bulk fetch; the object is updated while the fetch runs.

    `done` counts the delivered outcomes, `failed` those with an error, and `errors` these by the name of their class.
    `retries` counts the attempts after the first, `known` the outcomes that needed no request. `in_flight` is the
    number of ids being fetched now, `paused` the number of calls to their service that now wait for a pause or for
    their next attempt. `p50_s`, `p90_s` and `p99_s` are percentiles of the seconds from an id's first request to its
    end, accurate to 1 %.
    """

    done: int = 0
    failed: int = 0
    retries: int = 0
    known: int = 0
    in_flight: int = 0
    paused: int = 0
    errors: Counter[str] = field(factory=Counter[str])
    _latencies: Counter[int] = field(factory=Counter[int], repr=False)
    _buffer: list[float] = field(factory=list[float], repr=False)

    def record_latency(self, elapsed_s: float) -> None:
        """Record the latency of one id, in seconds."""
        self._buffer.append(elapsed_s)
        if len(self._buffer) == _BUFFER_SIZE:
            self._count_buffered()

    def _count_buffered(self) -> None:
        """Count the buffered latencies by the upper 16 of their 32 bits, which gives 128 steps for each doubling.

        Counting many at once costs a fraction of what a logarithm for each latency would.
        """
        halves = memoryview(array("f", self._buffer)).cast("B").cast("H")
        self._latencies.update(halves[_UPPER_HALF::2].tolist())
        self._buffer.clear()

    def latency_s(self, share: float) -> float:
        """Return the latency in seconds that `share` (0 to 1) of the ids did not exceed; 0 if there are none yet."""
        self._count_buffered()
        wanted = share * self._latencies.total()
        counted = 0
        for step in sorted(self._latencies):
            counted += self._latencies[step]
            if counted >= wanted:
                (middle,) = struct.unpack("=f", struct.pack("=I", step << 16 | 0x8000))
                return max(_MIN_LATENCY_S, float(middle))
        return 0.0

    @property
    def p50_s(self) -> float:
        """The median latency, in seconds."""
        return self.latency_s(0.5)

    @property
    def p90_s(self) -> float:
        """The latency, in seconds, that 90 % of the ids did not exceed."""
        return self.latency_s(0.9)

    @property
    def p99_s(self) -> float:
        """The latency, in seconds, that 99 % of the ids did not exceed."""
        return self.latency_s(0.99)

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {name}" for name, count in self.errors.most_common())
        return (
            f"{self.done} done, {self.failed} failed{f' ({failed})' if failed else ''}, {self.retries} retries, "
            f"{self.in_flight} in flight, {self.paused} paused, "
            f"p50 {self.p50_s:.3f} s, p90 {self.p90_s:.3f} s, p99 {self.p99_s:.3f} s"
        )


@define
class MapStats:
    """The statistics of a map; the object is updated while the map runs.

    `submitted` counts the inputs sent, `done` the delivered outcomes, `failed` those with an error, `unknown` those
    with an `OutcomeUnknownError`, `recovered` the executions that were found after a lost answer. `running` is the
    number of executions that run now, `level` the number that the account seems to allow at once. `refusals` counts
    the 429 and 402 responses that were waited out, `polls` the checks for finished executions.

    `spent_usd` is the sum of the costs that the executions which ended state, and `running_usd` an estimate of what the
    others cost: those that run, and those that state none, at the mean of the others. `budget_usd` is the given budget.
    """

    submitted: int = 0
    done: int = 0
    failed: int = 0
    unknown: int = 0
    recovered: int = 0
    running: int = 0
    level: int = 0
    refusals: int = 0
    polls: int = 0
    spent_usd: Decimal = Decimal()
    running_usd: Decimal = Decimal()
    budget_usd: Decimal | None = None


def as_key(identity: Any) -> Any:
    """Return the id as a dict key; an id that is not a string may not be hashable."""
    try:
        hash(identity)
    except TypeError:
        return repr(identity)
    return identity
