"""Report the outcomes that a bulk fetch or a map hands out to the hooks of its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..hooks import Hooks, OutcomeDelivered
from .outcomes import Outcome


def outcome_reporter(hooks: Hooks | None, source: str) -> Callable[[Outcome[Any]], None] | None:
    """Return a function that reports an outcome of the method `source`, None if there are no hooks."""
    if hooks is None:
        return None

    def report(outcome: Outcome[Any]) -> None:
        hooks.emit(
            OutcomeDelivered(
                source=source,
                id=outcome.id,
                index=outcome.index,
                error=outcome.error,
                attempts=outcome.attempts,
                elapsed_s=outcome.elapsed_s,
            )
        )

    return report
