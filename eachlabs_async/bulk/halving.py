"""Halve a batch that the service refused, until the id or the input at fault is alone."""

from __future__ import annotations

from typing import Final, TypeVar

from ..errors import APIStatusError, EachLabsError

T = TypeVar("T")

HALVED_STATUSES: Final = frozenset({400, 404, 413, 422})
"""Refusals of a batch that one of its members, or their number, may have caused."""


def halves(batch: list[T], failure: EachLabsError) -> tuple[list[T], list[T]] | None:
    """Return the halves of a refused batch, each to be sent on its own; None if that cannot help."""
    if len(batch) < 2 or not isinstance(failure, APIStatusError) or failure.status not in HALVED_STATUSES:
        return None
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
