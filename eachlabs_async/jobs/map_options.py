"""What a caller decides about a map besides its inputs: how outcomes are acknowledged, and how long things may take."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

from attrs import field, frozen

DEFAULT_LEAVE_S: Final = 5.0


def _flag(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{attribute.name} must be a bool, not {type(value).__name__}")


def _seconds(instance: object, attribute: Any, value: object) -> None:
    if value is None and attribute.name == "timeout_s":
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} must be a number, not {type(value).__name__}")
    exclusive = attribute.name == "timeout_s"
    if not math.isfinite(value) or value < 0 or (exclusive and value == 0):
        raise ValueError(
            f"{attribute.name} must be {'more than' if exclusive else 'at least'} 0 and finite, not {value}"
        )


@frozen(kw_only=True)
class MapOptions:
    """The options of one map.

    - `acknowledge`: an outcome counts as delivered once the consumer acknowledges it, not when it asks for the next.
    - `retry_unknown`: inputs whose outcome an earlier run did not find out are looked up again.
    - `timeout_s`: the seconds an execution may run before its outcome is a `WaitTimeoutError`; None for no bound.
    - `leave_s`: the seconds for which leaving the map waits for creating requests in flight.
    - `budget_usd`: the amount that stops the sending; None for no budget.
    """

    acknowledge: bool = field(default=False, validator=_flag)
    retry_unknown: bool = field(default=False, validator=_flag)
    timeout_s: float | None = field(default=None, validator=_seconds)
    leave_s: float = field(default=DEFAULT_LEAVE_S, validator=_seconds)
    budget_usd: Decimal | None = None
