"""The polling interval of a wait, as pure functions; `wait` supplies the clock and the jitter.

An execution that has run for long will likely run for longer, so each pause is a constant factor longer than the one
before, up to a cap. A pause counts from when the last request was sent: an answer that the service held back for that
long is followed by the next request at once.
"""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import field, frozen

SPREAD: Final = 0.2
"""The largest share of a pause by which jitter lengthens or shortens it."""
MAX_HOLD_S: Final = 30
"""The longest time, in seconds, that the service holds an answer back (workflow executions, compat edition)."""


def _seconds(instance: object, attribute: Any, value: object) -> None:
    name = f"{type(instance).__name__}.{attribute.name}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    least = 1.0 if attribute.name == "growth" else 0.0
    if not math.isfinite(value) or value < least or (value == 0 and attribute.name != "growth"):
        raise ValueError(f"{name} must be {'at least 1' if least else 'more than 0'} and finite, not {value}")


@frozen(kw_only=True)
class Poll:
    """How often a wait polls.

    The first pause is `first_s` seconds (more than 0), each further one is `growth` times as long (at least 1), up to
    `cap_s` seconds (more than 0). Every pause is lengthened or shortened at random by up to a fifth, so that many waits
    do not poll in step.
    """

    first_s: float = field(default=0.5, validator=_seconds)
    growth: float = field(default=1.5, validator=_seconds)
    cap_s: float = field(default=10.0, validator=_seconds)

    def pause_s(self, attempt: int, *, jitter: float) -> float:
        """Return the pause in seconds after request number `attempt`, counted from 1; `jitter` is between 0 and 1."""
        step = self.cap_s
        # The power may be too large for a float.
        if (attempt - 1) * math.log(self.growth) < math.log(max(self.cap_s / self.first_s, 1.0)):
            step = self.first_s * self.growth ** (attempt - 1)
        return min(step, self.cap_s) * (1 - SPREAD + 2 * SPREAD * jitter)


def hold_s(pause_s: float, *, left_s: float, read_s: float, watched: bool, most_s: int = MAX_HOLD_S) -> int:
    """Return for how many seconds, 1 to `most_s`, the service may hold its answer back.

    The hold is as long as possible within the time left and three quarters of the read timeout `read_s`. If the
    caller is notified of each change (`watched`), it is no longer than the pause would be.
    """
    wanted = math.ceil(pause_s) if watched else most_s
    return max(1, min(wanted, most_s, math.floor(0.75 * read_s), math.ceil(left_s)))
