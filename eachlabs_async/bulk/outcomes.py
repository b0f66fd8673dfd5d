"""Owns what becomes of ids: outcomes, all of them together, and what is counted; refuses to fetch anything."""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")

_LEAST_S: Final = 1e-6
_FOLD: Final = 512
_UPPER: Final = 1 if sys.byteorder == "little" else 0


@define(eq=False)
class Outcome(Generic[T]):
    """What became of one id: a value or an error, never both.

    `index` is the id's place in the input, `attempts` the requests made for it (0 where none was needed),
    `elapsed_s` the seconds from its first request to its end.
    """

    id: str
    index: int
    value: T | None = None
    error: Exception | None = None
    attempts: int = 0
    elapsed_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Say whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """Give the value, or raise the error."""
        if self.error is not None:
            raise self.error.with_traceback(None)  # Raised often, or in twins, it would drag all their frames along.
        return self.value  # type: ignore[return-value]  # a value is there wherever no error is


@frozen
class BulkResult(Generic[T]):
    """All outcomes of a bulk fetch, by id: `values` and `errors`."""

    values: dict[str, T] = field(factory=dict[str, T])
    errors: dict[str, Exception] = field(factory=dict[str, Exception])


@define
class BulkStats:
    """What a bulk fetch did so far; the object is kept up to date while it goes on.

    `done` counts outcomes handed out, `failed` those of them with an error and `errors` these by the name of their
    class; `retries` counts further attempts, `known` outcomes that needed none. `in_flight` is how many ids are
    being fetched now, `paused` how many calls to their service wait now because it failed or asked for a pause.
    `p50_s`, `p90_s` and `p99_s` are latencies an id, in seconds, from its first request to its end, within 1 %.
    """

    done: int = 0
    failed: int = 0
    retries: int = 0
    known: int = 0
    in_flight: int = 0
    paused: int = 0
    errors: Counter[str] = field(factory=Counter[str])
    _latencies: Counter[int] = field(factory=Counter[int], repr=False)
    _recent: list[float] = field(factory=list[float], repr=False)

    def note_latency(self, elapsed_s: float) -> None:
        """Take one latency in."""
        self._recent.append(elapsed_s)
        if len(self._recent) == _FOLD:
            self._fold()

    def _fold(self) -> None:
        """Count the recent latencies by the upper half of their 32 bits: 128 steps for each doubling, in order.

        Many at once, so that a latency costs a fraction of what a logarithm would.
        """
        bits = memoryview(array("f", self._recent)).cast("B").cast("H")
        self._latencies.update(bits[_UPPER::2].tolist())
        self._recent.clear()

    def latency_s(self, share: float) -> float:
        """Give the latency, in seconds, that `share` (0 to 1) of the ids did not exceed; 0 before the first."""
        self._fold()
        wanted = share * self._latencies.total()
        counted = 0
        for step in sorted(self._latencies):
            counted += self._latencies[step]
            if counted >= wanted:
                (middle,) = struct.unpack("=f", struct.pack("=I", step << 16 | 0x8000))
                return max(_LEAST_S, float(middle))
        return 0.0

    @property
    def p50_s(self) -> float:
        """The median latency, in seconds."""
        return self.latency_s(0.5)

    @property
    def p90_s(self) -> float:
        """The latency, in seconds, that nine in ten ids did not exceed."""
        return self.latency_s(0.9)

    @property
    def p99_s(self) -> float:
        """The latency, in seconds, that 99 in 100 ids did not exceed."""
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
    """What a map did so far; the object is kept up to date while it goes on.

    `submitted` counts inputs sent, `done` outcomes handed out, `failed` those of them with an error, `unknown` those
    whose outcome is unknown, `recovered` executions found again by looking. `running` is how many run now, `level` how
    many seem to be allowed at once, `refusals` the 429s and 402s that were waited out, `polls` the looks at what runs.
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


def as_key(identity: Any) -> Any:
    """Give the id as a dict key; an id that was no text may not even be hashable."""
    try:
        hash(identity)
    except TypeError:
        return repr(identity)
    return identity
