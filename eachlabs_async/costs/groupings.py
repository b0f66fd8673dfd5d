"""The words by which executions can be grouped, and the key of one execution for each word."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from ..records import Execution
from ..transport.guidance import did_you_mean

Key = tuple[str | None, ...]
KeyOf = Callable[[Execution], str | None]


def _by_time(length: int) -> KeyOf:
    """Return a function that gives the first characters of the creation time, in UTC."""

    def key_of(execution: Execution) -> str | None:
        at: datetime | None = execution.created_at
        return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z")[:length]

    return key_of


_TIMES: Final[Mapping[str, KeyOf]] = {"month": _by_time(7), "day": _by_time(10), "hour": _by_time(17)}
GROUPINGS: Final[Mapping[str, KeyOf]] = MappingProxyType({
    "model": lambda execution: execution.model,
    "requested_model": lambda execution: execution.requested_model,
    "status": lambda execution: execution.status,
    "state": lambda execution: execution.state.value,
    "workflow_id": lambda execution: execution.workflow_id,
    **_TIMES,
})  # fmt: skip


def is_time(word: str) -> bool:
    """Whether a word groups by time."""
    return word in _TIMES


def checked_groupings(by: str | Iterable[str]) -> tuple[str, ...]:
    """Return the words of the argument `by`, which is one word or several; none means one group.

    Raises `TypeError` if they are no texts, and `ValueError` for an unknown or repeated word.
    """
    words = (by,) if isinstance(by, str) else tuple(by)
    for at, word in enumerate(words):
        if not isinstance(word, str):
            raise TypeError(f"by must be words, not {type(word).__name__}")
        if word not in GROUPINGS:
            known = ", ".join(GROUPINGS)
            raise ValueError(f"by must be words of {known}, not {word!r}{did_you_mean(word, GROUPINGS)}")
        if word in words[:at]:
            raise ValueError(f"by has {word!r} twice")
    return words
